"""Classifiers fitted in closed form: naive Bayes and discriminant analysis."""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from dgjax._elsewhere import told_keywords
from dgjax.densities import Mixture
from dgjax.learning import closed_form
from dgjax.starting import _training_data
from dgjax.starting._by_name import columns, gaussian, uniform
from dgjax.starting._streams import in_closed_form_of_streams
from dgjax.tables import started_from_tables

BY_MOMENTS = ("gaussian", "bernoulli", "poisson", "multinomial")  # of all columns: no copy of NumPy's rows is needed


@in_closed_form_of_streams
@started_from_tables()
@told_keywords
def naive_bayes(
    x: ArrayLike,
    y: ArrayLike,
    kinds: str | Sequence[str] | Mapping[Any, str] = "gaussian",
    num_classes: int | None = None,
    *,
    weights: ArrayLike | None = None,
    label_weight: float = 1.0,
    prior: Any = None,
    num_categories: int | Sequence[int | None] | Mapping[int, int] | None = None,
) -> Mixture:
    """Naive Bayes classifier p(y) prod_j p(x_j | y), fitted in closed form to rows `x` (n, d) and labels `y` (n,).

    `x` may be a table, and `y` the name of its label column: kinds are then read from types, as `dgjax.Table.of` says,
    `kinds` names others, and the model is a `dgjax.Tabular`, which goes by names. Of arrays `kinds` is one kind, or one
    for each column, in a list or in a dict by column: "gaussian", "bernoulli", "categorical", "poisson"; or
    "multinomial" for all columns together. Cells may be NaN, and labels -1; EM then fits the model, and `label_weight`
    is how many times a row with a label counts. `prior="weak"` adds one pseudo-row for each class, which gives a column
    that is constant in a class some spread. `num_classes` is one more than the highest label by default; a class above
    those, without a row, has probability 0, or under a prior little more. So it is with `num_categories` of categorical
    columns: one number, or one for each column, in a list or in a dict by its number.

    Raises ValueError for bad cells or labels, a single class, another kind, fewer categories than a column has, or a
    class without spread in a column.
    Source: Murphy (2012), Machine Learning, section 3.5.
    """
    zero_copy = not isinstance(prior, str) and isinstance(kinds, str) and kinds in BY_MOMENTS
    data = _training_data.labelled(x, y, num_classes, zero_copy, weights)
    named = _training_data.named_kinds(kinds, data.x.shape[1], "kinds")
    model = uniform(columns(data.x, data.columns, named, (data.num_classes,), "kinds", num_categories))
    return closed_form(model, data, prior, label_weight)


@in_closed_form_of_streams
@started_from_tables("gaussian")
@told_keywords
def discriminant_analysis(
    x: ArrayLike,
    y: ArrayLike,
    covariance: str = "tied",
    num_classes: int | None = None,
    *,
    weights: ArrayLike | None = None,
    label_weight: float = 1.0,
    prior: Any = None,
) -> Mixture:
    """Discriminant analysis, one Gaussian for each class, fitted in closed form to rows `x` (n, d) and labels `y` (n,).

    `covariance` "tied" is LDA, "full" QDA, "diagonal" Gaussian naive Bayes, "spherical" nearest means. Cells may be
    NaN, and labels -1; EM then fits the model, and `label_weight` is how many times a row with a label counts.
    `prior="weak"` adds one pseudo-row for each class. `num_classes` is one more than the highest label by default; a
    class above those, without a row, has probability 0, or under a prior little more.

    Raises ValueError for bad cells or labels, a single class, or a class with too few rows for its covariance.
    Source: Hastie, Tibshirani and Friedman (2009), The Elements of Statistical Learning, section 4.3.
    """
    zero_copy = not isinstance(prior, str) and covariance in ("diagonal", "spherical")
    data = _training_data.labelled(x, y, num_classes, zero_copy, weights)
    model = uniform(gaussian(data.columns, len(data.x), (data.num_classes,), covariance))
    return closed_form(model, data, prior, label_weight)
