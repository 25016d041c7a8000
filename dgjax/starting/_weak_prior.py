"""Weak conjugate priors, worth a few rows."""

from typing import Any

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from dgjax import _prior
from dgjax._arguments import check_number
from dgjax._elsewhere import told_keywords
from dgjax._types import of_columns
from dgjax.data import (
    as_model,
    as_rows,
    as_sequences,
    as_sparse_rows,
    as_weights,
    check_cells,
    check_observed,
    check_whole,
)
from dgjax.densities import Density
from dgjax.learning import in_precision, moments
from dgjax.sparse import RowsLike, SparseRows, is_sparse
from dgjax.streams import Passes, check_beside
from dgjax.structures import in_rows
from dgjax.tables import of_tables


@told_keywords
@of_tables()
def weak_prior(
    model: Any,
    x: RowsLike | Passes,
    strength: float = 1.0,
    lengths: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
) -> Any:
    """Conjugate prior of a generative model, worth `strength` more rows for each label.

    The pseudo-rows are spread as the columns of `x`. For a Gaussian they have the columns' means and
    variances, uncorrelated; for discrete columns they are `strength` pseudo-counts shared by the values that a column
    can have. Pass it as `prior=` to `dgjax.fit`. `x` (n, d), or (n, t, d) with `lengths` (n,) for sequences, whose
    initial states and transitions get `strength` pseudo-counts too. `weights` (n,), 1 by default: a row of weight 2 is
    two rows.

    Raises ValueError for bad rows or weights, or a strength that is not positive.
    """
    if not isinstance(model, Density) and not as_model(model).generative:
        raise ValueError(
            f"weak_prior is for generative models; {type(model).__name__} takes prior=dgjax.priors.Ridge(strength) in "
            "dgjax.fit."
        )
    check_number(strength, "strength", 0)
    if not strength > 0:
        raise ValueError(f"strength must be positive, a number of pseudo-rows; got {strength}.")
    if isinstance(x, Passes):
        return _of_passes(model, x, float(strength), lengths, weights)
    check_whole(x)
    rows: Any = x
    if model.sequential:
        given: Any = as_sequences(rows, lengths, model.num_features)
    elif is_sparse(x) and model.takes_sparse_rows:
        given = as_sparse_rows(x, model.num_features)
    else:
        given = as_rows(rows, model.num_features)
    amounts = as_weights(weights, given)
    rows, _, amounts = in_rows(given, amounts, amounts)
    steps = given.x.shape[1] if model.sequential else None
    if isinstance(rows, SparseRows) or not check_cells(rows, model.supports, steps=steps):
        check_observed(rows, amounts)
    return _prior.weak_prior(model, rows, amounts, float(strength))


def _of_passes(model, passes, strength, lengths, weights):
    check_beside({"lengths": lengths, "weights": weights})
    own = in_precision(model, passes)
    columns = moments(passes, jnp.result_type(*jax.tree.leaves(own)))
    if not passes.facts.inside(of_columns(own.supports, passes.num_features)):
        passes.total(_nothing, as_model(own))  # which names the row
    return _prior.of_moments(own, columns, strength)


def _nothing(model, data):
    del model, data
    return ()
