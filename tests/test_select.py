"""Model selection and cross-validation, beside loops by hand and scikit-learn's."""

import re

import jax
import numpy as np
import pytest

import dgjax as dg

KEY = jax.random.key(0)
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 2)).astype("float32") + np.repeat([[0, 0], [5, 4], [-5, 4]], 20, 0).astype("float32")
Y = np.repeat([0, 1, 2], 20)
GRID = dg.grid(dg.gaussian_mixture, num_components=range(1, 5), covariance="diagonal")


def test_a_grid_has_each_combination_and_options_that_are_fixed():
    found = dg.grid(dg.gaussian_mixture, num_components=(1, 2), covariance=["full", "tied"], prior="weak")
    assert [list(own.options.values()) for own in found] == [
        [1, "full", "weak"],
        [1, "tied", "weak"],
        [2, "full", "weak"],
        [2, "tied", "weak"],
    ]
    assert found[0].name == "gaussian_mixture, num_components=1, covariance='full', prior='weak'"


def test_the_best_is_that_of_a_loop_by_hand():
    found = dg.select(GRID, X, key=KEY)
    by_hand = {}
    for k in range(1, 5):
        start = dg.gaussian_mixture(KEY, X, k, "diagonal")
        by_hand[k] = dg.fit(start, X)
        (trial,) = [own for own in found.table if own.options["num_components"] == k]
        assert trial.criterion == pytest.approx(float(dg.bic(by_hand[k].model, X)), rel=1e-5)
        assert trial.log_likelihood == pytest.approx(float(dg.log_prob(by_hand[k].model, X).sum()), rel=1e-5)
        assert trial.num_parameters == dg.num_parameters(by_hand[k].model)
        assert trial.converged == by_hand[k].converged
    assert [own.criterion for own in found.table] == sorted(own.criterion for own in found.table)
    assert found.table[0].options["num_components"] == found.model.num_labels == 3
    np.testing.assert_allclose(found.model.density.mean, by_hand[3].model.density.mean, rtol=1e-5)


def test_what_was_tried_is_printed_the_best_first():
    found = dg.select(GRID, X, key=KEY)
    title, head, *lines = repr(found).splitlines()
    assert title == "Selection by bic, lower is better, of 4 candidates"
    assert head.split() == [
        "num_components",
        "covariance",
        "bic",
        "parameters",
        "log-likelihood",
        "converged",
        "seconds",
    ]
    assert [line.split()[0] for line in lines] == [str(own.options["num_components"]) for own in found.table]
    assert found._repr_html_().count("<tr>") == 5


def test_a_candidate_that_collapses_is_told_and_not_raised():
    rows = np.concatenate([X[:20], np.full((5, 2), 9, "float32")])
    found = dg.select(dg.grid(dg.gaussian_mixture, num_components=(1, 2), covariance="diagonal"), rows, key=KEY)
    best, failed = found.table
    assert (best.options["num_components"], best.failure) == (1, None)
    assert "collapsed" in failed.failure
    assert np.isnan(failed.criterion)
    assert "1 of which failed" in repr(found)
    assert "collapsed" in repr(found).splitlines()[-1]
    with pytest.raises(ValueError, match=r"every one of the 1 candidates failed; .*collapsed"):
        dg.select(GRID[1:2], rows, key=KEY)


def test_restarts_are_those_of_fit():
    one, three = (dg.select(GRID[3:], X, key=jax.random.key(5), restarts=restarts) for restarts in (1, 3))
    assert three.table[0].log_likelihood >= one.table[0].log_likelihood - 1e-3
    by_hand = dg.fit(
        dg.gaussian_mixture(jax.random.key(5), X, 4, "diagonal"),
        X,
        method=dg.Restarts(3, jax.random.fold_in(jax.random.key(5), 1)),
    )
    assert three.table[0].log_likelihood == pytest.approx(float(by_hand.objective[-1]), rel=1e-4)


def test_labels_compare_classifiers_by_the_joint_or_by_held_out_rows():
    starters = dg.grid(dg.discriminant_analysis, covariance=("tied", "diagonal"))
    found = dg.select(starters, X, Y)
    for trial in found.table:
        model = dg.discriminant_analysis(X, Y, **trial.options)
        joint = float(dg.log_joint(model, X, Y).sum())
        size = dg.num_parameters(model)
        assert trial.criterion == pytest.approx(-2 * joint + size * np.log(60), rel=1e-4)
    naive = {"naive": lambda x, y: dg.naive_bayes(x, y), "logistic": dg.logistic_regression}
    both = dg.select(naive, X, Y, "cross-validation", key=KEY, folds=3, prior=None)
    assert {own.name for own in both.table} == {"naive", "logistic"}
    assert all(own.standard_error > 0 for own in both.table)
    with pytest.raises(ValueError, match='Type criterion="cross-validation"'):
        dg.select(naive, X, Y, prior=None)


def test_a_discriminative_model_is_scored_by_the_rows_that_have_labels():
    some = np.where(np.arange(60) % 3 == 0, -1, Y)
    model = dg.fit(dg.logistic_regression(2, 3), X, Y, prior=dg.priors.Ridge(1.0)).model
    known = some >= 0
    wanted = -2 * float(dg.log_conditional(model, X[known], Y[known]).sum()) + 6 * np.log(known.sum())
    assert dg.bic(model, X, y=some) == pytest.approx(wanted, rel=1e-5)
    assert dg.bic(model, X, y=some) == pytest.approx(float(dg.bic(model, X[known], y=Y[known])), rel=1e-5)
    with pytest.raises(ValueError, match="Type y=y"):
        dg.bic(model, X)


def test_the_icl_is_the_bic_and_twice_the_entropy():
    model = dg.Mixture(np.log([0.5, 0.5]), dg.DiagonalGaussian(np.array([[0.0, 0], [1, 1]]), np.zeros((2, 2))))
    proba = np.exp(np.asarray(dg.predict_log_proba(model, X), float))
    entropy = -np.where(proba > 0, proba * np.log(np.where(proba > 0, proba, 1)), 0).sum()
    assert entropy > 1
    assert dg.icl(model, X) == pytest.approx(float(dg.bic(model, X)) + 2 * entropy, rel=1e-5)
    assert dg.icl(model, X, y=Y % 2) == pytest.approx(float(dg.bic(model, X, y=Y % 2)), rel=1e-6)
    whole = jax.jit(lambda model: dg.icl(model, X))(model)
    assert whole == pytest.approx(float(dg.icl(model, X)), rel=1e-5)
    chain = dg.HiddenMarkov(np.zeros(2), np.zeros((2, 2)), model.density)
    with pytest.raises(ValueError, match="one at each step"):
        dg.icl(chain, X[None])


def test_held_out_rows_are_scored_by_a_model_of_the_others():
    fold = np.arange(60) % 3
    found = dg.cross_validate(dg.discriminant_analysis, X, Y, folds=fold)
    for number in range(3):
        there = fold == number
        model = dg.discriminant_analysis(X[~there], Y[~there])
        wanted = {
            "log_joint": dg.log_joint(model, X[there], Y[there]).mean(),
            "log_loss": -dg.log_conditional(model, X[there], Y[there]).mean(),
            "accuracy": (np.asarray(dg.predict(model, X[there])) == Y[there]).mean(),
        }
        for name, own in wanted.items():
            assert found.scores[name][number] == pytest.approx(float(own), rel=1e-4), name
    assert found.standard_error["log_loss"] == pytest.approx(found.scores["log_loss"].std(ddof=1) / np.sqrt(3))
    assert re.match(r"CrossValidation of 3 folds: log_joint -\S+ ± ", repr(found))


def test_no_held_out_row_is_seen_where_the_model_starts():
    seen = []
    start = dg.gaussian_mixture(KEY, X, 1, "diagonal")
    dg.cross_validate(lambda x: seen.append(x) or start, X, key=KEY)
    assert [len(rows) for rows in seen] == [48] * 5
    held = [{tuple(row) for row in X.tolist()} - {tuple(row) for row in rows.tolist()} for rows in seen]
    assert sorted(row for rows in held for row in rows) == sorted(map(tuple, X.tolist()))


def test_folds_have_as_many_of_each_class_and_rows_without_a_label_are_trained_on():
    seen = []
    some = np.where(np.arange(60) % 4 == 0, -1, Y)
    dg.cross_validate(lambda x, y: seen.append(y) or dg.naive_bayes(x, y), X, some, key=KEY, folds=5)
    for labels in seen:
        counts = np.bincount(labels + 1)
        assert counts.tolist() == [15, 12, 12, 12]


def test_sequences_are_split_by_sequence():
    x, lengths = RANDOM.normal(size=(12, 6, 1)).astype("float32"), np.array([6, 3] * 6)
    candidate = dg.grid(dg.hidden_markov, num_states=2, covariance="diagonal", prior="weak")
    found = dg.cross_validate(candidate, x, lengths=lengths, key=KEY, folds=2)
    assert found.scores["log_prob"].shape == (2,)
    fold = np.arange(12) % 2
    by_fold = dg.cross_validate(candidate, x, lengths=lengths, key=KEY, folds=fold)
    start = dg.hidden_markov(KEY, x[fold != 0], 2, covariance="diagonal", lengths=lengths[fold != 0])
    model = dg.fit(start, x[fold != 0], lengths=lengths[fold != 0], prior="weak").model
    wanted = dg.log_prob(model, x[fold == 0], lengths[fold == 0]).mean()
    assert by_fold.scores["log_prob"][0] == pytest.approx(float(wanted), rel=1e-4)


@pytest.mark.slow
def test_cross_validation_is_scikit_learns():
    lda = pytest.importorskip("sklearn.discriminant_analysis")
    from sklearn.model_selection import LeaveOneGroupOut, cross_val_score

    fold = np.arange(60) % 5
    peer = cross_val_score(
        lda.LinearDiscriminantAnalysis(), X, Y, groups=fold, cv=LeaveOneGroupOut(), scoring="neg_log_loss"
    )
    found = dg.cross_validate(dg.discriminant_analysis, X, Y, folds=fold)
    np.testing.assert_allclose(found.scores["log_loss"], -peer, rtol=0.25, atol=1e-4)  # it divides by n - k


def test_a_frame_and_a_bar():
    frame = {"a": X[:, 0], "b": X[:, 1], "kind": np.array(["no", "yes", "so"])[Y]}
    found = dg.select(
        [dg.discriminant_analysis, dg.naive_bayes], frame, "kind", "cross-validation", key=KEY, folds=2, progress=True
    )
    assert isinstance(found.model, dg.Tabular)
    plain = dg.select([dg.discriminant_analysis], X, np.array([0, 2, 1])[Y], "cross-validation", key=KEY, folds=2)
    (own,) = [trial for trial in found.table if trial.name == "discriminant_analysis"]
    assert own.num_parameters == plain.table[0].num_parameters
    assert own.log_likelihood == pytest.approx(plain.table[0].log_likelihood, rel=1e-4)


REFUSED = {
    "no key": (lambda: dg.cross_validate(GRID[1], X, folds=np.arange(60) % 2), "Type key=jax.random.key"),
    "no key for folds": (lambda: dg.cross_validate(dg.naive_bayes, X, Y), "Type key=jax.random.key"),
    "no key for restarts": (lambda: dg.select(GRID, X, restarts=2), "Type key=jax.random.key"),
    "a model": (lambda: dg.select(3, X), "Type dgjax.grid"),
    "a criterion": (lambda: dg.select(GRID, X, criterion="mdl"), '"bic", "aic", "icl", "cross-validation"'),
    "one fold": (lambda: dg.cross_validate(dg.naive_bayes, X, Y, key=KEY, folds=1), "folds must be"),
    "too many folds": (lambda: dg.cross_validate(dg.naive_bayes, X, Y, key=KEY, folds=61), "at most"),
    "one group": (lambda: dg.cross_validate(dg.naive_bayes, X, Y, folds=np.zeros(60, int)), "two at least"),
    "a class of one row": (lambda: dg.cross_validate(dg.naive_bayes, X[:21], Y[:21], key=KEY), "got one of 1"),
    "several": (lambda: dg.cross_validate(GRID, X, key=KEY), "Type dgjax.select"),
    "an argument": (lambda: dg.cross_validate(lambda rows: 1, X, key=KEY), "lambda x, y"),
    "no values": (lambda: dg.grid(dg.gaussian_mixture, num_components=[]), "one value at least"),
    "labels of other rows": (lambda: dg.select(dg.naive_bayes, X, Y[:9]), "y must have one entry"),
    "one axis": (lambda: dg.select(GRID, X[:, 0]), r"rows \(n, d\)"),
}


@pytest.mark.parametrize(("call", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_told(call, told):
    with pytest.raises(ValueError, match=told):
        call()


def test_an_option_that_nothing_takes_is_told():
    with pytest.raises(TypeError, match="num_components=3"):
        dg.grid(dg.gaussian_mixture, n_components=3)
    with pytest.raises(TypeError, match="max_steps=9"):
        dg.select(GRID, X, key=KEY, max_iter=9)


def test_a_table_has_its_own_labels():
    table = dg.Table.of({"a": [1.0, 2.0, 3.0, 5.0], "b": ["p", "p", "q", "q"]}, "b")
    for call in (dg.select, dg.cross_validate):
        with pytest.raises(ValueError, match="y is that of the table x; got 'aic' beside it"):
            call(dg.discriminant_analysis, table, "aic", key=KEY)


@pytest.mark.slow
def test_probabilities_that_a_fit_drives_to_nothing_were_parameters():
    steps = np.sin(np.arange(120) / 6)[None, :, None] + 0.2 * np.random.default_rng(1).normal(size=(1, 120, 1))
    found = dg.select(dg.grid(dg.hidden_markov, num_states=(3, 4)), steps.astype("float32"), key=KEY)
    assert {trial.options["num_states"]: trial.num_parameters for trial in found.table} == {3: 14, 4: 23}
    for trial in found.table:
        expected = -2 * trial.log_likelihood + trial.num_parameters * np.log(120)
        assert abs(trial.criterion - expected) < 0.1


@pytest.mark.slow
def test_clusters_of_truth_values_are_not_made_of_their_spikes():
    coins = np.random.default_rng(0).random((300, 2)) < 0.5
    tried = dg.grid(dg.latent_class_analysis, num_components=(1, 2, 3), kinds="bernoulli", prior="weak")
    assert dg.select(tried, coins.astype("float32"), key=KEY).model.num_labels == 1
