"""Units of columns: rows centred and scaled for the optimizer, scorers transformed to match, and back after the fit.

With x = centre + scale z, w . x = w . centre + (scale w) . z: a scorer that is polynomial in x is one in z, and the
constant goes to the bias. The objective is unchanged as a function of the model, so the maxima are the same. Without
it, air pressure in pascals, 101,325 +- 600, has 28,000 times the curvature along the bias, and float32 loses five of a
gradient's seven digits.
"""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import dgjax_kernels as kernels
from dgjax._arguments import is_concrete
from dgjax.models import LinearChainCRF, Logistic
from dgjax.scorers import ColumnScorers, DiagonalQuadratic, LatentChain, LatentScorer, Linear, Quadratic, Shifted
from dgjax.structures import Sequences, in_rows

ROWS, ROWS_OF_MEDIAN, ROOTS = 256, 27, 3
"""Rows for the scale of a column, rows for its median, and square roots: a typical distance from the median is the mean
of distances' eighth roots, to the eighth power."""
FINER = 16
"""Stretches of rows for each row that is looked at, as most of the weight may lie in a few rows."""
OF_NORMAL = (2 ** (1 / 16) * math.gamma(9 / 16) / math.sqrt(math.pi)) ** 8
"""Typical distance from the median, as the mean of eighth roots gives it, of normal cells of variance 1."""
NEAR = 4.0
"""Offsets in units of the spread, and spreads, that columns may have to count as centred and scaled."""
MOST_LOST, FARTHEST = 1e-4, 1e8
"""Share of a gradient that an offset may cost; and how far from 1 a scale may be, for its square to be a float32."""


class Units(NamedTuple):
    """Units of columns: z = (x - centre) / scale, both (d,); or z = ((x - centre) / scale) turn, upper triangular."""

    centre: Float[Array, " d"]
    scale: Float[Array, " d"]
    turn: Float[Array, "d d"] | None = None

    def of(self, columns: tuple[int, ...]) -> "Units":
        """Units of the given columns only."""
        picked = jnp.array(columns)
        return Units(self.centre[picked], self.scale[picked])


@functools.partial(kernels.compiled, results=kernels.shards.ROWS)
def moved_rows(x: Any, units: Units) -> Any:
    """Rows (n, d), or sequences, in other units: (x - centre) / scale."""
    if isinstance(x, Sequences):
        return x.holding((x.x - units.centre) / units.scale)
    return (whole(x) - units.centre) / units.scale


def whole(x: Any) -> Any:
    """Rows as one array, zero-copy rows copied; sequences as they are."""
    return x.whole() if isinstance(x, kernels.ZeroCopyRows) else x


@functools.singledispatch
def moved(part: Any, units: Units) -> Any:
    """A model that scores rows z in these units as `part` scores rows x; None if there is none.

    Of a scorer, a constant (*labels,) and a scorer. There is none if the scores are not polynomials of the columns, as
    for categories, counts and networks.
    """
    del part, units
    return None


@moved.register
def _(part: Logistic, units: Units) -> Logistic | None:
    inner = moved(part.scorer, units)
    return None if inner is None else Logistic(part.bias + inner[0], inner[1])


@moved.register
def _(part: LinearChainCRF, units: Units) -> LinearChainCRF | None:
    """Linear-chain CRF in other units: the constant of a state goes to its initial score, and to each move into it."""
    inner = moved(part.scorer, units)
    return None if inner is None else LinearChainCRF(part.initial + inner[0], part.transition + inner[0], inner[1])


@moved.register
def _(part: Linear, units: Units) -> tuple[Array, Linear]:
    weight = part.weight * units.scale
    if units.turn is not None:
        weight = jax.scipy.linalg.solve_triangular(units.turn, weight.T).T
    return part.weight @ units.centre, Linear(weight)


@moved.register
def _(part: DiagonalQuadratic, units: Units) -> tuple[Array, DiagonalQuadratic]:
    centre, scale, _ = units
    slope = part.weight + part.square * centre
    return slope @ centre, DiagonalQuadratic((slope + part.square * centre) * scale, part.square * scale**2)


@moved.register
def _(part: Quadratic, units: Units) -> tuple[Array, Quadratic]:
    centre, scale, _ = units
    d = len(centre)
    i, j = np.triu_indices(d)
    upper = jnp.zeros((*part.label_shape, d, d), part.products.dtype).at[..., i, j].set(part.products)
    at_centre = upper @ centre
    slope = part.weight + at_centre + jnp.swapaxes(upper, -1, -2) @ centre
    return (part.weight + at_centre) @ centre, Quadratic(slope * scale, part.products * scale[i] * scale[j])


@moved.register
def _(part: Shifted, units: Units) -> tuple[Array, Shifted] | None:
    inner = moved(part.scorer, Units(jnp.zeros_like(units.centre), units.scale))
    return None if inner is None else (inner[0], Shifted((part.offset - units.centre) / units.scale, inner[1]))


@moved.register
def _(part: LatentScorer, units: Units) -> tuple[Array, LatentScorer] | None:
    inner = moved(part.scorer, units)
    return None if inner is None else (jnp.zeros(part.label_shape), LatentScorer(part.bias + inner[0], inner[1]))


@moved.register
def _(part: LatentChain, units: Units) -> tuple[Array, LatentChain] | None:
    inner = moved(part.scorer, units)
    return None if inner is None else (jnp.zeros(part.label_shape), part.moved(*inner))


@moved.register
def _(part: ColumnScorers, units: Units) -> tuple[Array, ColumnScorers]:
    """Sum of scorers in other units, each in its own; one that is no polynomial stays, and so do its columns."""
    shift, scorers = jnp.zeros(part.label_shape), []
    for own, columns in zip(part.scorers, part.columns, strict=True):
        inner = moved(own, units.of(columns)) or (0, own)
        shift, scorers = shift + inner[0], [*scorers, inner[1]]
    return shift, ColumnScorers(tuple(scorers), part.columns)


def moved_back(part: Any, units: Units) -> Any:
    """A model that scores rows x as `part` scores rows z in these units: the inverse of `moved`.

    The scale is undone before the centre: a centre in units of the scale would be rounded.
    """
    centre, scale, turn = units
    if turn is not None:
        weight = part.scorer.weight @ turn.T
        part = dataclasses.replace(part, scorer=Linear(weight))
    return moved(moved(part, Units(jnp.zeros_like(centre), 1 / scale)), Units(-centre, jnp.ones_like(scale)))


def columns_with_units(model: Any) -> np.ndarray | None:
    """Mask (d,) of real-valued columns that a model's scores are polynomials of; None if there is none."""
    d = model.num_features
    if d is None or not isinstance(model, Logistic | LinearChainCRF) or not _is_polynomial(model.scorer):
        return None
    plain = np.array([own.low == -np.inf and not own.whole for own in model.scorer.supports])
    return np.broadcast_to(plain, d) if plain.any() else None


def _is_polynomial(scorer):
    if isinstance(scorer, Shifted | LatentScorer | LatentChain):
        return _is_polynomial(scorer.scorer)
    return type(scorer) in moved.registry


def find(x: Any, weights: Array, columns: Array, least_offset: float = 0.0) -> Units:
    """Units of columns by robust statistics of a sample of rows: medians, and distances from them.

    A column's centre is its median, its scale a typical distance from it. `columns` (d,) masks the columns to
    transform; a centre of less than `least_offset` scales stays 0. A few outliers do not matter: with mean and standard
    deviation, a sentinel of 10^6 would leave the other cells a range of 10^-5, too narrow for float32. No square can
    overflow.
    """
    x, _, weights = in_rows(x, weights, weights)
    centre = _medians(representative(x, weights, ROWS_OF_MEDIAN))
    apart = jnp.abs(representative(x, weights, ROWS) - centre)
    differ = (apart > 0).sum(0)
    for _ in range(ROOTS):
        apart = jnp.sqrt(apart)
    typical = (apart.sum(0) / jnp.maximum(differ, 1)) ** 2**ROOTS / OF_NORMAL
    scale = jnp.where(columns & (differ > 0), _power_of_two(typical), 1)
    far = (jnp.abs(centre) > least_offset * scale) | (differ == 0)
    return Units(jnp.where(columns & far, centre, 0), scale)


def _power_of_two(scale):
    """The power of 2 next below: a division by it is exact, so that columns that differ little differ as much after."""
    return jnp.where((scale > 0) & jnp.isfinite(scale), jnp.ldexp(jnp.ones_like(scale), jnp.frexp(scale)[1] - 1), scale)


def representative(rows: Any, weights: Array, m: int) -> Any:
    """Rows (m, ...), of a pytree of these, that stand for equal shares of the total weight: the heaviest of stretches.

    Of equal weights every (n / m)-th row. Rows of weight 0, or next to none beside others, are not among them. Where
    rows are sharded they are the same on all devices, and are those of all shards.
    """
    n, own = kernels.shards.number(len(weights)), len(weights)
    count = min(n, FINER * m)
    length = -(-n // count)
    sums, places = _stretches(weights, count, length)
    upto = jnp.cumsum(sums)
    middles = (jnp.arange(m) + 0.5) / m * upto[-1]
    picked = jnp.minimum(places[jnp.minimum(jnp.searchsorted(upto, middles), count - 1)], n - 1)
    if own == n:
        return jax.tree.map(lambda leaf: leaf[picked], rows)
    return kernels.shards.picked(rows, picked // own, picked % own)


def _stretches(weights, count, length):
    """Total weight (count,) of each stretch of `length` rows, and the number of its heaviest row, the first of them."""
    n = len(weights)
    if kernels.shards.number(n) == n:
        stretches = jnp.pad(weights, (0, count * length - n)).reshape(count, length)
        return stretches.sum(1), jnp.arange(count) * length + stretches.argmax(1)
    row = kernels.shards.row_numbers(n)
    stretch = row // length
    sums = kernels.shards.total(jax.ops.segment_sum(weights, stretch, count))
    heaviest = kernels.shards.largest(jax.ops.segment_max(weights, stretch, count))
    first = jnp.where(weights == heaviest[stretch], row, kernels.shards.number(n))
    return sums, kernels.shards.least(jax.ops.segment_min(first, stretch, count))


def _medians(x):
    """Remedian of each column: medians of three, of three of those, and so on, without sorting; the number is 3^i.

    Source: Rousseeuw and Bassett (1990), The remedian.
    """
    while len(x) > 1:
        a, b, c = x.reshape(3, -1, x.shape[1])
        x = jnp.maximum(jnp.minimum(a, b), jnp.minimum(jnp.maximum(a, b), c))
    return x[0]


def own_units(units: Units) -> bool:
    """Whether the columns are nearly centred and scaled already: within a factor of 4."""
    if not is_concrete(units):
        return False
    centre, scale = np.asarray(units.centre), np.asarray(units.scale)
    return bool((np.abs(centre) <= NEAR * scale).all() and (np.abs(np.log(scale)) <= np.log(NEAR)).all())


def mild(model: Any, units: Units) -> bool:
    """Whether rows may stay in the user's units without loss of digits, only the parameters being transformed.

    A linear score loses the share that the centre is of the spread; a quadratic one its square, so its rows always
    move.
    """
    if not (is_concrete(units) and isinstance(model.scorer, Linear)):
        return False
    offset = np.abs(np.asarray(units.centre / units.scale)).max() * jnp.finfo(units.scale.dtype).eps
    return bool(offset <= MOST_LOST and (np.abs(np.log(np.asarray(units.scale, float))) <= np.log(FARTHEST)).all())
