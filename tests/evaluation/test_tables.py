"""Tables of many evaluations, and `glocal bench`, which makes them."""

import argparse
import csv
import io
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glocal.cli import bench, exits
from glocal.errors import ConfigError, WeightsError
from glocal.evaluation.metrics import QueryScore
from glocal.evaluation.record import QueryRecord, RunRecord
from glocal.evaluation.tables import FailedRun, table_of, to_csv, to_latex, to_markdown


def run_of(model, ap, *, benchmark="roxford5k", title="mAP", setups=("medium",), cutoffs=(1, 10), cost=None, **card):
    """A run of one query, with the same average precision under every setup and a precision at 10 of half of it."""
    score = QueryScore(ap, (ap,) * (len(cutoffs) - 1) + (ap / 2,), (0.1,) * len(cutoffs), 1, 1)
    query = QueryRecord("q", dict.fromkeys(setups, score))
    card = {"benchmark": benchmark, "model": model, "rerank": "none"} | card
    return RunRecord(benchmark, title, setups, cutoffs, card, cost or {}, (query,))


def cells_of(table, row):
    return dict(zip(table.columns, (cell.text for cell in table.rows[row].cells), strict=True))


def test_a_row_holds_points_of_100_and_costs():
    cost = {"bytes_global": 2048.0, "bytes_local": 36000.6, "ms_per_query": 0.804}
    table = table_of([run_of("dolg", 0.8237, setups=("easy", "medium"), cost=cost)])
    assert table.header == (
        "model",
        "benchmark",
        "re-ranking",
        "mAP easy",
        "mAP medium",
        "mP@10 easy",
        "mP@10 medium",
        "bytes/photo global",
        "bytes/photo local",
        "ms/query",
        "notes",
    )
    assert table.rows[0].names == ("dolg", "roxford5k", "none")
    assert [cell.text for cell in table.rows[0].cells] == ["82.37", "82.37", "41.19", "41.19", "2048", "36001", "0.80"]


def test_what_a_run_does_not_have_is_a_dash():
    table = table_of(
        [
            run_of("a", 0.5),
            run_of("a", 0.25, benchmark="landmarks", title="mAP@100", setups=("public",), cutoffs=(5,)),
            run_of("b", math.nan),
        ]
    )
    assert cells_of(table, 0) == {
        "mAP medium": "50.00",
        "mAP@100 public": "–",
        "mP@10 medium": "25.00",
        "bytes/photo global": "–",
        "bytes/photo local": "–",
        "ms/query": "–",
    }
    assert cells_of(table, 1)["mAP@100 public"] == "25.00"
    assert {text for name, text in cells_of(table, 1).items() if name != "mAP@100 public"} == {"–"}
    assert cells_of(table, 2)["mAP medium"] == "–"


def best_of(table, column):
    return [row.cells[table.columns.index(column)].best for row in table.rows]


def test_the_best_is_marked_among_runs_that_were_asked_the_same():
    table = table_of(
        [
            run_of("a", 0.5),
            run_of("b", 0.6),
            run_of("c", 0.9, crop=False),  # another question: neither beaten nor beating
            run_of("d", 0.8, benchmark="rparis6k"),
            run_of("e", 0.7, benchmark="rparis6k"),
        ]
    )
    assert best_of(table, "mAP medium") == [False, True, False, True, False]


def test_of_costs_the_lowest_is_best_and_equal_ones_share_it():
    table = table_of([run_of(str(ms), 0.5, cost={"ms_per_query": ms}) for ms in (3.0, 1.001, 1.002)])
    assert best_of(table, "ms/query") == [False, True, True]  # as printed, 1.00
    assert best_of(table, "mAP medium") == [False, False, False]  # where none is worse, none is best


def test_distractors_are_named_beside_the_benchmark():
    names = [
        table_of([run_of("a", 0.5, distractors=value)]).rows[0].names[1]
        for value in ("revisitop1m, 1,001,001", None, "none")
    ]
    assert names == ["roxford5k + revisitop1m", "roxford5k", "roxford5k"]


def test_networks_of_one_name_are_told_apart_by_their_weights():
    runs = [
        run_of("dolg", 0.5, weights="77ac11112222"),
        run_of("dolg", 0.6, weights="4be133334444"),
        run_of("dolg", 0.6, weights="77ac11112222", rerank="geometric"),
        run_of("token", 0.6, weights="5555555566"),
        FailedRun("dolg", "roxford5k", "none", "why"),
    ]
    names = [row.names[0] for row in table_of(runs).rows]
    assert names == ["dolg (77ac1111)", "dolg (4be13333)", "dolg (77ac1111)", "token", "dolg"]


def test_every_different_note_is_a_footnote_once():
    subset = "a subset, not roxford5k"
    table = table_of(
        [
            run_of("a", 0.5, notes=[subset]),
            run_of("b", 0.6, notes=[subset, "faces are blurred"]),
            run_of("c", 0.7, incomplete=2),
            run_of("d", 0.7, notes=[], incomplete=0),
            FailedRun("e", "roxford5k", "none", "no weights"),
        ]
    )
    assert table.footnotes == (
        subset,
        "faces are blurred",
        "incomplete: photos that could not be read: 2",
        "failed: no weights",
    )
    assert [table.markers(row) for row in table.rows] == ["1", "1, 2", "3", "", "4"]
    assert {cell.text for cell in table.rows[4].cells} == {"–"}


def test_markdown_is_a_table_with_bold_best_values_and_footnotes():
    table = table_of([run_of("delg_r50", 0.5, notes="x"), run_of("dolg_r50", 0.6)])
    assert to_markdown(table) == (
        "| model | benchmark | re-ranking | mAP medium | mP@10 medium | "
        "bytes/photo global | bytes/photo local | ms/query | notes |\n"
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |\n"
        "| delg_r50 | roxford5k | none | 50.00 | 25.00 | – | – | – | 1 |\n"
        "| dolg_r50 | roxford5k | none | **60.00** | **30.00** | – | – | – |  |\n"
        "\n"
        "1. x\n"
    )


def test_latex_is_a_plain_tabular():
    table = table_of([run_of("delg_r50", 0.5, notes="50 % of it"), run_of("dolg_r50", 0.6)])
    assert to_latex(table).splitlines() == [
        r"\begin{tabular}{lllrrrrrl}",
        r"\hline",
        r"model & benchmark & re-ranking & mAP medium & mP@10 medium & "
        r"bytes/photo global & bytes/photo local & ms/query & notes \\",
        r"\hline",
        r"delg\_r50 & roxford5k & none & 50.00 & 25.00 & -- & -- & -- & \textsuperscript{1} \\",
        r"dolg\_r50 & roxford5k & none & \textbf{60.00} & \textbf{30.00} & -- & -- & -- &  \\",
        r"\hline",
        r"\end{tabular}",
        r"\par\textsuperscript{1} 50 \% of it",
    ]


def test_csv_has_the_notes_in_full_and_numbers_as_numbers():
    table = table_of([run_of("a,b", 0.5, notes=["one", "two; three"]), run_of('say "x"', 0.6)])
    rows = list(csv.reader(io.StringIO(to_csv(table))))
    assert rows[1] == ["a,b", "roxford5k", "none", "50.00", "25.00", "–", "–", "–", "one; two; three"]
    assert rows[2][0] == 'say "x"'


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-model", "'-model"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "' =1"),
        ("-1.5e3", "-1.5e3"),
        ("+7", "+7"),
        ("-inf", "'-inf"),
        ("a=1", "a=1"),
    ],
)
def test_a_name_is_no_formula_in_a_spreadsheet(name, cell):
    assert list(csv.reader(io.StringIO(to_csv(table_of([run_of(name, 0.5)])))))[1][0] == cell


@given(st.text(min_size=1, max_size=12))
def test_a_hostile_name_ends_no_cell_row_tag_or_group(name):
    table = table_of([run_of(name, 0.5, notes=[name])])
    lines = to_markdown(table).splitlines()
    assert len(lines) == 5
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", lines[2])) == 10
    assert "<" not in lines[2]
    assert len(list(csv.reader(io.StringIO(to_csv(table))))) == 2
    row = to_latex(table).splitlines()[4]
    bare = re.sub(r"\\[{}$&#%_]", "", row)
    assert bare.count("&") == 8
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"[%#_^~]", bare)
    for text in (to_markdown(table), to_csv(table), to_latex(table)):
        assert all(char.isprintable() or char == "\n" for char in text)
        text.encode("utf-8")


@pytest.mark.parametrize(
    ("name", "shown"),
    [("delg_r50", "delg_r50"), ("__init__", r"\_\_init\_\_"), ("[x](y)", r"\[x\](y)"), ("<b>", "&lt;b&gt;")],
)
def test_a_name_is_shown_as_it_is_in_markdown(name, shown):
    assert to_markdown(table_of([run_of(name, 0.5)])).splitlines()[2].startswith(f"| {shown} |")


def test_no_evaluation_gives_a_table_of_titles():
    assert len(to_markdown(table_of([])).splitlines()) == 2


@pytest.fixture
def run_bench(monkeypatch, capsys):
    """`glocal bench` with an evaluation that looks its answer up; gives (exit code, stdout, stderr)."""

    def run(words, answers):
        def look_up(case, options, interruption):
            answer = answers[(case.model, case.data, case.rerank)]
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(bench, "_run_one", look_up)
        parser = argparse.ArgumentParser()
        bench.add_arguments(parser)
        parser.add_argument("--debug", action="store_true")
        code = bench.run(parser.parse_args([str(word) for word in words]))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_bench_evaluates_every_combination_and_writes_every_format(run_bench, tmp_path):
    answers = {
        (model, data, rerank): run_of(model, 0.5, benchmark=data, rerank=rerank)
        for model in ("a", "b")
        for data in ("roxford5k", "rparis6k")
        for rerank in ("none", "geometric")
    }
    files = [tmp_path / f"table.{suffix}" for suffix in ("md", "csv", "tex")]
    words = ["--model", "a", "b", "--data", "roxford5k", "rparis6k", "--rerank", "none", "geometric"]
    code, out, err = run_bench([*words, "-o", ",".join(map(str, files))], answers)
    table = table_of(list(answers.values()))
    assert (code, out) == (exits.DONE, to_markdown(table))
    assert [file.read_text("utf-8") for file in files] == [to_markdown(table), to_csv(table), to_latex(table)]
    assert "[8/8] b · rparis6k · geometric" in err


@pytest.mark.parametrize("error", [WeightsError("'a' has no weights → glocal models"), RuntimeError("a bug")])
def test_bench_goes_on_after_a_failure_and_says_why_in_its_row(run_bench, error):
    answers = {("a", "roxford5k", "none"): error, ("b", "roxford5k", "none"): run_of("b", 0.5)}
    code, out, err = run_bench(["--model", "a", "b", "a", "--data", "roxford5k"], answers)
    assert code == exits.PARTIAL
    rows = out.splitlines()
    assert rows[2] == "| a | roxford5k | none | – | – | – | – | – | 1 |"
    assert rows[3].startswith("| b | roxford5k | none | 50.00 |")
    assert rows[5].startswith("1. failed: ")
    assert str(error) in rows[5]
    assert "1 of 2 evaluations failed." in err


def test_bench_stops_where_a_signal_stopped_an_evaluation(run_bench, monkeypatch):
    monkeypatch.setattr(bench.Interruption, "exit_code", exits.INTERRUPTED)
    answers = {("a", "x", "none"): run_of("a", 0.5), ("b", "x", "none"): None}
    code, out, err = run_bench(["--model", "a", "b", "c", "--data", "x"], answers)
    assert (code, out) == (exits.INTERRUPTED, "")
    assert err.endswith("Stopped; what was described is saved. Run the same command to continue.\n")


def test_bench_asks_eval_for_one_plan_a_row():
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    words = ["--model", "a", "--data", "x", "--root", "photos", "--rerank", "none", "dba,geometric", "--no-crop"]
    options = parser.parse_args(words)
    own = [bench._options_of(bench.Case("a", "x", word), options) for word in options.rerank]
    assert [bench.plan_of(each).title for each in own] == ["none", "dba + geometric"]
    assert (own[0].data, own[0].no_crop, options.data) == ("photos", True, ["x"])


def test_bench_refuses_a_mistyped_method_before_any_work(run_bench):
    with pytest.raises(ConfigError, match=r'Unknown re-ranking "geometrik"\. Did you mean geometric'):
        run_bench(["--model", "a", "--data", "x", "--rerank", "none", "geometrik"], {})


def test_bench_debug_lets_a_bug_out(run_bench):
    with pytest.raises(RuntimeError, match="a bug"):
        run_bench(["--debug", "--model", "a", "--data", "x"], {("a", "x", "none"): RuntimeError("a bug")})


@pytest.mark.parametrize(
    ("name", "message"), [("table.xlsx", "a table ends in"), ("no/table.md", "cannot be written"), ("table.md,", "-o")]
)
def test_bench_refuses_a_table_that_it_cannot_write_before_any_work(run_bench, tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        run_bench(["--model", "a", "--data", "x", "-o", name], {})
