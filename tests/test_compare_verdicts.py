from dataclasses import replace

import numpy as np
import pytest

from dgjax.compare import _plan, _run, _summary, _verdicts
from dgjax.compare._dataset import Dataset
from dgjax.compare._missing import EXACT, MEAN
from dgjax.compare._questions import ALL_ROWS, DENSITY, LABELLED, LARGEST
from dgjax.compare._ranking import better, rank
from dgjax.compare._results import Answer, Record

NOISE = (0.0, 0.01, -0.01, 0.02, -0.02)
FIRST, SECOND = ("naive_bayes", "exact"), ("logistic", "exact")


@pytest.fixture
def comparison():
    x, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 3
    dataset = Dataset("made-up", x, y, tuple("abcd"), ((),) * 4, ("u", "v", "w"), "target")
    return _run.begin(dataset, quick=True, plan=replace(_plan.make_plan(dataset, quick=True), train_rows=40))


def tell(comparison, question, values, noise=NOISE):
    """Records of those means, {(metric, model, setting, method): mean}; their noise is the same in each split."""
    answer = comparison.answers[question]
    answer.status = "done"
    for (metric, model, setting, method), mean in values.items():
        own = np.random.default_rng(len(answer.records)).permutation(noise) * 0.1
        answer.records += [
            Record(metric, model, i, mean + shared + single, setting, method)
            for i, (shared, single) in enumerate(zip(noise, own, strict=True))
        ]
    return answer


def curves(values):
    return {
        ("accuracy", model, float(size), "exact"): mean for model, own in values.items() for size, mean in own.items()
    }


def test_pairing_removes_what_splits_share():
    answer = Answer("made-up")
    noise = np.random.default_rng(0).normal(size=10)
    answer.records += [Record("accuracy", "naive_bayes", i, 0.8 + e) for i, e in enumerate(noise)]
    answer.records += [Record("accuracy", "logistic", i, 0.81 + e + 1e-3 * (i % 2)) for i, e in enumerate(noise)]
    assert better(answer, "accuracy", FIRST, SECOND) == -1
    assert better(answer, "accuracy", SECOND, FIRST) == 1


def test_losses_that_span_orders_of_magnitude_are_compared_by_their_ratio():
    """75 +- 60 nats less 0.2 is not two standard errors from 0, and yet the worse in every split by far."""
    answer = Answer("made-up")
    for i, (far, near) in enumerate(zip((12.0, 18.0, 195.0), (0.21, 0.18, 0.2), strict=True)):
        answer.records += [Record("log-loss", "naive_bayes", i, far), Record("log-loss", "logistic", i, near)]
    assert better(answer, "log-loss", SECOND, FIRST) == 1
    ranking = rank(answer, "log-loss")
    assert ranking is not None
    assert ranking.level == ()


def test_two_splits_are_too_few_for_a_claim():
    answer = Answer("made-up")
    answer.records += [
        Record("accuracy", m, i, v) for m, v in (("naive_bayes", 0.1), ("logistic", 0.9)) for i in range(2)
    ]
    assert better(answer, "accuracy", FIRST, SECOND) == 0
    ranking = rank(answer, "accuracy")
    assert ranking is not None
    assert (ranking.best, ranking.level) == (SECOND, (FIRST,))


def test_a_crossing_is_said_where_it_was_measured(comparison):
    tell(
        comparison,
        "training_rows",
        curves({"naive_bayes": {10: 0.8, 20: 0.85, 40: 0.86}, "logistic": {10: 0.7, 20: 0.85, 40: 0.95}}),
    )
    verdict = _verdicts.verdict(comparison, "training_rows")
    assert "With 10 training rows, naive Bayes is the most accurate" in verdict.headline
    assert "with 40, logistic regression is the most accurate" in verdict.headline
    assert any("cross between 10 and 40 rows" in reason for reason in verdict.reasons)


def test_no_difference_is_said_where_none_was_measured(comparison):
    tell(comparison, "training_rows", curves({"naive_bayes": {10: 0.8, 40: 0.9}, "logistic": {10: 0.8, 40: 0.9}}))
    verdict = _verdicts.verdict(comparison, "training_rows")
    assert "not told apart from" in verdict.headline
    assert any("no difference can be told at any size" in reason for reason in verdict.reasons)
    assert "cross" not in " ".join(verdict.reasons)


@pytest.mark.parametrize(
    ("density", "largest", "words"),
    [
        (0.9, 0.6, "Log p(x) of LDA (AUROC 0.900 ± 0.007) tells an unseen class better than the best largest"),
        (0.6, 0.9, "tells an unseen class better than log p(x) of LDA"),
        (0.8, 0.8, "No difference can be told"),
    ],
)
def test_the_unseen_class_follows_the_numbers(comparison, density, largest, words):
    values = {("auroc", "lda", 0.0, DENSITY): density, ("auroc", "svm", 0.0, LARGEST): largest}
    tell(comparison, "held_out", values)
    assert words in _verdicts.verdict(comparison, "held_out").headline


@pytest.mark.parametrize(
    ("gain", "words"),
    [(0.1, "Yes: with 20 labels, naive Bayes gains 10.0"), (-0.1, "No, they hurt: "), (0.0, "No gain")],
)
def test_rows_without_a_label_follow_the_numbers(comparison, gain, words):
    values = {
        ("accuracy", "naive_bayes", 0.5, LABELLED): 0.7,
        ("accuracy", "naive_bayes", 0.5, ALL_ROWS): 0.7 + gain,
    }
    tell(comparison, "labelled_rows", values)
    assert words in _verdicts.verdict(comparison, "labelled_rows").headline


@pytest.mark.parametrize("question", ["missing_prediction", "missing_training"])
def test_missing_cells_follow_the_numbers(comparison, question):
    values = {
        ("accuracy", "lda", 0.5, EXACT): 0.9,
        ("accuracy", "lda", 0.5, MEAN): 0.8,
        ("accuracy", "qda", 0.5, EXACT): 0.7,
        ("accuracy", "qda", 0.5, MEAN): 0.7,
    }
    tell(comparison, question, values)
    verdict = _verdicts.verdict(comparison, question)
    assert "LDA (exact marginal) is the most accurate (90.0" in verdict.headline
    assert "not told apart" not in verdict.headline
    assert "+10.0" in verdict.reasons[0]
    assert "no difference can be told for QDA" in verdict.reasons[0]


def test_who_is_too_sure_follows_the_numbers(comparison):
    values = {
        (metric, model, 0.0, "exact"): mean
        for model, sure in (("naive_bayes", 0.99), ("logistic", 0.8), ("forest", 0.6))
        for metric, mean in (("brier", 1 - sure), ("accuracy", 0.8), ("confidence", sure))
    }
    tell(comparison, "calibration", values)
    verdict = _verdicts.verdict(comparison, "calibration")
    assert verdict.headline.startswith("Naive Bayes gives the best probabilities")
    assert "naive Bayes by 19.0" in verdict.reasons[0]
    assert "random forest by 20.0" in verdict.reasons[1]
    assert verdict.reasons[2].endswith("logistic regression.")


def test_what_models_know_and_cost_follows_the_numbers(comparison):
    tell(
        comparison,
        "knowledge",
        {
            ("samples recognised", "real rows", 0.0, "exact"): 0.97,
            ("samples recognised", "qda", 0.0, "exact"): 0.9,
            ("samples recognised", "lda", 0.0, "exact"): 0.6,
            ("fill error", "qda", 0.0, EXACT): 0.5,
            ("fill error", "qda", 0.0, MEAN): 1.0,
        },
    )
    known = _verdicts.verdict(comparison, "knowledge")
    assert known.headline.startswith("QDA draws the samples that are recognised best (90.0")
    assert "an error 50 % below that of the mean" in known.headline
    costs = {
        (metric, model, 0.0, "exact"): mean
        for model, mean in (("lda", 1.0), ("svm", 2.0))
        for metric in ("training seconds", "rows per second", "parameters")
    }
    tell(comparison, "cost", costs)
    assert "LDA trains quickest (1 s), RBF SVM predicts quickest" in _verdicts.verdict(comparison, "cost").headline


def test_what_was_not_reached_is_not_judged(comparison):
    for question in comparison.asked:
        assert _verdicts.verdict(comparison, question.key).headline == "Not measured."
    assert "Nothing was measured" in _summary.headline(comparison)
    answer = tell(comparison, "training_rows", curves({"naive_bayes": {10: 0.8}, "logistic": {10: 0.7}}))
    answer.status = "partial"
    assert _verdicts.verdict(comparison, "training_rows").headline.startswith("So far: ")
    assert "Naive Bayes is the most accurate" in _summary.headline(comparison)
