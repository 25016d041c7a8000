"""Normalising flows of splines with random networks, to be fitted by `fit`."""

from collections.abc import Sequence

import jax
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from dgjax import _advice
from dgjax._arguments import as_count, as_key, check_size, constant
from dgjax._elsewhere import told_keywords
from dgjax.data import check_cells, float_type
from dgjax.densities import Flow, Mixture, column_moments, supports_of_flow
from dgjax.networks import SplineBijection
from dgjax.starting import _training_data, _units
from dgjax.starting._streams import started_from_streams
from dgjax.tables import started_from_tables


@started_from_streams
@started_from_tables("gaussian")
@told_keywords
def normalizing_flow(
    key: Array,
    x: ArrayLike,
    y: ArrayLike | None = None,
    kind: str = "coupling",
    num_classes: int | None = None,
    *,
    whole: Sequence[int] | None = None,
    num_layers: int = 6,
    width: int = 64,
    num_bins: int = 8,
) -> Flow | Mixture:
    """Normalising flow by random networks, to be fitted by `dgjax.fit(model, x, y, dgjax.Optax(...))`.

    Of complete rows `x` (n, d): they say how many columns there are, of what mean and spread, and which hold whole
    numbers, and so are dequantised: those numbered in `whole`, by default every column of which all cells are whole.
    With labels `y` (n,), -1 where unknown, it is a generative classifier: a mixture of one flow for each class, which
    share all parameters but what networks make of the class. A `kind` "coupling" takes one pass of each of `num_layers`
    networks for scores and for samples; "autoregressive" knows the density better and takes d passes for samples.
    `width` is that of the networks' hidden layer, `num_bins` the bins of each spline. `num_classes` is one more than
    the highest label by default.

    Raises ValueError for missing cells, bad cells or labels, a single class, another kind, a real column of one value,
    or sizes beyond this machine's memory; ImportError without the package flowjax.
    """
    key, width, num_layers = as_key(key), as_count(width, "width"), as_count(num_layers, "num_layers", 2)
    num_bins = as_count(num_bins, "num_bins", 2)
    rows, summary, k = _training_data.perhaps_labelled(x, y, num_classes)
    d, dtype = rows.shape[1], float_type(rows)
    check_size((num_layers, width, d * 3 * num_bins), num_layers=num_layers, width=width, num_bins=num_bins)
    columns = _units.whole_columns(summary, whole, d)
    check_cells(rows, supports_of_flow(d, columns), summary, x)
    bijection = SplineBijection.start(key, d, k, kind, num_layers, width=width, num_bins=num_bins)
    centre, scale = _within(summary, len(rows), np.isin(np.arange(d), columns), bijection.interval)
    bijection = jax.tree.map(lambda leaf: leaf.astype(dtype), bijection)
    density = Flow(bijection, constant(centre.astype(dtype)), constant(scale.astype(dtype)), k, columns)
    return density if y is None else Mixture(constant(np.full(k, -np.log(k), dtype)), density)


def _within(summary, n, is_whole, interval):
    """Centre and scale (d,) of columns: mean and standard deviation, or more where a cell were beyond the splines.

    There a flow is the identity, and a cell 30 standard deviations away, a rare shade of a pixel, had -450 nats. Of
    columns of whole numbers, those with noise.
    """
    centre, spread = _units.with_noise(column_moments(summary, n), is_whole)
    low, high = np.asarray(summary.low, float), np.asarray(summary.high, float) + is_whole
    scale = np.maximum(spread, np.maximum(centre - low, high - centre) / interval)
    if not (scale > 0).all():
        constants = np.flatnonzero(~(scale > 0)).tolist()
        raise ValueError(
            f"x column(s) {_advice.shown(constants)} hold one value each, and no flow has a density for these. Start "
            f"and fit a model without them: type np.delete(x, {constants}, axis=-1)."
        )
    return centre, scale
