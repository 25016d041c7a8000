"""Adapters: any dgjax model as a NumPyro distribution of its rows (`Marginal`) or of its labels (`Conditional`)."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from numpy.typing import ArrayLike
from numpyro.distributions import Distribution, constraints
from numpyro.distributions.util import validate_sample

import dgjax_kernels as kernels
from dgjax import _verbs
from dgjax._arguments import as_array, as_count, is_concrete
from dgjax._types import Discriminative, Generative
from dgjax.data import as_floats, as_model
from dgjax.numpyro._batch import Arrangement, batch_of, one_of
from dgjax.numpyro._support import OrMissing
from dgjax.structures import Sequences


class OfModel(Distribution):
    """Base of distributions made of a model whose leaves have leading batch axes.

    `known` holds arrays with an entry for each value: labels, lengths, rows. The batch shape is what model and `known`
    broadcast to, read off their shapes, so that `jax.vmap` may add or remove a batch axis.
    """

    arg_constraints = {"model": constraints.dependent}
    pytree_data_fields = ("model", "known")
    pytree_aux_fields = ("_model_ranks", "_known_ranks", "has_enumerate_support")
    model: Any
    known: dict[str, Array | None]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # The parameters of a named distribution are views of the model, not leaves of their own.
        cls.pytree_data_fields = cls.__dict__.get("pytree_data_fields", ())
        super().__init_subclass__(**kwargs)

    def __init__(
        self,
        model: Any,
        batch_ndim: int,
        event_shape: tuple[int, ...],
        validate_args: bool | None,
        **known: tuple[Array | None, int],
    ) -> None:
        self.model = model
        self._model_ranks = tuple(jnp.ndim(leaf) - batch_ndim for leaf in jax.tree.leaves(model))
        self.known = {name: value for name, (value, _) in sorted(known.items())}
        self._known_ranks = tuple(rank for _, (value, rank) in sorted(known.items()) if value is not None)
        super().__init__(self.batch_shape, event_shape, validate_args=validate_args)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        known = batch_of(self.known, self._known_ranks)
        return jnp.broadcast_shapes(batch_of(self.model, self._model_ranks), known)

    @property
    def one(self) -> Any:
        """One model of the batch, as shapes and dtypes."""
        return one_of(self.model, self._model_ranks)

    @validate_sample
    def log_prob(self, value: Any, intermediates: Any = None) -> Array:
        del intermediates
        shape = jnp.shape(value)[: jnp.ndim(value) - len(self.event_shape)]
        return self._over(self._log_prob, jnp.broadcast_shapes(shape, self.batch_shape), value, len(self.event_shape))

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        shape = (*sample_shape, *self.batch_shape)
        typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        arrangement = Arrangement(shape, batch_of(self.model, self._model_ranks))
        key = key if typed else jax.random.wrap_key_data(key)
        keys = key if arrangement.num_models is None else jax.random.split(key, arrangement.num_models)
        return self._over(self._sample, shape, jnp.zeros(shape), 0, keys)

    def _over(self, fn: Callable[..., Array], shape: tuple[int, ...], value: Any, rank: int, *keys: Array) -> Array:
        """fn(model, values, known, *keys) of a whole batch, in one call for all values that share a model."""
        arrangement = Arrangement(shape, batch_of(self.model, self._model_ranks))
        model = arrangement.model(self.model, self._model_ranks)
        # Before anything is traced, so that values that are known are looked at, and found complete or not.
        with jax.ensure_compile_time_eval():
            value = arrangement.rows(jnp.asarray(value), (rank,))
            known = arrangement.rows(self.known, self._known_ranks)
        # Where parameters are traced, a sampler or an optimizer is to run it again and again.
        traced = not is_concrete(self.model)
        with kernels.repeats(kernels.OF_SAMPLERS if traced else 1):
            return arrangement.over(fn, model, value, known, *keys)

    def _validate_sample(self, value: Any) -> Any:
        """Validation by NumPyro, of traced values only.

        Concrete ones are checked by dgjax's verbs, whose errors name the cell.
        """
        return True if is_concrete(value) else super()._validate_sample(value)

    def _log_prob(self, model: Any, value: Array, known: Any) -> Array:
        raise NotImplementedError

    def _sample(self, model: Any, value: Array, known: Any, key: Array) -> Array:
        raise NotImplementedError


class Marginal(OfModel):
    """Distribution of rows x of a generative model: log p(x_observed) = log sum_y p(x_observed, y).

    With `labels`, the joint density p(x_observed, y), -1 being an unknown label, summed out: the likelihood of partly
    labelled rows. Events are rows (d,), or for a chain sequences (t, d) of `num_steps` t steps, of which the first
    `lengths` exist. Cells may be NaN; discrete columns are whole numbers held as floats. `labels` (), or (t,) of paths,
    and `lengths` () have an entry for each row or sequence of the batch; the leaves of `model` have `batch_shape`
    first.

    Raises ValueError for a discriminative model, or for a chain without a number of steps.
    """

    pytree_data_fields = ()

    def __init__(
        self,
        model: Generative,
        labels: ArrayLike | None = None,
        *,
        num_steps: int | None = None,
        lengths: ArrayLike | None = None,
        batch_shape: tuple[int, ...] = (),
        validate_args: bool | None = None,
    ) -> None:
        checked = _lifted(_verbs.require_generative, model, batch_shape)
        labels, lengths = _ints(labels, "labels"), _ints(lengths, "lengths")
        event = (checked.num_features,)
        if checked.sequential:
            event = (_num_steps(num_steps, None if checked.one_label else labels), *event)
        elif num_steps is not None or lengths is not None:
            raise ValueError("num_steps and lengths are for models of sequences, and this is one of rows.")
        rank = 0 if checked.one_label else len(event) - 1
        known = {"labels": (labels, rank), "lengths": (lengths, 0)}
        super().__init__(checked, len(batch_shape), event, validate_args, **known)

    @property
    def support(self) -> OrMissing:
        return OrMissing(self.one.supports, steps=len(self.event_shape) == 2)

    def _log_prob(self, model: Any, value: Array, known: Any) -> Array:
        if known["labels"] is None:
            return _verbs.log_prob(model, value, known["lengths"])
        return _verbs.log_joint(model, value, known["labels"], known["lengths"])

    def _sample(self, model: Any, value: Array, known: Any, key: Array) -> Array:
        steps = self.event_shape[:-1]
        shape = (len(value), *(() if model.one_label else steps))
        labels = jnp.full(shape, -1) if known["labels"] is None else known["labels"]
        if not model.sequential:
            return _rows(model, key, labels)
        lengths = jnp.full(len(value), steps[0]) if known["lengths"] is None else known["lengths"]
        if not model.one_label:
            return _sequences(model, key, labels, lengths)
        drawn = _rows(model, key, labels, steps)
        return jnp.where((jnp.arange(steps[0]) < lengths[:, None])[..., None], drawn, jnp.nan)


class Conditional(OfModel):
    """Distribution of labels y given rows, p(y | x_observed), of any model; for a chain, of whole paths.

    `x` (*batch, d), or for a chain (*batch, t, d) with `lengths` (*batch). Values are ints () or paths (t,); -1 is an
    unknown label, summed out. Labels of rows, but not paths, can be enumerated. The leaves of `model` have
    `batch_shape` first.

    Raises ValueError for rows with fewer axes than the model's events have.
    """

    pytree_data_fields = ()

    def __init__(
        self,
        model: Generative | Discriminative,
        x: ArrayLike,
        lengths: ArrayLike | None = None,
        *,
        batch_shape: tuple[int, ...] = (),
        validate_args: bool | None = None,
    ) -> None:
        checked = _lifted(as_model, model, batch_shape)
        rank = 2 if checked.sequential else 1
        x = jnp.asarray(as_floats(x, "x"))
        if x.ndim < rank:
            raise ValueError(f"x must have shape (*batch, {'t, ' if rank == 2 else ''}d); got shape {x.shape}.")
        known = {"x": (x, rank), "lengths": (_ints(lengths, "lengths"), 0)}
        event = () if checked.one_label else x.shape[-rank:-1]
        self.has_enumerate_support = not event
        super().__init__(checked, len(batch_shape), event, validate_args, **known)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.integer_interval(-1, self.one.num_labels - 1), self.event_dim)

    def enumerate_support(self, expand: bool = True) -> Array:
        if self.event_shape:
            raise NotImplementedError("paths are too many to enumerate; log_prob sums over those of unknown steps, -1.")
        labels = jnp.arange(self.one.num_labels)
        labels = labels.reshape(-1, *[1] * len(self.batch_shape))
        return jnp.broadcast_to(labels, (len(labels), *self.batch_shape)) if expand else labels

    def _log_prob(self, model: Any, value: Array, known: Any) -> Array:
        return _verbs.log_conditional(model, known["x"], value, known["lengths"])

    def _sample(self, model: Any, value: Array, known: Any, key: Array) -> Array:
        return _verbs.sample_labels(model, key, known["x"], known["lengths"])


@functools.partial(kernels.compiled, static_argnums=3)
def _rows(model, key, labels, steps=()):
    key_y, key_x = jax.random.split(key)
    drawn = jnp.where(labels < 0, model.sample_labels(key_y, labels.shape), labels)
    return model.density.sample(key_x, (drawn,), *steps)


@kernels.compiled
def _sequences(model, key, labels, lengths):
    key_y, key_x = jax.random.split(key)
    dtype = jnp.result_type(*jax.tree.leaves(model))
    nothing = Sequences(jnp.full((*labels.shape, model.num_features), jnp.nan, dtype), lengths)
    path = model.potentials(nothing).given(labels).sample(key_y)
    drawn = model.density.sample(key_x, (jnp.maximum(path, 0),))
    return jnp.where((path >= 0)[..., None], drawn, jnp.nan)


def _lifted(lift, model, batch_shape):
    for _ in batch_shape:
        lift = jax.vmap(lift)
    return lift(model)


def _ints(value, name):
    if value is None:
        return None
    array = as_array(value, name, "whole numbers")
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise ValueError(f"{name} must be ints; got dtype {array.dtype}.")
    with jax.ensure_compile_time_eval():
        return jnp.asarray(array)


def _num_steps(num_steps, labels):
    if num_steps is None and labels is None:
        raise ValueError("num_steps is needed, for sequences may have any number of steps: type num_steps=x.shape[-2].")
    steps = labels.shape[-1] if num_steps is None else as_count(num_steps, "num_steps")
    if labels is not None and labels.shape[-1] != steps:
        raise ValueError(f"labels must have shape (*batch, {steps}), one for each step; got shape {labels.shape}.")
    return steps
