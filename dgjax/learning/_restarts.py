"""Restarts: a fit from each of several starts, and the best of them, as mixtures and chains have many local maxima."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import dgjax_kernels as kernels
from dgjax._arguments import AnyArray, as_count, as_key, is_concrete
from dgjax._kmeans import clusters, embedded, few_rows
from dgjax._pytree import for_any_rows, for_complete_rows
from dgjax._warnings import ConvergenceWarning, warn
from dgjax.data import gathered
from dgjax.densities import Mixture, has_draws
from dgjax.learning._em import EM
from dgjax.learning._endings import is_broken
from dgjax.learning._method import Method, OtherShapes, Outcome
from dgjax.learning._objective import Problem
from dgjax.learning._usual import checked_method, usual
from dgjax.structures import in_rows, label_shape


class Tried(NamedTuple):
    """State of restarts: the method, and its state for each start."""

    method: Method
    states: list[Any]

    @property
    def step(self) -> Array:
        """Number of steps of the longest fit."""
        return jnp.stack([state.step for state in self.states]).max()

    @property
    def converged(self) -> Array:
        """True if no fit goes on."""
        return jnp.stack([state.converged for state in self.states]).all()

    @property
    def trace(self) -> Array:
        """Objective after each step so far, of each fit: (num, steps)."""
        return jnp.stack([state.trace for state in self.states])


@dataclasses.dataclass(frozen=True, eq=False)
class Restarts(Method):
    """Best of `num` fits by `method`: one from the model given to `fit`, the others from starts drawn by `key`.

    Those starts alternate between k-means++ clusters and random rows. `method` None is the usual method of the model.
    For generative models only: the objective of a discriminative model has a single maximum.

    Raises ValueError for `num` below 1, or a bad key.
    """

    num: int
    key: Array
    method: Method | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "num", as_count(self.num, "num"))
        object.__setattr__(self, "key", as_key(self.key))
        if self.method is not None:
            checked_method(self.method)

    @property
    def pads(self) -> bool:  # type: ignore[override]
        return self.method is None or self.method.pads

    @property
    def passes(self) -> float:  # type: ignore[override]
        return self.num * (1.0 if self.method is None else self.method.passes)

    @property
    def tolerance(self) -> Any:
        """Stopping tolerance of each fit: nats for each row below which a step's gain ends it."""
        return EM.tol if self.method is None else self.method.tolerance

    def _own(self, model, problem):
        return usual(model, len(problem.x), problem.blend) if self.method is None else self.method

    def check(self, model: Any, problem: Problem) -> None:
        if not model.generative:
            raise ValueError(
                f"Restarts is for a generative model; the objective of a {type(model).__name__} has one maximum. Leave "
                "method out."
            )
        if has_draws(model):
            raise ValueError(
                "Restarts starts at clusters, which are no place to start networks from; leave it out, and type "
                "another key where the model is started."
            )
        self._own(model, problem).check(model, problem)

    def init(self, model: Any, problem: Problem, trace: Array) -> Tried:
        method, keys = self._own(model, problem), jax.random.split(self.key, max(self.num - 1, 1))
        x, y, weights = gathered((problem.x, problem.y, problem.weights))  # of shards a sample
        facts = problem.labelled, problem.complete
        drawn = [restarted(model, own, x, y, weights, i % 2 == 1, *facts) for i, own in enumerate(keys[: self.num - 1])]
        return Tried(method, [method.init(start, problem, trace) for start in (model, *drawn)])

    def advance(self, problem: Problem, state: Tried, until: AnyArray) -> Tried:
        return state._replace(states=state.method.advance_each(problem, state.states, until))

    def kept(self, state: Tried) -> list[Any] | None:
        parts = [state.method.kept(one) for one in state.states]
        return None if any(one is None for one in parts) else parts

    def restored(self, problem: Problem, state: Tried, parts: list[list[np.ndarray]]) -> Tried:
        if len(parts) != len(state.states):
            raise OtherShapes
        # Of a generative model each state is in one part.
        pairs = zip(state.states, parts, strict=True)
        return state._replace(states=[state.method.restored(problem, one, [own]) for one, own in pairs])

    def result(self, problem: Problem, state: Tried) -> tuple[Outcome, Any]:
        return _best([state.method.result(problem, one) for one in state.states])


@functools.partial(kernels.compiled_once, static_argnames=("random", "labelled", "complete"))
def restarted(
    model: Any,
    key: Array,
    x: Any,
    y: Any,
    weights: Any,
    random: bool = False,
    labelled: bool = False,
    complete: bool = False,
) -> Any:
    """A model initialised anew, at k-means++ clusters of rows or sequences or, with `random`, at random ones.

    With `random` a few random rows for each label. Labels that are known are kept. `y` is None if no label is known;
    `labelled` says that all are, `complete` that no cell is missing.
    """
    model = for_complete_rows(model) if complete else model
    labels = jnp.full(label_shape(x), -1) if y is None else y
    x, labels, weights = in_rows(x, labels, weights) if labels.ndim == 2 else (x, labels, weights)
    known = None if y is None else jax.nn.one_hot(labels, model.num_labels, dtype=x.dtype)
    key_here, key_below = jax.random.split(key)
    if labelled and known is not None:
        counts = weights[:, None] * known
    elif random:
        own = 0 if known is None else weights[:, None] * known
        counts = own + few_rows(key_here, jnp.where(labels < 0, weights, 0), model.num_labels)
    else:
        z = embedded(x, weights, model.supports, complete)
        on = ~jnp.isneginf(model.log_weights) if isinstance(model, Mixture) else None
        counts = clusters(key_here, z, weights, model.num_labels, known, complete, on)
    return for_any_rows(model.started_at(key_below, x, counts, random))


def _best(fits):
    """The outcome and model of largest objective among fits that did not collapse; warns with the number that did."""
    values = [outcome.value for outcome, _ in fits]
    if not is_concrete(values):
        value = jnp.stack(values)
        best = jnp.argmax(jnp.where(jnp.isfinite(value), value, -jnp.inf))
        return jax.tree.map(lambda *leaves: jnp.stack(leaves)[best], *fits)
    order = sorted(fits, key=lambda fit: -float(np.nan_to_num(fit[0].value, nan=-np.inf, posinf=-np.inf)))
    good = [fit for fit in order if np.isfinite(fit[0].value) and not is_broken(fit[1])]
    if good and len(good) < len(fits):
        warn(
            f"{len(fits) - len(good)} of {len(fits)} starts were dropped: a component collapsed onto too few distinct "
            "rows, or rows had probability 0. The fit is the best of the others. A prior keeps them all: type "
            "prior=dgjax.weak_prior(model, x).",
            ConvergenceWarning,
        )
    return (good or order)[0]
