"""Mixtures of hidden Markov models: answers against all classes and paths; cells, labels and steps are missing."""

import functools

import chain_oracle
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from laws import assert_close

import dgjax as dg
from dgjax import priors

pytestmark = pytest.mark.xdist_group("sequence classes")
N, T, C, K, D = 5, 3, 2, 2, 2
LENGTHS = np.array([3, 1, 2, 3, 2])
Y = np.array([1, -1, -1, 0, -1])


def emissions(name, rng, labels=(C, K)):
    mean, log_scale = rng.normal(0, 1, (*labels, D)), rng.normal(0, 0.3, (*labels, D))
    match name:
        case "diagonal":
            return dg.DiagonalGaussian(mean, log_scale)
        case "tied":
            return dg.Gaussian(mean, np.eye(D) + np.tril(rng.normal(0, 0.4, (D, D)), -1))
        case "mixture":
            return dg.Mixture(rng.normal(0, 1, (*labels, 2)), emissions("diagonal", rng, (*labels, 2)))
    blocks = dg.Poisson(rng.normal(1, 0.5, (*labels, 1))), dg.Bernoulli(rng.normal(0, 1, (*labels, 1)))
    return dg.Columns(blocks, ((1,), (0,)))


OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in ("tied", "columns")]


def make(name="diagonal", zeros=True, seed=0, labels=(C,)):
    """Of one class a move, and of the other a start, is impossible."""
    rng = np.random.default_rng(seed)
    initial, transition = rng.normal(0, 1, (*labels, K)), rng.normal(0, 1, (*labels, K, K))
    if zeros:
        initial[..., 1, 0], transition[..., 0, 1, 0] = -np.inf, -np.inf
    chains = dg.HiddenMarkov(initial, transition, emissions(name, rng, (*labels, K)))
    while chains.label_shape:
        chains = dg.Mixture(rng.normal(0, 1, chains.label_shape), chains)
    return chains


@functools.cache
def data(name="diagonal", missing=True):
    """Sequences with some cells, a step and a whole sequence missing."""
    rng = np.random.default_rng(1)
    x = rng.normal(0, 1, (N, T, D))
    if name == "columns":
        x = np.stack([rng.integers(0, 2, (N, T)), rng.poisson(2, (N, T))], -1).astype(float)
    if missing:
        x[np.random.default_rng(2).random(x.shape) < 0.2] = np.nan
        x[3, 1], x[4] = np.nan, np.nan
    x[np.arange(T) >= LENGTHS[:, None]] = np.nan if missing else 0
    return x


def chains(model, x):
    """The potentials of each sequence in each class, from densities worked out cell by cell."""
    density = model.density
    initial, transition = (np.asarray(jax.nn.log_softmax(a)) for a in (density.log_initial, density.log_transition))
    emitted = functools.partial(oracle.log_density, density.density)
    scores = np.array([[[[emitted((c, k), row) for k in range(K)] for row in one] for c in range(C)] for one in x])
    return [
        [chain_oracle.Potentials(initial[c], transition[c], own[c], length) for c in range(C)]
        for own, length in zip(scores, LENGTHS, strict=True)
    ]


def joint_of(model, x):
    """log p(x, class) (n, c), by sums over all paths."""
    each = np.array([[chain_oracle.log_partition(own) for own in one] for one in chains(model, x)])
    return np.asarray(jax.nn.log_softmax(model.log_weights)) + each


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["diagonal", "tied", "columns", "mixture"])
def test_the_joint_is_a_sum_over_paths_and_classes(name):
    model, x = make(name), data(name)
    joint = joint_of(model, x)
    expected = np.where(Y < 0, np.logaddexp.reduce(joint, 1), joint[np.arange(N), Y])
    found = np.asarray(dg.log_joint(model, x, Y, LENGTHS))
    assert_close(found, expected)
    assert found[4] == 0


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["diagonal", "tied", "columns", "mixture"])
def test_answers_are_those_of_sums_over_paths_and_classes(name, tmp_path):
    model, x = make(name), data(name)
    joint = joint_of(model, x)
    total = np.logaddexp.reduce(joint, 1)
    assert_close(dg.log_prob(model, x, LENGTHS), total)
    assert_close(dg.predict_log_proba(model, x, LENGTHS), joint - total[:, None])
    assert dg.predict(model, x, LENGTHS).tolist() == joint.argmax(1).tolist()
    assert_close(
        dg.log_conditional(model, x, Y, LENGTHS), np.where(Y < 0, 0, joint[np.arange(N), np.maximum(Y, 0)] - total)
    )
    assert dg.predict(model, x, LENGTHS, y=Y).tolist() == np.where(Y < 0, joint.argmax(1), Y).tolist()
    marginals = np.array([[chain_oracle.marginals(own) for own in one] for one in chains(model, x)])
    posterior = np.exp(joint - total[:, None])[:, :, None, None] * marginals
    filled, inside = np.asarray(dg.impute(model, x, LENGTHS)), np.arange(T) < LENGTHS[:, None]
    rows = jnp.moveaxis(posterior, 1, 2).reshape(-1, C, K)
    states = model.density.density.impute(jnp.asarray(x).reshape(-1, D), rows).reshape(x.shape)
    assert_close(filled, np.where(inside[..., None], states, x))
    drawn = np.asarray(dg.sample_labels(model, jax.random.key(0), np.repeat(x, 400, 0), np.repeat(LENGTHS, 400)))
    np.testing.assert_allclose((drawn.reshape(N, 400) == 1).mean(1), np.exp(joint - total[:, None])[:, 1], atol=0.12)
    again = dg.sample_missing(model, jax.random.key(0), x, LENGTHS)
    assert np.isfinite(np.asarray(again)[inside]).all()
    assert (np.asarray(again)[~np.isnan(x)] == x[~np.isnan(x)]).all()
    second = dg.log_prob(model, np.where(np.arange(D) == 0, np.nan, x), LENGTHS)
    assert_close(dg.log_prob(dg.marginal(model, [1]), x[..., 1:], LENGTHS), second)
    dg.save(tmp_path / "model", model)
    assert_close(dg.log_prob(dg.load(tmp_path / "model"), x, LENGTHS), total)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["diagonal", *OTHERS])
def test_one_step_of_em_is_that_of_counts_over_paths_and_classes(name):
    model, x, weights = make(name), data(name), np.array([1, 0.5, 2, 1, 1])
    moves, of_rows = priors.Dirichlet(np.full(K, 1.5)), priors.NormalInverseGamma(np.zeros(D), 1.0, 1.0, np.ones(D))
    if name != "diagonal":
        of_rows = dg.weak_prior(model, x, 1.0, LENGTHS).density.density
    prior = priors.MixturePrior(None, priors.HiddenMarkovPrior(None, moves, of_rows))
    new = dg.fit(model, x, Y, weights=weights, lengths=LENGTHS, prior=prior, max_steps=1, method=dg.EM(tol=0.0)).model
    joint, each = joint_of(model, x), chains(model, x)
    joint = np.where((Y[:, None] >= 0) & (np.arange(C) != Y[:, None]), -np.inf, joint)
    shares = weights[:, None] * np.exp(joint - np.logaddexp.reduce(joint, 1)[:, None])
    assert_close(np.exp(new.log_weights), shares.sum(0) / shares.sum())
    marginals = np.array([[chain_oracle.marginals(own) for own in one] for one in each]) * shares[..., None, None]
    starts = marginals[:, :, 0].sum(0)
    assert_close(np.exp(new.density.log_initial), starts / starts.sum(1, keepdims=True))
    counts = np.array([[chain_oracle.transition_counts(own) for own in one] for one in each])
    counts = np.einsum("nc,nctij->cij", shares, counts) + 0.5 * np.isfinite(model.density.log_transition)
    assert_close(np.exp(new.density.log_transition), counts / counts.sum(2, keepdims=True))
    of_steps = np.moveaxis(marginals, 1, 2).reshape(-1, C, K)
    expected = oracle.em_step(model.density.density, x.reshape(-1, D), of_steps, prior.density.density)
    for own, other in zip(oracle.parameters(new.density.density), expected, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-8, atol=1e-10)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["diagonal", "tied", "mixture"])
def test_the_twin_has_the_same_classes(name):
    model, x = make(name), data(name, missing=False)
    twin = dg.discriminative(model)
    assert_close(dg.predict_log_proba(twin, x, LENGTHS), dg.predict_log_proba(model, x, LENGTHS), 1e-8)
    with pytest.raises(ValueError, match="mixture of hidden Markov models"):
        dg.predict(twin, data(name), LENGTHS)


@functools.cache
def two_kinds(n=120, t=20):
    """Sequences of a chain that stays and of one that switches, whose rows are alike."""
    transition = np.log([[[0.95, 0.05], [0.05, 0.95]], [[0.3, 0.7], [0.7, 0.3]]])
    density = dg.DiagonalGaussian(np.tile([[-1.0, 0], [1, 0]], (2, 1, 1)), np.full((2, 2, 2), -0.5))
    truth = dg.Mixture(np.zeros(2), dg.HiddenMarkov(np.zeros((2, 2)), transition, density))
    x, y = dg.sample(truth, jax.random.key(0), (n, t))
    lengths = np.random.default_rng(0).integers(t // 2, t + 1, n)
    x = np.where(np.random.default_rng(1).random(x.shape) < 0.1, np.nan, x)
    return truth, x, np.array(y), lengths


@pytest.mark.slow
def test_a_mixture_in_a_mixture_sums_both_out():
    """Two kinds of sequences in each class, beside one mixture of all four."""
    model, (_, x, _, lengths) = make(labels=(2, C)), two_kinds()
    flat = jax.tree.map(lambda leaf: leaf.reshape(4, *leaf.shape[2:]), model.density.density)
    weights = jax.nn.log_softmax(model.log_weights)[:, None] + jax.nn.log_softmax(model.density.log_weights)
    one = dg.Mixture(weights.reshape(-1), flat)
    assert_close(dg.log_prob(model, x, lengths), dg.log_prob(one, x, lengths))
    steps = {"lengths": lengths, "max_steps": 3, "method": dg.EM(tol=0.0)}
    assert_close(dg.fit(model, x, **steps).objective, dg.fit(one, x, **steps).objective, 1e-4)
    drawn, y = dg.sample(model, jax.random.key(0), (4, T))
    assert drawn.shape == (4, T, D)
    assert y.shape == (4,)
    twin = dg.discriminative(model)
    assert_close(dg.predict_log_proba(twin, drawn), dg.predict_log_proba(model, drawn), 1e-4)


@pytest.mark.slow
def test_two_kinds_of_sequences_are_found():
    truth, x, y, lengths = two_kinds()
    start = dg.hidden_markov_mixture(jax.random.key(0), x, 2, 2, covariance="diagonal", lengths=lengths)
    fitted = dg.fit(start, x, lengths=lengths)
    assert fitted.converged
    assert (np.diff(fitted.objective) > -1e-2).all()
    assert fitted.objective[-1] >= dg.log_prob(truth, x, lengths).sum()
    right = (dg.predict(fitted.model, x, lengths) == y).mean()
    assert max(right, 1 - right) > 0.95
    tried = dg.fit(start, x, lengths=lengths, method=dg.Restarts(3, jax.random.key(1)))
    assert tried.objective[-1] >= fitted.objective[-1] - 0.1


@pytest.mark.slow
@pytest.mark.parametrize("emitted", ["gaussian", ["poisson", "bernoulli"]], ids=str)
def test_classes_are_learnt_from_all_labels_and_from_few(emitted):
    truth, x, y, lengths = two_kinds()
    if emitted != "gaussian":
        x = np.where(np.isnan(x), np.nan, np.stack([np.round(np.exp(x[..., 0])), x[..., 1] > 0], -1))
    few = np.where(np.arange(len(y)) % 10 == 0, y, -1)
    for labels in (y, few):
        start = dg.hidden_markov_mixture(jax.random.key(0), x, 2, 2, labels, emitted, lengths=lengths)
        model = dg.fit(start, x, labels, lengths=lengths, prior="weak").model
        assert (dg.predict(model, x, lengths) == y).mean() > 0.9
    assert dg.num_parameters(truth) == 1 + 2 * (1 + 2) + 2 * 2 * 4
    assert np.isfinite(dg.bic(model, x, lengths))
    assert 0.8 < (dg.log_prob(model, x, lengths) >= dg.anomaly_threshold(model, x, 0.1, lengths)).mean() < 0.95


@pytest.mark.slow
def test_the_twin_is_trained_as_a_hidden_state_crf():
    _, x, y, lengths = two_kinds()
    x = np.nan_to_num(x)
    start = dg.hidden_markov_mixture(jax.random.key(0), x, 2, 2, y, lengths=lengths)
    model = dg.fit(start, x, y, lengths=lengths).model
    twin = dg.discriminative(model)
    fitted = dg.fit(twin, x, y, lengths=lengths, prior=priors.Ridge(0.1))
    before = dg.log_conditional(twin, x, y, lengths).sum()
    assert dg.log_conditional(fitted.model, x, y, lengths).sum() > before


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_steps_explain_a_class():
    model, x = make(), data(missing=False)
    told = dg.explain(model, x, lengths=LENGTHS)
    posterior = np.exp(dg.predict_log_proba(model, x, LENGTHS))
    assert_close(np.asarray(told.values).sum(1) + told.base, posterior.max(1))


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_in_numpyro_sequences_have_one_label():
    import dgjax.numpyro as dn

    infer = pytest.importorskip("numpyro.infer")
    model, x = make(zeros=False), data()
    rows = dn.Marginal(model, Y, num_steps=T, lengths=LENGTHS)
    assert_close(rows.log_prob(x), dg.log_joint(model, x, Y, LENGTHS))
    drawn = np.asarray(rows.sample(jax.random.key(0)))
    assert np.isfinite(drawn[np.arange(T) < LENGTHS[:, None]]).all()
    labels = dn.Conditional(model, x, LENGTHS)
    assert labels.event_shape == ()
    assert_close(labels.log_prob(Y), dg.log_conditional(model, x, Y, LENGTHS))
    bayes = dn.bayesian(model, dn.proper_prior(model, x, 1.0, LENGTHS))
    assert bayes.dims["density.transition"] == ("component", "state", "state_to")
    trace = infer.Predictive(bayes, num_samples=2)(jax.random.key(0), x, Y, LENGTHS)
    one = jax.tree.map(lambda leaf: leaf[0], bayes.model({name: trace[name] for name in bayes.dims}))
    assert np.isfinite(dg.log_prob(one, x, LENGTHS)).all()


CHAINS = make()
PATHS = dg.HiddenMarkov(np.zeros(C), np.zeros((C, C)), dg.DiagonalGaussian(np.zeros((C, D)), np.zeros((C, D))))
WRONG = {
    "paths for labels": (lambda x: dg.log_joint(CHAINS, x, np.zeros((N, T), int)), r"one label .* Type y\[..., 0\]"),
    "paths that move": (lambda x: dg.log_joint(CHAINS, x, np.eye(N, T, dtype=int)), r"got shape \(5, 3\)\.$"),
    "labels for paths": (lambda x: dg.log_joint(PATHS, x, np.zeros(N, int)), "hidden_markov_mixture"),
    "weights of steps": (lambda x: dg.fit(CHAINS, x, weights=np.ones((N, T))), "each sequence of x"),
    "a column never observed": (
        lambda x: dg.fit(CHAINS, x * np.array([1, np.nan])),
        r"np\.delete\(x, \[1\], axis=-1\)",
    ),
    "a twin explained": (lambda x: dg.explain(dg.discriminative(CHAINS), x), "generative model of the pair"),
    "states scored by sequences": (
        lambda x: dg.LinearChainCRF(np.zeros(C), np.zeros((C, C)), dg.discriminative(CHAINS).scorer),
        r"scorer of rows.*dgjax\.Logistic",
    ),
    "labels out of range": (lambda x: dg.log_joint(CHAINS, x, np.full(N, 2)), "from 0 to 1"),
    "samples without steps": (lambda x: dg.sample(CHAINS, jax.random.key(0)), "number of steps"),
    "chains without weights": (lambda x: dg.log_prob(CHAINS.density, x), r"dgjax\.Mixture"),
    "a forecast of classes": (lambda x: dg.forecast(CHAINS, x, 1), "chain of a class"),
    "states that are sequences": (
        lambda x: dg.HiddenMarkov(np.zeros(C), np.zeros((C, C)), CHAINS.density),
        "density of rows",
    ),
    "columns that are sequences": (lambda x: dg.Columns((CHAINS.density,)), "density of rows"),
    "other classes than weights": (lambda x: dg.Mixture(np.zeros(3), CHAINS.density), "one label for each weight"),
    "more components than sequences": (
        lambda x: dg.hidden_markov_mixture(jax.random.key(0), x, N + 1, 2),
        "number of sequences",
    ),
    "a class without sequences": (
        lambda x: dg.hidden_markov_mixture(jax.random.key(0), x, 3, 2, np.arange(N) % 2),
        "no sequence has label 2",
    ),
    "too few sequences": (lambda x: dg.fit(CHAINS, x[:1]), "1 sequences"),
    "one class": (lambda x: dg.fit(CHAINS, x, np.zeros(N, int)), "hidden_markov_mixture"),
}


@pytest.mark.parametrize("mistake", WRONG, ids=str)
def test_mistakes_are_named(mistake):
    call, words = WRONG[mistake]
    with pytest.raises(ValueError, match=words):
        call(data(missing=False).astype("float32"))


@pytest.mark.slow
def test_many_steps_by_the_kernels_are_those_of_each_chain_alone():
    """Both forms of the chain, and of the emissions, where there is enough to do for the handlers of a CPU."""
    x = np.random.default_rng(0).normal(size=(70, 400, D)).astype("float32")
    x[0, 3], x[1] = np.nan, np.nan
    model = dg.hidden_markov_mixture(jax.random.key(0), x, C, 3)
    each = [jax.tree.map(lambda leaf, c=c: leaf[c], model.density) for c in range(C)]
    alone = np.stack([dg.log_prob(chain, x) for chain in each], 1) + np.asarray(jax.nn.log_softmax(model.log_weights))
    assert_close(dg.log_prob(model, x), np.logaddexp.reduce(alone, 1))
    labels = np.arange(70) % C
    fitted = dg.fit(model, x, labels, max_steps=3, method=dg.EM(tol=0.0))
    for c, chain in enumerate(each):
        own = dg.fit(chain, x[labels == c], max_steps=3, method=dg.EM(tol=0.0)).model
        for one, other in zip(jax.tree.leaves(own), jax.tree.leaves(fitted.model.density), strict=True):
            np.testing.assert_allclose(one, other[c], rtol=2e-2, atol=2e-3)
