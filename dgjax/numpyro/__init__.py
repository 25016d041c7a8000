"""NumPyro interface: every model as a distribution, every NumPyro distribution as a density, and Bayesian posteriors.

`Marginal` and `Conditional` turn any model into a distribution of its rows or of its labels; the named distributions
take parameters as NumPyro's do. Values may have missing cells (NaN), which are summed out.
"""

from dgjax.numpyro._adapter import Conditional as Conditional, Marginal as Marginal
from dgjax.numpyro._bayesian import Bayesian as Bayesian, bayesian as bayesian, proper_prior as proper_prior
from dgjax.numpyro._emission import Emission as Emission
from dgjax.numpyro._named import (
    GaussianMixture as GaussianMixture,
    GenerativeClassifier as GenerativeClassifier,
    HiddenMarkov as HiddenMarkov,
    LinearChainCRF as LinearChainCRF,
    NaNBernoulli as NaNBernoulli,
    NaNCategorical as NaNCategorical,
    NaNMultinomial as NaNMultinomial,
    NaNMultivariateNormal as NaNMultivariateNormal,
    NaNNormal as NaNNormal,
    NaNPoisson as NaNPoisson,
)
