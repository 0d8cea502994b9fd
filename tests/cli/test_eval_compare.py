"""`glocal eval compare A B` as a user reads it."""

import json

import pytest

from glocal.cli import exits
from glocal.cli.eval_compare import run_compare
from glocal.errors import ConfigError, RetrievalError, SpecMismatch
from glocal.evaluation.metrics import QueryScore
from glocal.evaluation.record import QueryRecord, RunRecord

CARD = {"benchmark": "roxford5k", "crop": True, "model": "delg_resnet50", "scales": [1.0]}
EASY = [0.5, 0.25, 0.75, 0.5]
MEDIUM = [0.5] * 24


@pytest.fixture
def save(tmp_path):
    """Write a run; gives its folder."""

    def save(name, setups, cost=None, groups=None, **card):
        count = max(map(len, setups.values()))
        queries = tuple(
            QueryRecord(
                f"query_{i}",
                {
                    setup: QueryScore(aps[i] if i < len(aps) else float("nan"), (0.5,), (0.5,), 1, 1)
                    for setup, aps in setups.items()
                },
            )
            for i in range(count)
        )
        folder = tmp_path / name
        folder.mkdir()
        RunRecord("roxford5k", "mAP", tuple(setups), (10,), CARD | card, cost or {}, queries, groups or {}).write(
            folder
        )
        return str(folder)

    return save


@pytest.fixture
def pair(save):
    """Two runs: the second is better by 10 points on every query of medium, and alike on easy."""
    a = save("a", {"easy": EASY, "medium": MEDIUM}, {"ms_per_query": 1.5, "bytes_per_photo": 2048.0})
    better = [0.6] * 23 + [0.7]
    groups = {"indoor": ("query_0", "query_1")}
    b = save("b", {"easy": EASY[::-1], "medium": better}, {"ms_per_query": 12345.6}, groups, model="dolg\x1b[31m")
    return a, b


def test_the_text_holds_means_intervals_and_what_moved(pair, capsys):
    assert run_compare(list(pair), False) == exits.DONE
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert lines[:2] == [["A", pair[0]], ["B", pair[1]]]
    assert ["setup", "queries", "A", "B", "Δ", "95", "%", "CI", "p", "better/worse/equal"] in lines
    (medium,) = (line for line in lines if line[:2] == ["medium", "24"])
    assert medium[2:5] == ["50.00", "60.42", "+10.42"]
    assert medium[5] == "[+10.00,"
    assert medium[7:] == ["<0.001", "24/0/0"]
    (easy,) = (line for line in lines if line[:2] == ["easy", "4"])
    assert easy[2:5] == ["50.00", "50.00", "+0.00"]
    assert " ".join(easy).endswith("1.000 1/1/2 not distinguishable at 95 %")
    moved = out.partition("queries that moved most, medium\n")[2].splitlines()
    assert moved[0].split() == ["query_23", "50.00", "70.00", "+20.00"]
    assert [line.split()[0] for line in moved[1:5]] == ["query_0", "query_1", "query_10", "query_11"]
    assert moved[5] == ""


def test_the_text_holds_costs_and_what_the_systems_differ_in(pair, capsys):
    run_compare(list(pair), False)
    out = capsys.readouterr().out
    cost = out.partition("\ncost\n")[2].splitlines()
    assert [line.split() for line in cost[:3]] == [
        ["A", "B"],
        ["ms_per_query", "1.5", "12,346"],
        ["bytes_per_photo", "2,048", "–"],
    ]
    assert out.endswith('\ndiffers in\n  model\n    A  "delg_resnet50"\n    B  "dolg\\u001b[31m"\n')
    assert "\x1b" not in out


def test_columns_stand_under_each_other(pair, capsys):
    run_compare(list(pair), False)
    table = capsys.readouterr().out.splitlines()[4:7]
    ends = [line.index(part) + len(part) for line, part in zip(table, ("Δ", "+0.00", "+10.42"), strict=True)]
    assert len(set(ends)) == 1


def test_a_narrow_interval_of_few_queries_is_called_so(save, capsys):
    few = save("few", {"all": [0.1, 0.2, 0.3]}), save("few2", {"all": [0.2, 0.4, 0.5]})
    run_compare(list(few), False)
    out = capsys.readouterr().out
    assert "Fewer than 20 queries make the interval too narrow; trust p." in out
    assert "borderline: the interval leaves out 0, but p is not below 0.05" in out
    assert "queries that moved most, all\n" in out
    many = save("m", {"all": [0.1] * 20}), save("m2", {"all": [0.2] * 20})
    run_compare(list(many), False)
    assert "Fewer" not in capsys.readouterr().out


def test_equal_runs_have_no_query_that_moved(save, capsys):
    run_compare([save("a", {"all": [0.5]}), save("b", {"all": [0.5]})], False)
    out = capsys.readouterr().out
    assert "queries that moved most, all: none\n" in out
    assert out.endswith("The cards of the two runs are equal.\n")


def test_a_setup_in_which_no_query_counts_says_so(save, capsys):
    folders = [save(name, {"easy": [0.5], "hard": []}) for name in ("a", "b")]
    run_compare(folders, False)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("  hard"))
    assert line.split() == ["hard", "0", "–", "–", "–", "–", "–", "0/0/0", "no", "query", "counts"]


def test_the_json_holds_every_setup_and_every_query_that_moved(pair, capsys):
    assert run_compare(list(pair), True) == exits.DONE
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    found = json.loads(out)
    assert (found["a"], found["b"], found["benchmark"], found["title"]) == (*pair, "roxford5k", "mAP")
    medium = found["setups"]["medium"]
    assert medium["difference"] == pytest.approx((23 * 0.1 + 0.2) / 24)
    assert medium["interval_95"][0] == pytest.approx(0.1)
    assert (medium["better"], medium["worse"], medium["equal"], medium["distinguishable"]) == (24, 0, 0, True)
    assert len(medium["moved"]) == 24
    assert medium["moved"][0] == {"id": "query_23", "a": 0.5, "b": 0.7}
    assert found["setups"]["easy"]["p"] == 1
    assert found["cost"] == {"ms_per_query": {"a": 1.5, "b": 12345.6}, "bytes_per_photo": {"a": 2048.0, "b": None}}
    assert found["differs"] == {"model": {"a": '"delg_resnet50"', "b": '"dolg\\u001b[31m"'}}
    assert found["groups"] == []


def test_groups_are_printed_and_numbers_that_do_not_exist_are_null(save, capsys):
    groups = {"indoor": ("query_0",), "nobody": ()}
    folders = [save(name, {"all": [value]}, groups=groups) for name, value in (("a", 0.25), ("b", 0.5))]
    run_compare(folders, False)
    assert ["indoor", "all", "1", "25.00", "50.00", "+25.00"] in [
        line.split() for line in capsys.readouterr().out.splitlines()
    ]
    run_compare(folders, True)
    found = json.loads(capsys.readouterr().out)
    assert found["setups"]["all"]["interval_95"] == [None, None]
    assert found["groups"] == [
        {"group": "indoor", "setup": "all", "num_queries": 1, "a": 0.25, "b": 0.5},
        {"group": "nobody", "setup": "all", "num_queries": 0, "a": None, "b": None},
    ]


def test_the_file_itself_may_be_named(save, capsys):
    folder = save("a", {"all": [0.5]})
    assert run_compare([f"{folder}/metrics.json", folder], False) == exits.DONE


def refusal(paths) -> RetrievalError:
    with pytest.raises(RetrievalError) as caught:
        run_compare(paths, False)
    return caught.value


def test_runs_that_were_asked_otherwise_end_with_a_mismatch(save):
    error = refusal([save("a", {"all": [0.5]}), save("b", {"all": [0.5]}, crop=False)])
    assert isinstance(error, SpecMismatch)
    assert exits.code_of(error) == exits.MISMATCH
    assert "crop: true in A, false in B" in str(error)


def test_bad_paths_end_with_usage(save, tmp_path):
    run = save("a", {"all": [0.5]})
    damaged = tmp_path / "metrics.json"
    damaged.write_text('{"format": 1, "benchmark": "x"}')
    for paths, words in (
        ([run], "Two runs are compared, not 1"),
        ([run, run, run], "not 3"),
        ([run, str(tmp_path / "nowhere")], "No run in"),
        ([run, str(damaged)], "damaged"),
    ):
        error = refusal(paths)
        assert isinstance(error, ConfigError)
        assert exits.code_of(error) == exits.USAGE
        assert words in str(error)


def test_hostile_numbers_in_a_file_are_refused(save, tmp_path):
    run = save("a", {"all": [0.5, 0.5]})
    whole = json.loads((tmp_path / "a" / "metrics.json").read_text())
    whole["queries"][1]["scores"]["all"]["ap"] = 1e999
    other = tmp_path / "metrics.json"
    other.write_text(json.dumps(whole))
    assert "query 'query_1' has average precision inf" in str(refusal([run, str(other)]))
