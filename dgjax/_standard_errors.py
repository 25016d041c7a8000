"""Standard errors of a model's parameters, by the observed information at the maximum of its likelihood."""

import dataclasses
import functools
from collections import namedtuple
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from numpy.typing import ArrayLike

import dgjax_kernels as kernels
from dgjax import _advice
from dgjax._arguments import as_array, is_concrete
from dgjax._elsewhere import told_keywords
from dgjax._error_table import named_errors
from dgjax._verbs import num_parameters
from dgjax.data import as_model
from dgjax.densities import Categorical, Multinomial
from dgjax.learning import has_networks, problem_of
from dgjax.priors import Ridge
from dgjax.tables import Asked, of_tables

M = TypeVar("M")
LOGS = ("log_weights", "log_initial", "log_transition")
"""Fields of log-probabilities, of which a constant may be added to all."""
MOST = 1000  # parameters: their Hessian takes as many passes over the rows
FAR = 0.3  # standard errors that the maximum may be away
NULL, NULL_OF_PRIOR, FLAT = 1e-3, 1e-9, 1e-9
"""Curvatures, relative to those of single parameters, below which a direction that is known to change nothing is one,
by the likelihood and under a prior, and any other is flat."""


def _by_name(asked: Asked, result: Any) -> Any:
    """Answer that is errors of a model of a table: by the names of columns and labels; of a function as they are."""
    if asked.given.get("of") is not None or asked.frame is None:
        return result
    with jax.enable_x64(True):
        model: Any = _normalised(jax.tree.map(_wide, asked.given["model"].model))
        return named_errors(asked.given["model"], model, result)


@told_keywords
@of_tables(_by_name)
def standard_errors(
    model: M,
    x: Any,
    y: ArrayLike | None = None,
    *,
    of: Callable[[M], Any] | None = None,
    lengths: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    prior: Any = None,
) -> Any:
    """Standard errors of the parameters of a fitted model, sqrt of the diagonal of I^-1, under the same names.

    They are named tuples of the shape of the model: `errors.density.mean` are those of `model.density.mean`. I is the
    observed information, minus the Hessian of the log-likelihood of the rows that the model was fitted to, or with
    `prior` of that and the log prior, and the errors are then Laplace's posterior standard deviations. They are of the
    model's own coordinates: means, log-scales, log-odds, entries of Cholesky factors, log-probabilities that add to 1.
    Of weights and scores, of which a part common to all labels changes nothing, they are of what is left without it,
    by the pseudo-inverse; of factors' loadings, up to rotation. What is fixed, such as a structural zero, has error 0.
    `of` is a function of the model whose values the errors are of, by the delta method, for instance `lambda model:
    jax.nn.softmax(model.log_weights)`. Arguments are otherwise those of `dgjax.fit`. In float64. Of a model of a table,
    given a frame, they are `dgjax.StandardErrors`, which print as a table with the names of columns and labels.

    Raises ValueError for bad data, networks, more than 1,000 parameters, a model more than 0.3 standard errors from the
    maximum, or a parameter that the rows do not determine: of singular information.
    Source: Efron and Hinkley (1978), on the observed information; van der Vaart (1998), section 3.1, the delta method.
    """
    if not is_concrete(model, x, y, weights, lengths):
        raise ValueError(
            "standard_errors is for known numbers: inside jit, vmap or grad there are none. Call it outside."
        )
    if has_networks(as_model(model)):
        raise ValueError(
            f"standard_errors is for models whose parameters rows determine; those of the networks of a "
            f"{type(model).__name__} are not. Draw rows with replacement, and fit to each draw: a bootstrap."
        )
    with jax.enable_x64(True):
        rows = np.asarray(as_array(x, "x", "real numbers")).astype(float)
        own: Any = jax.tree.map(_wide, model)
        start, problem = problem_of(
            own, rows, y, weights, lengths, prior if prior == "weak" else jax.tree.map(_wide, prior)
        )
        bare = as_model(own) is not own
        place = _Place.of(start)
        if len(place.free) > MOST:
            raise ValueError(
                f"standard_errors is for at most {MOST} parameters, as it needs their Hessian; this "
                f"{type(model).__name__} has {len(place.free)}. Draw rows with replacement, and fit to each draw."
            )
        covariance = _covariance(start, problem, place, prior)
        asked = _normalised if of is None else of

        def values(free):
            changed = place.model(free)
            return ravel_pytree(asked(changed.density if bare else changed))[0]

        value, unravel = ravel_pytree(asked(start.density if bare else start))
        jacobian = np.asarray(jax.jacfwd(values)(place.at))
        errors = np.sqrt(np.maximum(np.einsum("ip,pq,iq->i", jacobian, covariance, jacobian), 0))
        errors = np.where(np.isfinite(np.asarray(value)), errors, 0)
        result = jax.tree.map(np.asarray, unravel(jnp.asarray(errors)))
    return _errors_of(jax.tree.map(jnp.asarray, result))


def _errors_of(part):
    """Errors of a part of a model: a named tuple of its fields, for as a model they would be printed as one."""
    if dataclasses.is_dataclass(part):
        own: Any = part
        fields = {
            field.name: _errors_of(getattr(own, field.name))
            for field in dataclasses.fields(own)
            if not field.metadata.get("static", False)
        }
        return _tuple_of(f"{type(part).__name__}Errors", tuple(fields))(**fields)
    return tuple(map(_errors_of, part)) if type(part) is tuple else part


@functools.cache
def _tuple_of(name, fields):
    """Class of named tuples, one for each name and fields, so that trees of errors have one structure."""
    return namedtuple(name, fields)


class _Place(NamedTuple):
    """Place in the space of free parameters: their numbers among all (p,), the values `at`, and what makes models."""

    free: np.ndarray
    at: jax.Array
    whole: jax.Array
    unravel: Any

    @classmethod
    def of(cls, model: Any) -> "_Place":
        """Free parameters of a model: those that are finite, and of Cholesky factors not above the diagonal."""
        vector, unravel = ravel_pytree(model)
        below = jax.tree_util.tree_map_with_path(_is_below, model)
        free = np.flatnonzero(np.isfinite(vector) & np.asarray(ravel_pytree(below)[0], bool))
        return cls(free, vector[free], vector, unravel)

    def model(self, free: jax.Array) -> Any:
        """Model with these values of its free parameters."""
        return self.unravel(self.whole.at[self.free].set(free))


def _is_below(path, leaf):
    factor = getattr(path[-1], "name", "") == "scale_tril"
    return np.tril(np.ones(leaf.shape)) if factor else np.ones(leaf.shape)


def _wide(leaf):
    return jnp.asarray(np.asarray(leaf), float) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) else leaf


def _normalised(model):
    """The model with log-probabilities that add to 1."""

    def of_logits(node):
        if isinstance(node, Categorical | Multinomial):
            return jax.tree.map(_logs, node)
        return node

    model = jax.tree.map(of_logits, model, is_leaf=lambda node: isinstance(node, Categorical | Multinomial))
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: _logs(leaf) if getattr(path[-1], "name", "") in LOGS else leaf, model
    )


def _logs(leaf):
    some = jnp.isfinite(leaf).any(-1, keepdims=True)
    return jnp.where(some, jax.nn.log_softmax(jnp.where(some, leaf, 0), axis=-1), leaf)


def _covariance(model, problem, place, prior):
    """Covariance (p, p) of the free parameters: the pseudo-inverse of the observed information.

    Of a direction that changes no probability the inverse is 0. Curvatures are compared in units in which that of each
    parameter alone is 1.
    """
    mask = np.isin(np.arange(place.whole.size), place.free)
    slope, hessian = (np.asarray(own) for own in _derivatives(problem, model, mask))
    slope, hessian = slope[place.free], hessian[np.ix_(place.free, place.free)]
    information, curved = -(hessian + hessian.T) / 2, -np.diag(hessian)
    if not np.isfinite(information).all():
        raise ValueError("the likelihood has no second derivatives here: rows have no probability under the model.")
    size = np.sqrt(np.where(curved > 0, curved, 1))
    scaled = information / size / size[:, None]
    of_rows = (
        scaled if model.generative or prior is None else _of_rows(problem, model, mask, place) / size / size[:, None]
    )
    values, vectors = np.linalg.eigh(of_rows)
    redundant = max(len(size) - int(num_parameters(model)), 0)
    order = np.argsort(np.abs(values))
    least = NULL if prior is None or not model.generative else NULL_OF_PRIOR
    null = [own for own in order[:redundant] if abs(values[own]) < least]
    kept = vectors[:, np.setdiff1d(order, null)]
    values, turn = np.linalg.eigh(kept.T @ scaled @ kept)
    kept = kept @ turn
    if len(values) and values[0] < FLAT:
        _refuse(values[0], kept[:, 0], place, model, prior)
    inverse = (kept / values) @ kept.T / size / size[:, None]
    away = np.sqrt(max(slope @ inverse @ slope, 0))
    if away > FAR:
        raise ValueError(_short(model, f"{away:.2g} standard errors from it", prior))
    directions = np.linalg.qr(vectors[:, null] / size[:, None])[0]
    onto = np.eye(len(size)) - directions @ directions.T
    return onto @ inverse @ onto


def _of_rows(problem, model, mask, place):
    """Information (p, p) of the rows alone, by which a direction that changes no probability is known as one."""
    flat = problem.replace(prior=Ridge(jnp.zeros_like(problem.strength)))
    hessian = np.asarray(_derivatives(flat, model, mask)[1])[np.ix_(place.free, place.free)]
    return -(hessian + hessian.T) / 2


@functools.partial(kernels.compiled_once, results=kernels.shards.SUMS)
def _derivatives(problem, model, free):
    """Gradient (p,) and Hessian (p, p) of the objective by all parameters, 0 by those that are not `free` (p,)."""
    vector, unravel = ravel_pytree(model)
    kept = jnp.where(free, 0, vector)
    return problem.derivatives(jnp.where(free, vector, 0), lambda v: unravel(jnp.where(free, v, kept)))


def _refuse(value, direction, place, model, prior):
    """Raises ValueError for a direction that is flat, or along which the likelihood rises."""
    if value < -NULL:
        raise ValueError(_short(model, "and the likelihood rises along some direction", prior))
    number = int(place.free[np.abs(direction).argmax()])
    paths = [
        jax.tree_util.keystr(path) for path, leaf in jax.tree_util.tree_leaves_with_path(model) for _ in leaf.ravel()
    ]
    raise ValueError(
        f"the information is singular: the rows do not determine model{paths[number]}, or only together with others. "
        "Fit a smaller model, or give a prior here and to dgjax.fit: prior=dgjax.weak_prior(model, x)."
    )


def _short(model, told, prior):
    """Error message of a model that is not at its maximum."""
    given = "" if prior is None else f", prior={_advice.shown(prior)}"
    method = "EM" if model.generative else "LBFGS"
    return (
        f"standard errors are of a model at the maximum of the likelihood of these rows, with the prior that it was "
        f"fitted with; this one is not there, {told}. Type model = dgjax.fit(model, x, y, method=dgjax.{method}"
        f"(tol=1e-9), max_steps=10000{given}).model."
    )
