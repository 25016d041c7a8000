"""Label spaces: log-potentials over all labels of a row.

`Structure` is the contract; `Classes` and `Chain` implement it.
"""

import abc
import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

import dgjax_kernels as kernels
from dgjax._arguments import AnyArray, is_concrete, is_sharded
from dgjax._pytree import dataclass, static, tree

S = TypeVar("S", bound="Structure")
PASSES = 6
"""Memory for a state of a step of a chain, in floats: scores, forward and backward passes, marginals and counts."""


@dataclass
class Sequences:
    """Sequences of rows: x (n, t, d), of which the first `lengths` (n,) steps exist.

    A label is a path, ints (n, t); or with `one_label`, as for classes of sequences, one for the whole of each, (n,).
    """

    x: Float[Array, "n t d"] = tree()  # NumPy's until a program takes them
    lengths: Int[Array, " n"] = tree()
    one_label: bool = static(default=False)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def dtype(self) -> Any:
        return self.x.dtype

    @property
    def inside(self) -> Bool[AnyArray, "n t"]:
        """Mask (n, t) of the steps that exist."""
        if isinstance(self.lengths, np.ndarray):
            return np.arange(self.x.shape[1]) < self.lengths[:, None]
        return _inside(self.lengths, self.x.shape[1])

    @property
    def empty(self) -> Bool[Array, " n"]:
        """Mask (n,) of sequences without an observed cell."""
        return (jnp.isnan(self.x).all(-1) | ~self.inside).all(-1)

    def holding(self, x: Any, lengths: Any = None) -> "Sequences":
        """Sequences with other cells, and lengths where these are given, that have labels as these have."""
        return Sequences(x, self.lengths if lengths is None else lengths, self.one_label)

    def of_one_label(self) -> "Sequences":
        """Sequences each of which has one label."""
        return Sequences(self.x, self.lengths, True)

    def in_rows(self) -> Any:
        """Rows (n t, d): every step of every sequence, in order; of those on one CPU without a copy."""
        x, shape = self.x, (-1, self.x.shape[-1])
        if is_sharded(x):
            return _rows_of_steps(x)
        if not isinstance(x, jax.Array) or not is_concrete(x):
            return x.reshape(shape)
        device, *others = x.devices()
        if others or device.platform != "cpu":
            return x.reshape(shape)
        # Outside a program JAX's own reshape is a copy: of 8 MB in 2 ms, as long as the sums over all their paths.
        return jax.device_put(np.asarray(x).reshape(shape), device, may_alias=True)

    def in_steps(self, rows: Array) -> Array:
        """Results of rows (n t, ...) reshaped to sequences (n, t, ...): the inverse of `in_rows`."""
        return rows.reshape(*self.x.shape[:2], *rows.shape[1:])


_rows_of_steps = kernels.compiled_once(lambda x: x.reshape(-1, x.shape[-1]), results=kernels.shards.ROWS)


def in_rows(x: Any, y: AnyArray, weights: Float[AnyArray, " n"]) -> tuple[Any, Any, Any]:
    """Rows, labels and weights; sequences become rows, one for each step, with weight 0 beyond each length.

    The one label of a sequence is that of each of its steps.
    """
    if not isinstance(x, Sequences):
        return x, y, weights
    known = all(isinstance(array, np.ndarray) for array in (x.x, x.lengths, y, weights))
    return (_in_rows if known else _compiled_in_rows)(x, y, weights)


def _in_rows(x, y, weights):
    labels = y.repeat(num_steps(x)) if x.one_label else y.reshape(-1)
    return x.in_rows(), labels, (weights[:, None] * x.inside).reshape(-1).astype(weights.dtype)


_compiled_in_rows = kernels.compiled_once(_in_rows, results=kernels.shards.ROWS)


def label_shape(x: Any) -> tuple[int, ...]:
    """Shape of the labels of rows, (n,); of sequences (n, t), or (n,) where each has one label."""
    return x.x.shape[:2] if isinstance(x, Sequences) and not x.one_label else (len(x),)


def num_steps(x: Any) -> int:
    """Number of rows in each element of x: t for a `Sequences` of x (n, t, d), 1 for an array of rows."""
    return x.x.shape[1] if isinstance(x, Sequences) else 1


class Structure(abc.ABC):
    """Label space: log-potentials s(x, y) over every label y, for n rows or sequences at once.

    A model's `potentials` returns one, and verbs and `fit` use nothing else, so that a new label space (a segment, a
    tree) is one new class. A subclass is a `dgjax.dataclass` of arrays; learning follows the gradient of
    `log_partition` by them. Labels `y` are ints (n, *label), one or many for each row, from 0 to k - 1, or -1 where
    unknown. A score of minus infinity is a label of probability 0. `dgjax.testing.check_structure` checks this
    contract.
    """

    scores: Float[Array, "n *label k"]
    """The field that row x enters by: what it says of each value of each part of a label."""

    @abc.abstractmethod
    def clamped(self, y: Int[Array, "n *label"]) -> tuple[Float[Array, " n"], Any]:
        """Clamped log-partition (n,), over the labels that agree with y, and expected counts.

        The log-partition is log sum_y' exp s(x, y') over labels y' that agree. An entry of -1 in y agrees with every
        value; the result is minus infinity where no label agrees. Expected counts are the M-step's sufficient
        statistics of labels under p(y' | x, y), a pytree of arrays with first axis n.
        """

    @abc.abstractmethod
    def log_marginals(self) -> Float[Array, "n *label k"]:
        """Log-marginals log p(y_i = j | x) of every part i of a label; minus infinity where no label is possible."""

    @abc.abstractmethod
    def mode(self) -> Int[Array, "n *label"]:
        """Most probable label; -1 where none is possible, and for parts that a row does not have."""

    @abc.abstractmethod
    def sample(self, key: Key[Array, ""]) -> Int[Array, "n *label"]:
        """Samples of p(y | x), one for each row; -1 where no label is possible, and for parts a row does not have."""

    @abc.abstractmethod
    def unknown(self) -> Int[Array, "n *label"]:
        """Unknown labels: -1 everywhere."""

    @abc.abstractmethod
    def has_density(self) -> Bool[Array, ""]:
        """True unless a score is NaN or plus infinity, as after the collapse of a component."""

    def given(self: S, y: Int[Array, "n *label"]) -> S:
        """Label space of the labels that agree with y, of which -1 agrees with every value: the others have score -inf.

        So its marginals are p(y_i | x, y), and its mode is the most probable label that agrees.
        """
        other = (y[..., None] >= 0) & (jnp.arange(self.scores.shape[-1]) != y[..., None])
        return self.with_scores(jnp.where(other, -jnp.inf, self.scores))

    def with_scores(self: S, scores: Float[Array, "n *label k"]) -> S:
        """The label space with other `scores`."""
        return dataclasses.replace(self, scores=scores)  # type: ignore[type-var]

    def score(self, y: Int[Array, "n *label"], known: bool = False) -> Float[Array, " n"]:
        """Score s(x, y) of labels, summed out where y is -1; `known` promises no -1, which may be faster."""
        del known
        return self.clamped(y)[0]

    def log_partition(self) -> Float[Array, " n"]:
        """Log-partition log sum_y exp s(x, y), the normaliser; for a generative model it is log p(x)."""
        return self.clamped(self.unknown())[0]

    def marginals(self) -> Float[Array, "n *label k"]:
        """Marginals p(y_i = j | x) of every part i of a label; 0 where no label is possible."""
        return jnp.exp(self.log_marginals())


@dataclass
class Classes(Structure):
    """Label space of k classes: scores s(x, y) (n, k) for n rows.

    For generative models `empty` (n,) marks rows without observed cells, whose log-partition is exactly 0 rather than 0
    up to rounding.
    """

    scores: Float[Array, "n k"]
    empty: Bool[Array, " n"] | None = None

    unchecked: ClassVar[bool] = True

    def with_scores(self, scores: Float[Array, "n k"]) -> "Classes":
        """The label space with other scores, of rows that are no longer without cells."""
        return dataclasses.replace(self, scores=scores, empty=None)

    def clamped(self, y: Int[Array, " n"]) -> tuple[Float[Array, " n"], Float[Array, "n k"]]:
        """Clamped log-partition (n,) over the classes that y allows, -1 allowing all, and responsibilities (n, k)."""
        value, counts = kernels.partition(self.scores, y)
        return value if self.empty is None else jnp.where(self.empty & (y < 0), 0, value), counts

    def score(self, y: Int[Array, " n"], known: bool = False) -> Float[Array, " n"]:
        """Score s(x, y) of each row; the log-partition where y is -1, unless `known` promises that there is no -1."""
        return self.clamped(y)[0]

    def log_partition(self) -> Float[Array, " n"]:
        """Log-partition log sum_y exp s(x, y) of each row."""
        return self.clamped(self.unknown())[0]

    def log_marginals(self) -> Float[Array, "n k"]:
        """Log-posterior log p(y | x); minus infinity for every class where none is possible."""
        impossible = jnp.isneginf(self.scores.max(-1, keepdims=True))
        return jnp.where(impossible, -jnp.inf, jax.nn.log_softmax(jnp.where(impossible, 0, self.scores), axis=-1))

    def marginals(self) -> Float[Array, "n k"]:
        """Posterior p(y | x), the gradient of the log-partition by the scores."""
        return self.clamped(self.unknown())[1]

    def mode(self) -> Int[Array, " n"]:
        """Most probable class of each row; -1 where none is possible."""
        return jnp.where(self._possible(), self.scores.argmax(-1), -1)

    def sample(self, key: Key[Array, ""]) -> Int[Array, " n"]:
        """Samples of the class of each row; -1 where none is possible."""
        return jnp.where(self._possible(), kernels.categorical(key, self.scores), -1)

    def has_density(self) -> Bool[Array, ""]:
        """True unless a score is NaN or plus infinity."""
        return _none_is_nan_or_infinite(self.scores)

    def unknown(self) -> Int[Array, " n"]:
        """Unknown labels: -1 for every row."""
        return jnp.full(len(self.scores), -1)

    def _possible(self):
        return jnp.isfinite(self.scores.max(-1))


@dataclass
class Chain(Structure):
    """Label space of paths y of t states, with scores of states and of moves between neighbouring states.

    s(x, y) = initial_{y_0} + sum_s scores_{s, y_s} + sum_s transition_{y_s, y_{s+1}}. `initial` (k,); `transition` (k,
    k), or (t - 1, k, k) if it differs by step; `scores` (n, t, k), of which the first `lengths` (n,) steps count. Minus
    infinity is a structural zero. In a label, -1 is an unknown state. For generative models `empty` (n,) marks
    sequences without observed cells, whose log-partition is exactly 0.
    """

    initial: Float[Array, " k"]
    transition: Float[Array, "*_ k k"]
    scores: Float[Array, "n t k"]
    lengths: Int[Array, " n"]
    empty: Bool[Array, " n"] | None = None

    unchecked: ClassVar[bool] = True

    def with_scores(self, scores: Float[Array, "n t k"]) -> "Chain":
        """The label space with other scores, of rows that are no longer without cells."""
        return dataclasses.replace(self, scores=scores, empty=None)

    def clamped(self, y: Int[Array, "n t"]) -> tuple[Float[Array, " n"], tuple[Array, Array]]:
        """Clamped log-partition (n,), over the paths that y allows, and expected counts of states and moves.

        Counts are marginals (n, t, k), and expected transitions (n, k, k).
        """
        value, marginals, transitions = kernels.chain_expectation(*self._potentials(y))
        return self._exact(value, y), (marginals, transitions)

    def score(self, y: Int[Array, "n t"], known: bool = False) -> Float[Array, " n"]:
        """Score s(x, y) of each path; states are summed out where y is -1, unless `known` promises no -1."""
        inside = _inside(self.lengths, y.shape[1])
        if known:
            return self._exact(self._of_path(y, inside), y)
        every = ((y >= 0) | ~inside).all()
        summed_out = lambda: kernels.chain_partition(*self._potentials(y))  # noqa: E731
        return self._exact(jax.lax.cond(every, lambda: self._of_path(y, inside), summed_out), y)

    def log_partition(self) -> Float[Array, " n"]:
        """Log-partition log sum_y exp s(x, y) over all paths of each sequence."""
        return self._exact(kernels.chain_partition(*self._potentials()), self.unknown())

    def log_marginals(self) -> Float[Array, "n t k"]:
        """Log-marginals log p(y_s | x); minus infinity beyond a length and where no path is possible."""
        return kernels.chain_log_marginals(*self._potentials())

    def marginals(self) -> Float[Array, "n t k"]:
        """Marginals p(y_s | x), the gradient of the log-partition by the scores; 0 beyond a length."""
        return self.clamped(self.unknown())[1][0]

    def mode(self) -> Int[Array, "n t"]:
        """Viterbi path, the most probable one; -1 beyond a length and where no path is possible."""
        return kernels.chain_mode(*self._potentials())

    def sample(self, key: Key[Array, ""]) -> Int[Array, "n t"]:
        """Samples of paths; -1 beyond a length and where no path is possible."""
        return kernels.chain_sample(key, *self._potentials())

    def entropy(self) -> Float[Array, " n"]:
        """Entropy of p(y | x) in nats, for each sequence."""
        return kernels.chain_entropy(*self._potentials())

    def has_density(self) -> Bool[Array, ""]:
        """True unless an initial score, a transition or a score is NaN or plus infinity."""
        logs = self.initial, self.transition, self.scores
        return functools.reduce(jnp.logical_and, map(_none_is_nan_or_infinite, logs))

    def unknown(self) -> Int[Array, "n t"]:
        """Unknown labels: -1 for every step of every sequence."""
        return jnp.full(self.scores.shape[:2], -1)

    def _of_path(self, y, inside):
        """Score s(x, y) of each path y (n, t), all of whose states are known."""
        y = jnp.where(inside, y, 0)
        here, later = y[:, :-1], y[:, 1:]
        per_step = (jnp.arange(here.shape[1]),) * (self.transition.ndim - 2)
        moves = jnp.concatenate([self.initial[y[:, :1]], self.transition[*per_step, here, later]], axis=1)
        added = moves + jnp.take_along_axis(self.scores, y[..., None], axis=2)[..., 0]
        return kernels.pairwise_sum(jnp.where(inside, added, 0).T)

    def _potentials(self, y=None):
        scores = self.scores if y is None else self.given(y).scores
        return self.initial, self.transition, scores, self.lengths

    def _exact(self, value, y):
        return value if self.empty is None else jnp.where(self.empty & (y < 0).all(-1), 0, value)


def of_each_label(
    ask: Callable[[Chain], Any],
    axes: tuple[int, ...],
    initial: Float[Array, "*labels k"],
    transition: Float[Array, "*labels k k"],
    scores: Float[Array, "n t *labels k"],
    *others: Any,
) -> Any:
    """Answers of a chain for each label, arrays (n, ...), each with the labels before one of its `axes`."""
    labels = initial.shape[:-1]
    if not labels:
        return ask(Chain(initial, transition, scores, *others))
    g, k = math.prod(labels), initial.shape[-1]
    flat = initial.reshape(g, k), transition.reshape(g, k, k), scores.reshape(*scores.shape[:2], g, k)
    after = tuple(axis + 1 for axis in axes)
    out_axes = after if len(axes) > 1 else after[0]
    with kernels.repeats(kernels.repeats.value * g):
        found = jax.vmap(lambda *own: ask(Chain(*own, *others)), (0, 0, 2), out_axes)(*flat)

    def unflattened(answer, axis):
        return answer.reshape(*answer.shape[:axis], *labels, *answer.shape[axis + 1 :])

    return jax.tree.map(unflattened, found, out_axes)


@functools.partial(jax.jit, static_argnums=1, inline=True)
def _inside(lengths, t):
    return jnp.arange(t) < lengths[:, None]


def _none_is_nan_or_infinite(scores):
    return ~(jnp.isnan(scores) | jnp.isposinf(scores)).any()
