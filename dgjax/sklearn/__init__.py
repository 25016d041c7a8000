"""scikit-learn estimators: every model with `fit`, `predict` and the rest, for pipelines, searches and validation.

Cells may be missing (NaN) and labels unknown; `model_` is the fitted dgjax model.
"""

from dgjax.sklearn._adversarial import AdversarialClassifier as AdversarialClassifier
from dgjax.sklearn._classifiers import (
    DiscriminantAnalysisClassifier as DiscriminantAnalysisClassifier,
    MixtureClassifier as MixtureClassifier,
    NaiveBayesClassifier as NaiveBayesClassifier,
)
from dgjax.sklearn._densities import FactorAnalysis as FactorAnalysis, GaussianMixture as GaussianMixture
from dgjax.sklearn._discriminative import (
    LogisticRegression as LogisticRegression,
    NeuralClassifier as NeuralClassifier,
)
from dgjax.sklearn._imputer import ExactImputer as ExactImputer
from dgjax.sklearn._learned import LearnedClassifier as LearnedClassifier, LearnedDensity as LearnedDensity
from dgjax.sklearn._sequences import (
    HiddenMarkovClassifier as HiddenMarkovClassifier,
    HiddenMarkovModel as HiddenMarkovModel,
)
