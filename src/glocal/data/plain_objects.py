"""Python object dumps (.pkl) of plain data, read without running them (NumPy).

Ground truth is handed out in a format that is a program: Python's own reader runs whatever it says. The interpreter
here knows only the instructions that put plain values together. It imports nothing and calls nothing that a file
names: the few names with which NumPy describes its arrays are recognised as words, and the arrays made from their
bytes. All else is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.input_file import read_whole
from glocal.data.plain_arrays import (
    NAMES,
    ArrayMaker,
    Name,
    NumberType,
    Refused,
    Unfinished,
    byte_order,
    dotted,
    kind_of,
)
from glocal.errors import ConfigError

MAX_BYTES = 64 << 20
MAX_STEPS = 1_000_000  # instructions; ground truth of 6,322 photos has 38 thousand
MAX_DEPTH = 32
MAX_VALUES = 4_000_000  # values met on a walk through the result, shared ones each time
_CHUNK = 64  # bytes of text or array that weigh as much as a value
_MAX_BITS = 64
_NEWEST_PROTOCOL = 5
_KEYS = (str, bytes, int, float, bool, type(None))
_LITERALS = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)
_REFUSED = {
    "PERSID": "a reference to something outside the file",
    "BINPERSID": "a reference to something outside the file",
    "NEXT_BUFFER": "bytes that are not in the file",
    "EMPTY_SET": "a set",
    "FROZENSET": "a set",
}


def read_plain_objects(path: Path) -> Any:
    """What a .pkl file holds: dicts, lists, tuples, texts, bytes, numbers, None and numeric ndarrays, however nested.

    NumPy scalars become Python numbers, byte arrays bytes, arrays native in byte order.

    Raises:
        ConfigError: the file holds anything else, is damaged, or is larger than the bounds of this module.
    """
    data = read_whole(path, MAX_BYTES)
    reader = _Reader()
    position = 0
    try:
        for opcode, argument, at in pickletools.genops(data):
            position = at or 0
            reader.step(opcode.name, argument)
        if position + 1 != len(data):
            raise Refused(f"{len(data) - position - 1:,} more bytes after the end")
        return reader.result()
    except Refused as refusal:
        where, what = "at", f"refused: {refusal}"
    except (ValueError, DeprecationWarning) as error:  # of genops; the latter for an unknown escape in a text
        where, what = "after", f"damaged: {str(error)[:200]}"
    raise ConfigError(
        f"{path}: {where} byte {position:,}, {what} → only plain lists, texts, numbers and arrays are read from .pkl;"
        f" save the same keys as JSON, {path.stem}.json"
    )


class _Reader:
    """The stack machine of the format, without what makes it dangerous."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._steps = 0
        self._arrays = ArrayMaker()

    def step(self, name: str, argument: Any) -> None:
        """Do one instruction."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise Refused(f"more than {MAX_STEPS:,} instructions")
        action = _ACTIONS.get(name)
        if action is None:
            named = f"`{dotted(argument)}`" if name == "INST" else _REFUSED.get(name, f"an object ({name})")
            raise Refused(f"it wants to build {named}")
        action(self, argument)

    def result(self) -> Any:
        """The one value that is left, checked."""
        if len(self._stack) != 1 or self._marks:
            raise Refused(f"{len(self._stack)} values are left, not one")
        _check(self._stack[0])
        return self._stack[0]

    def _pop(self) -> Any:
        self._need(1)
        return self._stack.pop()

    def _need(self, count: int) -> None:
        if len(self._stack) - count < (self._marks[-1] if self._marks else 0):
            raise Refused("it takes values that are not there")

    def _since_mark(self) -> list[Any]:
        if not self._marks:
            raise Refused("it takes values that are not there")
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _top(self, kind: type) -> Any:
        self._need(1)
        if type(self._stack[-1]) is not kind:
            raise Refused(f"it adds to {kind_of(self._stack[-1])} as if it were a {kind.__name__}")
        return self._stack[-1]

    # Instructions. Each gets what follows it in the file.

    def _value(self, argument: Any) -> None:
        if isinstance(argument, int) and argument.bit_length() > _MAX_BITS:
            raise Refused(f"a whole number of {argument.bit_length():,} bits")
        self._stack.append(bytes(argument) if isinstance(argument, bytearray) else argument)

    def _protocol(self, argument: Any) -> None:
        if argument > _NEWEST_PROTOCOL:
            raise Refused(f"protocol {argument} is newer than {_NEWEST_PROTOCOL}")

    def _nothing(self, _: Any) -> None:
        pass

    def _mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def _tuple_of(self, count: int) -> None:
        self._need(count)
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        self._stack.append(items)

    def _dict(self, _: Any) -> None:
        made: dict[Any, Any] = {}
        self._fill(made, self._since_mark())
        self._stack.append(made)

    def _append(self, _: Any) -> None:
        value = self._pop()
        self._top(list).append(value)

    def _appends(self, _: Any) -> None:
        values = self._since_mark()
        self._top(list).extend(values)

    def _set_item(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._fill(self._top(dict), [key, value])

    def _set_items(self, _: Any) -> None:
        items = self._since_mark()
        self._fill(self._top(dict), items)

    def _fill(self, target: dict[Any, Any], items: list[Any]) -> None:
        if len(items) % 2:
            raise Refused("a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Tuples are no keys: hashing a deep one recurses without a limit. Nor are integers that hash alike.
            if type(key) not in _KEYS or (type(key) is int and abs(key) >= 2**60):
                raise Refused(f"{kind_of(key)} as a key")
            target[key] = value

    def _put(self, argument: int) -> None:
        self._need(1)
        value = self._stack[-1]
        if isinstance(value, Unfinished):
            value.kept.append(argument)
        self._memo[argument] = value

    def _get(self, argument: int) -> None:
        if argument not in self._memo:
            raise Refused(f"it repeats value {argument}, which has not been")
        self._stack.append(self._memo[argument])

    def _global(self, argument: str) -> None:
        if argument not in NAMES:
            raise Refused(f"it wants to build `{dotted(argument)}`")
        self._stack.append(Name(argument))

    def _stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise Refused(f"it wants to build what {kind_of(module)} and {kind_of(name)} name")
        self._global(f"{module} {name}")

    def _reduce(self, _: Any) -> None:
        given, name = self._pop(), self._pop()
        if not isinstance(name, Name):
            raise Refused(f"it calls {kind_of(name)}")
        self._stack.append(self._arrays.call(name, given))

    def _build(self, _: Any) -> None:
        state = self._pop()
        self._need(1)
        target = self._stack[-1]
        if isinstance(target, NumberType):
            target.dtype = byte_order(target.code, state)
        elif isinstance(target, Unfinished):
            array = self._arrays.finish(state)
            self._stack[-1] = array
            for key in target.kept:
                if self._memo[key] is target:
                    self._memo[key] = array
        else:
            raise Refused(f"it sets attributes of {kind_of(target)}")


def _check(result: Any) -> None:
    """Refuse what is not plain, not a tree, too deep, or too much for whoever walks through it."""
    known: dict[int, tuple[int, int]] = {}  # containers -> depth and weight
    open_: set[int] = set()
    todo = [result]
    while todo:
        value = todo[-1]
        key = id(value)
        if type(value) not in (list, tuple, dict) or key in known:
            _weight(value, known)
            todo.pop()
            continue
        inner = list(value.values()) if type(value) is dict else value
        if key not in open_:
            open_.add(key)
            if len(open_) > MAX_DEPTH:
                raise Refused(f"values nested deeper than {MAX_DEPTH}")
            if any(id(each) in open_ for each in inner if type(each) in (list, tuple, dict)):
                raise Refused("a value that contains itself")
            todo.extend(each for each in inner if type(each) in (list, tuple, dict) and id(each) not in known)
            continue
        sizes = [_weight(each, known) for each in inner]
        if type(value) is dict:
            sizes.extend(_weight(each, known) for each in value)
        known[key] = (1 + max((depth for depth, _ in sizes), default=0), 1 + sum(weight for _, weight in sizes))
        if known[key][0] > MAX_DEPTH:
            raise Refused(f"values nested deeper than {MAX_DEPTH}")
        if known[key][1] > MAX_VALUES:
            raise Refused(f"more than {MAX_VALUES:,} values, repeated ones counted each time")
        open_.discard(key)
        todo.pop()


def _weight(value: Any, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Depth and weight of a value."""
    if type(value) in (list, tuple, dict):
        return known[id(value)]
    if type(value) is str or type(value) is bytes:
        return 0, 1 + len(value) // _CHUNK
    if type(value) is np.ndarray:
        return 0, 1 + value.nbytes // _CHUNK
    if value is None or type(value) in (int, float, bool):
        return 0, 1
    raise Refused(f"{kind_of(value)} as a value")


_Action = Callable[[_Reader, Any], None]
_ACTIONS: dict[str, _Action] = {
    "PROTO": _Reader._protocol,
    "FRAME": _Reader._nothing,
    "STOP": _Reader._nothing,
    "MARK": _Reader._mark,
    "NONE": lambda reader, _: reader._value(None),
    "NEWTRUE": lambda reader, _: reader._value(True),
    "NEWFALSE": lambda reader, _: reader._value(False),
    **dict.fromkeys(_LITERALS, _Reader._value),
    "EMPTY_LIST": lambda reader, _: reader._value([]),
    "EMPTY_TUPLE": lambda reader, _: reader._value(()),
    "EMPTY_DICT": lambda reader, _: reader._value({}),
    "LIST": lambda reader, _: reader._value(reader._since_mark()),
    "TUPLE": lambda reader, _: reader._value(tuple(reader._since_mark())),
    "TUPLE1": lambda reader, _: reader._tuple_of(1),
    "TUPLE2": lambda reader, _: reader._tuple_of(2),
    "TUPLE3": lambda reader, _: reader._tuple_of(3),
    "DICT": _Reader._dict,
    "APPEND": _Reader._append,
    "APPENDS": _Reader._appends,
    "SETITEM": _Reader._set_item,
    "SETITEMS": _Reader._set_items,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Reader._put),
    "MEMOIZE": lambda reader, _: reader._put(len(reader._memo)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Reader._get),
    "GLOBAL": _Reader._global,
    "STACK_GLOBAL": _Reader._stack_global,
    "REDUCE": _Reader._reduce,
    "BUILD": _Reader._build,
}
