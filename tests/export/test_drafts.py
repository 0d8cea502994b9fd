"""Files that appear whole or not at all."""

import errno
import os

import pytest

from glocal.errors import ConfigError, DiskFull
from glocal.export.drafts import Drafts, explained


def test_files_appear_together_at_the_end_in_their_order(tmp_path):
    first, second = tmp_path / "new/b.txt", tmp_path / "new/a.txt"
    with Drafts() as drafts:
        for place in (first, second):
            drafts.add(place).write_text(place.name)
        assert not first.exists()
        assert drafts.publish() == [first, second]
    assert sorted(os.listdir(tmp_path / "new")) == ["a.txt", "b.txt"]
    assert first.read_text() == "b.txt"


def test_what_is_not_published_is_removed(tmp_path):
    with Drafts() as drafts:
        drafts.add(tmp_path / "a").write_text("half")
        assert len(os.listdir(tmp_path)) == 1
    assert os.listdir(tmp_path) == []


def test_a_file_that_is_there_is_kept_unless_forced_also_if_it_comes_late(tmp_path):
    place = tmp_path / "a"
    with Drafts() as drafts:
        drafts.add(place)
        place.write_text("mine")
        with pytest.raises(ConfigError, match="exists already"):
            drafts.publish()
    with pytest.raises(ConfigError, match="exists already"), Drafts() as drafts:
        drafts.add(place)
    with Drafts() as drafts:
        drafts.add(tmp_path / "link")
        (tmp_path / "link").symlink_to("nowhere")
        with pytest.raises(ConfigError, match="exists already"):
            drafts.publish()
    assert place.read_text() == "mine"
    with Drafts(force=True) as drafts:
        drafts.add(place).write_text("yours")
        drafts.publish()
    assert place.read_text() == "yours"
    assert sorted(os.listdir(tmp_path)) == ["a", "link"]


def test_places_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    with Drafts(force=True) as drafts:
        with pytest.raises(ConfigError, match=r"cannot write .*file/x/a: Not a directory"):
            drafts.add(tmp_path / "file/x/a")
        with pytest.raises(ConfigError, match="file is a file"):
            drafts.add(tmp_path / "file/a")
        with pytest.raises(ConfigError, match="is a folder"):
            drafts.add(tmp_path)
        drafts.add(tmp_path / "b")
        with pytest.raises(ConfigError, match="two different files"):
            drafts.add(tmp_path / "b")


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "x"), OSError(errno.EDQUOT, "x"), RuntimeError("write: No space left on device")]
)
def test_a_full_disk_is_told_as_such(error, tmp_path):
    with pytest.raises(DiskFull, match=r"a\.h5 could not be written"), explained(tmp_path / "a.h5"):
        raise error
    with pytest.raises(ConfigError, match=r"cannot write .*a\.h5: odd"), explained(tmp_path / "a.h5"):
        raise RuntimeError("odd\nand long")
