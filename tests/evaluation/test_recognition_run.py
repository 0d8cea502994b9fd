import numpy as np
import pytest

from glocal.errors import ConfigError, ShapeError
from glocal.evaluation.recognition import Candidates, predict, write_predictions
from glocal.rerank.voting import VotingOptions


def candidates(labels, similarities, inliers=None):
    return Candidates(
        np.array(labels, np.int64),
        np.array(similarities, np.float32),
        None if inliers is None else np.array(inliers, np.int64),
    )


def test_similarities_alone_are_summed_by_label():
    found = predict([("q1", candidates([7, 12, 12, 7], [0.75, 0.5, 0.5, 0.125]))], VotingOptions(k=3))
    assert found == {"q1": (12, 1.0)}


def test_inliers_count_up_to_the_cap():
    lists = [
        ("ab", candidates([203, 5], [0.5, 0.5], [700, 35])),  # 1 + 0.125 against 0.5 + 0.125
        ("0c", candidates([203, 5, 5], [0.5, 0.5, 0.5], [70, 35, 35])),  # against 1 + 0.25
    ]
    found = predict(lists)
    assert found["ab"] == (203, pytest.approx(1.125))
    assert found["0c"] == (5, pytest.approx(1.25))


def test_equal_labels_go_by_number():
    assert predict([("q", candidates([10, 9], [0.5, 0.5]))])["q"][0] == 9


def test_a_query_without_candidates_or_below_the_threshold_is_absent():
    lists = [("none", candidates([], [])), ("low", candidates([3], [0.25])), ("high", candidates([3], [0.75]))]
    assert predict(lists, VotingOptions(least=0.5)) == {"high": (3, 0.75)}
    assert set(predict(lists)) == {"low", "high"}


def test_the_scores_in_the_file_are_the_numbers_themselves(tmp_path):
    third = 1 / 3
    file = tmp_path / "recognition.csv"
    write_predictions(file, {"00ff": (203094, third), "1a": (0, 2.0)}, ["1a", "beef", "00ff", "beef"])
    lines = file.read_text().splitlines()
    assert lines == ["id,landmarks", "00ff,203094 0.3333333333333333", "1a,0 2.0", "beef,"]
    assert float(lines[1].split()[1]) == third
    assert [path.name for path in tmp_path.iterdir()] == ["recognition.csv"]


def test_what_cannot_stand_in_the_file_is_refused_by_name(tmp_path):
    for query in ("", "a,b", 'a"b', "a b", "a\nb"):
        with pytest.raises(ConfigError, match="query id"):
            write_predictions(tmp_path / "x.csv", {query: (1, 0.5)})
    with pytest.raises(ConfigError, match="query 'ab' has the score nan"):
        write_predictions(tmp_path / "x.csv", {"ab": (1, float("nan"))})
    assert not list(tmp_path.iterdir())


def test_candidates_that_do_not_fit_together_are_refused():
    for wrong in (
        lambda: candidates([1, 2], [0.5]),
        lambda: candidates([1], [0.5], [3, 4]),
        lambda: candidates([1], [np.nan]),
        lambda: candidates([1], [0.5], [-1]),
        lambda: Candidates(np.array([1.0]), np.array([0.5], np.float32)),
        lambda: candidates([[1]], [[0.5]]),
    ):
        with pytest.raises(ShapeError):
            wrong()


def test_a_query_that_comes_twice_is_refused_by_name():
    one = ("q7", candidates([1], [0.5]))
    with pytest.raises(ConfigError, match="'q7' has two lists"):
        predict([one, one])
