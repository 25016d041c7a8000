"""Tilted densities, of a fitted base and a network that says nothing yet, to be fitted by `fit`."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from dgjax import _advice
from dgjax._arguments import as_count, as_key, check_size, constant
from dgjax._elsewhere import told_keywords
from dgjax._neural import Neural
from dgjax.data import as_model, check_cells, float_type
from dgjax.densities import BOUND, Density, GaussianMixtureCells, Mixture, Tilted, moments
from dgjax.networks import MLP
from dgjax.starting import _training_data
from dgjax.starting._streams import started_from_streams
from dgjax.tables import started_from_tables


@started_from_streams
@started_from_tables("gaussian")
@told_keywords
def tilted(
    key: Array,
    base: Any,
    x: ArrayLike,
    y: ArrayLike | None = None,
    num_classes: int | None = None,
    *,
    hidden: Sequence[int] = (128, 128),
    bound: float = BOUND,
    num_samples: int = 10_000,
    num_proposals: int = 128,
) -> Tilted | Mixture:
    """Tilted density p0(x) exp(f(x)) / Z, f a network, to be fitted by `dgjax.fit(model, x, y, dgjax.Optax(...))`.

    `base` p0 is a fitted model, such as `dgjax.fit(dgjax.gaussian_mixture(key, x, 10), x).model`, whose labels are
    summed out, or a density with a label for each class, such as `dgjax.naive_bayes(x, y).density`. Rows `x` (n, d), of
    which no cell is missing, say which mean and spread the columns have. With labels `y` (n,), -1 where unknown, it is
    a generative classifier, p(x, y) proportional to p0(x) exp(f_y(x)): a mixture of one tilt for each class. The
    network has `hidden` layers, and a last one of zeros: before a fit the model is its base. `bound`, `num_samples` and
    `num_proposals` are those of `dgjax.Tilted`. `num_classes` is one more than the highest label by default.

    Raises ValueError for another base, one of sequences or of other columns, bad cells or labels, a single class, or
    sizes beyond this machine's memory.
    """
    key, sizes = as_key(key), [as_count(size, "hidden") for size in hidden]
    if not isinstance(base, Density) or base.sequential or base.label_shape in ((), (1,)):
        base = _density_of(base)
    rows, summary, k = _training_data.perhaps_labelled(x, y, num_classes)
    d, dtype = rows.shape[1], float_type(rows)
    if base.num_features != d:
        raise ValueError(f"x must have the {base.num_features} columns of the base; got shape {rows.shape}.")
    for a, b in zip((d, *sizes), (*sizes, k), strict=True):
        check_size((a, b), hidden=hidden, num_features=d)
    cells = GaussianMixtureCells(*moments(summary, len(rows)))
    scorer = Neural.start(MLP.start(key, (d, *sizes, 0)), cells, d, k, dtype)
    scorer = jax.tree.map(lambda leaf: leaf.astype(dtype), scorer)
    zeros = constant(np.zeros(k, dtype))
    density = Tilted(base, scorer, zeros, zeros, None, bound, num_samples, num_proposals)
    check_cells(rows, density.supports, summary, x)
    return density if y is None else Mixture(constant(np.full(k, -np.log(k), dtype)), density)


def _density_of(base):
    """A fitted model of rows as a density without labels: its labels are summed out."""
    model = as_model(base)
    if not isinstance(model, Density) or model.sequential:
        raise ValueError(
            f"base must be a generative model of rows; got a {type(base).__name__}, {_advice.shown(base)}. Type "
            "base=dgjax.fit(dgjax.gaussian_mixture(key, x, 10), x).model."
        )
    return model
