"""Stochastic gradient methods: any optimizer of optax, on all rows or on minibatches, with early stopping."""

import dataclasses
import functools
import math
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import dgjax_kernels as kernels
from dgjax import _advice
from dgjax._arguments import AnyArray, as_count, as_key, check_number, is_sharded
from dgjax.densities import LEARNING, Adversarial, has_divergence, has_draws
from dgjax.learning import _descent
from dgjax.learning._method import Method, Outcome, filled
from dgjax.learning._objective import Problem
from dgjax.learning._steps import UnderWay
from dgjax.priors import Ridge

PATIENCE = 10


class Schedule(NamedTuple):
    """Schedule of a stochastic fit: batch sizes, keys for shuffling and sampling, and the validation set."""

    epochs: _descent.Epochs
    shuffle: Array | None
    draws: Array | None
    held: Problem | None


@dataclasses.dataclass(frozen=True)
class Descent(UnderWay):
    """State of a stochastic fit: initial model, masks of trainable entries, training rows, schedule, inner state."""

    model: Any
    free: list[Array | None]
    problem: Problem
    schedule: Schedule
    inner: _descent.State


@dataclasses.dataclass(frozen=True, eq=False)
class Optax(Method):
    """Gradient method with an optimizer of optax, `Optax(optax.adam(1e-2), batch_size=64, key=jax.random.key(0))`.

    For data too large for passes over all rows, for networks, and beside `LBFGS` the only method of densities of
    networks. The optimizer minimises minus the objective divided by the sum of weights. `batch_size`: rows or
    sequences in each minibatch, shuffled by `key` in each epoch; None is all rows. `validation`: the share of rows held
    out, chosen by `key`. `patience`: epochs without a new best validation objective that end the fit (early stopping),
    10 by default; the best model is returned. Without a validation set only `max_steps` ends it. `warm_up`: steps over
    which the weight of an autoencoder's KL divergence rises to 1. `average`: the decay of an exponential moving average
    of the parameters, such as 0.999, which the validation set then judges and the returned model has; 0 is none. Its
    start is corrected for. `generator`: the optimizer of the generator of `dgjax.adversarial`, where its rate is
    another than that of the discriminator.

    Raises ValueError for an option that would have no effect: `patience` without `validation`, or a `key` that nothing
    is drawn by.
    """

    pads: ClassVar[bool] = False
    passes: ClassVar[float] = math.inf

    optimizer: Any
    batch_size: int | None = None
    key: Array | None = None
    validation: float = 0.0
    patience: int | None = None
    warm_up: int = 0
    average: float = 0.0
    generator: Any = None

    def __post_init__(self) -> None:
        for name, own in (("optimizer", self.optimizer), ("generator", self.generator or self.optimizer)):
            if not is_optimizer(own):
                raise ValueError(
                    f"{name} must be a gradient transformation of optax, such as optax.adam(1e-2); got "
                    f"{_advice.shown(own)}."
                )
        check_number(self.validation, "validation", 0, 1)
        check_number(self.average, "average", 0, 1)
        if self.average == 1:
            raise ValueError("average must be below 1, such as 0.999: with 1 the parameters would never move.")
        object.__setattr__(self, "warm_up", as_count(self.warm_up, "warm_up", 0))
        for name in ("patience", "batch_size"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, as_count(value, name))
        if self.key is not None:
            object.__setattr__(self, "key", as_key(self.key))
        for name, use in (("batch_size", "rows are shuffled"), ("validation", "rows are held out")):
            if self.key is None and getattr(self, name):
                raise ValueError(f"{name} needs key=jax.random.key(seed), by which {use}; got key=None.")
        if self.patience is not None and not self.validation:
            raise ValueError(
                "patience is for held-out rows, whose objective it waits for; got "
                f"patience={self.patience} and validation=0. Type validation=0.1, or leave patience out."
            )

    def check(self, model: Any, problem: Problem) -> None:
        drawn = has_draws(model)
        if drawn and self.key is None:
            raise ValueError(f"{LEARNING}; got key=None.")
        if self.warm_up and not has_divergence(model):
            raise ValueError(
                "warm_up is for models with a divergence that it weighs, dgjax.variational_autoencoder; got "
                f"warm_up={self.warm_up} and a {type(model).__name__}. Leave it out."
            )
        if self.key is not None and not (drawn or self.batch_size or self.validation):
            raise ValueError(
                "key is for minibatches, held-out rows and models scored by random draws; got a key, all rows at each "
                f"step, and a {type(model).__name__}. Type batch_size=64, or leave key out."
            )
        adversarial = isinstance(getattr(model, "density", None), Adversarial)
        if self.generator is not None and not adversarial:
            raise ValueError(
                f"generator is the optimizer of the generator of dgjax.adversarial; got a {type(model).__name__}. "
                "Leave it out."
            )
        if self.validation and adversarial:
            raise ValueError(
                "validation is for objectives that say which model is better, and that of two networks that play "
                f"against each other does not; got validation={self.validation}. Leave it out: the model's coverage "
                "says how far it came."
            )
        n, held = len(problem.x), round(self.validation * len(problem.x))
        if self.validation and not 0 < held < n:
            raise ValueError(f"validation must leave rows on both sides; got {held} of {n} rows.")

    def init(self, model: Any, problem: Problem, trace: Array) -> "Descent":
        learnt, held = self._split(problem)
        n, drawn = len(learnt.x), has_draws(model)
        size = n if self.batch_size is None else min(self.batch_size, n)
        average = float(self.average)
        epochs = _descent.Epochs(-(-n // size), size, self.warm_up, self.patience or PATIENCE, average)
        # None of the keys that split a key into a few.
        shuffle, draws = self.keys()
        if held is not None and drawn:
            held = held.replace(draws=_descent.last_draws(draws))
        free = _descent.free_parameters(model)
        schedule = Schedule(epochs, shuffle if size < n else None, draws if drawn else None, held)
        return Descent(model, free, learnt, schedule, _descent.start(model, free, self.both(), epochs, trace))

    def keys(self) -> tuple[Array | None, Array | None]:
        """Keys of shuffling and of draws."""
        return (None, None) if self.key is None else (_folded(self.key, 0), _folded(self.key, 1))

    def both(self) -> Any:
        """The optimizer, and that of a generator where there is one: each moves its own part of the model."""
        return self.optimizer if self.generator is None else _by_part(self.optimizer, self.generator)

    def _split(self, problem):
        """Training problem, and validation problem or None: the key chooses a share of the rows to hold out."""
        if not self.validation:
            return problem, None
        key, num_held = _folded(self.key, 2), round(self.validation * len(problem.x))
        if is_sharded(problem.weights):  # each shard holds out rows of its own
            each = -(-num_held // kernels.shards.shards_of(problem.weights))
            learnt, held = _split(problem, key, each, _parts_of_shards)
        else:
            learnt, held = _split(problem, key, num_held)
        return learnt, held.replace(prior=_flat(held.prior))

    def advance(self, problem: Problem, state: "Descent", until: AnyArray) -> "Descent":
        epochs, shuffle, draws, held = state.schedule
        advanced = _descent.advance(
            state.model, state.free, state.problem, self.both(), epochs, shuffle, draws, held, state.inner, until
        )
        return dataclasses.replace(state, inner=advanced)

    def result(self, problem: Problem, state: "Descent") -> tuple[Outcome, Any]:
        _, _, draws, held = state.schedule
        return _descent.finish(state.model, state.free, state.problem, draws, held is not None, state.inner)

    def kept(self, state: "Descent") -> list[Any] | None:
        return None if bool(state.inner.diverged) else [state.inner]

    def restored(self, problem: Problem, state: "Descent", parts: list[list[np.ndarray]]) -> "Descent":
        return dataclasses.replace(state, inner=filled(state.inner, parts[0]))


def _parts(problem, key, num_held):
    order = jax.random.permutation(kernels.shards.own_key(key), len(problem.x))
    rows = problem.x, problem.y, problem.weights
    return tuple(
        jax.tree.map(lambda leaf, some=some: leaf[some], rows) for some in (order[num_held:], order[:num_held])
    )


def _split(problem, key, num_held, parts=_parts):
    """Training problem and validation problem: rows in an order drawn by the key, of which the first are held out."""
    learnt, held = parts(problem, key, num_held)
    return tuple(problem.replace(x=x, y=y, weights=weights) for x, y, weights in (learnt, held))


# All that it gives are rows, how many are held out being known before.
_parts_of_shards = kernels.compiled_once(_parts, results=kernels.shards.ROWS, static_argnums=2)


def is_optimizer(given: Any) -> bool:
    """Whether an object is an optimizer of optax (a gradient transformation): it has `init` and `update`."""
    return callable(getattr(given, "init", None)) and callable(getattr(given, "update", None))


@functools.cache
def _by_part(optimizer, generator):
    """Optimizer of a whole model by two: one of the field `generator`, one of the rest; the same object for a pair."""
    import optax

    def part(path, _):
        return "generator" if any(getattr(key, "name", None) == "generator" for key in path) else "rest"

    def parts(model):
        return jax.tree.map_with_path(part, model)

    return optax.partition({"generator": generator, "rest": optimizer}, parts)


def _folded(key, i):
    return jax.random.fold_in(key, np.uint32(_descent.LAST - i))


def _flat(prior):
    """Flat prior: held-out rows are scored by their likelihood alone."""
    return Ridge(jnp.zeros_like(prior.strength)) if isinstance(prior, Ridge) else None
