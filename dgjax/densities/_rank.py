"""Rank: whether a fitted normal density has spread in every direction, beyond the rounding of the cells.

A pivot L_jj of a factor is the standard deviation of column j given those before it. Cells are rounded to eps of their
size, so that what is left of column j when the others have explained it,

    u_j = sum_k W_jk (x_k - mean_k),  W = L^-1,

carries a rounding of about eps |W_j * size|, with size_k = |mean_k| + sum_l |L_kl|. Where c times that reaches 1, the
standard deviation of u_j, there is nothing but rounding: the column is a combination of the others. c = min(d, 8), for
the rounding of cells is even, and its standard deviation sqrt(12) times smaller than eps.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

MOST_COLUMNS = 8  # of a combination, that an error lists


def tolerance(d: int, dtype: Any) -> float:
    """Rounding tolerance min(d, 8) eps: the share of a column's size that is taken for rounding, of d columns."""
    return min(d, 8) * float(jnp.finfo(dtype).eps)


def at_least(L: Array, dead: Array) -> Array:
    """Cholesky factors L (g, d, d) with pivots raised to half the rounding tolerance of their row's size.

    A smaller pivot could not be told from rounding, and that is where EM on dependent columns ends. Pivots of columns
    that are `dead` (g, d) are 0.
    """
    size = jnp.abs(L).sum(-1)
    pivot, least = jnp.diagonal(L, axis1=1, axis2=2), 0.5 * tolerance(L.shape[-1], L.dtype) * size
    pivot, eye = jnp.where(jnp.abs(pivot) < least, least, pivot), jnp.eye(L.shape[-1], dtype=bool)
    return jnp.where(eye, jnp.where(dead, 0, pivot)[..., None], L)


class Normal(NamedTuple):
    """Parameters of a normal density within a model, and the numbers of its columns in the model's rows.

    `mean` (*labels, d), and either `scale_tril` (*_, d, d), lower Cholesky factors of the covariances, or `log_scale`
    (*_, d), or (*_, 1) if columns share one. Labels whose axes these lack share them. `on` (*labels) are labels that
    count, None for all of them. `resolved` is the share of a column's spread that the density sees, where that is more
    than rounding.
    """

    mean: Any
    columns: tuple[int, ...]
    scale_tril: Any = None
    log_scale: Any = None
    on: Any = None
    resolved: float = 0.0


def collapsed(model: Any, regular: bool) -> Array:
    """Check of rank: True if a normal density has no spread in some direction, beyond the rounding of cells.

    Each pivot against the size of its own column alone: `check_rank` has the last word. With a prior (`regular`) the
    mean does not count to that size.
    """
    found = jnp.zeros((), bool)
    for normal in model.normals():
        if normal.scale_tril is None:
            pivot, rounding = _scales(normal, regular)
        else:
            L, *limits = _factors(normal, regular)
            pivot = jnp.abs(jnp.diagonal(L, axis1=1, axis2=2))
            rounding = jnp.stack([share * size for share, size in limits]).max(0)
        off = False if normal.on is None else ~normal.on.reshape(len(pivot), -1).any(1)[:, None]
        found |= ~((pivot > rounding) | off).all()
    return found


def _factors(normal, regular, xp: Any = jnp):
    """Cholesky factors L (g, d, d), and limits to what is seen: shares, of sizes of columns (g, d).

    The share that is rounding of sum_l |L_jl|, and |mean_j| unless `regular`; and what the density resolves of the
    former.
    """
    d = len(normal.columns)
    L = xp.tril(normal.scale_tril).reshape(-1, d, d)
    spread = xp.abs(L).sum(-1)
    size = spread if regular else spread + xp.abs(normal.mean).reshape(len(L), -1, d).max(1)
    return L, (tolerance(d, L.dtype), size), (normal.resolved, spread)


def _scales(normal, regular, xp: Any = jnp):
    """Log-scales (g, d), or (g, 1) if columns share one, and the log of the rounding of cells."""
    log_scale = normal.log_scale.reshape(-1, normal.log_scale.shape[-1])
    size = xp.abs(normal.mean).reshape(len(log_scale), -1, len(normal.columns)).max(1)
    size = size.mean(-1, keepdims=True) if log_scale.shape[-1] == 1 else size
    # A scale of nothing, minus infinity, is no larger than no rounding at all.
    return log_scale, xp.log((0 if regular else tolerance(1, size.dtype)) * size)


class Dependent(NamedTuple):
    """Column that has no spread of its own in one of the covariances, and those it is a combination of."""

    group: tuple[int, ...]
    column: int
    of: tuple[int, ...]


class LabelledRows(NamedTuple):
    """Rows x (n, d) that a model was fitted to, in NumPy, every cell and label y (n,) known, and weights (n,)."""

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray


def check_rank(
    model: Any, regular: bool, words: tuple[str, str], made: Callable[[], LabelledRows | None] = lambda: None
) -> None:
    """Check of rank: raises if a normal density has no spread in some direction, naming the columns.

    `regular`: there is a prior, under which the size of means does not count. `words` are what labels are called,
    "class", "component" or "state", and those below them. Where a density has collapsed, rows are `made`: if all their
    cells and labels are known, every collapsed column is named, for a fit ends at the first. The message says to leave
    columns out where they are dependent under every label, or in a class of rows: elsewhere another column would
    collapse in their place.
    """
    labels = words[0]
    for normal in model.normals():
        host = jax.tree.map(np.asarray, normal._replace(columns=()))._replace(columns=normal.columns)
        with np.errstate(all="ignore"):
            found, groups, shared = _of_normal(host, regular)
            rows = made() if found else None
            if found and rows is not None and not (regular or shared or host.resolved) and host.mean.ndim == 2:
                found = _of_normal(_maximum(host, rows), regular)[0] or found
        if found:
            few = (
                ""
                if rows is None or host.mean.ndim != 2 or host.resolved
                else _too_few(found[0], groups, host, labels, rows)
            )
            message = _message(found, groups, shared, host.columns, words, host.mean.dtype, rows is not None)
            raise ValueError(f"fit collapsed: {few}{message}")


def _too_few(first, groups, normal, labels, rows):
    """What is said first where rows are too few for the covariance: of m rows, m - 1 directions have a spread."""
    counts = np.bincount(rows.y[rows.weights > 0], minlength=len(normal.mean))
    if groups > 1:
        counts = counts[[first.group[0]]]
    free, d = int(np.maximum(counts - 1, 0).sum()), len(normal.columns)
    if normal.scale_tril is None or free >= d:
        return ""
    where = f"of {labels} {first.group[0]}" if groups > 1 else f"less a mean for each {labels}"
    return f"{counts.sum()} rows {where} give at most {free} of {d} columns a spread of their own, and "


def _maximum(normal, rows):
    """Normal density of maximum likelihood on the columns of `normal`: of the rows' residuals about label means."""
    x, weights = rows.x[:, list(normal.columns)].astype(float), rows.weights.astype(float)
    of = [np.flatnonzero((rows.y == label) & (weights > 0)) for label in range(len(normal.mean))]
    mean = np.array([np.average(x[own], 0, weights[own]) if len(own) else normal.mean[k] for k, own in enumerate(of)])
    residuals = [np.sqrt(weights[own])[:, None] * (x[own] - at) for own, at in zip(of, mean, strict=True)]
    name, each = ("log_scale", _log_scale) if normal.scale_tril is None else ("scale_tril", _factor)
    before = getattr(normal, name)
    if before.ndim < (2 if normal.scale_tril is None else 3):  # all labels share it
        residuals, of = [np.concatenate(residuals)], [np.concatenate(of)]
    spread = [each(one / np.sqrt(weights[own].sum())) for one, own in zip(residuals, of, strict=True)]
    spread = np.reshape(spread, before.shape).astype(before.dtype)
    return normal._replace(**{name: spread, "mean": mean.astype(before.dtype)})


def _log_scale(root):
    return 0.5 * np.log((root**2).sum(0))


def _factor(root):
    """Cholesky factor L (d, d) of root^T root, root (n, d): by an orthogonal factor, without its square."""
    d = root.shape[1]
    return np.transpose(np.linalg.qr(np.concatenate([root, np.zeros((d, d))]), mode="r"))


def _of_normal(normal, regular):
    """Dependent columns of a normal density, in how many groups, and whether all columns share one scale."""
    if normal.scale_tril is None:
        scale, rounding = _scales(normal, regular, np)
        wrong, shape, shared = ~(scale > rounding), normal.log_scale.shape[:-1], scale.shape[1] < len(normal.columns)
        found = [Dependent(_group(g, shape), int(j), ()) for g, j in np.argwhere(wrong)]
        return found, len(scale), shared
    L, *limits = _factors(normal, regular, np)
    L, shape, found = L.astype(float), normal.scale_tril.shape[:-2], []
    for c, size in ((c, size.astype(float)) for c, size in limits if c):
        for g in np.flatnonzero(~_have_rank(L, size, c)):
            found += [Dependent(_group(g, shape), *pair) for pair in _dependent(L[g], size[g], c)]
        if found:
            break
    return found, len(L), False


def _group(g, shape):
    return tuple(int(i) for i in np.unravel_index(g, shape)) if shape else ()


def _have_rank(L, size, c):
    """Check of factors (g, d, d): True where every whitened column is more than rounding."""
    W = _inverses(L / size[..., None])
    return (c * np.sqrt((W**2).sum(-1)) < 1).all(-1)


def _inverses(L):
    """Inverses of lower triangular matrices L (g, d, d), not finite where a pivot is 0, by substitution.

    Not by LAPACK, whose threads wait for another call on every core, 26 ms long from 32 columns on: the next fit of
    20,000 rows took 1.8 times as long.
    """
    W = np.zeros_like(L)
    for j in range(L.shape[1]):
        W[:, j] = -np.einsum("gi,gik->gk", L[:, j, :j], W[:, :j])
        W[:, j, j] += 1
        W[:, j] /= L[:, j, j, None]
    return W


def _dependent(L, size, c):
    """Dependent columns: those that the ones before them determine, one after another, and by which."""
    kept: list[int] = []
    spread = np.sqrt((L**2).sum(1))
    unit = L / np.where(spread > 0, spread, 1)[:, None]
    for j in range(len(L)):
        if not spread[j] > c * (size[j] - np.abs(L[j]).sum()):  # no more than the rounding of its mean; or NaN
            yield j, ()
            continue
        share = np.linalg.lstsq(unit[kept].T, unit[j], rcond=None)[0]
        noise = np.append(share * (size / spread)[kept], size[j] / spread[j])
        if np.linalg.norm(unit[j] - share @ unit[kept]) > c * np.linalg.norm(noise):
            kept.append(j)
        else:
            yield j, tuple(k for k, part in zip(kept, share, strict=True) if abs(part) > 1e-3)


def _message(found, groups, shared, columns, words, dtype, known):
    first, labels = found[0], words[0]
    names = [f"{word} {i}" for word, i in zip(words, first.group, strict=False)]
    where = f" in {', '.join(names)}" if groups > 1 else ""
    everywhere = all(sum(d.column == one.column for one in found) == groups for d in found)
    removed = sorted({columns[d.column] for d in found})
    advice = 'Type prior="weak", or dgjax.weak_prior(model, x)'
    if labels == "class" and not known:  # classes collapse one column after another, onto what they have few cells of
        everywhere = everywhere and (groups == 1 or not any(d.of for d in found))
    if not shared and len(removed) < len(columns) and (everywhere or (known and labels == "class")):
        advice += f", or leave out what says nothing more: np.delete(x, {removed}, axis=-1)"
    if shared:
        what = f"the columns have no spread{where}"
    elif not first.of:
        what = f"column {columns[first.column]} has no spread{where}"
    else:
        listed = [str(columns[k]) for k in first.of]
        listed = listed[:MOST_COLUMNS] + [f"{len(listed) - MOST_COLUMNS} more"] * (len(listed) > MOST_COLUMNS)
        what = f"column {columns[first.column]} is a combination of {', '.join(listed)}{where}"
    more = f" (and {len(found) - 1} more like it)" if len(found) > 1 else ""
    return (
        f"{what}{more}, beyond what the rounding of {dtype} lets one see, so that the likelihood has no "
        f"maximum. {advice}."
    )
