"""The shape check used at public borders."""

from __future__ import annotations

from collections.abc import Sized
from typing import Protocol

from glocal.errors import ShapeError


class _Array(Protocol):
    @property
    def shape(self) -> tuple[int, ...]: ...


def expect_shape(array: _Array, axes: str, name: str, **sizes: int) -> tuple[int, ...]:
    """Check the axes of an array and return its shape.

    Args:
        array: anything with a shape.
        axes: one word per axis, such as "N d"; a word that is a number fixes the size.
        name: what to call the array in the error.
        **sizes: sizes that named axes must have.

    Raises:
        ShapeError: if the number of axes or a size differs.
    """
    shape = tuple(array.shape)
    words = axes.split()
    expected = {word: int(word) for word in words if word.isdigit()} | sizes
    fits = len(shape) == len(words) and all(
        expected.get(word, size) == size for word, size in zip(words, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(f"{word}={sizes[word]}" if word in sizes else word for word in words)
        raise ShapeError(f"{name} must be ({wanted}), found {shape}")
    return shape


def expect_same_length(name_a: str, a: Sized, name_b: str, b: Sized) -> None:
    """Check that two sequences are equally long.

    Raises:
        ShapeError: if they are not.
    """
    if len(a) != len(b):
        raise ShapeError(f"{name_a} has {len(a)} rows but {name_b} has {len(b)}")
