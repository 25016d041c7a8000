import json
from dataclasses import replace

import numpy as np
import pytest
from test_compare_verdicts import tell

from dgjax.compare import (
    _cli,
    _messages,
    _progress,
    _report,
    _summary,
    _text_data,
    _text_questions,
    _verdicts,
    _vocabulary,
)
from dgjax.compare._columns import is_free_text
from dgjax.compare._dataset import TEXTS
from dgjax.compare._errors import InputError
from dgjax.compare._questions import DENSITY, LARGEST
from dgjax.compare._reading import Reading
from dgjax.compare._text_questions import JUDGE, REAL

TINY = {
    "repeats": 3,
    "train_rows": 24,
    "test_rows": 20,
    "missing_test_rows": 20,
    "sizes": (12, 24),
    "labelled_shares": (0.5, 1.0),
    "mixture_steps": 3,
    "network_steps": 5,
    "longest": 8,
    "letters": 24,
    "vocabulary": 64,
}
TEXT = ("the sun is hot at noon", "a cold wind blows at night", "what is this, <b>bold</b> & free")


def lines(count=60, kinds="ab"):
    """A text, its label, and a number and a date that no comparison of texts is on."""
    return [f'"{TEXT[i % 3]} {i}",{kinds[i % len(kinds)]},{i / 7},2024-01-0{1 + i % 9}' for i in range(count)]


def write(folder, rows, header="words,kind,price,day", name="data.csv"):
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return str(path)


def load(data, **options):
    empty = {"target": None, "sequence": None, "text": None, "drop": (), "reading": Reading()}
    return _cli._load(data, **{**empty, **options})


@pytest.fixture(scope="module")
def simulated():
    return _text_data.load(TEXTS)


@pytest.fixture
def comparison(simulated):
    return begin(simulated)


def begin(dataset, **changes):
    plan = replace(_text_questions.make_plan(dataset, quick=True), **{**TINY, **changes})
    return _text_questions.begin(dataset, True, plan)


def test_a_column_of_free_text_is_found_and_the_others_are_left_out(tmp_path):
    dataset = load(write(tmp_path, lines()), target="kind")
    assert isinstance(dataset, _text_data.TextDataset)
    assert dataset.columns == ("words",)
    assert dataset.x[2] == f"{TEXT[2]} 2"
    assert dataset.classes == ("a", "b")
    assert dataset.y[:3].tolist() == [0, 1, 0]
    assert any("'words' is free text" in note for note in dataset.notes)
    assert any("price, day left out" in note and "--drop 'words'" in note for note in dataset.notes)


def test_a_text_and_a_label_are_all_that_is_needed(tmp_path):
    rows = [line.rsplit(",", 2)[0] for line in lines()]
    dataset = load(write(tmp_path, rows, header="text,label"))
    assert (dataset.target, len(dataset.x)) == ("label", 60)
    assert not any("left out" in note for note in dataset.notes)


def test_the_column_of_texts_may_be_named_where_it_is_not_found(tmp_path):
    rows = [f"word{i % 20},{'ab'[i % 2]},{i}" for i in range(60)]
    path = write(tmp_path, rows, header="words,kind,price")
    assert not isinstance(load(path, target="kind"), _text_data.TextDataset)
    assert load(path, target="kind", text="words").x[0] == "word0"


def test_rows_without_a_text_are_left_out_and_texts_without_a_label_are_kept(tmp_path):
    rows = lines()
    rows[0], rows[1] = rows[0].replace(f'"{TEXT[0]} 0"', ""), rows[1].replace(",b,", ",,")
    dataset = load(write(tmp_path, rows), target="kind")
    assert len(dataset.x) == 59
    assert dataset.y[0] == -1
    assert any("1 rows without a text" in note for note in dataset.notes)
    assert any("1 of 59 texts have no kind" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("texts", "free"),
    [
        ([f"{TEXT[i % 3]} {i}" for i in range(30)], True),
        ([f"{TEXT[i % 3]}" for i in range(30)], False),
        ([f"Mary Smith {i}" for i in range(30)], False),
        ([f"{i}.5" for i in range(30)], False),
    ],
)
def test_free_text_is_long_and_nearly_all_different(texts, free):
    assert is_free_text(texts) == free


BAD = {
    "no such column": ({"text": "wrods"}, "got none of that name; type: --text words"),
    "the target": ({"target": "words"}, "--target words: expected class labels, got the column of the texts"),
    "left out": ({"text": "words", "drop": ("words",)}, "--drop words: expected a column other than that of --text"),
    "sequences too": ({"text": "words", "sequence": "kind"}, "--text: expected without --sequence"),
    "sequences of texts": ({"sequence": "kind", "drop": ("day",)}, "compare on it as text: --text 'words'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_texts_are_refused_with_the_reason(tmp_path, name):
    options, message = BAD[name]
    with pytest.raises(InputError) as error:
        load(write(tmp_path, lines()), **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_of_two_columns_of_free_text_one_is_to_be_named(tmp_path):
    rows = [f'"{TEXT[i % 3]} {i}","{TEXT[(i + 1) % 3]} {i}",{"ab"[i % 2]}' for i in range(40)]
    path = write(tmp_path, rows, header="title,body,kind")
    with pytest.raises(InputError, match=r"got 2 \('title', 'body'\); type: --text 'title'"):
        load(path)
    assert load(path, text="body").columns == ("body",)


@pytest.mark.parametrize("option", ["--text", "--sequence", "--target"])
def test_options_of_files_are_refused_with_embedded_texts(tmp_path, capsys, option):
    assert _cli.run(["compare", TEXTS, option, "text", "--out", str(tmp_path)]) == 2
    assert f"{option}: expected only with a file" in capsys.readouterr().err


def test_the_simulated_texts_are_the_same_every_time(simulated):
    texts, kinds = _messages.messages()
    assert texts == list(simulated.x)
    assert kinds.tolist() == simulated.y.tolist()
    assert texts[0] == simulated.x[0]


def test_the_simulated_texts_are_short_and_of_three_kinds(simulated):
    lengths = np.array(list(map(len, simulated.x)))
    assert lengths.min() >= 30
    assert lengths.max() <= 120
    assert not any("{" in text for text in simulated.x)
    counts = np.bincount(simulated.y)
    assert (np.diff(counts) < 0).all()  # the last kind is the rarest
    assert "Simulated" in simulated.notes[0]


def test_a_vocabulary_gives_texts_back_in_lower_case():
    texts = ["Free call: 0800, now!", "no ... free lunch"]
    for split, between in ((_vocabulary.words, " "), (_vocabulary.letters, "")):
        vocabulary = _vocabulary.learn(texts, split, between, 40)
        x, lengths = vocabulary.sequences(texts, 30)
        assert vocabulary.texts(x)[0] == "free call: 0800, now!"
        assert lengths.tolist() == [len(split(text)) + 1 for text in texts]
        assert (vocabulary.counts(texts).sum(1) == lengths - 1).all()


def test_what_is_not_in_a_vocabulary_is_other_and_what_is_too_long_is_cut():
    vocabulary = _vocabulary.learn(["a b a", "a c"], _vocabulary.words, " ", 4)
    assert vocabulary.pieces == ("a", "b")
    x, lengths = vocabulary.sequences(["c a b", "b"], 3)
    assert x[..., 0].tolist() == [[0, 2, 3], [3, 1, 1]]
    assert lengths.tolist() == [3, 2]
    assert vocabulary.texts(x) == ["… a b", "b"]


def test_the_plan_follows_the_texts(simulated):
    plan = _text_questions.make_plan(simulated, quick=False)
    assert plan.train_rows + plan.test_rows <= len(simulated.x)
    few = replace(simulated, x=simulated.x[:30], y=simulated.y[:30])
    small = _text_questions.make_plan(few, quick=True)
    assert (small.train_rows, small.test_rows, small.sizes[-1]) == (20, 10, 20)
    assert np.mean([len(_vocabulary.words(text)) < plan.longest for text in simulated.x]) > 0.95
    assert any("most frequent words" in line for line in plan.describe())
    assert not any("Missing cells" in line for line in plan.describe())


def test_drawn_texts_follow_the_numbers(comparison):
    shares = {"naive_bayes": 0.5, "ngrams": 0.9, REAL: 0.8}
    values = {("samples recognised", model, 0.0, "exact"): mean for model, mean in shares.items()}
    tell(comparison, "sounds", {**values, ("samples copied", "ngrams", 0.0, "exact"): 0.25})
    verdict = _verdicts.verdict(comparison, "sounds")
    assert "Class n-grams draws the texts that are most often taken for those of their class" in verdict.headline
    assert "real test texts 80.0" in verdict.headline
    assert "more often class n-grams (10.0" in verdict.reasons[0]
    assert "less often naive Bayes (30.0" in verdict.reasons[0]
    assert "class n-grams 25.0" in verdict.reasons[1]


def test_the_summary_speaks_of_texts(comparison):
    curves = {("ngrams", 12.0): 0.8, ("ngrams", 24.0): 0.9, ("logistic", 12.0): 0.7, ("logistic", 24.0): 0.85}
    tell(comparison, "training_rows", {("accuracy", m, size, "exact"): mean for (m, size), mean in curves.items()})
    told = {("auroc", "ngrams", 0.0, DENSITY): 0.9, ("auroc", "ngrams", 0.0, LARGEST): 0.6}
    tell(comparison, "held_out", told)
    assert "class n-grams also draws texts, learns from texts without a label" in _summary.headline(comparison)
    assert "tells how usual a text is" in _summary.headline(comparison)
    assert "12 texts only" in _summary.columns(comparison)
    row = next(row for row in _summary.models(comparison) if "3-grams" in row[0])
    assert row[4].startswith("0.900")
    assert row[5].startswith("80.0")
    assert _progress._table(comparison).row_count == len(comparison.bench.contestants)


def test_texts_are_escaped_in_the_report(comparison, simulated):
    """Texts are anybody's: what looks like HTML is shown, and does nothing."""
    evil = "<script>alert('x')</script> & <b>free</b>"
    x = simulated.x.copy()
    x[:] = [f"{evil} {i}" for i in range(len(x))]
    own = begin(replace(simulated, x=x, classes=("<i>ham</i>", "spam", "notice")))
    tell(own, "sounds", {("samples recognised", "ngrams", 0.0, "exact"): 0.5})
    own.answers["sounds"].extra["samples"] = {"ngrams": [[evil], [evil], [evil]]}
    page = _report.page(own)
    assert "<script" not in page
    assert "<b>free" not in page
    assert "<i>ham" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.slow
@pytest.mark.parametrize("key", ["naive_bayes", "ngrams", "language", "encoder", "logistic", "ngrams_twin", JUDGE])
def test_what_is_said_of_a_text_depends_on_it_alone(comparison, key):
    bench = comparison.bench
    fitted, (x, _) = bench.full(key, 0), bench.test(0)
    whole = fitted.log_proba(x)
    assert whole.shape == (len(x), 3)
    assert np.allclose(np.exp(whole).sum(1), 1, atol=1e-4)
    assert np.allclose(np.concatenate([fitted.log_proba(x[i : i + 7]) for i in range(0, len(x), 7)]), whole, atol=1e-4)
    again = begin(bench.dataset).bench
    assert np.array_equal(again.full(key, 0).log_proba(x), whole)


@pytest.mark.slow
def test_with_two_classes_one_is_left_and_every_density_can_tell(simulated):
    two = simulated.y < 2
    dataset = replace(simulated, x=simulated.x[two], y=simulated.y[two], classes=simulated.classes[:2])
    bench = begin(dataset).bench
    for key in bench.generative:
        fitted = bench.fit(key, bench.of_one_class(np.flatnonzero(dataset.y == 0)[:24], 0))
        assert np.isfinite(fitted.log_prob(dataset.x[:50])).all()


@pytest.mark.slow
def test_a_run_on_texts_writes_the_report_and_the_numbers(tmp_path, capsys):
    assert _cli.run(["compare", TEXTS, "--quick", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert found["data"]["texts"] == _messages.NUM_TEXTS
    assert {question["status"] for question in found["questions"].values()} == {"done"}
    assert all(question["verdict"]["headline"] for question in found["questions"].values())
    samples = found["questions"]["sounds"]["samples"]
    assert set(samples) == {"naive_bayes", "ngrams", "language"}
    assert all(text for classes in samples.values() for texts in classes for text in texts)
    known = {(one["model"], one["setting"]): one["mean"] for one in found["questions"]["training_rows"]["estimates"]}
    assert known
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.count("data:image/svg+xml;base64,") >= 12
    assert "class n-grams" in capsys.readouterr().out
