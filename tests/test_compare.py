import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import browser
import pytest

from dgjax.compare import _bench, _cli, _dataset, _plan, _plots, _run, _verdicts

TINY = {
    "repeats": 3,
    "train_rows": 48,
    "test_rows": 40,
    "sizes": (12, 48),
    "missing_repeats": 3,
    "missing_test_rows": 40,
    "missing_train_rows": 16,
    "missing_shares": (0.0, 0.5),
    "missing_train_shares": (0.0, 0.5),
    "labelled_shares": (0.25, 1.0),
    "label_repeats": 3,
    "held_out_runs": 3,
    "full_covariance": False,
    "twin_draws": 2,
    "boosting_steps": 3,
    "network_steps": 0,
}
FULL = {  # what only full runs ask
    "drawn_sizes": (12,),
    "drawn_repeats": 3,
    "explained_repeats": 3,
    "deep_repeats": 0,
}
MIXED = ["height,colour,place"] + [
    f"{(i % 5 + 3 * (i % 2)) if i % 9 else 'NA'},{'' if i % 7 == 3 else ['red', 'blue'][i % 3 == 0]},{'xy'[i % 2]}"
    for i in range(90)
]


@pytest.fixture
def tiny(monkeypatch):
    """Everything is measured, on few rows and by few models."""
    make = _plan.make_plan
    monkeypatch.setattr(_run, "make_plan", lambda dataset, quick, most=None: replace(make(dataset, quick), **TINY))


def results(folder):
    def refuse(constant):
        raise AssertionError(f"results.json holds {constant}")

    return json.loads((folder / "results.json").read_text("utf-8"), parse_constant=refuse)


def check_report(folder, questions):
    page = (folder / "report.html").read_text("utf-8")
    assert not re.search(r"""(src|href)=["']?(https?:|//|file:)""", page), "the report must be self-contained"
    assert "url(" not in page
    assert "<script" not in page
    assert page.count("data:image/svg+xml;base64,") >= questions
    return page


@pytest.fixture(scope="module")
def wine(tmp_path_factory):
    """Folder of a report of wine, on few rows, and what was printed and told on the way."""
    folder, printed, progress = tmp_path_factory.mktemp("wine"), io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        tiny.__wrapped__(patch)
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(progress):
            assert _cli.run(["compare", "wine", "--quick", "--out", str(folder)]) == 0
    return folder, printed.getvalue(), progress.getvalue()


@browser.needs_chromium
@pytest.mark.xdist_group("a report of wine")
def test_the_report_reads_at_three_widths_in_a_browser(wine, tmp_path):
    browser.check(wine[0] / "report.html", tmp_path)


@pytest.mark.xdist_group("a report of wine")
def test_a_run_writes_the_report_the_numbers_and_the_table(wine):
    folder, printed, progress = wine
    found = results(folder)
    assert {question["status"] for question in found["questions"].values()} == {"done"}
    # What the first question learnt of labelled rows, and whatever is filled where nothing is missing, is learnt once.
    assert found["questions"]["labelled_rows"]["fits"] == 3
    assert found["questions"]["missing_training"]["fits"] == 3 * (3 + 2 + 3 * 2 + 1)
    page = check_report(folder, questions=8)
    for question in found["questions"].values():
        assert question["estimates"]
        assert question["verdict"]["headline"] not in ("", "Not measured.")
    assert "nan" not in re.sub(r"base64,[^\"]*", "", page).lower().split()
    assert "Warning" not in progress
    assert "naive Bayes" in printed
    assert "report.html" in printed


@pytest.mark.slow
def test_mixed_columns_with_missing_cells_and_two_classes(tiny, tmp_path, monkeypatch):
    for name, value in FULL.items():
        monkeypatch.setitem(TINY, name, value)
    (tmp_path / "mixed.csv").write_text("\n".join(MIXED))
    assert _cli.run(["compare", str(tmp_path / "mixed.csv"), "--quick", "--out", str(tmp_path)]) == 0
    found = results(tmp_path)
    assert found["data"]["classes"] == ["x", "y"]
    assert {question["status"] for question in found["questions"].values()} == {"done"}
    assert {"drawn_rows", "columns"} < found["questions"].keys()
    page = check_report(tmp_path, questions=10)
    for words in ("share, colour", "SVM with rows drawn by naive Bayes", "naive Bayes (cells summed out)"):
        assert words.lower() in page.lower()


@pytest.mark.slow
def test_networks_are_a_pair_and_walk_between_digits(monkeypatch, tmp_path):
    make = _plan.make_plan
    few = {
        **TINY,
        "test_rows": 100,
        "train_rows": 100,
        "sizes": (50, 100),
        "missing_train_rows": 80,
        "network_steps": 20,
        "drawn_sizes": (50,),
        "drawn_repeats": 1,
        "explained_repeats": 1,
        "explained_orders": 4,
    }
    monkeypatch.setattr(_run, "make_plan", lambda dataset, quick, most=None: replace(make(dataset, quick), **few))
    assert _cli.run(["compare", "digits", "--quick", "--out", str(tmp_path)]) == 0
    found = results(tmp_path)
    assert {question["status"] for question in found["questions"].values()} == {"done"}
    page = check_report(tmp_path, questions=8)
    for words in ("Variational autoencoder", "neural classifier", "Walks through the latent space"):
        assert words in page


class Silent:
    """Watcher that tells nobody."""

    def started(self, question, total): ...
    def doing(self, question, words): ...
    def advanced(self, question): ...


@pytest.mark.slow
@pytest.mark.parametrize("data", ["wine", "breast-cancer", "mixed"])
def test_deep_densities_are_asked_what_they_can_answer(data, tmp_path):
    """Of three classes, of two, and of columns with categories and cells missing."""
    if data == "mixed":
        (tmp_path / "mixed.csv").write_text("\n".join(MIXED))
        data = str(tmp_path / "mixed.csv")
    dataset = _dataset.load(data)
    plan = replace(_plan.make_plan(dataset, False), **TINY, deep_repeats=3, deep_steps=20)
    whole = _run.begin(dataset, False, replace(plan, full_covariance=True))
    comparison = _run.asking(tuple(own for own in whole.asked if own.key == "deep"), whole.bench)
    _run.ask(comparison, Silent())
    answer = comparison.answers["deep"]
    assert answer.status == "done"
    asked = {(one.metric, one.model) for one in answer.records}
    assert {"qda", "mda", *whole.bench.deep} == answer.extra["kinds"].keys()
    assert len(whole.bench.deep) == 5
    for key, kinds in answer.extra["kinds"].items():
        for metric, verb in (("samples recognised", "sample"), ("fill error", "impute"), ("auroc", "log_prob")):
            assert ((metric, key) in asked) == (kinds[verb] != "none"), (key, metric)
    said = _verdicts.verdict(comparison, "deep")
    assert "Log p(x) is of QDA exact" in said.reasons[-1]
    assert len(_plots.plots(comparison, "deep")) >= 4


def test_ctrl_c_leaves_what_was_measured(tiny, tmp_path, monkeypatch, capsys):
    calls, fit = [], _bench.Bench.fit

    def interrupted(self, key, training):
        calls.append(key)
        if len(calls) > 12:
            raise KeyboardInterrupt
        return fit(self, key, training)

    monkeypatch.setattr(_bench.Bench, "fit", interrupted)
    assert _cli.run(["compare", "wine", "--out", str(tmp_path)]) == 130
    found = results(tmp_path)
    assert found["interrupted"]
    assert found["questions"]["training_rows"]["status"] == "partial"
    assert found["questions"]["cost"]["status"] == "not reached"
    assert "Stopped early" in check_report(tmp_path, questions=1)
    assert "Stopped after" in capsys.readouterr().out


def one_line(capsys):
    streams = capsys.readouterr()
    assert streams.err.count("\n") == 1, streams.err
    assert "Traceback" not in streams.err
    return streams.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-file.csv"], "expected a file or one of digits, breast-cancer, wine, iris"),
        (["iriss"], "expected a file or one of"),
        (["iris", "--target", "species"], "--target: expected only with a file"),
        (["{folder}/mixed.csv", "--target", "price"], "--target price: expected a column of the data"),
        (["{folder}/mixed.csv", "--drop", "price"], "--drop price: expected a column"),
        (["{folder}/one.csv"], "expected at least two classes"),
        (["{folder}/constant.csv"], "column 'a': expected at least two different values"),
        (["{folder}/ragged.csv"], "line 4: expected 2 cells"),
        (["iris", "--out", "{folder}/mixed.csv"], "expected a folder that can be written to"),
        (["iris", "--fast"], "No such option"),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path, capsys, arguments, words):
    (tmp_path / "mixed.csv").write_text("\n".join(MIXED))
    (tmp_path / "one.csv").write_text("a,y\n" + "".join(f"{i},u\n" for i in range(20)))
    (tmp_path / "constant.csv").write_text("a,y\n" + "".join(f"1,{'uv'[i % 2]}\n" for i in range(20)))
    (tmp_path / "ragged.csv").write_text("a,y\n1,u\n2,v\n3\n4,u\n")
    filled = [argument.format(folder=tmp_path) for argument in arguments]
    out = [] if "--out" in filled else ["--out", str(tmp_path / "report")]
    assert _cli.run(["compare", *filled, *out]) == 2
    assert words in one_line(capsys)


def test_help_says_what_it_does(capsys):
    assert _cli.run([]) == 0
    assert "compare" in capsys.readouterr().out
    assert _cli.run(["compare", "--help"]) == 0
    assert "--target" in capsys.readouterr().out


def command(*arguments):
    return [sys.executable, "-W", "error", "-c", "from dgjax.compare._cli import main; main()", "compare", *arguments]


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@pytest.mark.slow
def test_the_digits_are_compared_quickly(tmp_path):
    subprocess.run(command("--quick", "--out", str(tmp_path)), check=True, env=environment(), capture_output=True)
    assert {question["status"] for question in results(tmp_path)["questions"].values()} == {"done"}
    check_report(tmp_path, questions=8)


@pytest.mark.slow
def test_an_interrupt_from_outside_ends_with_130(tmp_path):
    with subprocess.Popen(
        command("iris", "--out", str(tmp_path)), env=environment(), stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        assert any(b"training rows" in line for line in process.stderr)
        time.sleep(15)
        process.send_signal(signal.SIGINT)
        process.stderr.read()
    assert process.returncode == 130
    assert results(tmp_path)["interrupted"]
