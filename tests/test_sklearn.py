"""Estimators: labels of any type, batches that add up, and scikit-learn's other parts on top."""

import jax
import joblib
import numpy as np
import pandas as pd
import pytest
from laws import slow
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_size_classes import programs

import dgjax as dg
from dgjax import sklearn as estimators


def made(n=60, holes=0.0, seed=0):
    """Rows (n, 3) of three classes and their labels."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = 2 * np.eye(3)[y] + rng.normal(size=(n, 3))
    return np.where(rng.random(x.shape) < holes, np.nan, x), y


X, Y = made()
HOLES, _ = made(holes=0.2)
NAMES = np.array(["ape", "bee", "cat"])
LABELS = {
    "ints": (Y, -1, [0, 1, 2]),
    "ints from 5": (Y + 5, -1, [5, 6, 7]),
    "strings in objects": (NAMES.astype(object)[Y], None, ["ape", "bee", "cat"]),
    "strings beside NaN": (NAMES.astype(object)[Y], np.nan, ["ape", "bee", "cat"]),
    "floats": (Y / 1.0, np.nan, [0.0, 1.0, 2.0]),
    "nullable": (pd.Series(Y, dtype="Int64"), pd.NA, [0, 1, 2]),
    "nullable, -1": (pd.Series(Y, dtype="Int64"), -1, [0, 1, 2]),
    "ints in objects": (Y.astype(object), None, [0, 1, 2]),
    "ints in objects, -1": (Y.astype(object), -1, [0, 1, 2]),
    "a list with NaN": (NAMES.astype(object)[Y], np.nan, ["ape", "bee", "cat"]),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_of_any_type_and_unknown_ones(name):
    given, unknown, classes = LABELS[name]
    some = given.copy()
    some[::4] = unknown
    some = list(some) if name.startswith("a list") else some
    codes = np.where(np.arange(60) % 4 == 0, -1, Y)
    fitted = estimators.NaiveBayesClassifier().fit(HOLES, some)
    model = dg.naive_bayes(HOLES, codes, prior="weak")
    assert fitted.classes_.tolist() == classes
    assert np.allclose(fitted.predict_log_proba(HOLES), dg.predict_log_proba(model, HOLES), atol=1e-5)
    assert (fitted.predict(HOLES) == np.asarray(classes, fitted.classes_.dtype)[dg.predict(model, HOLES)]).all()
    right = (fitted.predict(HOLES) == fitted.classes_[Y])[codes >= 0]
    assert np.isclose(fitted.score(HOLES, some), right.mean())
    assert set(fitted.sample(9, 0)[1]) <= set(classes)


def test_minus_one_is_a_class_beside_one_alone():
    x, y = X[Y < 2], Y[Y < 2]
    signed = estimators.NaiveBayesClassifier().fit(x, 2 * y - 1)
    assert signed.classes_.tolist() == [-1, 1]
    assert (signed.predict(x) == 2 * estimators.NaiveBayesClassifier().fit(x, y == 1).predict(x) - 1).all()
    with pytest.raises(ValueError, match="two classes"):
        estimators.NaiveBayesClassifier().fit(x, -y)


def test_a_score_is_of_known_labels_whichever_these_are():
    own = estimators.NaiveBayesClassifier().fit(X, Y)
    ones = np.where(Y == 1, 1, -1)
    assert np.isclose(own.score(X, ones), own.score(X[Y == 1], Y[Y == 1]))
    flags = np.where(np.arange(60) % 3 == 0, None, (Y == 1).astype(object))
    told = estimators.NaiveBayesClassifier().fit(X, flags)
    assert told.classes_.tolist() == [False, True]
    assert told.score(X, flags) == told.score(X[flags != None], (Y == 1)[flags != None])  # noqa: E711
    with pytest.raises(ValueError, match="none that is known"):
        own.score(X, np.full(60, -1))
    with pytest.raises(ValueError, match="two classes"):
        estimators.HiddenMarkovClassifier().fit(X.reshape(20, 3, 3), np.full(20, -1))
    signed = estimators.NaiveBayesClassifier()
    for part in (slice(0, 30), slice(30, 60)):
        signed.partial_fit(X[part], Y[part] - 1, classes=[-1, 0, 1])
    assert np.isclose(signed.score(X, Y - 1), own.score(X, Y))


KINDS = {
    "gaussian": lambda: (estimators.NaiveBayesClassifier(), HOLES),
    "counts": lambda: (estimators.NaiveBayesClassifier("poisson"), np.round(np.exp(HOLES / 3))),
    "binary": lambda: (estimators.NaiveBayesClassifier("bernoulli"), np.where(np.isnan(HOLES), np.nan, HOLES > 1)),
    "tied": lambda: (estimators.DiscriminantAnalysisClassifier(), X),
    "full, maximum likelihood": lambda: (estimators.DiscriminantAnalysisClassifier("full", prior=None), X),
}


@pytest.mark.parametrize("kind", [next(iter(KINDS)), *slow(*list(KINDS)[1:])])
@pytest.mark.parametrize("precision", ["single", *slow("double")])
def test_batches_add_up_to_one_fit(kind, precision):
    with jax.enable_x64(precision == "double"):
        estimator, x = KINDS[kind]()
        x, weights = 1e3 + 100 * x if kind in ("gaussian", "tied") else x, np.arange(60) % 3 + 1.0
        order = np.argsort(Y, kind="stable")  # the first batch has one class alone
        whole = clone(estimator).fit(x, NAMES[Y], weights)
        for at in np.split(order, [15, 20]):
            estimator.partial_fit(x[at], NAMES[Y[at]], NAMES, weights[at])
        close = {"rtol": 1e-9, "atol": 1e-10} if precision == "double" else {"rtol": 1e-4, "atol": 1e-4}
        for own, other in zip(*map(jax.tree.leaves, (estimator.model_, whole.model_)), strict=True):
            assert own.dtype == other.dtype
            np.testing.assert_allclose(own, other, **close)


def test_batches_that_do_not_add_up_are_told():
    one = estimators.NaiveBayesClassifier()
    with pytest.raises(ValueError, match=r"classes=np.unique\(y\)"):
        one.partial_fit(X, Y)
    with pytest.raises(ValueError, match="every label"):
        one.partial_fit(X, np.where(Y == 0, -1, Y), [0, 1, 2])
    with pytest.raises(ValueError, match="unseen labels"):
        one.partial_fit(X, Y, [0, 1])
    with pytest.warns(UserWarning, match="begins anew"):
        one.fit(X, Y).partial_fit(X, Y)


@pytest.mark.slow
def test_a_missing_cell_among_dependent_columns_has_no_sums():
    with pytest.raises(ValueError, match=r"X\[\d+, \d\] is missing"):
        estimators.DiscriminantAnalysisClassifier().partial_fit(HOLES, Y, [0, 1, 2])


def test_folds_share_programs():
    estimator, cv = estimators.NaiveBayesClassifier(), KFold(5, shuffle=True, random_state=0)
    x, y = made(62, 0.2)  # of which folds have 12 or 13 rows
    train, test = next(cv.split(x))
    clone(estimator).fit(x[train], y[train]).score(x[test], y[test])
    with programs() as seen:
        scores = cross_val_score(estimator, x, y, cv=cv)
    assert {len(test) for _, test in cv.split(x)} == {12, 13}
    assert not seen
    assert scores.mean() > 0.6


def test_other_parts_of_scikit_learn_take_estimators():
    pipe = make_pipeline(StandardScaler(), estimators.NaiveBayesClassifier())
    search = GridSearchCV(pipe, {"standardscaler__with_mean": [True, False]}, cv=5).fit(HOLES, NAMES[Y])
    assert search.best_score_ > 0.6
    calibrated = CalibratedClassifierCV(estimators.NaiveBayesClassifier(), cv=5).fit(HOLES, NAMES[Y])
    assert np.allclose(calibrated.predict_proba(HOLES).sum(1), 1)
    alone = cross_val_score(pipe, HOLES, Y, cv=5)
    with joblib.parallel_backend("threading"):
        assert (cross_val_score(pipe, HOLES, Y, cv=5, n_jobs=3) == alone).all()


def test_columns_have_names():
    frame = pd.DataFrame(X, columns=list("abc"))
    fitted = estimators.NaiveBayesClassifier({"c": "gaussian", "a": "gaussian", "b": "gaussian"}).fit(frame, Y)
    assert fitted.feature_names_in_.tolist() == ["a", "b", "c"]
    assert fitted.n_features_in_ == 3
    for other in (frame[["b", "a", "c"]], frame[["a", "b"]]):
        with pytest.raises(ValueError, match="feature names"):
            fitted.predict(other)


@pytest.mark.slow
@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_a_mixture_is_scikit_learns(covariance):
    from sklearn.mixture import GaussianMixture

    options = {"covariance_type": covariance, "tol": 1e-6, "max_iter": 500, "random_state": 0}
    x = 4 * np.eye(3)[Y] + made(seed=1)[0]
    own = estimators.GaussianMixture(3, prior=None, **options).fit(x)
    theirs = GaussianMixture(3, reg_covar=0, **options).fit(x)
    ours, others = np.argsort(own.means_[:, 0]), np.argsort(theirs.means_[:, 0])
    shared = covariance == "tied"
    for name in ("means_", "weights_", "covariances_"):
        one, other = getattr(own, name), getattr(theirs, name)
        whole = shared and name == "covariances_"
        np.testing.assert_allclose(one if whole else one[ours], other if whole else other[others], rtol=0.02, atol=0.02)
    for name in ("score", "bic", "aic"):
        np.testing.assert_allclose(getattr(own, name)(x), getattr(theirs, name)(x), rtol=1e-3)
    assert own.converged_
    assert own.n_iter_ > 0
    assert np.isclose(own.lower_bound_, own.score(x), atol=1e-4)
    assert (ours.argsort()[own.predict(x)] == others.argsort()[theirs.predict(x)]).mean() > 0.98
    assert np.allclose(own.predict_proba(x)[:, ours], theirs.predict_proba(x)[:, others], atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("k", [2, 3])
def test_logistic_regression_is_scikit_learns(k):
    from sklearn.linear_model import LogisticRegression

    x, y = X[k > Y], Y[k > Y]
    own, theirs = estimators.LogisticRegression(0.5).fit(x, y), LogisticRegression(C=0.5, tol=1e-8).fit(x, y)
    assert own.coef_.shape == theirs.coef_.shape
    assert np.allclose(own.coef_, theirs.coef_, atol=1e-3)
    assert np.allclose(own.predict_proba(x), theirs.predict_proba(x), atol=1e-3)
    with pytest.raises(ValueError, match="NaN"):
        own.predict(HOLES)


@pytest.mark.slow
def test_logistic_regression_takes_missing_cells():
    some = np.where(np.arange(60) % 5 == 0, -1, Y)
    for features in ("linear", "quadratic"):
        own = estimators.LogisticRegression(features=features, missing="marginalize", random_state=0)
        own.fit(HOLES, some)
        assert own.score(HOLES, Y) > 0.7
        alone = own.regression_
        assert np.allclose(own.predict_log_proba(X), dg.predict_log_proba(alone, X), atol=1e-5)
    with pytest.raises(ValueError, match="marginalize"):
        estimators.LogisticRegression(missing="drop").fit(X, Y)


@pytest.mark.parametrize("kind", ["classes", *slow("a normal density")])
def test_an_imputer_fills_what_is_missing_and_nothing_else(kind):
    frame = pd.DataFrame(HOLES, columns=list("abc"))
    by = estimators.NaiveBayesClassifier() if kind == "classes" else None
    imputer = estimators.ExactImputer(by).set_output(transform="pandas")
    filled, missing = imputer.fit_transform(frame, Y), np.isnan(HOLES)
    assert filled.columns.tolist() == ["a", "b", "c"]
    assert (filled.to_numpy()[~missing] == HOLES[~missing]).all()
    np.testing.assert_allclose(filled, dg.impute(imputer.model_, HOLES), rtol=1e-6)
    assert (imputer.transform(pd.DataFrame(X, columns=list("abc"))).to_numpy() == X).all()


@pytest.mark.slow
def test_an_imputer_draws_by_any_generative_estimator():
    by = estimators.NaiveBayesClassifier()
    drawn = [
        estimators.ExactImputer(by, sample_posterior=True, random_state=seed).fit_transform(HOLES, Y)
        for seed in (0, 0, 1)
    ]
    missing = np.isnan(HOLES)
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] != drawn[2])[missing].all()
    assert (drawn[0] == drawn[2])[~missing].all()


@pytest.mark.slow
def test_factors_are_posterior_means():
    own = estimators.FactorAnalysis(2, random_state=0).set_output(transform="pandas").fit(HOLES)
    factors = own.transform(HOLES)
    assert factors.columns.tolist() == ["factoranalysis0", "factoranalysis1"]
    np.testing.assert_allclose(factors, dg.encode(own.model_, HOLES)[0], rtol=1e-6)


@pytest.mark.slow
def test_sequences_are_stacked_or_padded():
    lengths, rows = [15, 25, 20], np.split(HOLES, [15, 40])
    padded, _ = dg.pad(rows)
    one, other = (estimators.HiddenMarkovModel(2, random_state=0) for _ in range(2))
    one.fit(HOLES, lengths)
    other.fit(np.asarray(padded))
    assert np.isclose(one.score(HOLES, lengths), other.score(padded))
    assert one.score_samples(HOLES, lengths).shape == (3,)
    path = one.predict(HOLES, lengths)
    assert path.shape == (60,)
    assert (other.predict(padded)[0, :15] == path[:15]).all()
    assert (other.predict(padded)[0, 15:] == -1).all()
    assert np.allclose(one.predict_proba(HOLES, lengths).sum(1), 1, atol=1e-5)
    log_prob, decoded = one.decode(HOLES, lengths)
    assert log_prob < one.score(HOLES, lengths)
    assert (decoded == path).all()
    assert np.allclose(one.transmat_.sum(1), 1)
    assert np.isclose(one.startprob_.sum(), 1)
    assert one.sample(7, 0)[0].shape == (7, 3)
    assert one.aic(HOLES, lengths) < one.bic(HOLES, lengths)
    with pytest.raises(ValueError, match="lengths must be whole numbers that add to the 60 rows"):
        one.predict(HOLES, [15, 25])


@pytest.mark.slow
def test_a_class_for_each_sequence():
    rng = np.random.default_rng(0)
    y = np.arange(30) % 2
    x = rng.normal(size=(30, 8, 2)) + 2 * y[:, None, None]
    x[3, 5:] = np.nan
    names = np.array(["fall", "walk"], object)[y]
    some = np.where(np.arange(30) % 3 == 0, None, names)
    own = estimators.HiddenMarkovClassifier(2, random_state=0).fit(x, some)
    assert own.score(x, names) > 0.9
    assert (own.predict(np.concatenate(x[5:9]), [8] * 4) == own.predict(x[5:9])).all()
    assert own.score(np.concatenate(x[5:9]), names[5:9], lengths=[8] * 4) == own.score(x[5:9], names[5:9])
    assert np.allclose(own.predict_proba(x).sum(1), 1)
    drawn, labels = own.sample(4, 0, n_steps=6)
    assert drawn.shape == (4, 6, 2)
    assert set(labels) <= {"fall", "walk"}
    assert cross_val_score(own, x, names, cv=3).min() > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["autoregressive", "autoencoder", "diffusion", "flow", "tilted"])
def test_learned_densities(kind):
    options = {"hidden": (8,)} if kind in ("autoencoder", "tilted") else {"width": 8, "num_layers": 2}
    rows = X if kind in ("flow", "tilted") else HOLES
    steps = {"options": options, "max_iter": 3, "random_state": 0}
    density = estimators.LearnedDensity(kind, **steps).fit(rows)
    assert density.score_samples(rows).shape == (60,)
    assert density.n_iter_ == 3
    assert density.sample(4)[0].shape == (4, 3)
    early = {"early_stopping": True, "validation_fraction": 0.25, "n_iter_no_change": 2}
    some = np.where(Y == 0, None, NAMES.astype(object)[Y])
    own = estimators.LearnedClassifier(kind, **steps, **early).fit(rows, some)
    assert own.predict_proba(rows).shape == (60, 2)


@pytest.mark.slow
def test_a_discriminator_classifies_and_draws():
    options = {"options": {"hidden": (16,), "latent_dim": 4}, "max_iter": 60, "random_state": 0}
    own = estimators.AdversarialClassifier(learning_rate_init=1e-2, generator_learning_rate_init=2e-3, **options)
    own.fit(X, np.where(np.arange(60) % 3 == 1, None, NAMES.astype(object)[Y]).tolist())
    known = np.arange(60) % 3 != 1
    assert own.score(X[known], NAMES[Y][known]) > 0.8
    drawn, labels = own.sample(5, 0)
    assert drawn.shape == (5, 3)
    assert set(labels) <= set(NAMES)
    assert not hasattr(own, "score_samples")
    with pytest.raises(ValueError, match="NaN"):
        own.predict(HOLES)


@pytest.mark.slow
def test_names_of_covariances_are_other_libraries_too():
    for own, theirs in (("diagonal", "diag"), ("tied", "shared")):
        one, other = (estimators.DiscriminantAnalysisClassifier(name).fit(X, Y) for name in (own, theirs))
        assert (one.predict_log_proba(X) == other.predict_log_proba(X)).all()
        one, other = (
            estimators.GaussianMixture(2, covariance_type=name, random_state=0).fit(X) for name in (own, theirs)
        )
        assert (one.score_samples(X) == other.score_samples(X)).all()


def test_random_states_are_seeds():
    def drawn(state):
        return estimators.NaiveBayesClassifier().fit(X, Y).sample(3, state)[0]

    assert (
        drawn(3) == np.asarray(dg.sample(estimators.NaiveBayesClassifier().fit(X, Y).model_, jax.random.key(3), 3)[0])
    ).all()
    assert (drawn(np.random.RandomState(0)) == drawn(np.random.RandomState(0))).all()
    assert (drawn(None) != drawn(None)).any()
    with pytest.raises(ValueError, match="seed"):
        drawn("three")


def test_what_is_asked_too_early_or_cannot_be_answered_is_told():
    with pytest.raises(NotFittedError):
        estimators.NaiveBayesClassifier().sample()
    with pytest.raises(ValueError, match=r"kinds must give the kind of every column, \['a', 'b', 'c'\]"):
        estimators.NaiveBayesClassifier({"a": "poisson"}).fit(pd.DataFrame(X, columns=list("abc")), Y)
    x = (X > 1).astype(float)
    x[Y == 0, 0], x[Y == 1, 1], x[Y == 2, 2] = 0, 0, 0
    strict = estimators.NaiveBayesClassifier("bernoulli", prior=None).fit(x, Y)
    for answer in (strict.predict, strict.predict_proba):
        with pytest.raises(ValueError, match=r'X row 1 has probability 0 under every class.*prior="weak"'):
            answer([[0, 0, 0], [1, 1, 1]])
