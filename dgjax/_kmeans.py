"""Initial clusters of mixtures: k-means++ in coordinates that suit the columns, or random rows.

The idea. Rows are embedded so that squared Euclidean distances make sense for every kind of column, missing cells left
out (`embedded`). Then (`_cluster`):

    1. k-means++: each new centre is a row drawn in proportion to its squared distance from the nearest centre so far
    2. at most ten of Lloyd's steps on a sample of rows: rows to their nearest centre, centres to their rows' mean
    3. every row gets its weight in its nearest cluster, or in its known one; an empty cluster takes shares of the seeds

Labels are clustered apart from each other, by weights (n, labels). Source: Arthur and Vassilvitskii (2007), k-means++.
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

import dgjax_kernels as kernels
from dgjax._types import Rows, Support
from dgjax.structures import Sequences, in_rows

LLOYD_STEPS = 10
LLOYD_ROWS = 1 << 14
"""Where there are more rows, the centres are moved to the means of so many of them."""
FEW = 4
"""Rows that a component started at random, or one that no row is left for, is made of."""
FAR = 1e30
"""A squared distance beyond any in standardised columns."""
MOST_INDICATORS = 64
"""Columns of indicators of categories; where there would be more, so many random projections of them."""


def embedded(
    x: Rows, weights: Float[Array, " n"], supports: Sequence[Support], complete: bool = False
) -> Float[Array, "n e"]:
    """Embedding of rows (n, d) -> (n, e) in which squared distances suit the columns; NaN where missing.

    Real numbers are in standard deviations. Counts are twice their square roots, of variance about 1 given the rate
    (Anscombe, 1948, The transformation of Poisson, binomial and negative-binomial data), and in standard deviations
    where these are larger than 1. Two different categories are at squared distance 4, as in a column of ones and minus
    ones. Of `Sequences` it is of what they are like as wholes: see `_of_sequences`.
    """
    if isinstance(x, Sequences):
        return _of_sequences(x, weights, supports, complete)
    categories = [s.whole and math.isfinite(s.high) for s in supports]
    counts = [s.whole and not categorical for s, categorical in zip(supports, categories, strict=True)]
    sizes = {c: int(supports[c].high) + 1 for c in range(len(supports)) if categories[c]}
    numbers = [c for c in range(len(supports)) if not supports[c].whole]
    roots = [c for c in range(len(supports)) if counts[c]]
    parts = []
    if numbers:
        parts.append(_standardized(_picked(x, numbers), weights, complete)[0])
    if roots:
        rooted, spread = _standardized(2 * jnp.sqrt(_picked(x, roots) + 3 / 8), weights, complete)
        parts.append(rooted * jnp.minimum(spread, 1))
    if sizes:
        parts.append(_indicators(_picked(x, list(sizes)), max(sizes.values())))
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=1)


def _of_sequences(x, weights, supports, complete):
    """Embedding of sequences (n, 3 e): of each column embedded the mean, the spread, and the size of a step's change.

    All in standard deviations; what a sequence has too few cells for is as in the mean of the others.
    """
    rows, _, of_steps = in_rows(x, weights, weights)
    z = jnp.where(x.inside[..., None], x.in_steps(embedded(rows, of_steps, supports, complete)), jnp.nan)

    def mean(values):
        present = ~jnp.isnan(values)
        return jnp.where(present, values, 0).sum(1) / present.sum(1)

    centre = mean(z)
    parts = centre, jnp.sqrt(mean((z - centre[:, None]) ** 2)), jnp.sqrt(mean((z[:, 1:] - z[:, :-1]) ** 2))
    features = jnp.concatenate(parts, axis=1)
    return jnp.nan_to_num(_standardized(features, weights, False)[0])


def _picked(x, columns):
    return x if len(columns) == x.shape[1] else x[:, jnp.array(columns)]


def _standardized(x, weights, complete):
    """Standardised columns (n, d) and their standard deviations (d,)."""
    residual, unit = in_units(x - means(x, weights[:, None], complete=complete))
    spread = jnp.sqrt(means(residual**2, weights[:, None], complete=complete))
    return residual / jnp.where(spread > 0, spread, 1), unit * spread


def _indicators(x, size):
    n, d = x.shape
    if size == 2:
        return 2 * x
    if d * size <= MOST_INDICATORS:
        on = jnp.where(jnp.isnan(x)[..., None], jnp.nan, (x[..., None] == jnp.arange(size)).astype(x.dtype))
        return math.sqrt(2) * on.reshape(n, d * size)
    # Distances stay, but for an eighth or so (Johnson and Lindenstrauss, 1984).
    directions = jax.random.normal(jax.random.key(0), (MOST_INDICATORS, d, size), x.dtype)
    return math.sqrt(2 / MOST_INDICATORS) * kernels.table(x, directions)


def clusters(
    key: Key[Array, ""],
    z: Float[Array, "n e"],
    weights: Float[Array, "n *labels"],
    num_clusters: int,
    known: Float[Array, "n k"] | None = None,
    complete: bool = False,
    on: Bool[Array, " k"] | None = None,
) -> Float[Array, "n *labels k"]:
    """Hard responsibilities (n, *labels, k): each row's weight in its cluster, for k-means++ within each label.

    `weights` (n, *labels). Rows whose cluster is `known` (n, k), one-hot, stay there, and seed the clusters (Basu,
    Banerjee and Mooney, 2002, Semi-supervised clustering by seeding). Clusters that are not `on` get no row.
    """
    columns = weights.reshape(len(z), -1).T
    every = np.ones(num_clusters, bool)
    cluster = functools.partial(_cluster, on=every if on is None else on, known=known, complete=complete)
    keys = jax.random.split(key, len(columns))
    if len(columns) == 1:  # what is batched takes half as long again to trace
        counts = cluster(keys[0], z, columns[0])[None]
    else:
        counts = jax.vmap(cluster, in_axes=(0, None, 0))(keys, z, columns)
    return jnp.moveaxis(counts, 0, 1).reshape(*weights.shape, num_clusters)


def few_rows(
    key: Key[Array, ""], weights: Float[Array, "n *labels"], num_components: int
) -> Float[Array, "n *labels k"]:
    """Random responsibilities (n, *labels, k): each component gets the weight of about `FEW` random rows.

    A softmax of n uniforms times 2 n / FEW: shares s are powers of exp(-2 / FEW), whose effective number
    (sum s)^2 / sum s^2 is FEW.
    """
    rows = weights > 0
    spread = rows.sum(0)[..., None] * (2 / FEW)
    drawn = spread * jax.random.uniform(key, (*weights.shape, num_components), weights.dtype)
    shares = jax.nn.softmax(jnp.where(rows[..., None], drawn, -spread - 100), axis=0)
    return jnp.where(rows[..., None], FEW * shares, 0)


def means(
    x: Float[Array, "n d"], counts: Float[Array, "n k"], otherwise: Array | float = 0.0, complete: bool = False
) -> Float[Array, "k d"]:
    """Means (k, d) of observed cells under weights `counts` (n, k); `otherwise` where a column has no weight."""
    if complete:
        cells, sums = counts.sum(0)[:, None], counts.T @ x
    else:
        observed = ~jnp.isnan(x)
        cells, sums = counts.T @ observed.astype(x.dtype), counts.T @ jnp.where(observed, x, 0)
    return jnp.where(cells > 0, sums / jnp.where(cells > 0, cells, 1), otherwise)


def in_units(x: Float[Array, "n d"]) -> tuple[Float[Array, "n d"], Float[Array, " d"]]:
    """Columns divided by a unit near their largest cell, whose squares cannot overflow; and the units (d,)."""
    unit = kernels.unit_of(jnp.max(jnp.abs(jnp.where(jnp.isnan(x), 0, x)), axis=0, initial=0))
    return x / unit, unit


def _cluster(key, z, weights, on, known, complete):
    """Weights (n, k) of rows z (n, e) in clusters, each row in one: k-means++ seeds, Lloyd's steps, the nearest centre.

    Rows have `weights` (n,), and cells NaN where missing unless `complete`. `known` (n, k) or None has rows whose
    cluster is given: those clusters begin at their means. A cluster left empty gets the row that was its seed. Clusters
    that are not `on` (k,) get no row: the seed of one changes nothing, and its centre is far from all rows.
    """
    num_clusters = len(on)
    relative, scale, own = _distances(z, complete)
    nearest, given = jnp.full(len(z), jnp.inf, z.dtype), jnp.zeros(num_clusters, bool)
    centres = jnp.zeros((num_clusters, z.shape[1]), z.dtype)
    if known is not None:
        counts = weights[:, None] * known
        given, centres = counts.sum(0) > 0, means(z, counts, complete=complete)
        nearest = scale * jnp.maximum(own + jnp.where(given, relative(centres), jnp.inf).min(1), 0)

    def seed(nearest, chosen):
        key, given, on, centre = chosen
        row = kernels.categorical(key, jnp.log(weights) + jnp.log(jnp.clip(nearest, 1 / FAR, FAR)))
        centre = jnp.where(given, centre, jnp.where(jnp.isnan(z[row]), 0, z[row]))
        distance = jnp.where(on, scale * jnp.maximum(own + relative(centre[None])[:, 0], 0), jnp.inf)
        return jnp.minimum(nearest, distance), (centre, row)

    # Before there is a centre, all rows are equally far.
    _, (centres, seeds) = jax.lax.scan(seed, nearest, (jax.random.split(key, num_clusters), given, on, centres))

    centres = _moved(centres, on, *_some((z, weights, known), num_clusters), complete=complete)
    counts = _counted(jnp.where(on, relative(centres), jnp.inf), weights, known)
    present = ((weights[seeds] > 0) & on)[:, None]
    return counts.at[seeds].add(jnp.where((counts.sum(0) == 0) & present & on, _of_seeds(on).astype(z.dtype), 0))


def _moved(centres, on, z, weights, known, complete):
    """Centres (k, e) after Lloyd's steps: until none moves, or LLOYD_STEPS."""
    relative = _distances(z, complete)[0]

    def lloyd(carry):
        step, centres, _ = carry
        new = means(z, _counted(jnp.where(on, relative(centres), jnp.inf), weights, known), centres, complete)
        return step + 1, new, (new != centres).any()

    return jax.lax.while_loop(lambda c: (c[0] < LLOYD_STEPS) & c[2], lloyd, (0, centres, True))[1]


def _counted(distances, weights, known):
    """Hard responsibilities (n, k): each row's weight in its known cluster, or in the nearest by `distances` (n, k)."""
    hard = jax.nn.one_hot(distances.argmin(1), distances.shape[1], dtype=distances.dtype)
    return weights[:, None] * (hard if known is None else jnp.where(known.any(1, keepdims=True), known, hard))


def _some(arrays, num_clusters):
    """A sample of the rows of all arrays, at multiples of the golden ratio; all rows if there are few.

    No period in the data matches the golden ratio.
    """
    n, most = len(arrays[0]), max(LLOYD_ROWS, 32 * num_clusters)
    if n <= most:
        return arrays
    rows = np.sort((np.arange(most) * (math.sqrt(5) - 1) / 2 % 1 * n).astype(int))
    return jax.tree.map(lambda array: array[rows], arrays)


def _of_seeds(on):
    """Responsibilities (k, k) of seeds for clusters that got no row, as where rows are equal: FEW rows' weight in all.

    Shares are powers that differ between clusters: equal clusters would stay equal in EM for ever. Of those that are
    `on` (k,) alone, counted among themselves.
    """
    xp = np if isinstance(on, np.ndarray) else jnp
    cluster, k = xp.cumsum(on) - 1, on.sum()
    seed = cluster[:, None]
    shares = xp.where(on[:, None], ((cluster + 1) / (k + 1)) ** ((seed - cluster) % k), 0)
    return FEW * shares / shares.sum(0)


def _distances(z, complete):
    """Squared distances of rows z (n, e) to centres c (k, e), as scale (relative(c) + own): the three parts.

    Only observed cells count, and `scale` (n,) extrapolates to the missing ones as if they were alike.
    """
    if complete:
        return lambda c: (c**2).sum(1) - 2 * z @ c.T, 1, (z**2).sum(1)
    observed = ~jnp.isnan(z)
    filled, present = jnp.where(observed, z, 0), observed.astype(z.dtype)
    scale = z.shape[1] / jnp.maximum(present.sum(1), 1)
    return lambda c: present @ (c**2).T - 2 * filled @ c.T, scale, (filled**2).sum(1)
