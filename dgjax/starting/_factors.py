"""Factor analysers and probabilistic PCA initialised at principal components, to be fitted by `fit`."""

from typing import Any

import numpy as np
from jax import Array

from dgjax import _advice
from dgjax._arguments import as_count, as_key, constant
from dgjax._elsewhere import told_keywords
from dgjax.densities import FactorGaussian, Mixture
from dgjax.sparse import RowsLike, SparseRows, is_sparse
from dgjax.starting import _training_data
from dgjax.starting._by_name import uniform
from dgjax.starting._mixtures import at_clusters
from dgjax.starting._streams import started_from_streams
from dgjax.tables import started_from_tables


@started_from_streams
@started_from_tables("gaussian")
@told_keywords
def factor_analysis(
    key: Array, x: RowsLike, num_factors: int, noise: str = "diagonal", num_components: int = 1
) -> Mixture:
    """Factor analysis model initialised at principal components of `x` (n, d), to be fitted by `dgjax.fit(model, x)`.

    x = mean + W f + e, with `num_factors` factors f ~ N(0, I). The `noise` e is "diagonal", one variance for each
    column, or "shared", one for all: probabilistic PCA. With more components a mixture of such models, which starts at
    k-means++ clusters. Cells may be missing; of scipy's sparse array or `dgjax.SparseRows` all are that are not stored.

    Raises ValueError for bad rows, as many factors as columns, more components than rows, or another noise.
    Source: Rubin and Thayer (1982); Tipping and Bishop (1999); Ghahramani and Hinton (1996), for mixtures.
    """
    given: Any = x
    rows, summary = (_training_data.sparse_rows if is_sparse(x) else _training_data.rows)(given)
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
    if k > 1 and summary is None:
        whole = "x" if isinstance(x, SparseRows) else "dgjax.SparseRows.from_scipy(x)"
        raise ValueError(
            f"num_components must be 1 for sparse rows, which have no clusters to start at; got {k}. Type "
            f"{whole}.toarray(), which has NaN where nothing is stored, in place of x."
        )
    # All rows are of one component: there is nothing to cluster.
    labels = np.zeros(n, int) if k == 1 else None
    return at_clusters(uniform(density), as_key(key), rows, summary, labels)
