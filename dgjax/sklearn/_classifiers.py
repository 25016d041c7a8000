"""Generative classifiers: naive Bayes, discriminant analysis, and a mixture of normals for each class."""

from collections.abc import Mapping
from typing import Any

from sklearn.utils.validation import check_non_negative

import dgjax as dg
from dgjax.sklearn._additive import Additive
from dgjax.sklearn._base import GenerativeClassifier, covariance_of, em_options, key_of


class NaiveBayesClassifier(Additive):
    """Naive Bayes classifier p(y) prod_j p(x_j | y), exact on missing cells, by `dgjax.naive_bayes`.

    `kinds` is one kind for all columns, a list with one for each, or a dict by their names: "gaussian", "bernoulli",
    "categorical", "poisson"; or "multinomial" for all. `prior` "weak" adds a pseudo-row to each class, None is maximum
    likelihood. `label_weight` is how many times a row with a label counts beside one without. `num_categories` of
    categorical columns is one more than the highest by default.
    """

    def __init__(
        self, kinds: Any = "gaussian", *, prior: Any = "weak", label_weight: float = 1.0, num_categories: Any = None
    ) -> None:
        self.kinds = kinds
        self.prior = prior
        self.label_weight = label_weight
        self.num_categories = num_categories

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = tags.classifier_tags.poor_score = self._of_counts
        return tags

    @property
    def _of_counts(self):
        return isinstance(self.kinds, str) and self.kinds in ("multinomial", "poisson", "categorical")

    def _learnt(self, x, labels, weights):
        kinds = self.kinds
        if self._of_counts:
            check_non_negative(x, type(self).__name__)
        if isinstance(kinds, Mapping):
            names = list(getattr(self, "feature_names_in_", range(x.shape[1])))
            if set(kinds) != set(names):
                raise ValueError(
                    f"kinds must give the kind of every column, {names}, and of no other; got {dict(kinds)}."
                )
            kinds = [kinds[name] for name in names]
        options = {"weights": weights, "label_weight": self.label_weight, "num_categories": self.num_categories}
        return dg.naive_bayes(x, labels, kinds, len(self.classes_), prior=self.prior, **options)


class DiscriminantAnalysisClassifier(Additive):
    """Discriminant analysis, a normal density for each class, exact on missing cells, by `dgjax.discriminant_analysis`.

    `covariance` "tied" is LDA, "full" QDA, "diagonal" Gaussian naive Bayes, "spherical" nearest means; "shared" and
    "diag" are understood. `prior` "weak" adds a pseudo-row to each class, None is maximum likelihood. `label_weight` is
    how many times a row with a label counts beside one without.
    """

    def __init__(self, covariance: str = "tied", *, prior: Any = "weak", label_weight: float = 1.0) -> None:
        self.covariance = covariance
        self.prior = prior
        self.label_weight = label_weight

    def _learnt(self, x, labels, weights):
        options = {"weights": weights, "label_weight": self.label_weight, "prior": self.prior}
        return dg.discriminant_analysis(x, labels, covariance_of(self.covariance), len(self.classes_), **options)


class MixtureClassifier(GenerativeClassifier):
    """Mixture discriminant analysis: a mixture of `n_components` normal densities for each class, learnt by EM.

    `covariance` is "full", "diagonal", "spherical" or "tied", one for all classes. `n_init` starts are drawn by
    `random_state`, and the best fit is kept. EM ends at a step that gains no more than `tol` nats for each row, or
    after `max_iter`. `prior` "weak" adds a pseudo-row to each component.
    """

    def __init__(
        self,
        n_components: int = 2,
        covariance: str = "full",
        *,
        prior: Any = "weak",
        label_weight: float = 1.0,
        tol: float = 1e-3,
        max_iter: int = 500,
        n_init: int = 1,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.covariance = covariance
        self.prior = prior
        self.label_weight = label_weight
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.random_state = random_state

    def _learnt(self, x, labels, weights):
        key = key_of(self.random_state)
        start = dg.mixture_discriminant_analysis(
            key, x, labels, self.n_components, covariance_of(self.covariance), len(self.classes_)
        )
        return self._fitted(start, x, labels, weights=weights, label_weight=self.label_weight, **em_options(self, key))
