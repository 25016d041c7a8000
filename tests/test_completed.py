"""Classifiers learnt from rows with missing cells: draws given the label, weights, what stays, and what is refused."""

import jax
import numpy as np
import pytest
from laws import assert_close, assert_same_tree

import dgjax as dg

RNG = np.random.default_rng(0)
N = 240
Y = np.arange(N) % 2
X = (RNG.normal(size=(N, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]]) + 1.5 * Y[:, None]).astype("float32")
HOLES = np.where(RNG.random(X.shape) < 0.3, np.nan, X).astype("float32")
LDA = dg.discriminant_analysis(HOLES, Y, prior="weak")
RIDGE = dg.priors.Ridge(1.0)


def start(num_samples=16):
    return dg.marginalize(dg.logistic_regression(2, 2), LDA, num_samples)


def test_of_complete_rows_the_classifier_is_learnt_as_by_itself():
    whole = dg.fit(start(), X, Y, prior=RIDGE).model
    assert_same_tree(whole.classifier, dg.fit(dg.logistic_regression(2, 2), X, Y, prior=RIDGE).model)
    assert_same_tree(whole.density, LDA)


def test_missing_cells_are_drawn_given_the_label():
    """The twin's own coefficients come out; draws that know no label make them smaller."""
    exact = dg.discriminative(LDA).scorer.scorer.weight
    log_odds = float((exact[1] - exact[0]).sum())
    pooled = dg.fit(dg.gaussian_mixture(jax.random.key(0), HOLES, 1), HOLES).model
    by = [dg.marginalize(dg.logistic_regression(2, 2), density, 16) for density in (LDA, pooled)]
    own, blind = (float(dg.fit(model, HOLES, Y).model.classifier.scorer.weight.sum()) for model in by)
    assert abs(own - log_odds) < 0.15 * log_odds
    assert blind < 0.9 * own


def test_a_row_of_weight_two_is_two_rows_and_one_without_a_label_is_none():
    some = np.where(np.arange(N) < 40, Y, -1)
    alone = dg.fit(start(), HOLES[:40], Y[:40], prior=RIDGE)
    assert_close(dg.fit(start(), HOLES, some, prior=RIDGE).model.classifier.bias, alone.model.classifier.bias, 1e-3)
    twice = np.concatenate([HOLES[:40], HOLES[:40]])
    double = dg.fit(start(64), twice, np.tile(Y[:40], 2), prior=RIDGE).model.classifier.scorer.weight
    weighed = dg.fit(
        start(64), HOLES[:40], Y[:40], prior=RIDGE, weights=np.full(40, 2.0)
    ).model.classifier.scorer.weight
    assert_close(double, weighed, 0.1)  # other draws of the same cells


def test_a_density_of_clusters_says_what_cells_may_hold():
    clusters = dg.fit(dg.gaussian_mixture(jax.random.key(0), X, 3), HOLES, prior="weak", method=dg.EM(1e-2)).model
    model = dg.fit(dg.marginalize(dg.logistic_regression(2, 2), clusters, 8), HOLES, Y, prior=RIDGE).model
    assert (dg.predict(model, HOLES) == Y).mean() > 0.75


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="y is needed"):
        dg.fit(start(), HOLES)
    with pytest.raises(ValueError, match="inside jit"):
        jax.jit(lambda x: dg.fit(start(), x, Y).model)(HOLES)
    with pytest.raises(ValueError, match="blend"):
        dg.fit(start(), HOLES, Y, blend=0.5)
