"""Few complete rows, answered by NumPy: log-densities, log-posteriors and labels, for which nothing is compiled.

    linear log-odds        ─▶ labels, log-posteriors       w_y . x + b_y, in float64 (`linear_scores`)
    normal distributions   ─▶ these and log-densities      log w_y - |L_y^-1 (x - mean_y)|^2 / 2 - log |L_y| - ...
    categories             ─▶ these and log-densities      log w_y + sum_j log p_yj(x_j), linear in indicators

Of few rows a program takes less time than JAX takes to start it and to wait for it, and one that serves all numbers of
rows of a size class runs for rows that pad. 300 rows of 20 columns and 5 labels are classified in 0.14 ms for 0.6
(multinomial: 2); the log-density of 300 rows of 16 columns under 8 full covariances takes 0.3 ms for 1.1.

Rows that miss a cell, or for which a form would lose digits, are a program's, and they alone: a row's answer does not
depend on others. It has the same bits alone and in any company and layout: columns come first, rows lie side by side,
and each sum is over columns or labels, one after another, for all rows at once. A matrix product's sums would depend on
how many rows there are, and its threads go on taking a core. What is made of a model's parameters, the model remembers.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from dgjax._arguments import AnyArray, is_concrete, placed
from dgjax._linear import KEPT, KEPT_OF_LABELS, linear_scores
from dgjax._pytree import MADE
from dgjax._twins import LogDensity
from dgjax.data import Data
from dgjax.densities import Categorical, DiagonalGaussian, Gaussian, Mixture
from dgjax.models import Logistic

FEW, FEW_OF_FULL = 1 << 17, 1 << 20  # products: rows times columns times labels; times columns again
FAR = 1e4  # standard deviations between means, up to which rows are whitened once for all labels
LEAST = 2  # rows: of one, sums over labels would be taken in another order
WELL_CONDITIONED = 1e5  # of |L^-1| |L|, row sums: up to there scores by the inverse are right to 6e-12, measured


Program = Callable[[Any, Data], jax.Array]
"""The answer (n, ...) of any rows, compiled."""


def log_prob_of_few(model: Any, rows: Data, program: Program) -> jax.Array:
    """Log-densities log p(x) (n,); the program's of all but few complete rows, normal or of categories."""
    joint = _joint_scores(model, rows) if isinstance(model, Mixture) else None
    return _answer(joint, _log_partition, model, rows, program)


def labels_of_few(model: Any, rows: Data, program: Program) -> jax.Array:
    """Most probable labels (n,); the program's of all but few complete rows."""
    dtype = jax.dtypes.canonicalize_dtype(int)
    return _answer(_scores(model, rows, KEPT_OF_LABELS), lambda scores: scores.argmax(0), model, rows, program, dtype)


def posterior_of_few(model: Any, rows: Data, program: Program) -> jax.Array:
    """Log-posteriors log p(y | x) (n, k); the program's of all but few complete rows."""
    return _answer(_scores(model, rows, KEPT), _log_posterior, model, rows, program)


def _log_partition(scores):
    """Log-sum-exp (n,) over the labels of scores (k, n), of which some label's is finite for every row."""
    top = scores.max(0)
    return np.log(np.exp(scores - top).sum(0)) + top


def _log_posterior(scores):
    """Log-softmax (n, k) over the labels of scores (k, n)."""
    scores = scores - scores.max(0)
    return (scores - np.log(np.exp(scores).sum(0))).T


def _answer(scores, read, model, rows, program, dtype=None):
    """Results on the device of the model: `read` off scores (k, n), and the program's of rows whose scores are NaN."""
    if scores is None or not (known := ~np.isnan(scores).any(0)).any():
        return program(model, rows)
    dtype, device, n = rows.x.dtype if dtype is None else dtype, jax.tree.leaves(model)[0], len(rows.x)
    own = read(scores if known.all() else np.where(known, scores, 0))[:n]  # which were padded to `LEAST`
    if known.all():
        return placed(own.astype(dtype, order="C"), device)
    left = np.flatnonzero(~known[:n])
    own = own.astype(dtype, order="C")
    own[left] = np.asarray(program(model, rows.replace(x=np.asarray(rows.x)[left])))
    return placed(own, device)


def _scores(model, rows, kept):
    """Scores (k, n) up to a term common to all labels, linear ones where they keep digits but for `kept`; None if none.

    NaN for rows that have none.
    """
    scores = _linear_scores(model, rows, kept)
    if scores is None:
        return _joint_scores(model, rows)
    lost = np.isnan(scores).any(0)
    joint = _joint_scores(model, rows) if lost.any() else None
    return scores if joint is None else np.where(lost, joint, scores)


def _joint_scores(model, rows):
    """Joint log-densities (k, n), of normal columns or of categories, NaN for rows that have none; None without."""
    scores = _whitened_scores(model, rows)
    return _table_scores(model, rows) if scores is None else scores


def _linear_scores(model, rows, kept):
    """Linear scores (k, n) of rows on one CPU, in float64; None if they are many.

    NaN for a row that misses a cell or whose scores lose more nats than `kept`.
    """
    form = _remembered(model, "_linear", _linear_form) if _are_known(rows) else None
    if form is None or rows.x.size * len(form[1]) > FEW:
        return None
    (weight, bias, size), cells = form, _columns(rows.x)
    with np.errstate(over="ignore", invalid="ignore"):
        scores = np.einsum("kd,dn->kn", weight, cells) + bias[:, None]
        lost = (size[0] * np.abs(cells).max(0) + size[1]) * (len(cells) + 1) * np.finfo(float).epsneg
    known = lost <= kept  # NaN is not
    return scores if known.all() else np.where(known, scores, np.nan)


def _whitened_scores(model, rows):
    """Joint log-densities (k, n) of rows on one CPU, in float64; None if they are many. NaN where one is not finite."""
    form = _remembered(model, "_whitened", _whitened_form) if _are_known(rows) else None
    if form is None:
        return None
    if rows.x.size * len(form.mean) > FEW or len(rows.x) * form.whitener.size > FEW_OF_FULL:
        return None
    cells, W = _columns(rows.x), form.whitener
    with np.errstate(over="ignore", invalid="ignore"):
        if form.origin is None:
            u = cells - form.mean[:, :, None]
            u = np.einsum("kji,kin->kjn", W, u) if W.ndim == 3 else np.multiply(W[..., None], u, out=u)
        else:
            u = np.einsum("ji,in->jn", W, cells - form.origin[:, None]) - form.mean[:, :, None]
        density = form.constant[:, None] - 0.5 * np.einsum("kjn,kjn->kn", u, u)
    scores, finite = density + form.log_weights[:, None], np.isfinite(density).all(0)
    return scores if finite.all() else np.where(finite, scores, np.nan)


def _table_scores(model, rows):
    """Joint log-densities (k, n) of categories on one CPU, in float64; None if they are many, or some have none.

    NaN for a row that misses a cell.
    """
    form = _remembered(model, "_table", _table_form) if _are_known(rows) else None
    if form is None or len(rows.x) * form[0].size > FEW:
        return None
    table, log_weights = form
    (k, d, c), cells = table.shape, _columns(rows.x)
    indicators = (cells[:, None] == np.arange(c)[:, None]).astype(float).reshape(d * c, -1)
    scores = np.einsum("kf,fn->kn", table.reshape(k, d * c), indicators) + log_weights[:, None]
    return scores if rows.complete else np.where(np.isnan(cells).any(0), np.nan, scores)


def _are_known(rows):
    """Whether rows are known and there are some, where NumPy is as near to them as a program."""
    x = rows.x
    if not (isinstance(x, AnyArray) and x.size and is_concrete(x)):
        return False
    return jax.device_count() == 1 and jax.default_backend() == "cpu"


def _columns(x):
    """Columns (d, n) of rows in float64, JAX's too, for the same rows have the same bits; n is `LEAST` or more."""
    cells = np.empty((x.shape[1], max(len(x), LEAST)))
    cells[:, : len(x)] = np.asarray(x).T
    cells[:, len(x) :] = cells[:, :1]
    return cells


def _remembered(model: Any, name: str, make: Callable[[Any], Any]) -> Any:
    """Form of a model's scores that `make` gives, which the model remembers by `name`.

    None too for a model of NumPy's arrays, which may change under it.
    """
    own = model.__dict__ if type(model) in MADE else {}
    if name not in own:
        if not is_concrete(model) or not all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(model)):
            return None
        own[name] = make(model)
    return own[name]


def _linear_form(model):
    """Weights (k, d) and bias (k,) of linear scores, and the largest sum of |weights|, and |bias|; None without."""
    form = linear_scores(model)
    sizes = form and (np.abs(form[0]).sum(1).max(), np.abs(form[1]).max())
    return form and (np.ascontiguousarray(form[0]), form[1], sizes)


class _Whitened(NamedTuple):
    """Parameters of normal densities in float64: means (k, d), inverses of factors (k, d, d) or of scales (k, d).

    `constant` and `log_weights` are (k,). Where all labels share an inverse (d, d), rows are whitened once, about an
    `origin` (d,), and `mean` is whitened too; else it is None.
    """

    mean: np.ndarray
    whitener: np.ndarray
    log_weights: np.ndarray
    constant: np.ndarray
    origin: np.ndarray | None = None


def _whitened_form(model):
    """Parameters of normal densities with a label each; None of others, or not finite, or ill-conditioned."""
    if isinstance(model, Mixture) and model.log_weights.ndim == 1:
        log_weights, density = np.asarray(model.log_weights, float), model.density
    elif isinstance(model, Logistic) and isinstance(model.scorer, LogDensity) and len(model.bias) > 1:
        log_weights, density = np.asarray(model.bias, float), model.scorer.density
    else:
        return None
    if not isinstance(density, Gaussian | DiagonalGaussian):
        return None
    mean = np.asarray(density.mean, float)
    (k, d), whiten = mean.shape, _full if isinstance(density, Gaussian) else _diagonal
    with np.errstate(all="ignore"):
        log_weights = log_weights - np.logaddexp.reduce(log_weights)
        found = whiten(density)
        if found is None or np.isnan(log_weights).any():
            return None
        whitener, log_det = found
        constant = np.broadcast_to(-log_det - 0.5 * d * np.log(2 * np.pi), (k,))
        if not all(np.isfinite(part).all() for part in (mean, whitener, constant)):
            return None
        if whitener.shape == (1, d, d):
            origin = mean.mean(0)
            apart = np.einsum("ji,ki->kj", whitener[0], mean - origin)
            if np.abs(apart).max() < FAR:
                return _Whitened(apart, whitener[0], log_weights, constant, origin)
    return _Whitened(mean, np.broadcast_to(whitener, (k, *whitener.shape[1:])), log_weights, constant)


def _table_form(model):
    """Log-probabilities (k, d, c) of categories, and log-weights (k,), in float64; None if one is impossible."""
    if not (isinstance(model, Mixture) and model.log_weights.ndim == 1 and isinstance(model.density, Categorical)):
        return None
    logs = (np.asarray(part, float) for part in (model.density.logits, model.log_weights))
    table, log_weights = (own - np.logaddexp.reduce(own, -1, keepdims=True) for own in logs)
    return (table, log_weights) if np.isfinite(table).all() and not np.isnan(log_weights).any() else None


def _full(density):
    """Inverses (g, d, d) of Cholesky factors, and logs of their determinants (g,); None if ill-conditioned."""
    L = np.tril(np.asarray(density.scale_tril, float)).reshape(-1, *density.scale_tril.shape[-2:])
    W = np.zeros_like(L)
    for j in range(L.shape[1]):  # by substitution, not LAPACK: see `worth.spinning`
        W[:, j] = -np.einsum("gi,gik->gk", L[:, j, :j], W[:, :j])
        W[:, j, j] += 1
        W[:, j] /= L[:, j, j, None]
    if not np.einsum("gij,gjk->gik", np.abs(W), np.abs(L)).sum(-1).max() <= WELL_CONDITIONED:
        return None
    return W, np.log(np.abs(np.einsum("gii->gi", L))).sum(-1)


def _diagonal(density):
    """Inverse scales (g, d), and logs of the product of the scales (g,)."""
    log_scale = np.asarray(density.log_scale, float)
    log_scale = np.broadcast_to(log_scale, (*log_scale.shape[:-1], density.num_features)).reshape(
        -1, density.num_features
    )
    return np.exp(-log_scale), log_scale.sum(-1)
