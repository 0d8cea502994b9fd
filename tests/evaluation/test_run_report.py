"""What the report of a run says of each query is what the scores were computed from."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glocal.errors import ConfigError, ImageError
from glocal.evaluation.answering import Answers
from glocal.evaluation.benchmark import Benchmark, BenchmarkQuery
from glocal.evaluation.metrics import QueryScore, trapezoid_precision
from glocal.evaluation.places import Head
from glocal.evaluation.protocol import REVISITED
from glocal.evaluation.ranking import Ranking
from glocal.evaluation.record import QueryRecord, RunRecord
from glocal.evaluation.report import (
    BenchmarkPhotos,
    answer_of,
    answered_queries,
    build_report,
    cost_facts,
    page_of,
)

NAN = math.nan
PHOTO = np.full((60, 80, 3), 90, np.uint8)
NAMES = tuple("abcdefghijklmnop")


def indices(names):
    return np.array(sorted(NAMES.index(name) for name in names), np.int64)


def benchmark_of(easy="", hard="", junk="", corners=None):
    sets = {"easy": indices(easy), "hard": indices(hard), "junk": indices(junk)}
    query = BenchmarkQuery("q1", "queries/q1.jpg", corners, sets)
    return Benchmark("toys", REVISITED, Path("/photos"), NAMES, tuple(f"{n}.jpg" for n in NAMES), (query,))


def ranking_of(benchmark, order):
    """A ranking of letters; those that are not in it were not ranked."""
    top = np.array([[NAMES.index(name) for name in order]], np.int64)
    similarities = np.linspace(0.9, 0.1, len(order), dtype=np.float32)[None]
    labelled = benchmark.queries[0].labelled()
    places = np.array([order.find(NAMES[photo]) for photo in labelled], np.int64)
    return Ranking(len(NAMES), top, similarities, (labelled,), (places,))


def record_of(benchmark, answers, **changes):
    queries = tuple(
        QueryRecord(query.id, scores)
        for query, scores in zip(benchmark.queries, answers.scores(benchmark), strict=True)
    )
    record = RunRecord(benchmark.name, "mAP", tuple(REVISITED.setups), REVISITED.cutoffs, {}, {}, queries)
    return dataclasses.replace(record, **changes)


def strip_of(answer):
    marks = {"right": "+", "wrong": "-", "junk": "~"}
    return " ".join(f"{entry.name}{marks[entry.kind]}{entry.place or ''}" for entry in answer.entries)


def test_places_count_without_junk_and_each_setup_has_its_own_kinds():
    benchmark = benchmark_of(easy="bm", hard="e", junk="ad")
    answers = Answers(ranking_of(benchmark, "abcdefghijklmnop"), {})
    easy, medium, hard = (answer_of(benchmark, answers, 0, setup, 0.5) for setup in REVISITED.setups)
    assert strip_of(easy) == "a~ b+1 c-2 d~ e~ f-3 g-4 h-5 i-6 j-7"
    assert strip_of(medium) == "a~ b+1 c-2 d~ e+3 f-4 g-5 h-6 i-7 j-8"
    assert strip_of(hard) == "a~ b~ c-1 d~ e+2 f-3 g-4 h-5 i-6 j-7"
    assert [(entry.name, entry.place) for entry in easy.missed] == [("m", 10)]
    assert [(entry.name, entry.place) for entry in medium.missed] == [("m", 11)]
    assert hard.missed == ()
    assert [answer.places.tolist() for answer in (easy, medium, hard)] == [[0, 9], [0, 2, 10], [1]]
    assert [answer.num_right for answer in (easy, medium, hard)] == [2, 3, 1]
    assert easy.entries[0].similarity == pytest.approx(0.9)
    assert easy.missed[0].similarity == pytest.approx(0.9 - 0.8 * 12 / 15)


def test_only_the_nearest_of_the_missed_are_named():
    benchmark = benchmark_of(easy="ponmlk")
    answer = answer_of(benchmark, Answers(ranking_of(benchmark, "abcdefghijklmnop"), {}), 0, "easy", 0.1)
    assert [(entry.name, entry.place) for entry in answer.missed] == [("k", 11), ("l", 12), ("m", 13), ("n", 14)]
    assert answer.num_missed == 6


def test_what_was_not_ranked_is_missed_without_a_place_after_what_was():
    benchmark = benchmark_of(easy="bkp")
    answer = answer_of(benchmark, Answers(ranking_of(benchmark, "abcdefghijk"), {}), 0, "easy", 0.4)
    assert [(entry.name, entry.place) for entry in answer.missed] == [("k", 11), ("p", None)]
    assert math.isnan(answer.missed[1].similarity)
    assert answer.places.tolist() == [1, 10]


def test_a_re_ranked_head_without_junk_comes_first_with_its_inliers():
    benchmark = benchmark_of(easy="bn", hard="e", junk="ad")
    head = Head(np.array([NAMES.index(n) for n in "ecb"]), np.array([30, 20, 10]), True)
    answers = Answers(ranking_of(benchmark, "abcdefghijklmnop"), {"medium": (head,)})
    answer = answer_of(benchmark, answers, 0, "medium", 0.5)
    assert strip_of(answer) == "e+1 c-2 b+3 a~ d~ f-4 g-5 h-6 i-7 j-8"
    assert [entry.inliers for entry in answer.entries[:4]] == [30, 20, 10, None]
    assert answer.entries[0].similarity == pytest.approx(0.9 - 0.8 * 4 / 15)
    assert answer.places.tolist() == [0, 2, 11]
    assert [(entry.name, entry.place) for entry in answer.missed] == [("n", 12)]
    # Another setup was not re-ranked.
    assert strip_of(answer_of(benchmark, answers, 0, "hard", 0.5)).startswith("a~ b~ c-1 d~ e+2")


def test_a_re_ranked_head_with_junk_shows_it_where_it_stands():
    benchmark = benchmark_of(easy="b", junk="ad")
    head = Head(np.array([NAMES.index(n) for n in "dbca"]), np.array([9, 8, 7, 6]), False)
    answer = answer_of(benchmark, Answers(ranking_of(benchmark, "abcdefghijklmnop"), {"easy": (head,)}), 0, "easy", 1.0)
    assert strip_of(answer) == "d~ b+1 c-2 a~ e-3 f-4 g-5 h-6 i-7 j-8"
    assert answer.places.tolist() == [0]


@given(st.data())
def test_the_places_of_the_report_give_the_average_precision_of_the_record(data):
    kinds = data.draw(st.lists(st.sampled_from(["easy", "hard", "junk", "none"]), min_size=16, max_size=16))
    sets = {
        kind: "".join(n for n, k in zip(NAMES, kinds, strict=True) if k == kind) for kind in ("easy", "hard", "junk")
    }
    benchmark = benchmark_of(**sets)
    order = "".join(data.draw(st.permutations(NAMES)))[: data.draw(st.integers(1, 16))]
    answers = Answers(ranking_of(benchmark, order), {})
    record = record_of(benchmark, answers)
    (query,) = answered_queries(benchmark, answers, record, lambda _: None)
    for setup in REVISITED.setups:
        answer, score = query.answers[setup], record.queries[0].scores[setup]
        if math.isnan(score.ap):
            assert math.isnan(answer.ap)
            assert answer.num_right == 0
            continue
        assert answer.ap == score.ap == trapezoid_precision(answer.places, answer.num_right)
        shown = [entry.place - 1 for entry in answer.entries if entry.kind == "right"]
        assert shown == answer.places[: len(shown)].tolist()
        far = [entry.place - 1 for entry in answer.missed if entry.place is not None]
        assert far == answer.places[len(shown) :][: len(far)].tolist()
        assert len(answer.missed) == min(4, answer.num_missed)


def test_distractors_have_names_too():
    benchmark = benchmark_of(easy="a")
    ranking = ranking_of(benchmark, "abc")
    top = np.array([[16, 0, 19]])
    answers = Answers(dataclasses.replace(ranking, top=top, places=(np.array([1]),)), {})
    answer = answer_of(benchmark, answers, 0, "easy", 0.5)
    assert strip_of(answer) == "distractor 0-1 a+2 distractor 3-3"


def test_the_box_is_that_of_the_query_unless_the_card_says_it_was_not_cropped():
    benchmark = benchmark_of(easy="a", corners=(10.5, 20.0, 110.5, 70.0))
    answers = Answers(ranking_of(benchmark, "abc"), {})
    for crop, box in (("on, corners by round", (10.5, 20.0, 100.0, 50.0)), ("off", None)):
        record = record_of(benchmark, answers, card={"crop": crop})
        (query,) = answered_queries(benchmark, answers, record, lambda query: (PHOTO, (80, 60)))
        assert query.box == box
        assert query.photo()[1] == (80, 60)


def test_the_page_says_what_the_card_says():
    benchmark = benchmark_of(easy="a")
    answers = Answers(ranking_of(benchmark, "ab"), {})
    card = {
        "benchmark": "toys",
        "protocol": "revisited",
        "gallery": 1060,
        "model": "dolg-r101",
        "rerank": "geometric",
        "scales": [0.5, 1.0],
        "distractors": "none",
        "notes": ["a subset"],
        "command": "glocal eval toys",
        "seed": 0,
        "incomplete": None,
        "not in the list": "x",
    }
    record = record_of(benchmark, answers, card=card, groups={"kind": ("q1",)})
    page = page_of(record, answered_queries(benchmark, answers, record, lambda _: None))
    assert page.facts == ("model dolg-r101", "re-ranking geometric", "1\u202f060 photos searched")
    assert page.notes == ("a subset",)
    assert page.command == "glocal eval toys"
    rows = dict(page.card)
    assert rows["Scales, global"] == "0.5; 1.0"
    assert rows["Seed"] == "0"
    assert not {"Notes", "Command", "Photos that could not be read", "not in the list"} & set(rows)
    assert [(score.name, score.mean, score.counted) for score in page.scores[:2]] == [
        ("easy", 1.0, 1),
        ("medium", 1.0, 1),
    ]
    assert math.isnan(page.scores[2].mean)
    assert page.scores[2].counted == 0
    assert page.scores[0].details == (("P@1", "100.0"), ("P@5", "100.0"), ("P@10", "100.0"))
    assert page.scores[2].details == ()
    assert page.groups[0][:2] == ("kind", 1)


def test_cost_is_told_with_units():
    cost = {
        "photos_per_s": 61.04,
        "bytes_global": 2048.0,
        "bytes_local": 999.4,
        "ms_per_query": 0.84,
        "ms_search": 1234.0,
        "peak_rss_mib": 2049.0,
        "ms_dba": NAN,
        "new_thing": 2.5,
    }
    assert cost_facts(cost) == (
        ("Global descriptor of a photo", "2.0 kB"),
        ("Local features of a photo", "999 B"),
        ("One query, in all", "0.8 ms"),
        ("Search", "1\u202f234 ms"),
        ("Describing the gallery", "61.0 photos/s"),
        ("Most memory", "2\u202f049 MiB"),
        ("new thing", "2.5"),
    )


def test_a_report_is_written_from_record_and_answers(tmp_path):
    benchmark = benchmark_of(easy="b", junk="a")
    answers = Answers(ranking_of(benchmark, "abcdefghijklmnop"), {})
    record = record_of(benchmark, answers)
    asked = []
    queries = answered_queries(benchmark, answers, record, lambda query: asked.append(query.file))
    build_report(record, queries, tmp_path / "report.html", lambda name: PHOTO)
    html = (tmp_path / "report.html").read_text("utf-8")
    assert asked == ["queries/q1.jpg"]
    assert html.count('<li class="right">') == 2  # easy and medium; under hard it is junk
    assert html.count("<b>not counted</b>") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_answers_that_are_not_those_of_the_record_are_refused(tmp_path):
    benchmark = benchmark_of(easy="b")
    answers = Answers(ranking_of(benchmark, "ab"), {})
    record = record_of(benchmark, answers)
    (query,) = answered_queries(benchmark, answers, record, lambda _: None)
    fewer = dataclasses.replace(query, answers={"easy": query.answers["easy"]})
    for wrong, words in (
        ((), "'q1' has no answer under 'easy'"),
        ((fewer,), "'q1' has no answer under 'medium'"),
        ((query, dataclasses.replace(query, id="q2")), "2 answers for 1 queries"),
    ):
        with pytest.raises(ConfigError, match=words):
            build_report(record, wrong, tmp_path / "report.html", lambda _: None)
    assert not list(tmp_path.iterdir())


def test_photos_are_read_below_the_root_and_what_cannot_be_read_is_none():
    paths = []

    class Pool:
        def read(self, request):
            paths.append(request.path)
            if b"b.jpg" in request.path:
                raise ImageError("corrupt")
            return type("Answer", (), {"arrays": {"pixels": PHOTO}, "size": (640, 480)})()

    benchmark = benchmark_of(easy="a")
    photos = BenchmarkPhotos(benchmark, Pool(), (Path("/far/z.jpg"),))
    pixels, size = photos.asked(benchmark.queries[0])
    assert pixels is PHOTO
    assert size == (640, 480)
    find = photos.finder()
    assert find("a") is PHOTO
    assert find("b") is None
    assert find("distractor 0") is PHOTO
    assert find("distractor 1") is None
    assert paths == [b"/photos/queries/q1.jpg", b"/photos/a.jpg", b"/photos/b.jpg", b"/far/z.jpg"]
    nowhere = BenchmarkPhotos(dataclasses.replace(benchmark, root=None), Pool())
    assert nowhere.asked(benchmark.queries[0]) is None
    assert nowhere.finder()("a") is None


def test_the_score_of_ukbench_is_told():
    benchmark = benchmark_of(easy="a")
    answers = Answers(ranking_of(benchmark, "ab"), {})
    record = record_of(benchmark, answers, card={"protocol": "ukbench"})
    scores = {setup: QueryScore(0.5, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0), 1, 3) for setup in record.setups}
    record = dataclasses.replace(record, queries=(QueryRecord("q1", scores),))
    page = page_of(record, answered_queries(benchmark, answers, record, lambda _: None))
    assert page.scores[0].details[-1] == ("of the first four", "3.00")
