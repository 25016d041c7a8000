"""Discriminative and generative models side by side, exact on missing cells, on one set of compiled kernels.

Models are frozen dataclasses, pytrees that hold parameters and nothing else; verbs are functions of a model and data:

>>> import dgjax as dg, jax, jax.numpy as jnp
>>> x = jnp.array([[0.0, 1.0], [0.2, 0.8], [2.0, jnp.nan], [2.2, 3.1]])
>>> model = dg.naive_bayes(x, [0, 0, 1, 1], prior="weak")
>>> dg.predict(model, x).tolist()
[0, 0, 1, 1]
"""

from dgjax import _elsewhere, _imported as _imported, learning as learning, priors as priors
from dgjax._autoencoder_verbs import (
    decode as decode,
    elbo as elbo,
    encode as encode,
    interpolate as interpolate,
    log_prob_error as log_prob_error,
    reconstruct as reconstruct,
)
from dgjax._candidates import grid as grid
from dgjax._cross_validation import CrossValidation as CrossValidation, cross_validate as cross_validate
from dgjax._error_table import StandardErrors as StandardErrors
from dgjax._forecast import forecast as forecast
from dgjax._language import (
    choose as choose,
    complete as complete,
    perplexity as perplexity,
    pseudo_log_likelihood as pseudo_log_likelihood,
)
from dgjax._neural import Neural as Neural, TokenCells as TokenCells
from dgjax._ngrams import NGrams as NGrams
from dgjax._predictive import Forecast as Forecast, TableForecast as TableForecast
from dgjax._pytree import dataclass as dataclass, static as static
from dgjax._recommend import Recommendations as Recommendations, recommend as recommend
from dgjax._select import Selection as Selection, Trial as Trial, select as select
from dgjax._selection import (
    aic as aic,
    anomaly_pvalue as anomaly_pvalue,
    anomaly_threshold as anomaly_threshold,
    bic as bic,
    icl as icl,
)
from dgjax._serialize import load as load, save as save
from dgjax._sharded_over import Lost as Lost, sharded_over as sharded_over
from dgjax._standard_errors import standard_errors as standard_errors
from dgjax._summary import Summary as Summary, summary as summary
from dgjax._text import detokenize as detokenize, tokenize as tokenize
from dgjax._twins import LogDensity as LogDensity, NetworkLogDensity as NetworkLogDensity
from dgjax._types import (
    Capabilities as Capabilities,
    Discriminative as Discriminative,
    Generative as Generative,
    Scorer as Scorer,
)
from dgjax._verbs import (
    capabilities as capabilities,
    discriminative as discriminative,
    impute as impute,
    log_conditional as log_conditional,
    log_joint as log_joint,
    log_prob as log_prob,
    marginal as marginal,
    marginalize as marginalize,
    num_parameters as num_parameters,
    predict as predict,
    predict_log_proba as predict_log_proba,
    sample as sample,
    sample_labels as sample_labels,
    sample_missing as sample_missing,
)
from dgjax._version import installed_version as _installed_version
from dgjax._warnings import ConvergenceWarning as ConvergenceWarning, PrecisionWarning as PrecisionWarning
from dgjax.data import pad as pad
from dgjax.densities import (
    Adversarial as Adversarial,
    Autoregressive as Autoregressive,
    Bernoulli as Bernoulli,
    BernoulliCells as BernoulliCells,
    Categorical as Categorical,
    CategoricalCells as CategoricalCells,
    ColumnCells as ColumnCells,
    Columns as Columns,
    Density as Density,
    DiagonalGaussian as DiagonalGaussian,
    Diffusion as Diffusion,
    FactorGaussian as FactorGaussian,
    Flow as Flow,
    Gaussian as Gaussian,
    GaussianCells as GaussianCells,
    GaussianMixtureCells as GaussianMixtureCells,
    ImportanceSampled as ImportanceSampled,
    LanguageModel as LanguageModel,
    LowEffectiveSampleSize as LowEffectiveSampleSize,
    MaskedLanguageModel as MaskedLanguageModel,
    Mixture as Mixture,
    Multinomial as Multinomial,
    Poisson as Poisson,
    PoissonCells as PoissonCells,
    SequenceDensity as SequenceDensity,
    Tilted as Tilted,
    TokenDensity as TokenDensity,
    VariationalAutoencoder as VariationalAutoencoder,
)
from dgjax.explaining import Explanation as Explanation, explain as explain
from dgjax.learning import (
    EM as EM,
    LBFGS as LBFGS,
    Averaged as Averaged,
    Diverged as Diverged,
    Fit as Fit,
    Interrupted as Interrupted,
    Newton as Newton,
    Optax as Optax,
    Restarts as Restarts,
    fit as fit,
    update as update,
)
from dgjax.models import (
    HiddenMarkov as HiddenMarkov,
    LinearChainCRF as LinearChainCRF,
    Logistic as Logistic,
    Marginalized as Marginalized,
    MarkovChain as MarkovChain,
)
from dgjax.networks import (
    MLP as MLP,
    Bijection as Bijection,
    ConvolutionalDecoder as ConvolutionalDecoder,
    ConvolutionalEncoder as ConvolutionalEncoder,
    Network as Network,
    SplineBijection as SplineBijection,
    Transformer as Transformer,
    TransformerLayers as TransformerLayers,
    UNet as UNet,
    UNetBlock as UNetBlock,
)
from dgjax.scorers import (
    CategoryWeights as CategoryWeights,
    ColumnScorers as ColumnScorers,
    DiagonalQuadratic as DiagonalQuadratic,
    Indicators as Indicators,
    LatentChain as LatentChain,
    LatentScorer as LatentScorer,
    Linear as Linear,
    LogLinear as LogLinear,
    Quadratic as Quadratic,
    Shifted as Shifted,
)
from dgjax.sparse import SparseRows as SparseRows
from dgjax.starting import (
    adversarial as adversarial,
    autoregressive as autoregressive,
    diffusion as diffusion,
    discriminant_analysis as discriminant_analysis,
    factor_analysis as factor_analysis,
    gaussian_mixture as gaussian_mixture,
    hidden_markov as hidden_markov,
    hidden_markov_mixture as hidden_markov_mixture,
    language_model as language_model,
    latent_class_analysis as latent_class_analysis,
    linear_chain_crf as linear_chain_crf,
    logistic_regression as logistic_regression,
    markov_chain as markov_chain,
    masked_language_model as masked_language_model,
    mixture_discriminant_analysis as mixture_discriminant_analysis,
    naive_bayes as naive_bayes,
    neural_classifier as neural_classifier,
    normalizing_flow as normalizing_flow,
    tilted as tilted,
    variational_autoencoder as variational_autoencoder,
    weak_prior as weak_prior,
)
from dgjax.streams import Facts as Facts, Passes as Passes, Stream as Stream, stream as stream
from dgjax.tables import Column as Column, Schema as Schema, Steps as Steps, Table as Table, Tabular as Tabular

__version__ = _installed_version()


def __getattr__(name: str) -> object:
    raise AttributeError(_elsewhere.of_name(name, globals()), name=name)
