"""Densities and scorers by the names that starters take: "gaussian", "poisson", "tied", "linear" and others."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import dgjax_kernels as kernels
from dgjax import _advice, _elsewhere
from dgjax._arguments import as_count, check_size, constant
from dgjax._types import AMOUNT, COUNT, FINITE
from dgjax.data import check_cells, float_type
from dgjax.densities import (
    Bernoulli,
    Categorical,
    Columns,
    DiagonalGaussian,
    Gaussian,
    Mixture,
    Multinomial,
    Poisson,
    moments,
)
from dgjax.scorers import Indicators, Linear, Quadratic
from dgjax.starting import _training_data

SUPPORTS = {
    kind: support._replace(words=f"{words}, its kind being {kind}")
    for kind, support, words in (
        ("categorical", COUNT, "a whole number from 0"),
        ("poisson", COUNT, "a whole number from 0"),
        ("multinomial", AMOUNT, "a number from 0"),
    )
}


def uniform(density, k=None):
    """Mixture of equal weights over the last label axis of a density, of the first k of its labels if k is given."""
    k = density.label_shape[-1] if k is None else k
    dtype = jax.tree.leaves(density)[0].dtype
    log_weights = np.full(density.label_shape, -np.inf, dtype)
    log_weights[..., :k] = -np.log(k)
    return Mixture(constant(log_weights), density)


@functools.partial(kernels.compiled_once, static_argnames=("label_shape", "covariance"))
def gaussian(summary, n, label_shape, covariance):
    """Gaussian density of labels of a given shape, each with the columns' means and variances.

    `covariance` is "full", "tied", "diagonal" or "spherical"; raises ValueError for another.
    """
    mean, spread = moments(summary, n)
    means = jnp.broadcast_to(mean, (*label_shape, len(mean)))
    log_scale = jnp.log(spread)
    match covariance:
        case "full":
            return Gaussian(means, jnp.broadcast_to(jnp.diag(spread), (*means.shape, len(mean))))
        case "tied":
            return Gaussian(means, jnp.diag(spread))
        case "diagonal":
            return DiagonalGaussian(means, jnp.broadcast_to(log_scale, means.shape))
        case "spherical":
            return DiagonalGaussian(means, jnp.broadcast_to(log_scale.mean(), (*label_shape, 1)))
    told = f" Type covariance={_elsewhere.SPELT[covariance]!r}." if covariance in _elsewhere.SPELT else ""
    raise ValueError(
        f'covariance must be "full", "tied", "diagonal" or "spherical"; got {_advice.shown(covariance)}.{told}'
    )


def columns(x, summary, kinds, labels, option, num_categories=None):
    """Density of d columns by their kinds, one block for each kind, or a single density if all are of one kind.

    `labels` is the shape of its labels, `num_categories`, as the user gave it, how many categories a column may have.
    Raises ValueError for a cell that is not of its column's kind; `option` names the starter's argument for kinds.
    """
    if not set(kinds) <= {"gaussian", "bernoulli"}:
        supports = tuple(SUPPORTS.get(kind, FINITE) for kind in kinds)
        check_cells(x, supports, summary, option=lambda: (option, ""))
    sizes = _training_data.category_counts(num_categories, kinds, x, summary)
    groups = {kind: tuple(i for i, own in enumerate(kinds) if own == kind) for kind in dict.fromkeys(kinds)}
    if len(groups) == 1:
        return _block(x, summary, kinds[0], labels, sizes)
    picked = {kind: np.array(columns) for kind, columns in groups.items()}
    blocks = (
        _block(x[:, at], type(summary)(*(field[at] for field in summary)), kind, labels, sizes[at])
        for kind, at in picked.items()
    )
    return Columns(tuple(blocks), tuple(groups.values()))


def _block(x, summary, kind, labels, sizes):
    d, dtype = x.shape[1], float_type(x)
    match kind:
        case "gaussian":
            return gaussian(summary, len(x), labels, "diagonal")
        case "bernoulli":
            return Bernoulli(constant(np.zeros((*labels, d), dtype)))
        case "poisson":
            mean, _ = moments(summary, len(x))
            return Poisson(constant(np.broadcast_to(np.log(np.maximum(mean, 1e-6)), (*labels, d))))
        case "multinomial":
            total = float(moments(summary, len(x))[0].sum())
            return Multinomial(constant(np.zeros((*labels, d), dtype)), max(round(total), 1))
    possible = np.arange(sizes.max()) < sizes[:, None]
    logits = np.where(possible, 0, -np.inf).astype(dtype)
    return Categorical(constant(np.broadcast_to(logits, (*labels, *possible.shape))))


def scorer(features, num_features, k, told, **labels):
    """Scorer with weights 0 for k labels, of the kind named by `features`; `labels` is the argument that gave k.

    Raises ValueError for features other than "linear", "quadratic" or "indicator", or sizes beyond this machine's
    memory.
    """
    d = as_count(num_features, "num_features", of_data=told)
    check_size((k, d * (d + 1) // 2 if features == "quadratic" else d), num_features=d, **labels)
    match features:
        case "linear":
            return Linear(constant(np.zeros((k, d))))
        case "quadratic":
            return Quadratic(constant(np.zeros((k, d))), constant(np.zeros((k, d * (d + 1) // 2))))
        case "indicator":
            return Indicators(constant(np.zeros((k, d))))
    raise ValueError(f'features must be "linear", "quadratic" or "indicator"; got {_advice.shown(features)}.')
