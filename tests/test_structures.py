"""The contract of a label space: what keeps it, and one more that nothing else in dgjax knows of."""

import functools
import itertools
from typing import ClassVar

import chain_oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dgjax as dg
from dgjax.structures import Chain, Classes, Sequences, Structure
from dgjax.testing import check_structure

T, K, N = 3, 2, 5


@functools.cache
def paths():
    """Every path (p, t)."""
    return np.array(list(itertools.product(range(K), repeat=T)), np.int32)


@dg.dataclass
class SecondOrder(Structure):
    """Paths in which a state depends on the two before it: every path is written out, which is fine for a few.

    s(x, y) = sum_s scores_{s, y_s} + sum_s moves_{y_s, y_{s+1}, y_{s+2}}; `moves` (k, k, k), `scores` (n, t, k).
    """

    moves: jax.Array
    scores: jax.Array

    unchecked: ClassVar[bool] = True

    def of_paths(self, y=None):
        """s(x, y') of every path, minus infinity where y does not allow it: (n, p)."""
        every = paths()
        moves = self.moves[every[:, :-2], every[:, 1:-1], every[:, 2:]].sum(-1)
        scores = moves + self.scores[:, np.arange(T), every].sum(-1)
        if y is None:
            return scores
        return jnp.where(((y[:, None] < 0) | (y[:, None] == every)).all(-1), scores, -jnp.inf)

    def clamped(self, y):
        shares = jax.nn.softmax(self.of_paths(y), axis=-1)
        shown = jax.nn.one_hot(paths(), K, dtype=shares.dtype)
        return jax.nn.logsumexp(self.of_paths(y), axis=-1), jnp.einsum("np,ptk->ntk", shares, shown)

    def log_marginals(self):
        shown = jax.nn.one_hot(paths(), K, dtype=bool)
        logs = jnp.where(shown, jax.nn.log_softmax(self.of_paths(), axis=-1)[:, :, None, None], -jnp.inf)
        return jax.nn.logsumexp(logs, axis=1)

    def mode(self):
        return jnp.asarray(paths())[self.of_paths().argmax(-1)]

    def sample(self, key):
        return jnp.asarray(paths())[jax.random.categorical(key, self.of_paths())]

    def unknown(self):
        return jnp.full(self.scores.shape[:2], -1)

    def has_density(self):
        odd = [jnp.isnan(own).any() | jnp.isposinf(own).any() for own in (self.moves, self.scores)]
        return ~(odd[0] | odd[1])


def second_order(rng):
    return SecondOrder(rng.normal(size=(K, K, K)), rng.normal(size=(N, T, K)))


def chain(rng, zeros=False):
    initial, transition = rng.normal(size=K), rng.normal(size=(K, K))
    if zeros:
        initial[0], transition = -np.inf, np.stack([transition, transition + 1])
        transition[0, 1, 0] = -np.inf
    return Chain(initial, transition, rng.normal(size=(N, T, K)), jnp.array([3, 1, 2, 3, 2]))


STRUCTURES = {
    "classes": lambda rng: Classes(rng.normal(size=(N, 3))),
    "chain": chain,
    "chain by step, with zeros": functools.partial(chain, zeros=True),
    "second order": second_order,
}
SLOW = ("chain", "chain by step, with zeros")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in STRUCTURES])
def test_a_label_space_keeps_its_contract(name):
    check_structure(STRUCTURES[name])


@dg.dataclass
class SecondOrderCRF:
    """p(y | x) proportional to exp of a linear scorer of each step, and a weight for each three states in a row."""

    moves: jax.Array
    scorer: dg.Linear

    generative: ClassVar[bool] = False
    sequential: ClassVar[bool] = True
    one_label: ClassVar[bool] = False

    def as_model(self):
        return self

    num_labels = property(lambda self: len(self.moves))
    num_features = property(lambda self: self.scorer.num_features)
    row_cost = score_cost = property(lambda self: K**T)
    num_parameters = property(lambda self: self.moves.size + self.scorer.num_parameters)
    supports = property(lambda self: self.scorer.supports)

    def potentials(self, x: Sequences):
        return SecondOrder(self.moves, x.in_steps(self.scorer.scores(x.in_rows())))


def test_a_third_label_space_needs_no_edit_elsewhere(x64):
    """Where the first of three states is of no account, paths are those of a chain; else the sums over all."""
    rng = np.random.default_rng(0)
    weight, transition, x = rng.normal(size=(K, 2)), rng.normal(size=(K, K)), rng.normal(size=(N, T, 2))
    y = np.array([[0, 1, 1], [1, 1, 1], [-1, 0, 1], [-1, -1, -1], [0, -1, 0]])
    model = SecondOrderCRF(rng.normal(size=(K, K, K)), dg.Linear(weight))
    scores = x @ weight.T
    for row, label, found, log_proba, best in zip(
        scores, y, dg.log_conditional(model, x, y), dg.predict_log_proba(model, x), dg.predict(model, x), strict=True
    ):
        each = {path: row[range(T), path].sum() + model.moves[path] for path in itertools.product(range(K), repeat=T)}
        total = np.logaddexp.reduce(list(each.values()))
        allowed = [s for path, s in each.items() if all(own in (-1, of) for own, of in zip(label, path, strict=True))]
        np.testing.assert_allclose(found, np.logaddexp.reduce(allowed) - total, atol=1e-12)
        assert tuple(best) == max(each, key=each.get)
        marginal = [np.logaddexp.reduce([s for path, s in each.items() if path[1] == k]) - total for k in range(K)]
        np.testing.assert_allclose(log_proba[1], marginal, atol=1e-12)
    plain = SecondOrderCRF(np.broadcast_to(transition[None], (K, K, K)), dg.Linear(weight))
    start = scores.copy()
    potentials = [chain_oracle.Potentials(np.zeros(K), np.stack([0 * transition, transition]), own, T) for own in start]
    assert dg.predict(plain, x).tolist() == [chain_oracle.mode(own).tolist() for own in potentials]


def test_what_leaves_a_member_out_is_no_label_space():
    class Half(Structure):
        def mode(self):
            return 0

    with pytest.raises(TypeError, match="clamped"):
        Half()


def test_rows_of_sequences_are_read_where_they_are():
    x = jnp.arange(24.0).reshape(3, 4, 2)
    rows = Sequences(x, jnp.full(3, 4)).in_rows()
    np.testing.assert_array_equal(rows, np.arange(24.0).reshape(12, 2))
    assert np.shares_memory(np.asarray(rows), np.asarray(x))
    inside = jax.jit(lambda x: Sequences(x, jnp.full(3, 4)).in_rows())(x)
    np.testing.assert_array_equal(inside, rows)
