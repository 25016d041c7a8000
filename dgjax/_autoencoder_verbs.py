"""Verbs of latent variables: factors of a row; of autoencoders bounds, reconstruction, standard error of log p(x)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

import dgjax_kernels as kernels
from dgjax._answers import by_scores
from dgjax._arguments import as_count, is_concrete
from dgjax._elsewhere import told_keywords
from dgjax._types import Generative
from dgjax._verbs import predict, require_generative
from dgjax.data import as_floats, as_labels, as_model, model_and_rows
from dgjax.densities import (
    Draws,
    FactorGaussian,
    Learned,
    VariationalAutoencoder,
    check_has_density,
    has_divergence,
    has_draws,
    with_draws,
)
from dgjax.sparse import RowsLike
from dgjax.streams import of_streams
from dgjax.tables import of_tables


@of_streams()
@told_keywords
@of_tables()
def elbo(model: Generative, x: ArrayLike, y: ArrayLike | None = None, lengths: ArrayLike | None = None) -> Array:
    """The evidence lower bound E_q log p(x_observed | z, y) - KL(q(z | x, y) || p(z)) + log p(y), in nats: (n,).

    The expectation is the mean over the model's `num_samples` draws of z; the divergence is exact. Where `y` (n,) is
    -1, or not given, labels are summed out: log sum_y p(y) exp(bound of x and y). `dgjax.log_prob` is a tighter bound.

    Raises ValueError for a model without a variational autoencoder, a wrong shape, a cell or a label out of range.
    Source: Kingma and Welling (2014), eq. 7; for labels Kingma et al. (2014), eq. 7 at the best q(y | x).
    """
    checked, rows = model_and_rows(_drawn(model, "elbo"), x, lengths)
    unknown = np.full(rows.x.x.shape[:2] if checked.sequential else len(rows.x), -1)
    labels = as_labels(unknown if y is None else y, rows.x, checked.num_labels)
    return _elbo(with_draws(checked, Draws(None)), rows, labels)


@by_scores
def _elbo(model, x, y):
    return model.potentials(x).score(y)


@of_streams()
@told_keywords
@of_tables()
def log_prob_error(model: Generative, x: ArrayLike) -> Array:
    """Error of `log_prob(model, x)`, in nats: (n, d) -> (n,); 0 for a model whose log p(x) is exact.

    Of an autoencoder, whose log p(x) is the log of a mean of S importance weights, the standard error: with v_s the
    share of weight s in their sum, the delta method gives sqrt((S sum_s v_s^2 - 1) / (S - 1)), too small where few
    weights are large. Errors of different rows are independent. Of a flow with columns of whole numbers, that of the
    mean over its draws of noise, which rows share. Of an autoregressive density of any order, the standard deviation of
    log p(x) between its orders: how far they disagree. Of a diffusion model the standard error of the mean over its
    probes of the trace, which rows share, and draws of noise; 0 where the trace is exact. Its ODE's steps add an error
    of their own, which more of them show. Of a tilted density that of log Z, for the weights of classes that `fit` gave
    beside it: with others a row's error is that of its class, which may be more.

    Raises ValueError for a discriminative model, one that holds such a density inside another or emits sequences by
    one, one of a single order or probe, a wrong shape, or a cell out of range.
    """
    check_has_density(require_generative(model), "log_prob_error")
    checked, rows = model_and_rows(require_generative(model), x)
    exact = checked.capabilities.log_prob in ("exact", "learnt")
    if not has_draws(checked) or (checked.sequential and exact):
        return jnp.zeros(len(rows.x), rows.x.dtype)
    if checked.sequential:
        raise ValueError(
            f"log_prob_error is for models of rows; this {type(checked).__name__} emits by a density of networks whose "
            "log p(x) is no exact number. Compare log_prob by other seeds of it: dataclasses.replace(density, seed=1)."
        )
    if not isinstance(checked.density, Learned):
        raise ValueError(
            f"log_prob_error is for a single density of networks; {type(checked.density).__name__} holds it deeper."
        )
    return _log_prob_error(checked, rows)


@by_scores
def _log_prob_error(model, x):
    logs = jax.nn.log_softmax(model.log_weights) + model.density.scores_by_draw(x)
    return jnp.where(jnp.isnan(x).all(-1), 0, model.density.error(jax.nn.logsumexp(logs, axis=-1)))


@of_streams()
@told_keywords
@of_tables()
def encode(model: Generative, x: RowsLike, y: ArrayLike | None = None) -> tuple[Array, Array]:
    """Mean and standard deviation, each (n, m), of a row's latent variables given its observed cells: (n, d).

    Of an autoencoder those of the encoder's normal q(z | x_observed, y); of a `FactorGaussian` those of its factors,
    which are exact. `y` (n,) is the class of each row, or its component, for a model with several; where it is -1 or
    not given, the most probable.

    Raises ValueError for a model without latent variables, a wrong shape, a cell or a label out of range.
    """
    checked = require_generative(model)
    factors = isinstance(getattr(checked, "density", None), FactorGaussian) and not checked.sequential
    density = checked.density if factors else _autoencoder(model, "encode")
    _, rows = model_and_rows(model, x, sparse=True)
    return _encode(density, rows.x, _classes(model, rows.x, y))


@told_keywords
@of_tables()
def decode(model: Generative, z: ArrayLike, y: ArrayLike | None = None) -> Array:
    """Mean of every cell given latent vectors z: (n, m) -> (n, d); the most probable category of a categorical column.

    A binary column's mean is its probability of 1. `y` (n,) is the class of each row, for a model with classes.

    Raises ValueError for a model that is no variational autoencoder, a wrong shape, or labels missing or out of range.
    """
    density = _autoencoder(model, "decode")
    latent = as_floats(z, "z", "finite numbers")
    if latent.ndim != 2 or latent.shape[1] != density.latent_dim:
        raise ValueError(f"z must have shape (n, {density.latent_dim}); got {latent.shape}.")
    if y is None and density.num_classes > 1:
        raise ValueError(f"decode needs the class of each row, y ({len(latent)},), of a model with classes; got None.")
    labels = np.zeros(len(latent), int) if y is None else y
    classes = as_labels(labels, latent, density.num_classes, rows="z")
    if is_concrete(classes) and (np.asarray(classes) < 0).any():
        raise ValueError(
            f"decode needs the class of each row, and y has -1, unknown. Type one from 0 to {density.num_classes - 1}."
        )
    if is_concrete(latent) and not np.isfinite(np.asarray(latent)).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(np.asarray(latent)))[0])
        raise ValueError(f"z must be finite numbers; got z[{row}, {column}] = {latent[row, column]}.")
    return _decode(density, latent, _one_hot(density.num_classes, classes, latent))


@of_streams()
@told_keywords
@of_tables()
def reconstruct(model: Generative, x: ArrayLike, y: ArrayLike | None = None) -> Array:
    """Reconstruction: rows encoded to the mean of q(z | x_observed, y), and that decoded: (n, d) -> (n, d).

    Every cell is reconstructed, observed ones too; `dgjax.impute` fills missing cells alone, averaged over z. `y` (n,)
    is the class of each row, for a model with classes; where it is -1 or not given, the most probable class.

    Raises ValueError for a model that is no variational autoencoder, a wrong shape, a cell or a label out of range.
    """
    density = _autoencoder(model, "reconstruct")
    _, rows = model_and_rows(model, x)
    shares = _classes(model, rows.x, y)
    return _decode(density, _encode(density, rows.x, shares)[0], shares)


@told_keywords
@of_tables()
def interpolate(
    model: Generative, start: ArrayLike, end: ArrayLike, num_steps: int = 8, y: ArrayLike | None = None
) -> Array:
    """Interpolation: decodes points of a straight line in latent space between two rows: (num_steps, d).

    The rows are `start` (d,) and `end` (d,). The line joins the means of q(z | x, y) of both rows, so the first and
    last results are their reconstructions. `y` (2,) are their classes, for a model with classes; the class is
    interpolated too.

    Raises ValueError for a model that is no variational autoencoder, a wrong shape, a cell or a label out of range, or
    fewer than 2 steps.
    """
    density = _autoencoder(model, "interpolate")
    ends = [as_floats(row, name) for row, name in ((start, "start"), (end, "end"))]
    if any(row.shape != (density.num_features,) for row in ends):
        shapes = " and ".join(str(row.shape) for row in ends)
        raise ValueError(f"start and end must be one row each, ({density.num_features},); got shapes {shapes}.")
    pair = jnp.stack(ends)
    _, rows = model_and_rows(model, pair)
    shares, along = _classes(model, rows.x, y), np.linspace(0, 1, as_count(num_steps, "num_steps", 2))
    mean, _ = _encode(density, rows.x, shares)
    along = jnp.asarray(along, mean.dtype)[:, None]
    z, y = ((1 - along) * own[0] + along * own[1] for own in (mean, shares))
    return _decode(density, z, y)


@kernels.compiled
def _encode(density, x, y):
    return density.encode(x, y)


@kernels.compiled
def _decode(density, z, y):
    mean = density.likelihood.mean(density.decode(z, y))
    return mean if mean.shape[-1] == density.num_features else density.likelihood.value(mean)


def _classes(model, x, y):
    """One-hot classes (n, k): the given label, or the most probable class where y is -1 or None."""
    k = model.as_model().num_labels
    if k == 1:
        return _one_hot(k, jnp.zeros(len(x), int), x)
    labels = as_labels(np.full(len(x), -1) if y is None else y, x, k)
    if not is_concrete(labels) or (np.asarray(labels) < 0).any():
        labels = jnp.where(labels < 0, predict(model, x), labels)
    return _one_hot(k, labels, x)


def _one_hot(k, labels, like):
    return jax.nn.one_hot(labels, k, dtype=like.dtype)


def _drawn(model: Any, verb: str) -> Any:
    if verb == "decode" and as_model(model).sequential:
        raise ValueError(
            "decode gives rows for latent variables of a variational autoencoder. For the most probable path of a "
            f"{type(model).__name__} type dgjax.predict(model, x), with lengths=lengths if sequences are padded."
        )
    checked = require_generative(model)
    if not has_divergence(checked):
        factors = " or a model of factors" * (verb == "encode")
        raise ValueError(f"{verb} is for a variational autoencoder{factors}; {_what_log_prob_is(checked)}")
    return checked


def _autoencoder(model: Any, verb: str) -> Any:
    """The `VariationalAutoencoder` within a model; raises ValueError, naming the verb, for a model without one."""
    density = _drawn(model, verb).density
    if not isinstance(density, VariationalAutoencoder):
        raise ValueError(f"{verb} is for a variational autoencoder, or a Mixture of its classes; got others around it.")
    return density


def _what_log_prob_is(model: Any) -> str:
    """Words for an error: what kind of number log_prob of a model gives, in place of a bound."""
    kinds = {"bound": "a bound", "estimate": "an estimate"}
    kind, name = model.capabilities.log_prob, type(model).__name__
    if kind == "none":
        return f"this {name} has no log_prob."
    return f"log_prob of this {name} is {kinds.get(kind, 'exact')}: type dgjax.log_prob(model, x)."
