"""Autoregressive densities of rows, of a transformer that is initialised at random, to be fitted by `fit`."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from dgjax import _advice
from dgjax._arguments import as_count, as_key, check_number, check_size, constant
from dgjax._elsewhere import told_keywords
from dgjax._types import FINITE
from dgjax.data import check_cells, float_type
from dgjax.densities import (
    Autoregressive,
    BernoulliCells,
    CategoricalCells,
    ColumnCells,
    GaussianMixtureCells,
    Mixture,
    PoissonCells,
    moments,
)
from dgjax.networks import MOST_DROPOUT, Transformer
from dgjax.starting import _training_data
from dgjax.starting._by_name import SUPPORTS
from dgjax.starting._streams import started_from_streams
from dgjax.tables import started_from_tables

HEAD = 32  # units of each head of attention, at least


@started_from_streams
@started_from_tables()
@told_keywords
def autoregressive(
    key: Array,
    x: ArrayLike,
    y: ArrayLike | None = None,
    kinds: str | Sequence[str] | Mapping[Any, str] = "gaussian",
    num_classes: int | None = None,
    *,
    order: str = "any",
    num_orders: int | None = None,
    width: int = 128,
    num_layers: int = 4,
    dropout: float = 0.1,
    num_categories: int | Sequence[int | None] | Mapping[int, int] | None = None,
) -> Autoregressive | Mixture:
    """Autoregressive density by a random transformer, to be fitted by `dgjax.fit(model, x, y, dgjax.Optax(...))`.

    Of rows `x` (n, d), NaN where missing: they say how many columns there are, of what categories, mean and spread.
    `kinds` is one kind, or one for each column, in a list or in a dict by column: "gaussian", real numbers by a mixture
    of normals, "bernoulli", "categorical" or "poisson". With labels `y` (n,), -1 where unknown, it is a generative
    classifier: a mixture of one density for each class, which share all parameters but what a label adds to each token.
    `order` "any" learns every order of the columns, of which a score averages over `num_orders`, 4 by default; "given"
    only that of the columns. `width` is that of the `num_layers` layers, of which in learning a share `dropout` is left
    out. `num_classes` and `num_categories` are one more than the highest by default.

    Raises ValueError for bad cells or labels, a single class, another kind or order, fewer categories than a column
    has, or sizes beyond this machine's memory.
    """
    key, width, num_layers = as_key(key), as_count(width, "width"), as_count(num_layers, "num_layers")
    check_number(dropout, "dropout", 0, MOST_DROPOUT)
    rows, summary, k = _training_data.perhaps_labelled(x, y, num_classes)
    d = rows.shape[1]
    check_size((num_layers, 4 * width, width), num_layers=num_layers, width=width)
    cells = _cells(rows, summary, _training_data.named_kinds(kinds, d, "kinds"), num_categories)
    num_heads = next(heads for heads in range(max(1, width // HEAD), 0, -1) if width % heads == 0)
    sizes = cells.inputs + 2 * d, cells.size, width, num_layers, num_heads, k
    network = Transformer.start(key, *sizes, dropout=float(dropout))
    network = jax.tree.map(lambda leaf: leaf.astype(float_type(rows)), network)
    density = Autoregressive(network, cells, d, k, order, num_orders)
    return density if y is None else Mixture(constant(np.full(k, -np.log(k), float_type(rows))), density)


def _cells(rows, summary, kinds, num_categories):
    """Likelihood of columns by their kinds, one part for each kind and number of categories."""
    if "multinomial" in kinds:
        raise ValueError(
            'kinds must be of single columns, "gaussian", "bernoulli", "categorical" or "poisson"; got "multinomial", '
            f"counts with a common total. {_advice.shown('poisson')} takes each by itself."
        )
    bits = BernoulliCells.support
    supports = tuple(bits if kind == "bernoulli" else SUPPORTS.get(kind, FINITE) for kind in kinds)
    check_cells(rows, supports, summary, option=lambda: ("kinds", ""))
    sizes = _training_data.category_counts(num_categories, kinds, rows, summary)
    groups: dict[tuple[str, int], list[int]] = {}
    for column, own in enumerate(zip(kinds, sizes.tolist(), strict=True)):
        groups.setdefault(own, []).append(column)
    parts = [_part(kind, size, np.array(columns), rows, summary) for (kind, size), columns in groups.items()]
    return parts[0] if len(parts) == 1 else ColumnCells(tuple(parts), tuple(map(tuple, groups.values())))


def _part(kind, num_categories, columns, rows, summary):
    match kind:
        case "gaussian":
            centre, scale = moments(summary, len(rows))
            return GaussianMixtureCells(centre[columns], scale[columns])
        case "bernoulli":
            return BernoulliCells()
        case "poisson":
            return PoissonCells()
    return CategoricalCells(num_categories)
