"""First models from data: classifiers fitted in closed form; mixtures, chains and networks initialised for `fit`."""

from dgjax.starting._adversarial import adversarial as adversarial
from dgjax.starting._autoregressive import autoregressive as autoregressive
from dgjax.starting._classifiers import discriminant_analysis as discriminant_analysis, naive_bayes as naive_bayes
from dgjax.starting._diffusion import diffusion as diffusion
from dgjax.starting._factors import factor_analysis as factor_analysis
from dgjax.starting._flows import normalizing_flow as normalizing_flow
from dgjax.starting._language_model import (
    language_model as language_model,
    masked_language_model as masked_language_model,
)
from dgjax.starting._mixtures import (
    gaussian_mixture as gaussian_mixture,
    latent_class_analysis as latent_class_analysis,
    mixture_discriminant_analysis as mixture_discriminant_analysis,
)
from dgjax.starting._neural import (
    logistic_regression as logistic_regression,
    neural_classifier as neural_classifier,
    variational_autoencoder as variational_autoencoder,
)
from dgjax.starting._sequences import (
    hidden_markov as hidden_markov,
    hidden_markov_mixture as hidden_markov_mixture,
    linear_chain_crf as linear_chain_crf,
    markov_chain as markov_chain,
)
from dgjax.starting._tilted import tilted as tilted
from dgjax.starting._weak_prior import weak_prior as weak_prior
