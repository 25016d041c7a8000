"""Random cases beside formulas in float64, the same ones on every run; `make fuzz` has ten minutes of others."""

import importlib
import pathlib
import re
import time

import pytest
from fuzz import cases, run, scoring

import dgjax as dg

SEED, SMALL = 20, (0, 1, 2, 7, cases.POOL, (1, 1), (3, 5))


def quick(number):
    """A plan that compiles little and asks much."""
    plan = cases.plan_of(SEED, number, run.PAIRS)
    return plan.size in SMALL and plan.kind in QUICK and plan.verb in VERBS


QUICK = "diagonal", "Bernoulli", "Poisson", "full", "linear"
VERBS = "log_prob", "log_joint", "predict", "predict_log_proba", "impute", "marginal", "weak_prior", "bic and aic"


def test_a_few_plans_agree():
    numbers = [number for number in range(len(run.PAIRS)) if quick(number)][:4]
    tally = run.some(SEED, numbers, time.monotonic() + 3600)
    assert not tally.wrong, "\n".join(tally.wrong)
    assert tally.ran.total() == len(numbers) * cases.CASES_PER_PLAN


def test_every_formula_that_a_case_asks_for_is_there():
    for file in pathlib.Path(run.__file__).parent.glob("*.py"):
        for module, name in re.findall(r"\b(oracle|logistic_oracle)\.(\w+)\(", file.read_text()):
            assert hasattr(importlib.import_module(module), name), f"{file.name}: {module}.{name}"


@pytest.mark.slow
@pytest.mark.parametrize("worker", [0, 1])
def test_plans_for_two_minutes(worker):
    numbers = range(worker, 2 * len(run.PAIRS), 2)
    tally = run.some(SEED, numbers, time.monotonic() + 120)
    assert not tally.wrong, "\n".join(tally.wrong)
    assert tally.ran.total() > 100


def test_a_wrong_answer_is_found(monkeypatch):
    """A few thousandths of a nat too much."""
    right = dg.log_prob
    monkeypatch.setattr(dg, "log_prob", lambda model, x: right(model, x) + 4e-3)
    row = [pair for pair in run.PAIRS if pair[1:3] == ("Poisson", "log_prob")]
    plans = (cases.plan_of(SEED, number, row) for number in range(99))
    plan = next(plan for plan in plans if plan.mode == "eager" and plan.size == 7 and not plan.x64)
    case = cases.case_of(plan, SEED, 0)
    with pytest.raises(AssertionError, match="log_prob: 7 of 7 wrong"):
        scoring.log_prob(case)
