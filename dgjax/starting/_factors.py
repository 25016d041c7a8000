"""Factor analysers and probabilistic PCA initialised at principal components, to be fitted by `fit`."""

import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from dgjax import _advice
from dgjax._arguments import as_count, as_key, constant
from dgjax._elsewhere import told_keywords
from dgjax.densities import FactorGaussian, Mixture
from dgjax.starting import _training_data
from dgjax.starting._by_name import uniform
from dgjax.starting._mixtures import at_clusters


@told_keywords
def factor_analysis(
    key: Array, x: ArrayLike, num_factors: int, noise: str = "diagonal", num_components: int = 1
) -> Mixture:
    """Factor analysis model initialised at principal components of `x` (n, d), to be fitted by `dgjax.fit(model, x)`.

    x = mean + W f + e, with `num_factors` factors f ~ N(0, I). The `noise` e is "diagonal", one variance for each
    column, or "shared", one for all: probabilistic PCA. With more components a mixture of such models, which starts at
    k-means++ clusters. Cells may be missing.

    Raises ValueError for bad rows, as many factors as columns, more components than rows, or another noise.
    Source: Rubin and Thayer (1982); Tipping and Bishop (1999); Ghahramani and Hinton (1996), for mixtures.
    """
    rows, summary = _training_data.rows(x)
    (n, d), k, r = rows.shape, as_count(num_components, "num_components"), as_count(num_factors, "num_factors")
    if k > n:
        raise ValueError(f"num_components must be from 1 to the number of rows, {n}; got {k}.")
    if d < 2:
        raise ValueError("x must have two columns at least for a factor that they share; got 1.")
    if r >= d:
        raise ValueError(
            f"num_factors must be from 1 to {d - 1}, one less than the columns; got {r}. For any covariance type "
            f"dgjax.gaussian_mixture(key, x, {k})."
        )
    if noise not in ("diagonal", "shared"):
        raise ValueError(f'noise must be "diagonal" or "shared"; got {_advice.shown(noise)}.')
    own = (k, d if noise == "diagonal" else 1)
    shapes = (k, d), (k, d, r), own
    density = FactorGaussian(*(constant(np.zeros(shape, rows.dtype)) for shape in shapes))
    return at_clusters(uniform(density), as_key(key), rows, summary)
