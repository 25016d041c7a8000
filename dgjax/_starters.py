"""Models started or solved from data."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

import dgjax_kernels as kernels
from dgjax import _advice, _checks, _prior, _table
from dgjax._neural import Neural
from dgjax._types import FINITE
from dgjax.densities import (
    Bernoulli,
    BernoulliCells,
    Categorical,
    Columns,
    DiagonalGaussian,
    Gaussian,
    GaussianCells,
    Mixture,
    Multinomial,
    Poisson,
    PoissonCells,
    VariationalAutoencoder,
)
from dgjax.densities._poisson import COUNT
from dgjax.densities._shared import moments
from dgjax.learning import restarted
from dgjax.models import HiddenMarkov, LinearChainCRF, Logistic
from dgjax.networks import MLP, ConvolutionalDecoder, ConvolutionalEncoder
from dgjax.scorers import Indicators, Linear, Quadratic
from dgjax.structures import in_rows

COUNTED, WHOLE = ("categorical", "poisson", "multinomial"), "a whole number from 0, its kind being"
BY_MOMENTS = ("gaussian", "bernoulli", "poisson", "multinomial")  # of all columns: no copy of NumPy's rows is needed


def gaussian_mixture(key: Array, x: ArrayLike, num_components: int, covariance: str = "full") -> Mixture:
    """A Gaussian mixture started at k-means++ clusters of `x` (n, d); cells may be missing. `dgjax.fit` does the rest.

    `covariance` is "full", "tied" (one for all components), "diagonal" or "spherical".

    Raises ValueError for bad rows, more components than rows, or another covariance.
    Source: Arthur and Vassilvitskii (2007), k-means++.
    """
    rows, looked = _table.rows(x)
    k = _checks.as_count(num_components, "num_components")
    if k > len(rows):
        raise ValueError(f"num_components must be from 1 to the number of rows, {len(rows)}; got {k}.")
    key = _checks.as_key(key)
    broad = _uniform(_gaussian(looked, len(rows), (k,), covariance))
    return _at_clusters(broad, key, rows, looked)


def naive_bayes(
    x: ArrayLike,
    y: ArrayLike,
    kinds: str | Sequence[str] = "gaussian",
    num_classes: int | None = None,
    *,
    weights: ArrayLike | None = None,
    label_weight: float = 1.0,
    prior: Any = None,
) -> Mixture:
    """Naive Bayes fitted to `x` (n, d) and `y` (n,): p(y) prod_j p(x_j | y).

    `kinds` is one kind, or one for each column: "gaussian", "bernoulli", "categorical", "poisson"; or "multinomial" for
    all columns together. Cells may be NaN and labels -1; where they are, `label_weight` is how many
    times a row that has a label counts. `prior="weak"` adds one pseudo-row for each class, and so keeps a column that
    is constant in a class from having no spread.

    Raises ValueError for bad cells or labels, a single class, another kind, or a class without spread in a column.
    """
    in_place = weights is None and not isinstance(prior, str) and isinstance(kinds, str) and kinds in BY_MOMENTS
    table = _table.labelled(x, y, num_classes, in_place, weights)
    named = _table.named_kinds(kinds, table.rows.shape[1], "kinds")
    return _table.solved(
        _uniform(_columns(table.rows, table.looked, named, table.num_classes, "kinds")), table, prior, label_weight
    )


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
    """Discriminant analysis fitted to `x` (n, d) and `y` (n,): one Gaussian for each class.

    `covariance` "tied" is LDA, "full" QDA, "diagonal" Gaussian naive Bayes, "spherical" nearest means. Cells may be NaN
    and labels -1; where they are, `label_weight` is how many times a row that has a label counts. `prior="weak"` adds
    one pseudo-row for each class.

    Raises ValueError for bad cells or labels, a single class, or a class with too few rows for its covariance.
    Source: Hastie, Tibshirani and Friedman (2009), The Elements of Statistical Learning, section 4.3.
    """
    in_place = weights is None and not isinstance(prior, str) and covariance in ("diagonal", "spherical")
    table = _table.labelled(x, y, num_classes, in_place, weights)
    model = _uniform(_gaussian(table.looked, len(table.rows), (table.num_classes,), covariance))
    return _table.solved(model, table, prior, label_weight)


def mixture_discriminant_analysis(
    key: Array,
    x: ArrayLike,
    y: ArrayLike,
    num_components: int = 2,
    covariance: str = "full",
    num_classes: int | None = None,
) -> Mixture:
    """A Gaussian mixture for each class, started at k-means++ clusters of its rows; `dgjax.fit(model, x, y)` goes on.

    `x` (n, d) may have NaN, `y` (n,) -1. `covariance` as for `gaussian_mixture`; "tied" is one for all classes.

    Raises ValueError for bad cells or labels, or a single class.
    Source: Hastie and Tibshirani (1996), Discriminant analysis by Gaussian mixtures.
    """
    rows, looked, labels, k, *_ = _table.labelled(x, y, num_classes)
    loose, *own = _checks.label_counts(np.asarray(labels), k)
    smallest = int(min(own) + loose)
    m = _checks.as_count(num_components, "num_components")
    if m > smallest:
        raise ValueError(
            f"num_components must be at most the number of rows of each class; got {m}, and a class has {smallest} "
            "rows."
        )
    key = _checks.as_key(key)
    within = _uniform(_gaussian(looked, len(rows), (k, m), covariance))
    return _at_clusters(_uniform(within), key, rows, looked, labels)


def hidden_markov(
    key: Array,
    x: ArrayLike,
    num_states: int,
    emissions: str | Sequence[str] = "gaussian",
    covariance: str = "full",
    lengths: ArrayLike | None = None,
) -> HiddenMarkov:
    """A hidden Markov model started at k-means++ clusters of the steps of `x` (n, t, d); `dgjax.fit` does the rest.

    `emissions` is one kind, or one for each column, as for `naive_bayes`; `covariance`, as for `gaussian_mixture`, goes
    with "gaussian" for all. All states are as likely at the start, and half of the moves stay. `lengths` (n,) where
    sequences are ragged (`dgjax.pad`); cells and steps may be missing.

    Raises ValueError for bad sequences or lengths, more states than steps, or another kind or covariance.
    """
    sequences = _checks.as_sequences(x, lengths)
    there = sequences.inside.reshape(-1)
    rows, looked = _table.rows(jnp.where(there[:, None], sequences.in_rows(), jnp.nan))
    k = _checks.as_count(num_states, "num_states")
    _table.check_known(rows, there)
    if k > int(there.sum()):
        raise ValueError(f"num_states must be from 1 to the number of steps, {int(there.sum())}; got {k}.")
    density = (
        _gaussian(looked, int(there.sum()), (k,), covariance)
        if emissions == "gaussian"
        else _columns(rows, looked, _table.named_kinds(emissions, rows.shape[1]), k, "emissions")
    )
    moves = jnp.log(0.5 * jnp.eye(k, dtype=rows.dtype) + 0.5 / k)
    broad = HiddenMarkov(jnp.full(k, -np.log(k), rows.dtype), moves, density)
    weights = there.astype(rows.dtype)
    return _at_clusters(broad, _checks.as_key(key), rows, looked, weights=weights)


def linear_chain_crf(num_features: int, num_states: int, features: str = "linear") -> LinearChainCRF:
    """A linear-chain CRF with weights 0; `dgjax.fit(model, x, y, prior=dgjax.priors.Ridge(1.0))` does the rest.

    `features` "linear" is w . x, "quadratic" adds every product x_i x_j, and with "indicator" a row holds the numbers
    of those that are on, 0 to num_features - 1, filled up with -1.

    Raises ValueError for fewer than one feature or two states, or other features.
    """
    k = _checks.as_count(num_states, "num_states", 2, of_data=_advice.CRF)
    return LinearChainCRF(jnp.zeros(k), jnp.zeros((k, k)), _scorer(features, num_features, k, _advice.CRF))


def logistic_regression(num_features: int, num_classes: int, features: str = "linear") -> Logistic:
    """Logistic regression with weights 0; `dgjax.fit(model, x, y, prior=dgjax.priors.Ridge(1.0))` does the rest.

    `features` "linear" is w . x, "quadratic" adds every product x_i x_j, and with "indicator" a row holds the numbers
    of those that are on, 0 to num_features - 1, filled up with -1. Two classes take one row of weights, the log-odds of
    class 1; k classes take k rows.

    Raises ValueError for fewer than one feature or two classes, or other features.
    """
    k = _checks.as_count(num_classes, "num_classes", 2, of_data=_advice.REGRESSION)
    k = 1 if k == 2 else k
    return Logistic(jnp.zeros(k), _scorer(features, num_features, k, _advice.REGRESSION))


def variational_autoencoder(
    key: Array,
    num_features: int,
    latent_dim: int,
    likelihood: Any = "bernoulli",
    num_classes: int | None = None,
    hidden: Sequence[int] = (400,),
    image: tuple[int, ...] | None = None,
    channels: Sequence[int] = (32, 64),
) -> VariationalAutoencoder | Mixture:
    """A variational autoencoder of random networks; `dgjax.fit(model, x, method=dgjax.Optax(...))` does the rest.

    `likelihood` is "bernoulli", "gaussian" or "poisson", for all columns, or one of `dgjax.BernoulliCells`,
    `GaussianCells`, `PoissonCells`, `CategoricalCells`. With `num_classes` it is a generative classifier, the mixture
    of one for each class that share all but an offset within the first layers: fitted to labels, some of them or none,
    it is the model M2 of Kingma et al. (2014). `hidden` are the sizes of the encoder's hidden layers, in reverse those
    of the decoder's; for an `image` (height, width) or (height, width, channels), so many `channels` are convolved
    before.

    Raises ValueError for sizes below 1, another likelihood, or an image that has not as many pixels as columns.
    """
    d, m = (
        _checks.as_count(num_features, "num_features", of_data=_advice.COLUMNS),
        _checks.as_count(latent_dim, "latent_dim"),
    )
    k = 1 if num_classes is None else _checks.as_count(num_classes, "num_classes", 2, of_data=_advice.CLASSES)
    cells = _cells(likelihood, d)
    sizes = [_checks.as_count(size, "hidden") for size in hidden]
    key_encoder, key_decoder = jax.random.split(_checks.as_key(key))
    if image is None:
        encoder = MLP.start(key_encoder, (d * cells.inputs, *sizes, 2 * m), k)
        decoder = MLP.start(key_decoder, (m, *sizes[::-1], d * cells.size), k)
    else:
        if len(image) not in (2, 3) or np.prod(image) != d:
            raise ValueError(
                f"image must be (height, width) or (height, width, channels) of {d} pixels; got {_advice.shown(image)}."
            )
        height, width, depth = (*image, 1)[:3]
        seen, said = ((height, width, depth * size) for size in (cells.inputs, cells.size))
        encoder = ConvolutionalEncoder.start(key_encoder, seen, channels, (*sizes, 2 * m), k)
        decoder = ConvolutionalDecoder.start(key_decoder, said, channels[::-1], (m, *sizes[::-1]), k)
    density = VariationalAutoencoder(encoder, decoder, cells, d, m, k)
    return density if num_classes is None else Mixture(jnp.full(k, -np.log(k)), density)


def neural_classifier(
    key: Array, num_features: int, num_classes: int, likelihood: Any = "bernoulli", hidden: Sequence[int] = (400,)
) -> Logistic:
    """A softmax on the last of `hidden` layers: the encoder of `variational_autoencoder`, with a head.

    `likelihood`, as there, says what the columns are; `dgjax.fit(model, x, y, dgjax.Optax(...))` does the rest,
    encoder and head.

    Raises ValueError for fewer than one feature or two classes, or another likelihood.
    """
    d, k = (
        _checks.as_count(num_features, "num_features", of_data=_advice.COLUMNS),
        _checks.as_count(num_classes, "num_classes", 2, of_data=_advice.CLASSES),
    )
    cells, sizes = _cells(likelihood, d), [_checks.as_count(size, "hidden") for size in hidden]
    # The last layer of a trunk is not looked at: it has no outputs.
    trunk = MLP.start(_checks.as_key(key), (d * cells.inputs, *sizes, 0))
    return Logistic(jnp.zeros(k), Neural.start(trunk, cells, d, k))


def _cells(likelihood, d):
    match likelihood:
        case "bernoulli":
            return BernoulliCells()
        case "gaussian":
            return GaussianCells(jnp.zeros(d))
        case "poisson":
            return PoissonCells()
    if not hasattr(type(likelihood), "seen"):
        raise ValueError(
            f'likelihood must be "bernoulli", "gaussian" or "poisson", or dgjax.CategoricalCells(num_categories); got '
            f"{_advice.shown(likelihood)}."
        )
    return likelihood


def weak_prior(
    model: Any,
    x: ArrayLike,
    strength: float = 1.0,
    lengths: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
) -> Any:
    """The conjugate prior that acts as `strength` more rows for each label, spread as the columns of `x` are.

    For a Gaussian those rows have the columns' means and variances, uncorrelated; for discrete columns they are
    `strength` pseudo-counts shared by the values that a column can have. Works for any generative model; pass it as
    `prior=` to `dgjax.fit`. `x` (n, d), or (n, t, d) with `lengths` (n,) for sequences, whose start and moves get
    `strength` pseudo-counts too; `weights` (n,), a row of weight 2 being two rows.

    Raises ValueError for bad rows or weights, or a strength that is not positive.
    """
    if not hasattr(model, "weak_prior"):
        _checks.as_model(model)
        raise ValueError(
            f"weak_prior is for generative models; {type(model).__name__} takes prior=dgjax.priors.Ridge(strength) in "
            "dgjax.fit."
        )
    _checks.check_number(strength, "strength", 0)
    if not strength > 0:
        raise ValueError(f"strength must be positive, a number of pseudo-rows; got {strength}.")
    if _checks.is_sequential(model):
        given: Any = _checks.as_sequences(x, lengths, model.num_features)
    else:
        given = _checks.as_rows(x, model.num_features)
    amounts = _checks.as_weights(weights, given)
    rows, _, amounts = in_rows(given, amounts, amounts)
    if not _checks.check_cells(rows, model.supports):
        _checks.check_observed(rows, amounts)
    return _prior.weak_prior(model, rows, amounts, float(strength))


def _scorer(features, num_features, k, told):
    """Weights 0 of each feature for each of k labels."""
    d = _checks.as_count(num_features, "num_features", of_data=told)
    match features:
        case "linear":
            return Linear(jnp.zeros((k, d)))
        case "quadratic":
            return Quadratic(jnp.zeros((k, d)), jnp.zeros((k, d * (d + 1) // 2)))
        case "indicator":
            return Indicators(jnp.zeros((k, d)))
    raise ValueError(f'features must be "linear", "quadratic" or "indicator"; got {_advice.shown(features)}.')


def _uniform(density):
    """A mixture of equal weights over the last label axis of a density."""
    k = density.label_shape[-1]
    dtype = jax.tree.leaves(density)[0].dtype
    return Mixture(jnp.full(density.label_shape, -np.log(k), dtype), density)


def _at_clusters(broad, key, rows, looked, labels=None, weights=None):
    """Compiled for what is missing alone."""
    weights = jnp.ones(len(rows), rows.dtype) if weights is None else weights
    complete = not np.asarray(looked.missing).any() if _checks.is_concrete(looked.missing) else None
    known = labels is not None and not (np.asarray(labels) < 0).any()
    with kernels.complete_rows(complete):
        return restarted(broad, key, rows, labels, weights, labelled=known)


@functools.partial(kernels.compiled, static_argnums=(2, 3))
def _gaussian(looked, n, label_shape, covariance):
    """Every label at the columns' means and variances."""
    mean, spread = moments(looked, n)
    means = jnp.broadcast_to(mean, (*label_shape, len(mean)))
    log_scale = jnp.log(spread)
    match covariance:
        case "full":
            return Gaussian(means, jnp.broadcast_to(jnp.diag(spread), (*means.shape, len(mean))))
        case "tied":
            return Gaussian(means, jnp.diag(spread))
        case "diagonal":
            return DiagonalGaussian(means, jnp.broadcast_to(log_scale, means.shape))
        case "spherical":
            return DiagonalGaussian(means, jnp.broadcast_to(log_scale.mean(), (*label_shape, 1)))
    raise ValueError(f'covariance must be "full", "tied", "diagonal" or "spherical"; got {_advice.shown(covariance)}.')


def _columns(x, looked, kinds, k, option):
    """A density for the columns of each kind, all in one if there is one kind."""
    if not set(kinds) <= {"gaussian", "bernoulli"}:
        supports = tuple(COUNT._replace(words=f"{WHOLE} {kind}") if kind in COUNTED else FINITE for kind in kinds)
        _checks.check_cells(x, supports, looked, option=lambda: (option, ""))
    groups = {kind: tuple(i for i, own in enumerate(kinds) if own == kind) for kind in dict.fromkeys(kinds)}
    if len(groups) == 1:
        return _block(x, looked, kinds[0], k)
    picked = {kind: np.array(columns) for kind, columns in groups.items()}
    blocks = (_block(x[:, at], type(looked)(*(field[at] for field in looked)), kind, k) for kind, at in picked.items())
    return Columns(tuple(blocks), tuple(groups.values()))


def _block(x, looked, kind, k):
    d, dtype = x.shape[1], _checks.float_type(x)
    match kind:
        case "gaussian":
            return _gaussian(looked, len(x), (k,), "diagonal")
        case "bernoulli":
            return Bernoulli(jnp.zeros((k, d), dtype))
        case "poisson":
            mean, _ = moments(looked, len(x))
            return Poisson(jnp.broadcast_to(jnp.log(jnp.maximum(mean, 1e-6)), (k, d)))
        case "multinomial":
            total = float(moments(looked, len(x))[0].sum())
            return Multinomial(jnp.zeros((k, d), dtype), max(round(total), 1))
    _table.check_categories(np.asarray(looked.high), len(x))
    sizes = np.asarray(looked.high).astype(int) + 1
    possible = np.arange(sizes.max()) < sizes[:, None]
    return Categorical(jnp.broadcast_to(jnp.where(possible, 0, -jnp.inf).astype(dtype), (k, *possible.shape)))
