"""Recommendations: the best of the items that a row has not rated, as its missing cells."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtri

import dgjax_kernels as kernels
from dgjax._arguments import as_count, check_number, is_concrete
from dgjax._elsewhere import told_keywords
from dgjax._types import Generative
from dgjax.data import as_model, cut, in_size_class, model_and_rows
from dgjax.densities import FactorGaussian
from dgjax.sparse import RowsLike, SparseRows

MANY = 1 << 22  # cells of a block of sparse rows, written out


class Recommendations(NamedTuple):
    """Best unrated items of each user: `items` (n, m), column numbers, the best first, and -1 where there are no more.

    `mean` (n, m) and standard deviation `scale` (n, m) of each rating given those that the user made; NaN at -1.
    """

    items: Array
    mean: Array
    scale: Array

    def interval(self, coverage: float = 0.9) -> tuple[Array, Array]:
        """Lowest and highest rating, (n, m) each, between which a normal rating lies with probability `coverage`.

        Raises ValueError unless 0 < coverage < 1.
        """
        check_number(coverage, "coverage", 0)
        if is_concrete(coverage) and not 0 < coverage < 1:
            raise ValueError(f"coverage must be between 0 and 1; got {coverage}.")
        reach = ndtri(0.5 + 0.5 * coverage) * self.scale
        return self.mean - reach, self.mean + reach


@told_keywords
def recommend(model: Generative, ratings: RowsLike, num_items: int) -> Recommendations:
    """Recommendations: the `num_items` items of highest expected rating among those that a user has not rated.

    `ratings` (n, d) has a row for each user, a column for each item, and NaN for what is not rated; or it is scipy's
    sparse array or `dgjax.SparseRows`, which store what is rated and nothing else. The ratings of a
    user are normal with the model's mean and covariance (a mixture of such, where the model has components), and those
    not made are given those made: no refit is needed for a user whom the model has not seen, and one without any rating
    gets the items of highest mean.

    Raises ValueError for a model that is not of `FactorGaussian`, ratings of a wrong shape, or fewer than one item.
    Source: Rubin and Thayer (1982); Salakhutdinov and Mnih (2007), Probabilistic matrix factorization.
    """
    checked = as_model(model)
    density = getattr(checked, "density", None) if checked.generative and not checked.sequential else None
    if not isinstance(density, FactorGaussian):
        raise ValueError(
            f"recommend is for a model of factors; got a {type(model).__name__}. Type "
            "model = dgjax.fit(dgjax.factor_analysis(key, ratings, num_factors), ratings).model."
        )
    count = as_count(num_items, "num_items", 1, density.num_features)
    checked, rows = model_and_rows(checked, ratings, sparse=True)
    blocks = _whole(rows.x) if isinstance(rows.x, SparseRows) else [rows.x]
    best = [cut(_best(checked, in_size_class(own)[0], count), len(own)) for own in blocks]
    return best[0] if len(best) == 1 else jax.tree.map(lambda *own: jnp.concatenate(own), *best)


def _whole(x):
    """Blocks of sparse rows with all their cells, NaN where missing: every item is asked about."""
    if not is_concrete(x):
        return [x.toarray()]
    size = max(MANY // x.num_columns, 1)
    return (x[start : start + size].toarray() for start in range(0, len(x), size))


@functools.partial(kernels.compiled, static_argnums=2)
def _best(model, x, count):
    def block(x):
        shares = jnp.exp(model.potentials(x).log_marginals())
        mean, spread = model.density.cell_moments(x, shares)
        order, items = jax.lax.top_k(jnp.where(jnp.isnan(x), mean, -jnp.inf), count)
        rated = jnp.isneginf(order)
        scale = jnp.take_along_axis(spread, items, 1)
        return Recommendations(jnp.where(rated, -1, items), *(jnp.where(rated, jnp.nan, own) for own in (order, scale)))

    return kernels.map_rows(block, x, row_cost=model.row_cost)
