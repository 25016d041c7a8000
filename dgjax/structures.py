"""Label spaces: what a label is, held as log-potentials over it. `Structure` is the contract; two classes keep it."""

import abc
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

import dgjax_kernels as kernels
from dgjax._pytree import noun


@noun
class Sequences:
    """Rows in order: x (n, t, d), of which the first `lengths` (n,) steps of each sequence are there."""

    x: Float[Array, "n t d"]
    lengths: Int[Array, " n"]

    unchecked: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def dtype(self) -> Any:
        return self.x.dtype

    @property
    def inside(self) -> Bool[Array, "n t"]:
        """Which steps are there."""
        return _inside(self.lengths, self.x.shape[1])

    def in_rows(self) -> Float[Array, "m d"]:
        """Every step as a row, sequence after sequence."""
        return self.x.reshape(-1, self.x.shape[-1])

    def in_steps(self, rows: Array) -> Array:
        """What each row has, (m, ...), back in sequences (n, t, ...)."""
        return rows.reshape(*self.x.shape[:2], *rows.shape[1:])


def in_rows(x: Any, y: Array, weights: Float[Array, " n"]) -> tuple[Any, Array, Array]:
    """Rows, labels and weights; of sequences those of each step, of weight 0 beyond the lengths."""
    return _steps(x, y, weights) if isinstance(x, Sequences) else (x, y, weights)


@jax.jit
def _steps(x, y, weights):
    return x.in_rows(), y.reshape(-1), (weights[:, None] * x.inside).reshape(-1)


def num_steps(x: Any) -> int:
    """Rows that each of `x` is made of: 1, or the steps of sequences."""
    return x.x.shape[1] if isinstance(x, Sequences) else 1


class Structure(abc.ABC):
    """Label space: scores s(x, y) of every label y, for n rows or sequences at once.

    What `potentials` of a model gives, and all that the verbs and `fit` ask of it, so that a new label space (a
    segment, a tree) is one class and no edit elsewhere. A subclass is a `dgjax.noun` of arrays: the gradient of
    `log_partition` by them is what learning goes by. Labels `y` are ints (n, *label), one or many for each row, from 0
    to k - 1, or -1 where unknown. A score of minus infinity is a label of probability 0.
    `dgjax.testing.check_structure` checks all that is said here.
    """

    scores: Float[Array, "n *label k"]
    """The field that row x enters by: what it says of each value of each part of a label."""

    @abc.abstractmethod
    def clamped(self, y: Int[Array, "n *label"]) -> tuple[Float[Array, " n"], Any]:
        """Log-partition and expected counts over the labels y' that `y` allows, -1 allowing every value.

        log sum_y' exp s(x, y') (n,), minus infinity where `y` allows none; and the expectation under p(y' | x, y) of
        whatever the M-step needs of a label, a pytree of arrays that lead with n.
        """

    @abc.abstractmethod
    def log_marginals(self) -> Float[Array, "n *label k"]:
        """log p(y_i = j | x) of every part i of a label; minus infinity where no label is possible."""

    @abc.abstractmethod
    def mode(self) -> Int[Array, "n *label"]:
        """The most probable label; -1 where none is possible, and for parts that a row does not have."""

    @abc.abstractmethod
    def sample(self, key: Key[Array, ""]) -> Int[Array, "n *label"]:
        """A label drawn from p(y | x) for each row; -1 where none is possible, and for parts a row does not have."""

    @abc.abstractmethod
    def unknown(self) -> Int[Array, "n *label"]:
        """Labels of which nothing is known: -1 everywhere."""

    @abc.abstractmethod
    def has_density(self) -> Bool[Array, ""]:
        """True unless a score is NaN or plus infinity, as those of a component that has collapsed are."""

    def score(self, y: Int[Array, "n *label"], known: bool = False) -> Float[Array, " n"]:
        """s(x, y), summed out where y is unknown (-1). `known` promises that nothing is, which may be faster."""
        del known
        return self.clamped(y)[0]

    def log_partition(self) -> Float[Array, " n"]:
        """log sum_y exp s(x, y), the normaliser: log p(x) of a generative model."""
        return self.clamped(self.unknown())[0]

    def marginals(self) -> Float[Array, "n *label k"]:
        """p(y_i = j | x) of every part i of a label; 0 where no label is possible."""
        return jnp.exp(self.log_marginals())


@noun
class Classes(Structure):
    """y is one of k classes: scores s(x, y) for n rows (n, k).

    `empty` (n,) marks the rows of which nothing was observed, if the model is generative: p(x_observed) is 1 there, and
    the sum over y gives that only to rounding.
    """

    scores: Float[Array, "n k"]
    empty: Bool[Array, " n"] | None = None

    unchecked: ClassVar[bool] = True

    def clamped(self, y: Int[Array, " n"]) -> tuple[Float[Array, " n"], Float[Array, "n k"]]:
        """log sum exp s(x, y') over the y' that y allows, -1 allowing all, and their share in the sum."""
        value, counts = kernels.partition(self.scores, y)
        return value if self.empty is None else jnp.where(self.empty & (y < 0), 0, value), counts

    def score(self, y: Int[Array, " n"], known: bool = False) -> Float[Array, " n"]:
        """s(x, y); where y is unknown (-1), the log-partition, as a label summed out. None is unknown if `known`."""
        return self.clamped(y)[0]

    def log_partition(self) -> Float[Array, " n"]:
        """log sum_y exp s(x, y)."""
        return self.clamped(self.unknown())[0]

    def log_marginals(self) -> Float[Array, "n k"]:
        """log p(y | x); minus infinity for every y where none is possible."""
        impossible = jnp.isneginf(self.scores.max(-1, keepdims=True))
        return jnp.where(impossible, -jnp.inf, jax.nn.log_softmax(jnp.where(impossible, 0, self.scores), axis=-1))

    def marginals(self) -> Float[Array, "n k"]:
        """p(y | x): the gradient of the log-partition."""
        return self.clamped(self.unknown())[1]

    def mode(self) -> Int[Array, " n"]:
        """The most probable y; -1, unknown, where none is possible."""
        return jnp.where(self._possible(), self.scores.argmax(-1), -1)

    def sample(self, key: Key[Array, ""]) -> Int[Array, " n"]:
        """A draw of y for each row; -1, unknown, where none is possible."""
        return jnp.where(self._possible(), kernels.categorical(key, self.scores), -1)

    def has_density(self) -> Bool[Array, ""]:
        """True unless a score is NaN or plus infinity."""
        return _none_is_nan_or_infinite(self.scores)

    def unknown(self) -> Int[Array, " n"]:
        """-1 for every row."""
        return jnp.full(len(self.scores), -1)

    def _possible(self):
        return jnp.isfinite(self.scores.max(-1))


@noun
class Chain(Structure):
    """y is a path of t of k states: s(x, y) = initial_{y_0} + sum_s scores_{s, y_s} + sum_s transition_{y_s, y_{s+1}}.

    `initial` (k,); `transition` (k, k), or (t - 1, k, k) where it differs by step; `scores` (n, t, k), of which the
    first `lengths` (n,) steps of each sequence count. Minus infinity is a structural zero. Of a label, -1 is unknown.
    """

    initial: Float[Array, " k"]
    transition: Float[Array, "*_ k k"]
    scores: Float[Array, "n t k"]
    lengths: Int[Array, " n"]
    empty: Bool[Array, " n"] | None = None

    unchecked: ClassVar[bool] = True

    def clamped(self, y: Int[Array, "n t"]) -> tuple[Float[Array, " n"], tuple[Array, Array]]:
        """log sum exp s(x, y') over the paths that y allows; marginals (n, t, k) and transitions (n, k, k) under it."""
        value, marginals, transitions = kernels.chain_expectation(*self._potentials(y))
        return self._exact(value, y), (marginals, transitions)

    def score(self, y: Int[Array, "n t"], known: bool = False) -> Float[Array, " n"]:
        """s(x, y); steps where y is unknown (-1) are summed out. None is unknown if `known`."""
        inside = _inside(self.lengths, y.shape[1])
        if known:
            return self._exact(self._of_path(y, inside), y)
        every = ((y >= 0) | ~inside).all()
        summed_out = lambda: kernels.chain_partition(*self._potentials(y))  # noqa: E731
        return self._exact(jax.lax.cond(every, lambda: self._of_path(y, inside), summed_out), y)

    def log_partition(self) -> Float[Array, " n"]:
        """log sum_y exp s(x, y)."""
        return self._exact(kernels.chain_partition(*self._potentials()), self.unknown())

    def log_marginals(self) -> Float[Array, "n t k"]:
        """log p(y_s | x); minus infinity beyond the length and where no path is possible."""
        return kernels.chain_log_marginals(*self._potentials())

    def marginals(self) -> Float[Array, "n t k"]:
        """p(y_s | x): the gradient of the log-partition; 0 beyond the length."""
        return self.clamped(self.unknown())[1][0]

    def mode(self) -> Int[Array, "n t"]:
        """The most probable path; -1, unknown, beyond the length and where none is possible."""
        return kernels.chain_mode(*self._potentials())

    def sample(self, key: Key[Array, ""], y: Int[Array, "n t"] | None = None) -> Int[Array, "n t"]:
        """A path drawn for each sequence, of those that y allows; -1 beyond the length and where none is possible."""
        return kernels.chain_sample(key, *self._potentials(y))

    def entropy(self) -> Float[Array, " n"]:
        """Of p(y | x), in nats."""
        return kernels.chain_entropy(*self._potentials())

    def has_density(self) -> Bool[Array, ""]:
        """True unless a start, a move or a score is NaN or plus infinity."""
        logs = self.initial, self.transition, self.scores
        return functools.reduce(jnp.logical_and, map(_none_is_nan_or_infinite, logs))

    def unknown(self) -> Int[Array, "n t"]:
        """-1 for every step of every sequence."""
        return jnp.full(self.scores.shape[:2], -1)

    def _of_path(self, y, inside):
        """s(x, y) of a path that is known wherever there is a step."""
        y = jnp.where(inside, y, 0)
        here, later = y[:, :-1], y[:, 1:]
        per_step = (jnp.arange(here.shape[1]),) * (self.transition.ndim - 2)
        moves = jnp.concatenate([self.initial[y[:, :1]], self.transition[*per_step, here, later]], axis=1)
        added = moves + jnp.take_along_axis(self.scores, y[..., None], axis=2)[..., 0]
        return kernels.pairwise_sum(jnp.where(inside, added, 0).T)

    def _potentials(self, y=None):
        scores = self.scores
        if y is not None:
            other = (y[..., None] >= 0) & (jnp.arange(scores.shape[-1]) != y[..., None])
            scores = jnp.where(other, -jnp.inf, scores)
        return self.initial, self.transition, scores, self.lengths

    def _exact(self, value, y):
        return value if self.empty is None else jnp.where(self.empty & (y < 0).all(-1), 0, value)


@functools.partial(jax.jit, static_argnums=1, inline=True)
def _inside(lengths, t):
    return jnp.arange(t) < lengths[:, None]


def _none_is_nan_or_infinite(scores):
    return ~(jnp.isnan(scores) | jnp.isposinf(scores)).any()
