"""Names that a format cannot hold: refused in words, or replaced by safe ones with a map that can be undone."""

import csv
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glocal.errors import NothingToDo
from glocal.export.names import Format, as_cell, choose_names, write_map

PATHS = st.lists(st.binary(min_size=1, max_size=8).filter(lambda path: b"\0" not in path), unique=True, max_size=8)


def refusal(files, form, others=None):
    with pytest.raises(NothingToDo) as caught:
        choose_names(files, form, False, others)
    return str(caught.value)


def test_blanks_are_refused_in_the_words_of_the_message_table():
    text = refusal([b"a.jpg", b"b b.jpg", b"c\tc.jpg", "d\u00a0d.jpg".encode(), b"\xff e.jpg"], Format.HLOC)
    assert text.startswith(
        "3 names contain blanks; hloc's pairs.txt cannot hold them. → --rename-map names.csv writes "
    )
    assert text.endswith("writes safe names and a map   (first: b b.jpg)")
    assert refusal([b"b b.jpg"], Format.HLOC).startswith("1 name contains blanks; hloc's pairs.txt cannot hold it. →")


def test_other_names_that_hloc_or_colmap_misread_are_refused_with_the_first():
    assert re.match(r"1 name is not UTF-8.*\(first: x\\xff.jpg\)$", refusal([b"x\xff.jpg"], Format.HLOC))
    assert re.match(r'2 names begin with "#".*\(first: #1.jpg\)$', refusal([b"#1.jpg", b"#2.jpg"], Format.HLOC))
    text = refusal([b"a-b.jpg", b"a/b.jpg"], Format.MATCHES)
    assert re.match(r'1 name belongs to another photo too \(with "-" for "/".*\(first: a/b.jpg\)$', text)
    text = refusal([b"q.jpg"], Format.HLOC, {b"/x/q.jpg": "q.jpg"})
    assert re.match(r"1 name belongs to another photo too\. .*\(first: /x/q.jpg\)$", text)


def test_tables_take_blanks_but_only_utf_8():
    names = choose_names([b"a b.jpg", b"#c/\n.jpg"], Format.TABLE, False)
    assert [names.of(file) for file in (b"a b.jpg", b"#c/\n.jpg")] == ["a b.jpg", "#c/\n.jpg"]
    assert "1 name is not UTF-8" in refusal([b"a b.jpg", b"\xe9.jpg"], Format.TABLE)


def test_safe_names_are_like_the_old_ones_and_leave_good_ones_alone():
    files = [b"a b.jpg", b"a_b.jpg", b"a\tb.jpg", b"d/x y\xff.jpg", b"#e.jpg", b"z/a b.jpg"]
    names = choose_names(files, Format.HLOC, True, {b"/q/a b.jpg": "a b.jpg"})
    assert [names.of(file) for file in [*files, b"/q/a b.jpg"]] == [
        "a_b-2.jpg",
        "a_b.jpg",
        "a_b-3.jpg",
        "d/x_y_.jpg",
        "_e.jpg",
        "z/a_b.jpg",
        "a_b-4.jpg",
    ]


@given(files=PATHS, form=st.sampled_from(Format))
def test_renamed_photos_can_be_told_apart_and_fit_the_format(files, form):
    names = choose_names(files, form, True)
    found = [names.of(file) for file in files]
    keys = [name.replace("/", "-") if form is Format.MATCHES else name for name in found]
    assert len(set(keys)) == len(files)
    for file, name in zip(files, found, strict=True):
        name.encode()  # is UTF-8
        assert name.count("/") == file.count(b"/")
        if form is not Format.TABLE:
            assert len(name.split()) == 1
            assert not name.startswith("#")
    assert choose_names([name.encode() for name in found], form, False).renamed == {}


def undone(cell):
    """The bytes that a cell of the map stands for."""
    text = re.sub(r"\\x(..)", lambda hit: chr(0xDC00 + int(hit[1], 16)), cell.removeprefix("'"))
    return b"".join(bytes([ord(char) - 0xDC00]) if "\udc00" <= char <= "\udcff" else char.encode() for char in text)


@given(files=PATHS)
def test_the_map_says_which_file_each_name_stands_for(files, tmp_path_factory):
    place = tmp_path_factory.getbasetemp() / "names.csv"
    names = choose_names(files, Format.HLOC, True)
    write_map(place, [(file, names.of(file)) for file in files], place)
    text = place.read_text("utf-8")
    assert text.count("\n") == len(files) + 1  # no cell has a line of its own
    header, *rows = csv.reader(text.splitlines())
    assert header == ["name", "file"]
    assert [undone(file) for _, file in rows] == files
    assert [undone(name).decode() for name, _ in rows] == [names.of(file) for file in files]


@pytest.mark.parametrize("first", "=+-@'")
def test_no_cell_is_a_formula(first):
    assert as_cell(os.fsencode(f"{first}1+1.jpg")) == f"'{first}1+1.jpg"
    assert as_cell(b"a=1.jpg") == "a=1.jpg"
    assert as_cell(b"\t=1\\\xff") == "\\x09=1\\x5c\\xff"
