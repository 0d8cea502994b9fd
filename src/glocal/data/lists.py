"""Where photos and their labels are written down: a folder per object, CSV, "path label" lines, GLDv2, tar shards.

Every list is hostile: its lines are bounded, and a path that leaves the root is refused. Whether the photos are there
is found out when they are read: there may be millions.
"""

from __future__ import annotations

import csv
import glob
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from glocal.data.formats import PICTURE_SUFFIXES, is_picture_name
from glocal.data.input_file import numbered_lines
from glocal.data.shards import Member, index_shard, read_member
from glocal.errors import ConfigError, ImageError

MAX_LABEL = 1000  # characters
MAX_JSON = 1 << 16  # bytes
_GLDV2_ID = re.compile(r"[0-9a-f]{16}")
_PATH, _ROOT = "data.path", "data.root"
_CLEAN, _ALL = "landmark_id,images", "id,url,landmark_id"


class Row(NamedTuple):
    """One photo: where it is, its label or None, and what else is known of it."""

    source: str
    label: str | None
    about: Mapping[str, Any]


def folder_rows(path: Path) -> Iterator[Row]:
    """One folder per object, at any depth below it; photos beside the folders have no label. Links are not followed.

    Raises:
        ConfigError: no such folder.
    """
    top = os.path.abspath(path)
    if not os.path.isdir(top):
        raise ConfigError(f"No such folder: {path} → data.path")
    for source in _photos_below(top):
        label, slash, _ = source[len(top.rstrip("/")) + 1 :].partition("/")
        yield _row(source, label if slash else None)


def _photos_below(folder: str) -> Iterator[str]:
    stack = [folder]
    while stack:
        current = stack.pop()
        try:
            with os.scandir(current) as found:
                entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            raise ConfigError(f"cannot read {current}: {error.strerror} → chmod, or move it away") from error
        yield from (
            e.path for e in entries if is_picture_name(os.fsencode(e.name)) and e.is_file(follow_symlinks=False)
        )
        stack.extend(e.path for e in reversed(entries) if e.is_dir(follow_symlinks=False))


def csv_rows(path: Path, root: str, hint: str | None = None) -> Iterator[Row]:
    """A CSV file whose first line names its columns: path, label and any others; an empty label is none.

    Args:
        path: the file.
        root: the folder that its paths are relative to, and must not leave.
        hint: what to do where there is no such file or photo; None for keys of a recipe.

    Raises:
        ConfigError: not such a file, with the line.
    """
    lines = numbered_lines(path, max_bytes=None, hint=hint or _PATH)
    reader = csv.DictReader((f"{line}\n" for _, line in lines), strict=True)
    try:
        columns = reader.fieldnames or ()
        if not {"path", "label"} <= set(columns):
            raise ConfigError(f'{path}, line 1: columns "path" and "label" are needed, not {list(columns)[:10]}')
        for row in reader:
            number = reader.line_num
            if None in row or None in row.values():
                raise ConfigError(f"{path}, line {number}: {len(columns)} columns are needed → quote commas")
            label = _label(row["label"], path, number)
            yield Row(_inside(root, row["path"], path, number, hint or _ROOT), label, row)
    except csv.Error as error:
        # The inner reader's number: the outer one does not count the line that failed.
        raise ConfigError(f"{path}, line {reader.reader.line_num}: {error}") from error


def list_rows(path: Path, root: str) -> Iterator[Row]:
    """Lines of a path, white space and a label without any; empty lines do not count.

    Raises:
        ConfigError: not such a file, with the line.
    """
    for number, line in numbered_lines(path, max_bytes=None, hint=_PATH):
        words = line.strip().rsplit(maxsplit=1)
        if len(words) == 1:
            raise ConfigError(f'{path}, line {number}: write "path label", not "{words[0][:200]}"')
        if words:
            yield _row(_inside(root, words[0], path, number), _label(words[1], path, number))


def gldv2_file(path: Path, clean: bool) -> Path:
    """The list of GLDv2 in its folder: train_clean.csv or train.csv, there or in train/; a file is taken as it is.

    Raises:
        ConfigError: there is none.
    """
    name = "train_clean.csv" if clean else "train.csv"
    for place in (path, path / name, path / "train" / name):
        if place.is_file():
            return place
    raise ConfigError(f"{path}: no {name} in it or in its train/ → data.path; data.clean chooses between the two lists")


def gldv2_rows(path: Path, root: str) -> Iterator[Row]:
    """The list of GLDv2, whichever of the two its first line says it is; photos are in root/train/0/1/2/012….jpg.

    Raises:
        ConfigError: not such a file, with the line.
    """
    header = ""
    for number, line in numbered_lines(path, max_bytes=None, hint=_PATH):
        if number == 1:
            header = line
            if header not in (_CLEAN, _ALL):
                raise ConfigError(f'{path}, line 1: "{_CLEAN}" or "{_ALL}" was expected, not "{header[:200]}"')
            continue
        # The address between the first and the last comma of train.csv is anything that people have uploaded.
        first, _, rest = line.partition(",")
        last = rest if header == _CLEAN else rest.rpartition(",")[2]
        label, ids = (first, last.split()) if header == _CLEAN else (last, [first])
        if not (label.isascii() and label.isdecimal()) or not ids:
            raise ConfigError(f'{path}, line {number}: "{header}" was expected, not "{line[:200]}"')
        for name in ids:
            if not _GLDV2_ID.fullmatch(name):
                raise ConfigError(f'{path}, line {number}: "{name[:200]}" is no image id (16 hexadecimal digits)')
            source = f"{root.rstrip('/')}/train/{name[0]}/{name[1]}/{name[2]}/{name}.jpg"
            yield _row(source, _label(label, path, number))


def shards_of(path: str) -> list[str]:
    """The tar files that a folder, a pattern or a single name stands for, sorted, with full paths.

    Raises:
        ConfigError: there are none.
    """
    if os.path.isdir(path):
        found = glob.glob(os.path.join(glob.escape(path), "*.tar"))
    else:
        found = [path] if os.path.isfile(path) else glob.glob(path)
    if not found:
        raise ConfigError(f"{path}: no tar shards → data.path is a folder of *.tar, a pattern or one file")
    return sorted(os.path.abspath(each) for each in found)


def shard_rows(shard: str, field: str) -> Iterator[Row]:
    """The photos of a shard, `key.jpg` or another picture, each with the label that `key.json` has in a field.

    The source is "shard:offset:size:key", which `read_member` can read; colons in keys become "_".

    Raises:
        ConfigError: not such a shard, two photos of one key, or a key.json that makes no sense.
    """
    photos: dict[str, Member] = {}
    notes: dict[str, Member] = {}
    for member in index_shard(shard):
        folder, slash, name = member.name.removeprefix("./").rpartition("/")
        stem, _, suffix = name.partition(".")
        key, suffix = folder + slash + stem, suffix.lower()
        kind = photos if suffix in PICTURE_SUFFIXES else notes if suffix == "json" else None
        if kind is None:
            continue
        if key in kind:
            raise ConfigError(
                f'{shard}: "{key[:200]}" is there twice with .{suffix} or another picture → make it again'
            )
        kind[key] = member
    for key, member in photos.items():
        about = _note(shard, notes[key]) if key in notes else {}
        value = about.get(field)
        if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
            raise ConfigError(f'{shard}: {key[:200]}.json: "{field}" must be a text, a whole number or null')
        label = None if value is None else _label(str(value), shard, f"{key[:200]}.json")
        yield Row(f"{shard}:{member.offset}:{member.size}:{key.replace(':', '_')}", label, about)


def _note(shard: str, member: Member) -> dict[str, Any]:
    where = f"{shard}: {member.name[:200]}"
    if member.size > MAX_JSON:
        raise ConfigError(f"{where} has {member.size:,} bytes; the limit is {MAX_JSON:,} → keep only the label in it")
    try:
        value = json.loads(read_member(shard, member.offset, member.size))
    except (ImageError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{where} is no JSON object")
    return value


def _row(source: str, label: str | None) -> Row:
    return Row(source, label, {"path": source, "label": label})


def _label(text: str, path: object, where: object) -> str | None:
    if len(text) > MAX_LABEL:
        raise ConfigError(f"{path}, line {where}: a label of {len(text):,} characters; the limit is {MAX_LABEL:,}")
    return text or None


def _inside(root: str, name: str, path: Path, number: int, hint: str = _ROOT) -> str:
    """The full path of a photo that a list names."""
    full = os.path.normpath(os.path.join(root, name))
    if not name or "\0" in name or not full.startswith(root.rstrip("/") + "/"):
        raise ConfigError(f'{path}, line {number}: "{name[:200]}" is not inside {root} → {hint}')
    return full
