"""Densities log p(x | label): one exponential family, mixture or learned density in each file."""

from dgjax.densities._adversarial import Adversarial as Adversarial, check_has_density as check_has_density
from dgjax.densities._arc import NUM_TIMES as NUM_TIMES
from dgjax.densities._autoencoder import VariationalAutoencoder as VariationalAutoencoder
from dgjax.densities._autoregressive import Autoregressive as Autoregressive
from dgjax.densities._base import Density as Density
from dgjax.densities._bernoulli import Bernoulli as Bernoulli
from dgjax.densities._categorical import Categorical as Categorical
from dgjax.densities._columns import Columns as Columns
from dgjax.densities._contrast import (
    LowEffectiveSampleSize as LowEffectiveSampleSize,
    contrast as contrast,
    is_contrastive as is_contrastive,
    settled as settled,
)
from dgjax.densities._diagonal import DiagonalGaussian as DiagonalGaussian
from dgjax.densities._diffusion import Diffusion as Diffusion, supports_of_diffusion as supports_of_diffusion
from dgjax.densities._factor import FactorGaussian as FactorGaussian
from dgjax.densities._flow import Flow as Flow, supports_of_flow as supports_of_flow
from dgjax.densities._gaussian import Gaussian as Gaussian
from dgjax.densities._importance import ImportanceSampled as ImportanceSampled
from dgjax.densities._independent import Family as Family, Independent as Independent, family_of as family_of
from dgjax.densities._language_model import LanguageModel as LanguageModel
from dgjax.densities._learned import (
    LEARNING as LEARNING,
    Draws as Draws,
    Learned as Learned,
    has_divergence as has_divergence,
    has_draws as has_draws,
    with_draws as with_draws,
)
from dgjax.densities._likelihoods import (
    BernoulliCells as BernoulliCells,
    CategoricalCells as CategoricalCells,
    ColumnCells as ColumnCells,
    GaussianCells as GaussianCells,
    GaussianMixtureCells as GaussianMixtureCells,
    PoissonCells as PoissonCells,
)
from dgjax.densities._masked_language_model import MaskedLanguageModel as MaskedLanguageModel
from dgjax.densities._mixture import Mixture as Mixture
from dgjax.densities._multinomial import Multinomial as Multinomial
from dgjax.densities._poisson import Poisson as Poisson
from dgjax.densities._rank import LabelledRows as LabelledRows, check_rank as check_rank, collapsed as collapsed
from dgjax.densities._sequence import SequenceDensity as SequenceDensity
from dgjax.densities._shared import (
    column_moments as column_moments,
    fill as fill,
    flat as flat,
    moments as moments,
    rows_by_labels as rows_by_labels,
    weighted_moments as weighted_moments,
)
from dgjax.densities._tilted import BOUND as BOUND, Tilted as Tilted
from dgjax.densities._tokens import TokenDensity as TokenDensity
