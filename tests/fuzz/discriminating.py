"""Checks of logistic models, whose classes are what rows alone can tell."""

import dgjax as dg
from fuzz import agreement, formulas, scoring


def with_scores(check):
    """The check of a generative model, of the scores of a logistic one in place of its log p(x, y)."""

    def checked(case):
        case.joint = formulas.logistic_scores(case.model, case.pool)
        case.terms = formulas.logistic_terms(case.model, case.pool)
        check(case)

    return checked


log_conditional = with_scores(scoring.log_conditional)
predict = with_scores(scoring.predict)
predict_log_proba = with_scores(scoring.predict_log_proba)
sample_labels = with_scores(scoring.sample_labels)


def num_parameters(case):
    k, size = case.model.num_labels, {"linear": case.plan.d, "quadratic": case.plan.d * (case.plan.d + 3) // 2}
    wanted = (k - 1) * (1 + size.get(case.plan.kind, 7))
    agreement.true("num_parameters", dg.num_parameters(case.model) == wanted, f"wanted {wanted}")
