"""Where the components of a mixture start: k-means++ in coordinates that suit the columns, or a few rows at random."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

import dgjax_kernels as kernels
from dgjax._types import Support

LLOYD_STEPS = 10
LLOYD_ROWS = 1 << 14
"""Where there are more rows, the centres are moved to the means of so many of them."""
FEW = 4
"""Rows that a component started at random, or one that no row is left for, is made of."""
FAR = 1e30
"""A squared distance beyond any in standardised columns."""
MOST_INDICATORS = 64
"""Columns of indicators of categories; where there would be more, so many random projections of them."""


def embedded(x: Float[Array, "n d"], weights: Float[Array, " n"], supports: Sequence[Support]) -> Float[Array, "n e"]:
    """Rows where squared distances suit the columns, NaN where missing.

    Numbers in standard deviations. Counts as twice their roots, whose variance given a rate is about 1 (Anscombe, 1948,
    The transformation of Poisson, binomial and negative-binomial data), in standard deviations where those are more.
    Categories are equal or not: 4 apart, as the halves of a column of ones and minus ones.
    """
    categories = [s.whole and math.isfinite(s.high) for s in supports]
    counts = [s.whole and not categorical for s, categorical in zip(supports, categories, strict=True)]
    sizes = {c: int(supports[c].high) + 1 for c in range(len(supports)) if categories[c]}
    numbers = [c for c in range(len(supports)) if not supports[c].whole]
    roots = [c for c in range(len(supports)) if counts[c]]
    parts = []
    if numbers:
        parts.append(_standardized(_picked(x, numbers), weights)[0])
    if roots:
        rooted, spread = _standardized(2 * jnp.sqrt(_picked(x, roots) + 3 / 8), weights)
        parts.append(rooted * jnp.minimum(spread, 1))
    if sizes:
        parts.append(_indicators(_picked(x, list(sizes)), max(sizes.values())))
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=1)


def _picked(x, columns):
    return x if len(columns) == x.shape[1] else x[:, jnp.array(columns)]


def _standardized(x, weights):
    """In standard deviations, and those."""
    residual, unit = in_units(x - means(x, weights[:, None]))
    spread = jnp.sqrt(means(residual**2, weights[:, None]))
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
) -> Float[Array, "n *labels k"]:
    """Counts of each row in its cluster, clustering the rows of each label by their weights (n, *labels).

    Rows whose cluster is `known`, one-hot, stay there, and the others start around them (Basu, Banerjee and Mooney,
    2002, Semi-supervised clustering by seeding).
    """
    columns = weights.reshape(len(z), -1).T
    cluster = functools.partial(_cluster, num_clusters=num_clusters, known=known)
    counts = jax.vmap(cluster, in_axes=(0, None, 0))(jax.random.split(key, len(columns)), z, columns)
    return jnp.moveaxis(counts, 0, 1).reshape(*weights.shape, num_clusters)


def few_rows(
    key: Key[Array, ""], weights: Float[Array, "n *labels"], num_components: int
) -> Float[Array, "n *labels k"]:
    """For each component the counts of `FEW` rows at random.

    The softmax of n uniforms times 2 n / FEW, whose shares s are powers of exp(-2 / FEW): (sum s)^2 / sum s^2 = FEW.
    """
    rows = weights > 0
    spread = rows.sum(0)[..., None] * (2 / FEW)
    drawn = spread * jax.random.uniform(key, (*weights.shape, num_components), weights.dtype)
    shares = jax.nn.softmax(jnp.where(rows[..., None], drawn, -spread - 100), axis=0)
    return jnp.where(rows[..., None], FEW * shares, 0)


def means(x: Float[Array, "n d"], counts: Float[Array, "n k"], otherwise: Array | float = 0.0) -> Float[Array, "k d"]:
    """Weighted means of the observed cells of each column, and `otherwise` where there are none."""
    if kernels.complete_rows.value:
        cells, sums = counts.sum(0)[:, None], counts.T @ x
    else:
        observed = ~jnp.isnan(x)
        cells, sums = counts.T @ observed.astype(x.dtype), counts.T @ jnp.where(observed, x, 0)
    return jnp.where(cells > 0, sums / jnp.where(cells > 0, cells, 1), otherwise)


def in_units(x: Float[Array, "n d"]) -> tuple[Float[Array, "n d"], Float[Array, " d"]]:
    """Columns in units of their largest cells, whose squares neither overflow nor vanish, and the units."""
    unit = kernels.unit_of(jnp.max(jnp.abs(jnp.where(jnp.isnan(x), 0, x)), axis=0, initial=0))
    return x / unit, unit


def _cluster(key, z, weights, num_clusters, known):
    """Counts (n, k) of each row in the nearest of the clusters, after k-means++ and a few of Lloyd's steps."""
    relative, scale, own = _distances(z)
    nearest, given = jnp.full(len(z), jnp.inf, z.dtype), jnp.zeros(num_clusters, bool)
    centres = jnp.zeros((num_clusters, z.shape[1]), z.dtype)
    if known is not None:
        counts = weights[:, None] * known
        given, centres = counts.sum(0) > 0, means(z, counts)
        nearest = scale * jnp.maximum(own + jnp.where(given, relative(centres), jnp.inf).min(1), 0)

    def seed(nearest, chosen):
        key, given, centre = chosen
        row = kernels.categorical(key, jnp.log(weights) + jnp.log(jnp.clip(nearest, 1 / FAR, FAR)))
        centre = jnp.where(given, centre, jnp.where(jnp.isnan(z[row]), 0, z[row]))
        return jnp.minimum(nearest, scale * jnp.maximum(own + relative(centre[None])[:, 0], 0)), (centre, row)

    # Before there is a centre, all rows are equally far.
    _, (centres, seeds) = jax.lax.scan(seed, nearest, (jax.random.split(key, num_clusters), given, centres))

    centres = _moved(centres, *_some((z, weights, known), num_clusters))
    counts = _counted(relative(centres), weights, known)
    present = (weights[seeds] > 0)[:, None]
    return counts.at[seeds].add(jnp.where((counts.sum(0) == 0) & present, _of_seeds(num_clusters).astype(z.dtype), 0))


def _moved(centres, z, weights, known):
    """Centres after a few of Lloyd's steps, or as many as move one."""
    relative = _distances(z)[0]

    def lloyd(carry):
        step, centres, _ = carry
        new = means(z, _counted(relative(centres), weights, known), centres)
        return step + 1, new, (new != centres).any()

    return jax.lax.while_loop(lambda c: (c[0] < LLOYD_STEPS) & c[2], lloyd, (0, centres, True))[1]


def _counted(distances, weights, known):
    """Each row in its known cluster, or the nearest, by its weight (n, k)."""
    hard = jax.nn.one_hot(distances.argmin(1), distances.shape[1], dtype=distances.dtype)
    return weights[:, None] * (hard if known is None else jnp.where(known.any(1, keepdims=True), known, hard))


def _some(arrays, num_clusters):
    """All rows, or of many a share at multiples of the golden ratio, which no period of theirs can meet."""
    n, most = len(arrays[0]), max(LLOYD_ROWS, 32 * num_clusters)
    if n <= most:
        return arrays
    rows = np.sort((np.arange(most) * (math.sqrt(5) - 1) / 2 % 1 * n).astype(int))
    return jax.tree.map(lambda array: array[rows], arrays)


def _of_seeds(k):
    """What a cluster takes of each seed (k, k) where no row is left for it, as where rows are the same.

    No two the same of any seeds, for clusters that are alike would stay so for ever: from its own on, in powers.
    """
    cluster, seed = np.arange(k), np.arange(k)[:, None]
    shares = ((cluster + 1) / (k + 1)) ** ((seed - cluster) % k)
    return FEW * shares / shares.sum(0)


def _distances(z):
    """Of squared distances over a row's observed cells, what centres (k, e) make of them (n, k), less what is its own.

    With a scale for each row: as if its other cells were like those observed.
    """
    if kernels.complete_rows.value:
        return lambda c: (c**2).sum(1) - 2 * z @ c.T, 1, (z**2).sum(1)
    observed = ~jnp.isnan(z)
    filled, present = jnp.where(observed, z, 0), observed.astype(z.dtype)
    scale = z.shape[1] / jnp.maximum(present.sum(1), 1)
    return lambda c: present @ (c**2).T - 2 * filled @ c.T, scale, (filled**2).sum(1)
