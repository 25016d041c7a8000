"""Emissions: a NumPyro distribution as a dgjax density."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.distributions import Distribution, ExpandedDistribution, Independent, biject_to, constraints

from dgjax._arguments import is_concrete
from dgjax._types import LabelIndex, Scorer, Support
from dgjax.densities import Density, fill, flat, rows_by_labels
from dgjax.numpyro import _counts
from dgjax.numpyro._support import as_support, feasible, is_inside
from dgjax.priors import WrongPriorError

CLOSED_FORM = (
    "{} is a NumPyro distribution, and has no maximum in closed form for EM to take. It is fitted by gradient, from "
    "its own parameters: type method=dgjax.LBFGS(), or method=dgjax.Optax(optax.adam(1e-2))."
)


@dataclasses.dataclass(frozen=True)
class Form:
    """Static part of an emission: class of the distribution, label shape, columns, and whether these are independent.

    `column_axis`: whether the last batch axis of the class is that of columns.
    """

    family: type[Distribution]
    label_shape: tuple[int, ...]
    num_features: int
    by_cell: bool
    column_axis: bool
    supports: tuple[Support, ...]
    discrete: bool

    def constraint(self, name: str) -> Any:
        return self.family.arg_constraints[name]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Emission(Density, Scorer):
    """Density of rows by a NumPyro distribution: of a mixture's components, of classes, or of a chain's states.

    `Emission.of(distribution)`: its batch is the labels (*labels,), its event a row (d,) or a single cell ();
    `dist.StudentT(df, loc, scale).to_event(1)` with loc (k, d). Parameters are stored unconstrained, so that every
    gradient step is valid; integer parameters, such as numbers of trials, are fixed. NaN is marginalised where columns
    are independent, and an error where they are not. Inside `jit` a cell outside the distribution's support has
    probability 0.
    """

    __no_type_check__ = True  # JAX puts anything in place of the fields

    parameters: dict[str, Array]
    form: Form = dataclasses.field(metadata={"static": True})

    @classmethod
    def of(cls, distribution: Distribution) -> "Emission":
        """Density of a NumPyro distribution.

        Raises ValueError if its event is not a row or a cell, if its parameters constrain each other, or if there is
        more to it than parameters, as a truncated distribution keeps another.
        """
        base = distribution.base_dist if isinstance(distribution, Independent) else distribution
        given = base.get_args()
        if "scale_tril" in given:
            given = {name: given[name] for name in given if name not in ("covariance_matrix", "precision_matrix")}
        _expect_own_parameters(distribution, base, given)
        by_cell = not base.event_shape
        num_features = distribution.event_shape[0] if distribution.event_shape else 1
        parameters = {
            own: unconstrained(type(base).arg_constraints[own], jnp.asarray(value)) for own, value in given.items()
        }
        most = _counts.largest_count(type(base), jnp.result_type(*parameters.values())) if base.is_discrete else np.inf
        support = as_support(base, most)
        form = Form(
            type(base),
            distribution.batch_shape,
            num_features,
            by_cell,
            by_cell and len(distribution.event_shape) == 1,
            (support,) * num_features,
            bool(base.is_discrete),
        )
        return cls(parameters, form)

    @property
    def distribution(self) -> Any:
        """The NumPyro distribution with the current parameters."""
        return self._base.to_event(1) if self.form.column_axis else self._base

    @property
    def _base(self) -> Any:
        """The distribution of a cell, if columns are independent, else of a row."""
        values = {name: natural(self.form.constraint(name), value) for name, value in self.parameters.items()}
        return self.form.family(**values, validate_args=False)

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.form.label_shape

    @property
    def num_features(self) -> int:
        return self.form.num_features

    @property
    def row_cost(self) -> int:
        return int(np.prod(self.label_shape)) * self.num_features

    @property
    def num_parameters(self) -> int:
        free = [v.size for name, v in self.parameters.items() if not self.form.constraint(name).is_discrete]
        return sum(free)

    @property
    def supports(self) -> tuple[Support, ...]:
        return self.form.supports

    def scores(self, x: Array) -> Array:
        x = x.reshape(len(x), *[1] * len(self.label_shape), self.num_features)
        missing, base = jnp.isnan(x), self._base
        cells = x if self.form.column_axis or not self.form.by_cell else x[..., 0]
        inside = is_inside(base.support, cells)
        value = jnp.where(inside if self.form.by_cell else inside[..., None], cells, feasible(base, cells))
        logs = _counts.log_prob(base, value) if self.form.discrete else base.log_prob(value)
        logs = jnp.where(inside, logs, -jnp.inf)
        if self.form.by_cell:
            logs = jnp.where(jnp.isnan(cells), 0, logs)
            return logs.sum(-1) if self.form.column_axis else logs
        return jnp.where(missing.any(-1), jnp.where(missing.all(-1), 0, jnp.nan), logs)

    def sample(self, key: Array, at: LabelIndex) -> Array:
        shape = jnp.shape(at[0])
        draws = jnp.asarray(_counts.sample(self._base, key, shape)).reshape(-1, *self.label_shape, self.num_features)
        picked = draws[(jnp.arange(len(draws)), *(own.reshape(-1) for own in at))]
        return picked.reshape(*shape, self.num_features).astype(self._dtype)

    def sample_missing(self, keys: Array, x: Array, at: LabelIndex) -> Array:
        return fill(x, jax.vmap(self.sample)(keys, at))

    def impute(self, x: Array, posterior: Array) -> Array:
        if self.form.discrete:
            raise ValueError(
                f"impute has no most probable value of a {self.form.family.__name__}; draw one with "
                "dgjax.sample_missing(model, key, x)."
            )
        mean = jnp.broadcast_to(self.distribution.mean.reshape(*self.label_shape, -1), (*self.label_shape, x.shape[1]))
        mean = jnp.where(jnp.isfinite(mean), mean, jnp.nan)
        return fill(x, rows_by_labels(posterior) @ flat(mean, self.label_shape))

    @property
    def columns_without_mean(self) -> tuple[int, ...]:
        """Columns whose mean is not finite for some label, as of a Cauchy distribution; () inside `jit`."""
        if self.form.discrete or not is_concrete(self):
            return ()
        mean = np.asarray(self.distribution.mean).reshape(-1, self.num_features)
        return tuple(np.flatnonzero(~np.isfinite(mean).all(0)).tolist())

    def marginal(self, columns: tuple[int, ...]) -> "Emission":
        if not self.form.column_axis:
            raise ValueError(f"marginal needs independent columns; those of a {self.form.family.__name__} are not.")
        picked = jnp.array(columns)

        def of(name, value):
            constraint = self.form.constraint(name)
            whole = natural(constraint, value)
            axis = whole.ndim - constraint.event_dim - 1
            by_column = axis >= 0 and whole.shape[axis] == self.num_features
            return unconstrained(constraint, jnp.take(whole, picked, axis)) if by_column else value

        supports = tuple(self.supports[c] for c in columns)
        form = dataclasses.replace(self.form, num_features=len(columns), supports=supports)
        return Emission({name: of(name, value) for name, value in self.parameters.items()}, form)

    def discriminative(self) -> tuple[Array, "Emission"]:
        """Discriminative twin: a bias of 0, and the log-density itself as scorer."""
        return jnp.zeros(self.label_shape, self._dtype), self

    def penalty(self) -> Array:
        """Sum of squared unconstrained parameters."""
        return jnp.sum(jnp.stack([(value**2).sum() for value in self.parameters.values()]))

    def statistics(self, x: Array, counts: Array) -> Any:
        del x, counts
        raise ValueError(CLOSED_FORM.format(self.form.family.__name__))

    def maximum(self, statistics: Any, prior: Any = None) -> "Emission":
        raise ValueError(CLOSED_FORM.format(self.form.family.__name__))

    def started(self, key: Array, x: Array, counts: Array, random: bool = False) -> "Emission":
        raise ValueError(f"{self.form.family.__name__} has no start from rows but its own: leave dgjax.Restarts out.")

    def log_prior(self, prior: Any) -> Array:
        if prior is not None:
            raise WrongPriorError(
                f"prior of {self.form.family.__name__}, a NumPyro distribution, must be None; got a "
                f"{type(prior).__name__}. For priors of its parameters, write the model in NumPyro."
            )
        return jnp.zeros((), self._dtype)

    def weak_prior(self, columns: Any, strength: Any) -> None:
        """None, a flat prior: a NumPyro distribution has no conjugate prior here."""
        return

    @property
    def _dtype(self) -> Any:
        return jnp.result_type(*self.parameters.values())


def as_density(emission: Any, name: str = "emission") -> Any:
    """A dgjax density as it is, or a NumPyro distribution as an `Emission`; raises ValueError for anything else."""
    if isinstance(emission, Distribution):
        return Emission.of(emission)
    if not isinstance(emission, Density):
        raise ValueError(
            f"{name} must be a density, such as dgjax.Gaussian(mean, scale_tril), or a NumPyro distribution with a "
            f"batch of labels; got a {type(emission).__name__}."
        )
    return emission


def unconstrained(constraint: Any, value: Array) -> Array:
    """A parameter transformed from its constraint to the real numbers; integers become floats, untransformed."""
    if constraint.is_discrete:
        return value.astype(jnp.result_type(float))
    value = value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(float)
    return biject_to(constraint).inv(value)


def natural(constraint: Any, value: Array) -> Array:
    """A parameter transformed from the real numbers to its constraint; integer parameters get no gradient."""
    return jax.lax.stop_gradient(value) if constraint.is_discrete else biject_to(constraint)(value)


def _expect_own_parameters(distribution, base, given):
    """Check of a distribution: raises ValueError unless it is made again of its parameters, each free of the others."""
    name, event, why = type(base).__name__, distribution.event_shape, ""
    dependent = [own for own in given if constraints.is_dependent(type(base).arg_constraints[own])]
    if isinstance(base, ExpandedDistribution):
        own = type(base.base_dist).__name__
        why = f"expanded to batch {base.batch_shape}. Broadcast its parameters: dist.{own}(jnp.broadcast_to("
        why += f"{next(iter(base.base_dist.get_args()), 'parameter')}, {base.batch_shape}), ...)"
    elif dependent:
        why = f"{dependent[0]} limited by another parameter"
    elif given and not _is_made_of(base, given):
        why = f"more to it than its parameters {', '.join(given)}. Derive a density of your own from dgjax.Density"
    if len(event) > 1 or why or not given:
        raise ValueError(
            "Emission.of expects a distribution with parameters of its own, whose event is a row (d,) or a cell () and "
            f"whose batch is the labels; got a {name} with event {event}{' and ' if why else ''}{why}."
        )


def _is_made_of(base, given):
    """Whether a distribution's class makes it of its parameters, and of nothing else, such as another distribution."""
    try:
        again = type(base)(**given)
    except (TypeError, AssertionError, ValueError):
        return False
    return (again.batch_shape, again.event_shape) == (base.batch_shape, base.event_shape)
