import math

import pytest

from glocal.evaluation.metrics import QueryScore
from glocal.evaluation.printing import cost_line, published_line, reference_lines
from glocal.evaluation.record import QueryRecord, RunRecord

CARD = {
    "benchmark": "roxford5k",
    "protocol": "revisited",
    "gallery": 4993,
    "queries": 70,
    "crop": "on, corners by round",
    "distractors": "none",
    "incomplete": 0,
    "model": "dolg_resnet101",
    "rerank": "none",
}
MEANS = {"easy": 0.8481, "medium": 0.6467, "hard": 0.3847}
PRECISION = {"easy": (0.9706, 0.9206, 0.8649), "medium": (0.9714, 0.9067, 0.8467), "hard": (0.8143, 0.63, 0.53)}


def record(card, protocol_means=MEANS):
    scores = {s: QueryScore(protocol_means[s], PRECISION[s], (0.0, 0.0, 0.0), 1, 0) for s in protocol_means}
    nothing = {s: QueryScore(math.nan, (math.nan,) * 3, (math.nan,) * 3, None, 0) for s in protocol_means}
    queries = (QueryRecord("a", scores), QueryRecord("b", nothing))
    return RunRecord("roxford5k", "mAP", tuple(protocol_means), (1, 5, 10), card, {}, queries)


def test_the_two_lines_are_those_of_the_published_program():
    # What revisitop's example prints for its R101-GeM features, copied from its README.
    assert reference_lines(record(CARD)) == [
        ">> roxford5k: mAP E: 84.81, M: 64.67, H: 38.47",
        ">> roxford5k: mP@k[ 1  5 10] E: [97.06 92.06 86.49], M: [97.14 90.67 84.67], H: [81.43 63.   53.  ]",
    ]


def test_published_numbers_stand_beside_ours_where_the_same_was_asked():
    assert published_line(record(CARD)) == (
        "   published (medium / hard, weights of the authors) 82.37 / 64.93 → Δ -17.70 / -26.46"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"crop": "off"},
        {"gallery": 889},
        {"queries": 12},
        {"incomplete": 3},
        {"distractors": "revisitop1m, 1,001,001"},
        {"rerank": "geometric"},
        {"rerank": "delg"},
        {"model": "delg_mobilenetv2"},
        {"benchmark": "photos-dev"},
    ],
)
def test_published_numbers_are_never_put_beside_another_protocol(change):
    assert published_line(record(CARD | change)) is None


def test_what_was_not_measured_is_not_in_the_cost():
    assert cost_line(record(CARD)) == "   "
    measured = RunRecord(
        "x", "mAP", ("all",), (1,), {}, {"ms_per_query": 12.34, "ms_search": 2.0, "bytes_global": 2048.0}, ()
    )
    assert cost_line(measured) == "   12.3 ms/query (search 2.0) · 2,048 B/img global"
