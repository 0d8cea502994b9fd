"""`glocal rerank`, in process as a user types it."""

import io
import json
from types import SimpleNamespace

import pytest

from glocal.cli import exits
from glocal.cli.main import main
from glocal.cli.rerank import read_candidates
from glocal.data.input_file import MAX_LINE
from glocal.errors import ConfigError
from glocal.photo_index import Index
from tests.conftest import save, texture


@pytest.fixture
def run(capsys):
    """Run a command line; gives (exit code, stdout, stderr)."""

    def run(*words):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Four pictures, an index of them, a query that shows the third."""
    folder = tmp_path_factory.mktemp("library")
    for seed in range(4):
        save(folder / f"photos/{seed}.jpg", texture(seed, 360, 270), quality=92)
    (folder / "photos/broken.jpg").write_bytes(b"\xff\xd8\xff")
    save(folder / "query.jpg", texture(2, 360, 270)[20:250, 20:330], quality=92)
    with Index.create(folder / "index") as index:
        index.add(folder / "photos")
    return folder


def test_a_list_of_files_is_ordered_and_what_cannot_be_read_is_told_at_the_end(library, run):
    (library / "list.txt").write_text("photos/1.jpg\r\nphotos/2.jpg\n\nphotos/broken.jpg\nphotos/no\x1b[2Jwhere.jpg\n")
    code, out, err = run("rerank", library / "query.jpg", library / "list.txt")
    assert code == 0
    assert out.splitlines()[0] == "Same object (1)"
    assert "photos/2.jpg" in out.splitlines()[1]
    assert "photos/1.jpg" in out
    assert "2 pictures searched" in out
    assert "skipped  photos/broken.jpg — damaged" in err
    assert "skipped  photos/no\\x1b[2Jwhere.jpg — no such picture" in err
    assert err.rstrip().endswith("2 candidates skipped.")
    assert run("rerank", library / "query.jpg", library / "list.txt", "--strict")[0] == exits.PARTIAL


def test_photos_of_an_index_come_from_stdin_and_json_says_all(library, run, monkeypatch):
    names = b"1.jpg\n2.jpg\nbroken.jpg\n3.jpg"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(names)))
    code, out, _ = run("rerank", library / "query.jpg", "-", "--index", library / "index", "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["verdict"] == "match"
    assert answer["results"][0]["path"] == "2.jpg"
    assert {hit["path"] for hit in answer["results"]} == {"1.jpg", "2.jpg", "3.jpg"}
    assert answer["results"][0]["verification"]["inliers"] > 50
    assert answer["results"][0]["verification"]["H"]
    assert answer["skipped"][0]["path"] == "broken.jpg"
    assert answer["index"]["size"] == 3


def test_a_box_topk_and_kept_features(library, run, tmp_path):
    (library / "all.csv").write_text('id,path,score\n1,"photos/2.jpg",0.3\n2,photos/0.jpg,0.2\n')
    words = ("rerank", library / "query.jpg", library / "all.csv", "--box", "10%,10%,50%,50%", "--json")
    code, out, _ = run(*words, "--features", tmp_path / "kept", "--topk", "1")
    answer = json.loads(out)
    assert code == 0
    assert [hit["path"] for hit in answer["results"]] == ["photos/2.jpg"]
    assert answer["query"]["box"] == [31, 23, 155, 115]
    assert (tmp_path / "kept/glocal.db").exists()


def test_mistakes_are_explained_with_their_code(library, run, tmp_path):
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "none.txt").write_text("nowhere.jpg\n")
    (tmp_path / "good.txt").write_text(f"{library}/photos/1.jpg\n")
    query = library / "query.jpg"
    for words, expected, said in (
        ((query, tmp_path / "no.txt"), exits.USAGE, "cannot read"),
        ((query, tmp_path / "empty.txt"), exits.NOTHING, "There are no candidates"),
        ((query, tmp_path / "none.txt"), exits.NOTHING, "None of the 1 candidates can be compared"),
        ((library / "nowhere.jpg", tmp_path / "good.txt"), exits.USAGE, "No such picture"),
        ((query, tmp_path / "good.txt", "--box", "1,2"), exits.USAGE, "is not x,y,width,height"),
        ((query, tmp_path / "good.txt", "--depth", "0"), exits.USAGE, "depth must be"),
        ((query, tmp_path / "good.txt", "--model", "delg-r51"), exits.USAGE, "Did you mean"),
        ((query, tmp_path / "good.txt", "--index", tmp_path), exits.NOTHING, "There is no index"),
    ):
        code, _, err = run("rerank", *words)
        assert (code, said in err) == (expected, True), err
        assert "Traceback" not in err


# ---------------------------------------------------------------------- lists
def listed(tmp_path, data):
    (tmp_path / "list").write_bytes(data)
    return read_candidates(str(tmp_path / "list"))


def test_lines_are_taken_as_they_are(tmp_path):
    assert listed(tmp_path, "\ufeffa b.jpg\n ü,1.jpg\r\n\nc.jpg".encode()) == ["a b.jpg", " ü,1.jpg", "c.jpg"]


def test_a_table_is_read_by_its_column(tmp_path):
    assert listed(tmp_path, b'label,path\ncat,"x, y.jpg"\n\ndog,z.jpg\n') == ["x, y.jpg", "z.jpg"]
    assert listed(tmp_path, b"path\nx.jpg\n") == ["x.jpg"]
    assert listed(tmp_path, b"my path\nx.jpg\n") == ["my path", "x.jpg"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xfe", "line 1: not UTF-8"),
        (b"a.jpg\nx\0.jpg\n", "line 2: a path cannot hold a zero byte"),
        (b"a,path\n1,x.jpg\n2\n", "line 3: no path in column 2"),
        (b"a,path\n1,\n", "line 2: no path in column 2"),
        (b'path\n"open\n', "line 2: unexpected end of data"),
        (b"x" * (MAX_LINE + 1), "line 1: longer than 4 MiB"),
    ],
)
def test_what_is_no_list_is_refused_with_its_line(tmp_path, data, said):
    with pytest.raises(ConfigError, match=said):
        listed(tmp_path, data)


def test_a_list_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("glocal.cli.rerank.MAX_CANDIDATES", 10)
    assert len(listed(tmp_path, b"x.jpg\n" * 10)) == 10
    with pytest.raises(ConfigError, match="more than 10 candidates"):
        listed(tmp_path, b"x.jpg\n" * 11)


def test_stdin_is_bounded_and_holds_names_of_any_bytes(monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"\xff.jpg\nb.jpg")))
    assert read_candidates("-") == ["\udcff.jpg", "b.jpg"]
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"x" * (MAX_LINE + 1))))
    with pytest.raises(ConfigError, match="stdin, line 1: longer than 4 MiB"):
        read_candidates("-")
