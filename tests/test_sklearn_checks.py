"""Estimators: scikit-learn's own checks, and the page's list of those that do not apply."""

from pathlib import Path

import pytest
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn_cases import CLASSICAL, LEARNED, QUICK, ROUNDED, SEQUENCES, WEIGHTS, expected

from dgjax import sklearn as estimators

CHECKED = pytest.mark.usefixtures("without_the_type_checker")  # scikit-learn sets options to what they cannot be
ANEW = "ignore:partial_fit begins anew:UserWarning"  # after `fit`, as one of the checks calls it


@CHECKED
@pytest.mark.filterwarnings(ANEW)
@parametrize_with_checks([QUICK], legacy=False)
def test_checks_of_the_interface(estimator, check):
    check(estimator)


@pytest.mark.slow
@CHECKED
@pytest.mark.filterwarnings(ANEW)
@parametrize_with_checks(CLASSICAL, expected_failed_checks=expected, xfail_strict=False)  # rounding may be kind
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [own for own in CLASSICAL if isinstance(own, ROUNDED)], ids=repr)
def test_in_float64_weights_are_repetition_to_every_digit(estimator, x64):
    getattr(estimator_checks, WEIGHTS)(type(estimator).__name__, estimator)


def test_the_page_says_which_checks_do_not_apply():
    text = (Path(__file__).parents[1] / "docs" / "how_to" / "scikit_learn.md").read_text(encoding="utf-8")
    rows = [
        row.split("|")[1:4] for row in text.partition("## Checks that do not apply")[2].splitlines() if row[:1] == "|"
    ]
    for own in [*CLASSICAL, *LEARNED]:
        for check, why in expected(own).items():
            told = f"`{check}`", f"`{type(own).__name__}`"
            assert any(told[0] in what and told[1] in of and why == reason.strip() for what, of, reason in rows), own
    named = {name for _, of, _ in rows[2:] for name in of.replace("`", "").replace(" ", "").split(",")}
    assert named == {type(own).__name__ for own in [*CLASSICAL, *LEARNED] if expected(own)} | {
        type(own).__name__ for own in SEQUENCES
    }
    every = {type(own).__name__ for own in [*CLASSICAL, *LEARNED, *SEQUENCES]}
    assert every == {name for name in vars(estimators) if isinstance(getattr(estimators, name), type)}
