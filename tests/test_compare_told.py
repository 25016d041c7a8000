"""What somebody who only reads the terminal and the report is told: of warnings, noise, failures and doubtful files."""

import base64
import json
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from test_compare_verdicts import comparison, curves, tell

import dgjax as dg
from dgjax.compare import _baseline, _cli, _dataset, _heard, _metrics, _report, _run, _style, _summary, _verdicts
from dgjax.compare._errors import InputError
from dgjax.compare._missing import EXACT
from dgjax.compare._questions import ALL_ROWS, LABELLED, Task
from dgjax.compare._reading import Reading
from dgjax.compare._results import Answer, Record

__all__ = ["comparison"]  # a fixture

ENDED = "the fit ended at max_steps={}, before a step gained less. Type max_steps=100."
LOWERED = "rows without a label lowered the log-probability of the labels. Type label_weight=25 or larger."


def fits_that_warn(model, *messages):
    with _heard.hearing() as heard:
        for message in messages:
            with _heard.fitting(model, (10, 0)):
                for _ in range(2):
                    warnings.warn(message, dg.ConvergenceWarning, stacklevel=1)
    return heard


def test_fits_that_warn_are_counted_and_nothing_raw_is_printed(capfd):
    told = _heard.Heard()
    with _heard.listening(), ThreadPoolExecutor(2) as pool:
        said = {"lda": [ENDED.format(500), "ok"], "mda": [ENDED.format(10), LOWERED], "qda": [LOWERED]}
        for heard in pool.map(lambda one: fits_that_warn(one[0], *one[1]), said.items()):
            told.add(heard)
    assert capfd.readouterr() == ("", "")
    lines = told.lines({"lda": "LDA", "mda": "MDA", "qda": "QDA"})
    assert told.fits == 5
    assert lines[0] == "1 of 5 fits ended before their maximum: LDA 1."
    assert "gave a warning ('ok'): LDA 1" in lines[1]
    assert "2 of 5 fits know the labels" in lines[2]
    assert lines[2].endswith("MDA 1, QDA 1.")
    assert not any("Type" in line for line in lines)
    assert len(lines) == 3, "max_steps=10 is what the plan chose"


def test_every_warning_of_a_fit_has_words_of_its_own():
    """Each message that `dgjax` gives where it fits is known here: reworded, it would be told as a raw warning."""
    sources = [p.read_text("utf-8") for p in _cli.Path(dg.__file__).parent.rglob("_*.py")]
    joined = "".join(re.sub(r'"\n *f?"', "", source) for source in sources)
    assert all(words in joined for words in _heard.SAID)


def test_what_fits_said_is_in_the_report(comparison):
    tell(comparison, "labelled_rows", {("accuracy", "lda", 0.5, EXACT): 0.7})
    comparison.answers["labelled_rows"].heard.add(fits_heard(4, "ended before their maximum", "lda"))
    assert (
        _verdicts.verdict(comparison, "labelled_rows").reasons[-1] == "1 of 4 fits ended before their maximum: LDA 1."
    )
    found = _report.as_json(comparison)["questions"]["labelled_rows"]
    assert found["fits"] == 4
    assert found["fits_that_said"] == [{"model": "lda", "said": "ended before their maximum", "fits": 1}]


def fits_heard(fits, said, model):
    heard = _heard.Heard(fits)
    heard.said[said, model] += 1
    return heard


@pytest.mark.parametrize(("loss", "words"), [(1.2, "No model found anything"), (0.5, "Probabilities do say something")])
def test_noise_has_no_winner(comparison, loss, words):
    """Of three classes of the same size, 37 % is no more than a guess on 60 rows."""
    values = curves({"lda": {10: 0.34, 40: 0.37}, "logistic": {10: 0.33, 40: 0.35}})
    values |= {("log-loss", "lda", 40.0, "exact"): loss, ("brier", "lda", 0.0, "exact"): 0.7}
    tell(comparison, "training_rows", values)
    tell(comparison, "calibration", {("brier", "lda", 0.0, "exact"): 0.7, ("brier", "qda", 0.0, "exact"): 0.8})
    headline = _summary.headline(comparison)
    assert headline.startswith("Nothing beats always naming the most frequent class (33.3 %)")
    assert words in headline
    verdict = _verdicts.verdict(comparison, "training_rows").headline
    assert verdict.count("nothing beats always naming") == 2
    assert "most accurate" not in verdict + headline
    assert "No model's probabilities" in _verdicts.verdict(comparison, "calibration").headline
    assert {row.best for row in _summary.situations(comparison)} == {"No model"}


def test_the_error_bar_of_few_splits_is_no_proof(comparison):
    """Three splits that agree by chance have no error bar at all; that of the rows tested on remains."""
    tell(comparison, "training_rows", curves({"lda": {40: 0.4}}), noise=(0.0, 0.0, 0.0))
    assert _summary.headline(comparison).startswith("Nothing beats")
    tell(comparison, "training_rows", curves({"qda": {40: 0.6}}), noise=(0.0, 0.0, 0.0))
    assert _summary.headline(comparison).startswith("QDA is the most accurate")


def test_a_gain_that_is_no_better_than_a_guess_is_none(comparison):
    values = {("accuracy", "lda", 0.5, LABELLED): 0.2, ("accuracy", "lda", 0.5, ALL_ROWS): 0.3}
    tell(comparison, "labelled_rows", values)
    assert _verdicts.verdict(comparison, "labelled_rows").headline.startswith("Not so that it counts")


def test_a_metric_that_is_asked_for_is_in_the_headline_and_the_table(comparison):
    tell(comparison, "training_rows", curves({"lda": {40: 0.9}, "qda": {40: 0.8}}))
    values = {("average precision", key, 0.0, "exact"): value for key, value in (("lda", 0.6), ("qda", 0.7))}
    tell(comparison, "calibration", values | {("brier", "lda", 0.0, "exact"): 0.1})
    assert _summary.columns(comparison)[2] == "Log-loss"
    comparison.metric = "average precision"
    rarest = comparison.bench.dataset.classes[_metrics.rarest(comparison.bench.dataset)]
    headline = _summary.headline(comparison)
    assert f"In average precision of '{rarest}', as asked for, QDA is the best, 0.700 ± " in headline
    assert ", beside the share of the rarest class (0.333). " in headline
    assert _summary.columns(comparison)[2] == "Average precision"
    cells = [row[2].split(" ± ")[0] for row in _summary.models(comparison)]
    assert {"0.600", "0.700", "–"} == set(cells)


def losses(answer, key, values):
    for i, value in enumerate(values):
        answer.records += [Record("log-loss", key, i, value), Record("brier", key, i, 0.2 + 0.01 * i)]


def test_probabilities_that_are_worse_than_none_are_not_recommended(comparison):
    answer = comparison.answers["calibration"]
    answer.status = "done"
    losses(answer, "quadratic", (0.3, 0.31, 0.32))
    losses(answer, "qda", (3.0, 10.0, 80.0))
    losses(answer, "mda", (0.1, 0.2, 2.0))
    headline = _verdicts.verdict(comparison, "calibration").headline
    first, second = headline.split(").", 1)
    assert "Quadratic logistic regression gives the best probabilities (Brier" in first
    assert "not told apart" not in first
    assert " Not to be acted on: QDA (31.000 ± 24.583), in log-loss worse than the classes' shares alone" in second
    assert "; MDA (0.767 ± 0.617), too uncertain in log-loss to be called better than" in second
    row = next(row for row in _summary.situations(comparison) if row.need.startswith("Probabilities"))
    assert (row.best, row.level) == ("Quadratic logistic regression", "")


def test_a_baseline_is_what_the_shares_of_the_classes_give(comparison):
    known = {metric: _baseline.baseline(comparison.bench, metric).value for metric in ("accuracy", "brier", "log-loss")}
    assert known == pytest.approx({"accuracy": 1 / 3, "brier": 2 / 3, "log-loss": np.log(3)})


def test_fewer_rows_are_said_where_cells_are_missing_at_training(comparison):
    tell(comparison, "missing_training", {("accuracy", "lda", 0.5, EXACT): 0.9})
    last = _verdicts.verdict(comparison, "missing_training").reasons[-1]
    assert f"Only {comparison.bench.plan.missing_train_rows} of the 40 training rows are used here" in last
    object.__setattr__(comparison.bench, "plan", replace(comparison.bench.plan, missing_train_rows=40))
    assert not any("Only" in reason for reason in _verdicts.verdict(comparison, "missing_training").reasons)


def failing(bench, answer):
    def fail():
        raise RuntimeError("no room\nfor more")

    return [Task("one", lambda: [Record(m, "lda", 0, 0.2) for m in ("brier", "log-loss")]), Task("two", fail)]


def measured(bench, answer):
    values = {"accuracy": 0.9, "log-loss": 0.2}
    return [Task("", lambda: [Record(metric, "lda", i, v, 40.0) for metric, v in values.items() for i in range(3)])]


def test_an_error_in_one_question_keeps_the_others(monkeypatch, tmp_path, capsys):
    tasks = {"calibration": failing, "held_out": lambda *_: [][1], "training_rows": measured}
    asked = [replace(q, tasks=tasks.get(q.key, lambda *_: [])) for q in _run.QUESTIONS]
    monkeypatch.setattr(_run, "QUESTIONS", tuple(asked))
    assert _cli.run(["compare", "iris", "--quick", "--out", str(tmp_path)]) == 1
    found = json.loads((tmp_path / "results.json").read_text("utf-8"))["questions"]
    assert [found[key]["status"] for key in ("training_rows", "calibration", "held_out")] == [
        "done",
        "failed",
        "failed",
    ]
    assert len(found["calibration"]["estimates"]) == 2
    assert "RuntimeError: no room" in found["calibration"]["error"]
    page, printed = (tmp_path / "report.html").read_text("utf-8"), " ".join(capsys.readouterr().out.split())
    for words in ("Can its probabilities be believed? Does it notice", "RuntimeError: no room", "IndexError"):
        assert words in page
    assert "LDA is the most accurate" in printed
    assert "believed? An error ended this question: RuntimeError: no room" in printed
    assert "Traceback" not in printed


def test_nothing_of_the_first_question_is_said_to_have_failed(comparison):
    comparison.answers["training_rows"] = Answer("training_rows", "failed", "An error ended this question: X")
    assert "was not measured. An error ended this question: X" in _summary.headline(comparison)


def load(folder, lines, **options):
    path = folder / "data.csv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return _dataset.load(str(path), reading=Reading(**options))


IRIS = [f"{4 + i % 3}.5,{i % 4}.25,{'ab'[i % 2]}" for i in range(40)]


def test_a_first_row_that_was_taken_for_names_is_said(tmp_path):
    taken = load(tmp_path, IRIS)
    assert len(taken.x) == 39
    note = next(note for note in taken.notes if "--no-header" in note)
    assert note == "The first line was taken for column names (4.5, 0.25, a): if it is a row, type: --no-header"
    whole = load(tmp_path, IRIS, no_header=True)
    assert whole.x.shape == (40, 2)
    assert (whole.columns, whole.target) == (("c0", "c1"), "c2")
    assert not any("--no-header" in note for note in whole.notes)


@pytest.mark.parametrize("header", ["width,height,label", "2019,2020,label", "0,1,2", ",height,label"])
def test_names_that_are_names_are_not_remarked_on(tmp_path, header):
    assert not any("--no-header" in note for note in load(tmp_path, [header, *IRIS]).notes)


@pytest.mark.parametrize("row", ["4.5,1.25,7", "4.5,4.5,a"])
def test_what_cannot_be_names_is_refused_with_the_option(tmp_path, row):
    with pytest.raises(InputError, match="type: --no-header"):
        load(tmp_path, [row, *IRIS])
    cells = [",".join(f"{line},0".split(",")[:2]) + f",{i % 2}" for i, line in enumerate(IRIS)]
    assert len(load(tmp_path, [row.replace("a", "1").replace("7", "1"), *cells], no_header=True).x) == 41


def test_the_option_for_no_header_is_typed_as_it_is_said(tmp_path, capsys):
    assert _cli.run(["compare", "iris", "--no-header", "--out", str(tmp_path)]) == 2
    assert "--no-header: expected only with a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stand_in", "said"), [("-999", True), ("99999", True), ("-9", True), ("3.5", False), ("0", False), ("15.5", False)]
)
def test_a_number_that_may_stand_for_a_missing_cell_is_remarked_on(tmp_path, stand_in, said):
    rows = [f"{stand_in if i % 4 == 0 else i % 9 + 0.5},{i % 7},{i % 2},{'ab'[i % 3 == 0]}" for i in range(80)]
    dataset = load(tmp_path, ["width,count,flag,label", *rows])
    notes = [note for note in dataset.notes if "--missing" in note]
    assert len(notes) == said
    if said:
        assert f"Column 'width' is {stand_in} in 25% of its cells" in notes[0]
        option = re.search(r"--missing (\S+)$", notes[0])[1]
        known = load(tmp_path, ["width,count,flag,label", *rows], missing=(option,))
        assert np.isnan(known.x[::4, 0]).all()
        assert not any("--missing" in note for note in known.notes)


def test_a_rare_outlier_is_no_stand_in(tmp_path):
    rows = [f"{-999 if i == 7 else i % 9},{i % 7},{'ab'[i % 3 == 0]}" for i in range(80)]
    assert not any("--missing" in note for note in load(tmp_path, ["width,count,label", *rows]).notes)


def test_the_version_is_told(capsys):
    assert _cli.run(["--version"]) == 0
    assert re.fullmatch(r"dgjax (\d+\.\d+.*|unknown)\n", capsys.readouterr().out)


def test_pictures_have_sizes_without_units():
    with _style.panel() as (figure, _):
        source = _style.drawn(figure, "nothing").source
    head = base64.b64decode(source.split(",", 1)[1]).decode().split("<defs>")[0]
    assert re.search(r'<svg [^>]*width="288" height="237\.6"|width="288(\.0)?" height="237\.6', head)
    assert "pt" not in re.search(r"<svg[^>]*>", head)[0]
