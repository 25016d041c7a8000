"""Models with weights or networks, initialised: logistic regression, neural classifiers, variational autoencoders."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import Array

from dgjax import _advice
from dgjax._arguments import as_count, as_key, check_number, check_size, constant
from dgjax._elsewhere import told_keywords
from dgjax._neural import Neural
from dgjax.densities import BernoulliCells, GaussianCells, Mixture, PoissonCells, VariationalAutoencoder
from dgjax.models import Logistic
from dgjax.networks import MLP, ConvolutionalDecoder, ConvolutionalEncoder
from dgjax.starting._by_name import scorer


@told_keywords
def logistic_regression(num_features: int, num_classes: int, features: str = "linear") -> Logistic:
    """Logistic regression with weights 0, to be fitted by `dgjax.fit(model, x, y, prior=dgjax.priors.Ridge(1.0))`.

    `features` "linear" is w . x, and "quadratic" adds every product x_i x_j. With "indicator" a row lists its active
    feature indices, 0 to num_features - 1, padded with -1. Two classes take one row of weights, the log-odds of class
    1; k classes take k rows.

    Raises ValueError for fewer than one feature or two classes, other features, or sizes beyond this machine's memory.
    Source: Hastie, Tibshirani and Friedman (2009), The Elements of Statistical Learning, section 4.4.
    """
    k = as_count(num_classes, "num_classes", 2, of_data=_advice.REGRESSION)
    rows = 1 if k == 2 else k
    score = scorer(features, num_features, rows, _advice.REGRESSION, num_classes=k)
    return Logistic(constant(np.zeros(rows)), score)


@told_keywords
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
    """Variational autoencoder with random networks, to be fitted by `dgjax.fit(model, x, method=dgjax.Optax(...))`.

    `likelihood` is "bernoulli", "gaussian" or "poisson", for all columns, or one of `dgjax.BernoulliCells`,
    `GaussianCells`, `PoissonCells`, `CategoricalCells`. With `num_classes` it is a generative classifier, a mixture of
    one autoencoder for each class, which share all weights but an offset in the first layers; fitted to labels, some
    labels or none, it is the model M2 of Kingma et al. (2014). `hidden` are the sizes of the encoder's hidden layers;
    the decoder's are these in reverse. For an `image` (height, width) or (height, width, channels), convolutions with
    `channels` output channels come before the encoder's hidden layers and after the decoder's.

    Raises ValueError for sizes below 1, another likelihood, an image that has not as many pixels as columns, or
    sizes beyond this machine's memory.
    """
    d, m = (
        as_count(num_features, "num_features", of_data=_advice.COLUMNS),
        as_count(latent_dim, "latent_dim"),
    )
    k = 1 if num_classes is None else as_count(num_classes, "num_classes", 2, of_data=_advice.CLASSES)
    sizes = [as_count(size, "hidden") for size in hidden]
    _check_layers((d if image is None else 1, *sizes, 2 * m), k, num_features=d, latent_dim=m, hidden=hidden)
    cells = _likelihood(likelihood, d)
    key_encoder, key_decoder = jax.random.split(as_key(key))
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
    return density if num_classes is None else Mixture(constant(np.full(k, -np.log(k))), density)


@told_keywords
def neural_classifier(
    key: Array,
    num_features: int,
    num_classes: int,
    likelihood: Any = "gaussian",
    hidden: Sequence[int] = (400,),
    reconstruction: float = 0.0,
) -> Logistic:
    """Neural classifier: a softmax on the last of the `hidden` layers of a network with random weights.

    Fit it by `dgjax.fit(model, x, y, dgjax.Optax(...))`. The network is the encoder of `variational_autoencoder`, and
    `likelihood` says what the columns are: "gaussian" takes any real numbers, "bernoulli" 0 and 1, "poisson" counts, or
    one such as `dgjax.CategoricalCells`. With a `reconstruction` above 0 it is an autoencoder with a classification
    head: a decoder, of the layers in reverse, gives the row back from the last hidden layer, and so many times the
    row's log-likelihood by it is learnt beside log p(y | x), of rows without a label (-1) too.

    Raises ValueError for fewer than one feature or two classes, another likelihood, a negative weight, or sizes beyond
    this machine's memory.
    """
    d, k = (
        as_count(num_features, "num_features", of_data=_advice.COLUMNS),
        as_count(num_classes, "num_classes", 2, of_data=_advice.CLASSES),
    )
    sizes = [as_count(size, "hidden") for size in hidden]
    _check_layers((d, *sizes, k), 1, num_features=d, num_classes=k, hidden=hidden)
    cells = _likelihood(likelihood, d)
    check_number(reconstruction, "reconstruction", 0)
    key, weight = as_key(key), float(reconstruction)
    # The last layer of a trunk is not looked at: it has no outputs.
    trunk = MLP.start(key, (d * cells.inputs, *sizes, 0))
    decoder = MLP.start(jax.random.fold_in(key, 0), (*sizes[::-1], d * cells.size)) if weight else None
    neural = dataclasses.replace(Neural.start(trunk, cells, d, k), decoder=decoder, reconstruction=weight)
    return Logistic(constant(np.zeros(k)), neural)


def _check_layers(sizes, num_offsets, /, **arguments):
    """Raises ValueError if a network's weights would exceed this machine's memory, before any are made.

    `sizes` are the layers' units; the first layer has `num_offsets` more rows. `arguments` name what gave the sizes.
    """
    for shape in (*itertools.pairwise(sizes), (num_offsets, sizes[1])):
        check_size(shape, **arguments)


def _likelihood(given, d):
    match given:
        case "bernoulli":
            return BernoulliCells()
        case "gaussian":
            return GaussianCells(constant(np.zeros(d)))
        case "poisson":
            return PoissonCells()
    if not hasattr(type(given), "seen"):
        raise ValueError(
            f'likelihood must be "bernoulli", "gaussian" or "poisson", or dgjax.CategoricalCells(num_categories); got '
            f"{_advice.shown(given)}."
        )
    return given
