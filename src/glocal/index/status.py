"""How a collection is searched, in words."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from glocal.errors import StoreError
from glocal.index.beside import check_size
from glocal.index.choice import RULES, Rules
from glocal.index.faiss_lists import is_installed
from glocal.index.stored import num_after, num_stored
from glocal.index.voucher import Voucher, read_voucher
from glocal.store.collection import Collection

_INSTALL = "pip install 'glocal[faiss]'"


def quality(voucher: Voucher) -> str:
    """What lists find, measured when they were made."""
    return (
        f"finds {voucher.recall_10:.1%} of the 10 and {voucher.recall_100:.1%} of the 100 most similar "
        f"({voucher.num_probes} probes)"
    )


def search_line(collection: Collection, rules: Rules = RULES) -> str:
    """How a collection is searched, and what would make that faster; one line.

    The index file is looked at, not read: a search checks every byte of it.
    """
    voucher, newer, why = _look(collection)
    if voucher is None:
        if num_stored(collection) < rules.exact_below and not why:
            return "exact: every picture is compared"
        if not is_installed():
            return f"exact, which is slow for so many pictures → {_INSTALL}  then glocal index PHOTOS"
        return f"exact, which is slow for so many pictures{why} → glocal index PHOTOS makes the nearest-neighbour file"
    if not is_installed():
        return f"exact, which is slow for so many pictures; its nearest-neighbour file needs FAISS → {_INSTALL}"
    line = f"{voucher.factory}, {voucher.num_bytes / 1e6:,.0f} MB: {quality(voucher)}"
    return f"{line}; {newer:,} newer pictures are compared one by one" if newer else line


def search_json(collection: Collection) -> dict[str, Any] | None:
    """The same for programs: what the collection says about its index file; None where it is searched exactly."""
    voucher, newer, _ = _look(collection)
    return None if voucher is None or not is_installed() else asdict(voucher) | {"newer": newer}


def _look(collection: Collection) -> tuple[Voucher | None, int, str]:
    """What the collection says about its file, and how many pictures are newer; why there is none, if that is odd."""
    try:
        said = read_voucher(collection)
        if said is None:
            return None, 0, ""
        voucher, covers = said
        check_size(collection.directory, voucher)
        return voucher, num_after(collection, covers), ""
    except StoreError as error:
        return None, 0, f" (the nearest-neighbour file is not used: {error})"
