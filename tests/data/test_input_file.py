"""The files of strangers: opened where they are regular and small enough, and read by lines with their numbers."""

import os

import pytest

from glocal.data import input_file
from glocal.data.input_file import numbered_lines, open_input, read_whole, shown
from glocal.errors import ConfigError


def written(path, data):
    path.write_bytes(data)
    return path


def test_a_file_is_read_whole_up_to_the_limit(tmp_path):
    path = written(tmp_path / "x", bytes(1000))
    assert read_whole(path, 1000) == bytes(1000)
    with pytest.raises(ConfigError, match=r"x has 1,000 bytes; the limit .* is 999 → "):
        read_whole(path, 999)


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = written(tmp_path / "x", b"12345")
    monkeypatch.setattr(input_file, "open_input", lambda path, max_bytes: path.open("rb"))
    with pytest.raises(ConfigError, match=r"x has 5 bytes; the limit .* is 4"):
        read_whole(path, 4)


def test_what_is_no_regular_file_is_refused_with_the_hint(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none", tmp_path / "pipe", tmp_path, "a\0b", "/dev/zero"):
        with pytest.raises(ConfigError, match=r"cannot read .* → --data DIR$"):
            open_input(path, hint="--data DIR")
    with pytest.raises(ConfigError, match=r"none: No such file .* → check the path$"):
        list(numbered_lines(tmp_path / "none"))


def test_a_link_that_the_user_named_is_followed(tmp_path):
    (tmp_path / "link").symlink_to(written(tmp_path / "x", b"1"))
    assert read_whole(tmp_path / "link", 1) == b"1"


def test_lines_come_with_their_numbers_and_without_their_ends(tmp_path):
    path = written(tmp_path / "x", "\N{BYTE ORDER MARK}one\r\n\n  zwölf \nlast".encode())
    assert list(numbered_lines(path)) == [(1, "one"), (2, ""), (3, "  zwölf "), (4, "last")]
    assert list(numbered_lines(written(tmp_path / "empty", b""))) == []


def test_a_text_over_the_limit_is_refused_before_its_first_line(tmp_path):
    path = written(tmp_path / "x", b"one\ntwo\n")
    assert len(list(numbered_lines(path, max_bytes=8))) == len(list(numbered_lines(path, max_bytes=None))) == 2
    with pytest.raises(ConfigError, match=r"x has 8 bytes; the limit .* is 7"):
        next(numbered_lines(path, max_bytes=7))


def test_a_line_that_is_too_long_or_no_text_is_refused_with_its_number(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"x, line 2: not UTF-8 text .* → iconv"):
        list(numbered_lines(written(tmp_path / "x", b"one\n\xff\n")))
    monkeypatch.setattr(input_file, "MAX_LINE", 4)
    assert list(numbered_lines(written(tmp_path / "x", b"one\ntwo"))) == [(1, "one"), (2, "two")]
    with pytest.raises(ConfigError, match="x, line 2: longer than"):
        list(numbered_lines(written(tmp_path / "x", b"one\nfour\n")))


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("a b", '"a b"'),
        ("x" * 100, '"' + "x" * 100 + '"'),
        ("x" * 101, '"' + "x" * 100 + '…"'),
        (1.5, "1.5"),
        (10**200, "1" + "0" * 99),
        (True, "True"),
        (None, "None"),
        (["secret"] * 9, "a list"),
        ({"a": 1}, "a dict"),
        (b"bytes", "a bytes"),
    ],
)
def test_a_value_is_shown_cut_and_containers_by_what_they_are(value, wanted):
    assert shown(value) == wanted
