import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from glocal.errors import ConfigError, NothingToDo, SpecMismatch
from glocal.evaluation.benchmark import Benchmark, BenchmarkQuery
from glocal.evaluation.evaluate import EvaluationTask, evaluate, whole_box
from glocal.evaluation.features import Item, Watcher, content_key, describe, open_features
from glocal.evaluation.foreign import score_file
from glocal.evaluation.methods import HEAD_METHODS, METHODS, Plan, parse_plan
from glocal.evaluation.metrics import score_places
from glocal.evaluation.printing import cost_line, group_lines, reference_lines
from glocal.evaluation.protocol import REVISITED
from glocal.evaluation.record import RunRecord
from glocal.extract.batching import ModelSource
from tests.conftest import save, texture

OBJECTS, VIEWS = 4, 3


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory) -> Benchmark:
    """Four things, three views each in the gallery; a query shows one of them beside something else."""
    root = tmp_path_factory.mktemp("benchmark")
    gallery = []
    for thing in range(OBJECTS):
        whole = texture(thing, 420, 320)
        for view in range(VIEWS):
            name = f"jpg/thing{thing}_{view}.jpg"
            save(root / name, whole[view * 12 : view * 12 + 280, view * 15 : view * 15 + 360], quality=92)
            gallery.append(name)
    queries = []
    for thing in range(OBJECTS):
        scene = np.concatenate([texture(thing, 420, 320), texture(90 + thing, 420, 320)], axis=1)
        save(root / f"jpg/query{thing}.jpg", scene, quality=92)
        members = [np.array([thing * VIEWS + view]) for view in range(VIEWS)]
        sets = {"easy": members[0], "hard": members[1], "junk": members[2]}
        queries.append(BenchmarkQuery(f"query{thing}", f"jpg/query{thing}.jpg", (4.6, 5.2, 410.4, 309.9), sets))
    groups = {"even": frozenset({"query0", "query2"}), "odd": frozenset({"query1", "query3"})}
    names = tuple(gallery)
    return Benchmark("things", REVISITED, root, names, names, tuple(queries), ("made for a test",), groups)


@pytest.fixture
def task(benchmark, tmp_path) -> EvaluationTask:
    return EvaluationTask(benchmark, "rootsift", features=tmp_path / "features", workers=1, out=tmp_path / "run")


@pytest.mark.parametrize("method", ["none", "geometric", "search", "delg-torch", "delg-star", "aqe,superglobal", "dba"])
def test_things_that_are_easy_to_find_are_found_by_every_method(task, method):
    record, folder = evaluate(replace(task, plan=parse_plan([method])))
    assert record.mean_ap("medium") == 1.0
    assert record.mean_ap("hard") == 1.0
    assert record.mean_precision("medium") == (1.0, 1.0, 1.0)
    assert reference_lines(record)[0] == ">> things: mAP E: 100.0, M: 100.0, H: 100.0"
    assert {file.name for file in folder.iterdir()} == {"metrics.json", "ranks.npz", "card.md", "report.html"}
    assert RunRecord.read(folder).to_json() == record.to_json()


def test_the_saved_ranks_are_the_ones_that_were_scored(task, benchmark):
    record, folder = evaluate(replace(task, plan=parse_plan(["geometric"], depth=2)))
    with np.load(folder / "ranks.npz") as found:
        assert found["gallery"].tolist() == list(benchmark.gallery)
        for setup_name, setup in REVISITED.setups.items():
            ranks = found[f"ranks_{setup_name}"]
            for column, query, answered in zip(ranks.T, benchmark.queries, record.queries, strict=True):
                assert sorted(column.tolist()) == list(range(len(benchmark.gallery)))
                place = {photo: i for i, photo in enumerate(column.tolist())}
                right = np.array([place[photo] for photo in query.right(setup).tolist()])
                junk = np.array([place[photo] for photo in query.ignored(setup).tolist()])
                assert score_places(right, junk, len(right), REVISITED).ap == answered.scores[setup_name].ap


def test_distractors_are_searched_too_and_are_right_for_nobody(task, tmp_path):
    files = tuple(str(save(tmp_path / f"more/{seed}.jpg", texture(200 + seed, 300, 240))) for seed in range(5))
    files += (str(tmp_path / "more/broken.jpg"),)
    Path(files[-1]).write_bytes(b"\xff\xd8\xff not really")
    told = []

    class Told(Watcher):
        def say(self, text):
            told.append(text)

    record, folder = evaluate(replace(task, distractors=("more", files)), Told())
    with np.load(folder / "ranks.npz") as found:
        assert sorted(found["ranks"][:, 0].tolist()) == list(range(OBJECTS * VIEWS + 6))
    assert record.card["distractors"] == "more, 6"
    assert record.card["incomplete"] == 1
    assert told == ["1 distractors cannot be read: each keeps its place as a zero vector"]
    assert reference_lines(record)[0].startswith(">> things+more: mAP E: ")
    again, _ = score_file(
        task.benchmark, folder / "ranks.npz", None, Plan(), tmp_path / "again", distractors=("more", 6)
    )
    assert [again.mean_ap(setup) for setup in again.setups] == [record.mean_ap(setup) for setup in record.setups]
    with pytest.raises(SpecMismatch, match="distractors"):
        score_file(task.benchmark, folder / "ranks.npz", None, Plan(), tmp_path / "again")


def test_without_the_crop_the_whole_query_is_described_and_the_card_says_so(task):
    boxed, _ = evaluate(task)
    whole, _ = evaluate(replace(task, crop=False))
    assert (boxed.card["crop"], whole.card["crop"]) == ("on, corners by round", "off")
    assert whole.to_json() != boxed.to_json()
    assert boxed.card["ground_truth"] == whole.card["ground_truth"]


@pytest.mark.parametrize(
    ("rounding", "box"), [("round", (137, 34, 512, 922)), ("pil", (137, 34, 512, 922)), ("trunc", (136, 34, 512, 921))]
)
def test_corners_become_whole_pixels_as_each_program_does_it(rounding, box):
    assert whole_box((136.6, 34.1, 648.9, 955.7), rounding) == box


class StopAfter(Watcher):
    def __init__(self, count):
        self.left = count

    def advanced(self, done, total, skipped):
        self.left -= 1

    def should_stop(self):
        return self.left <= 0


def test_a_stopped_run_goes_on_where_it_was(task, monkeypatch):
    assert evaluate(task, StopAfter(5)) is None
    read = []

    class Counting(Watcher):
        def begin(self, title, total, before):
            read.append((title, total, before))

    evaluate(task, Counting())
    assert read[0] == ("Describing things", OBJECTS * VIEWS - 5, 5)
    read.clear()
    evaluate(replace(task, plan=parse_plan(["aqe"])), Counting())
    monkeypatch.chdir(task.benchmark.root.parent)
    here = replace(task.benchmark, root=Path(task.benchmark.root.name))
    evaluate(replace(task, benchmark=here), Counting())
    assert read == []


def test_a_changed_photo_is_described_again(benchmark, tmp_path):
    photo = save(tmp_path / "a.jpg", texture(1))
    source = ModelSource("rootsift")
    with open_features(tmp_path / "f", source.spec, "rootsift") as collection:
        items = [Item("a", str(photo))]
        assert describe(collection, items, source.pool, "", Watcher()).done == 1
        assert describe(collection, items, source.pool, "", Watcher()).done == 0
        save(tmp_path / "a.jpg", texture(2, 330, 250))
        assert describe(collection, items, source.pool, "", Watcher()).done == 1


def test_features_of_another_model_are_never_mixed(tmp_path):
    spec = ModelSource("rootsift").spec
    open_features(tmp_path / "f", spec, "rootsift").close()
    with pytest.raises(SpecMismatch, match="made with image_size"):
        open_features(tmp_path / "f", replace(spec, image_size=1), "rootsift")


def test_a_missing_photo_is_refused_by_name_or_marked(task, benchmark, tmp_path):
    lacking = replace(benchmark, files=(*benchmark.files[:-1], "jpg/gone.jpg"))
    with pytest.raises(
        NothingToDo, match=r"things: 16 names listed, 15 pictures found; 1 missing \(first: .*gone.jpg\)"
    ):
        evaluate(replace(task, benchmark=lacking))
    record, folder = evaluate(replace(task, benchmark=lacking, allow_incomplete=True))
    assert record.card["incomplete"] == 2  # not there, and therefore not read
    assert "Photos that could not be read | 2" in (folder / "card.md").read_text()


def test_a_damaged_photo_is_refused_by_name(task, benchmark, tmp_path):
    (benchmark.root / "jpg/damaged.jpg").write_bytes((benchmark.root / benchmark.files[0]).read_bytes()[:3000])
    lacking = replace(benchmark, files=(*benchmark.files[:-1], "jpg/damaged.jpg"))
    with pytest.raises(NothingToDo, match=r"1 pictures cannot be read \(first: jpg/thing3_2.jpg — damaged"):
        evaluate(replace(task, benchmark=lacking))


def test_the_card_names_what_the_number_depends_on(task, benchmark):
    record, folder = evaluate(replace(task, plan=parse_plan(["geometric"], seed=3), command="glocal eval things"))
    card = record.card
    assert card["ground_truth"] == benchmark.digest()
    assert (card["exif"], card["colour"], card["model"], card["rerank"]) == ("apply", "grey", "rootsift", "geometric")
    assert (card["rerank_depth"], card["exclude_junk"], card["seed"]) == (100, True, 3)
    page = (folder / "card.md").read_text()
    for text in (card["weights"], "made for a test", "numpy ", "glocal eval things"):
        assert text in page
    assert [line.split()[0] for line in group_lines(record)] == ["even", "odd"]
    assert "B/img global" in cost_line(record)
    assert json.loads((folder / "metrics.json").read_text())["metrics"]["medium"]["mAP"] == record.mean_ap("medium")


def test_methods_that_do_not_go_together_are_refused():
    with pytest.raises(ConfigError, match="Did you mean geometric"):
        parse_plan(["geometrical"])
    with pytest.raises(ConfigError, match="cannot be combined"):
        parse_plan(["geometric", "delg"])
    with pytest.raises(ConfigError, match="whole pipeline"):
        parse_plan(["search,aqe"])
    with pytest.raises(ConfigError, match="twice"):
        Plan(("aqe", "aqe"))
    assert parse_plan(["none"]).title == "none"
    assert parse_plan(["delg", "aqe"]).title == "aqe + delg"
    assert set(HEAD_METHODS) < set(METHODS)


def test_parts_and_turns_of_a_photo_have_keys_of_their_own():
    whole = "ab" * 16
    keys = {content_key(whole, box, turn) for box in (None, (0, 0, 40, 40), (0, 0, 40, 41)) for turn in range(4)}
    assert len(keys) == 12
    assert content_key(whole, None, 0) == whole
    assert Item("a", "x").row_path == b"a"
    assert Item("a", "x", (1, 2, 3, 4), 2).row_path == b"a#1,2,3,4#2"
