"""Networks of rows, for every label at once: perceptrons and convolutions, encoders and decoders of autoencoders."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from dgjax._pytree import dataclass, static, tree

ACTIVATIONS = {"relu": jax.nn.relu, "silu": jax.nn.silu}


@dataclass
class Network:
    """Neural network from any pure function, `apply(parameters, x)`, with `parameters` a pytree and rows x (n, f).

    With classes the function is called as `apply(parameters, x, y)`, y (n, k). Reuse one function object: a new one for
    each model is compiled again. Flax linen: `Network(variables, module.apply)`. Flax nnx: `graph, state =
    nnx.split(module)`, `Network(state, lambda state, x: nnx.merge(graph, state)(x))`. Equinox: `arrays, rest =
    eqx.partition(module, eqx.is_array)`, `Network(arrays, lambda arrays, x: jax.vmap(eqx.combine(arrays, rest))(x))`.
    """

    parameters: Any = tree()
    apply: Callable[..., Array] = static()

    def __call__(self, x: Float[Array, "..."], y: Float[Array, "..."] | None = None) -> Float[Array, "..."]:
        inputs = (x,) if y is None else (x, y)
        leading = jnp.broadcast_shapes(*(part.shape[:-1] for part in inputs))
        rows = [jnp.broadcast_to(part, (*leading, part.shape[-1])).reshape(-1, part.shape[-1]) for part in inputs]
        outputs = self.apply(self.parameters, *rows)
        return outputs.reshape(*leading, outputs.shape[-1])

    features = __call__


@dataclass
class MLP:
    """Multilayer perceptron: layers x -> relu(x W + b), the last without relu; (..., f) -> (..., outputs).

    `activation` "silu" takes x / (1 + exp(-x)) in place of relu, for what is differentiated by x.

    `weights` are (f, h), (h, h'), ..., `biases` (h,), (h',), ... Class labels y (..., k) add y `offset`, with `offset`
    (k, h), to the first layer before its relu; x W is computed once for all classes.

    Raises ValueError if the shapes of weights, biases and offset do not fit together, or for another activation.
    """

    weights: tuple[Array, ...] = tree()
    biases: tuple[Array, ...] = tree()
    offset: Float[Array, "k h"] | None = None
    activation: str = static(default="relu")

    def __post_init__(self) -> None:
        shapes = [np.shape(weight) for weight in self.weights]
        if self.activation not in ACTIVATIONS:
            raise ValueError(f'activation must be "relu" or "silu"; got {self.activation!r}.')
        chained = all(len(shape) == 2 for shape in shapes) and all(a[1] == b[0] for a, b in itertools.pairwise(shapes))
        biased = chained and [np.shape(bias) for bias in self.biases] == [shape[1:] for shape in shapes]
        offset = None if self.offset is None else self.offset.shape
        if not (shapes and biased and (offset is None or offset[1:] == shapes[0][1:])):
            raise ValueError(
                "MLP expects weights (f, h), (h, h'), ..., biases (h,), (h',), ... and an offset (k, h) or None; got "
                f"shapes {shapes}, {[np.shape(bias) for bias in self.biases]} and {offset}."
            )

    @classmethod
    def start(
        cls, key: Key[Array, ""], sizes: Sequence[int], num_classes: int = 1, *, activation: str = "relu"
    ) -> "MLP":
        """Random initial network: weights of variance 2 / inputs, in the last layer 1 / inputs; biases 0.

        `sizes` are the numbers of inputs, of units in each hidden layer, and of outputs. Source: He et al. (2015), eq.
        10.
        """
        *keys, own = jax.random.split(key, len(sizes))
        gains = [2.0] * (len(sizes) - 2) + [1.0]
        pairs = zip(keys, gains, sizes[:-1], sizes[1:], strict=True)
        weights = tuple(jax.random.normal(k, (a, b)) * jnp.sqrt(gain / a) for k, gain, a, b in pairs)
        offset = None if num_classes == 1 else jax.random.normal(own, (num_classes, sizes[1])) * jnp.sqrt(gains[0] / 2)
        return cls(weights, tuple(jnp.zeros(size) for size in sizes[1:]), offset, activation)

    def __call__(self, x: Float[Array, "..."], y: Float[Array, "..."] | None = None) -> Float[Array, "..."]:
        return self._through(x, y, len(self.weights))

    def features(self, x: Float[Array, "..."], y: Float[Array, "..."] | None = None) -> Float[Array, "..."]:
        """Activations (..., h) of the last hidden layer."""
        return self._through(x, y, len(self.weights) - 1)

    def _through(self, x, y, layers):
        for i, (weight, bias) in enumerate(zip(self.weights[:layers], self.biases, strict=False)):
            x = times(x, weight) + bias
            if i == 0 and y is not None and self.offset is not None:
                x = x + y @ self.offset
            x = ACTIVATIONS[self.activation](x) if i < len(self.weights) - 1 else x
        return x


@dataclass
class ConvolutionalEncoder:
    """Convolutional encoder of images: 3 x 3 convolutions of stride 2 with relu, then an `MLP` on all their outputs.

    Each convolution halves height and width, rounded up. `kernels` are (3, 3, channels, channels'), `biases`
    (channels',); `image` is (height, width, channels), in which order the columns of a row are its pixels.
    """

    kernels: tuple[Array, ...] = tree()
    biases: tuple[Array, ...] = tree()
    head: MLP = tree()
    image: tuple[int, int, int] = static()

    @classmethod
    def start(
        cls,
        key: Key[Array, ""],
        image: tuple[int, int, int],
        channels: Sequence[int],
        sizes: Sequence[int],
        num_classes: int = 1,
    ) -> "ConvolutionalEncoder":
        """Random initial encoder: convolutions, one for each number in `channels`, then an MLP of `sizes`.

        Numbers in `channels` are output channels. `sizes` are the units of the hidden layers and the number of outputs.
        """
        *keys, own = jax.random.split(key, len(channels) + 1)
        height, width, first = image
        kernels = random_kernels(keys, (first, *channels))
        for _ in channels:
            height, width = -(-height // 2), -(-width // 2)
        head = MLP.start(own, (height * width * channels[-1], *sizes), num_classes)
        return cls(kernels, tuple(jnp.zeros(c) for c in channels), head, image)

    def __call__(self, x: Float[Array, "..."], y: Float[Array, "..."] | None = None) -> Float[Array, "..."]:
        return self.head(self._convolved(x), y)

    def features(self, x: Float[Array, "..."], y: Float[Array, "..."] | None = None) -> Float[Array, "..."]:
        """Activations (..., h) of the last hidden layer."""
        return self.head.features(self._convolved(x), y)

    def _convolved(self, x):
        maps = x.reshape(-1, *self.image)
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            maps = jax.nn.relu(convolved(maps, kernel, stride=2) + bias)
        return maps.reshape(*x.shape[:-1], math.prod(maps.shape[1:]))


@dataclass
class ConvolutionalDecoder:
    """Convolutional decoder of images: an `MLP`, then 3 x 3 convolutions, each after doubling height and width.

    Doubling repeats pixels; a relu precedes each convolution. `kernels` are (3, 3, channels, channels'), `biases`
    (channels',); `image` is (height, width, channels) of the output, and pixels beyond its size are cut off.
    """

    body: MLP = tree()
    kernels: tuple[Array, ...] = tree()
    biases: tuple[Array, ...] = tree()
    image: tuple[int, int, int] = static()

    @classmethod
    def start(
        cls,
        key: Key[Array, ""],
        image: tuple[int, int, int],
        channels: Sequence[int],
        sizes: Sequence[int],
        num_classes: int = 1,
    ) -> "ConvolutionalDecoder":
        """Random initial decoder: an MLP of `sizes`, then convolutions, one for each number in `channels`.

        Numbers in `channels` are input channels. `sizes` are the number of inputs and the units of the hidden layers.
        """
        *keys, own = jax.random.split(key, len(channels) + 1)
        height, width = (-(-side // 2 ** len(channels)) for side in image[:2])
        body = MLP.start(own, (*sizes, height * width * channels[0]), num_classes)
        kernels = random_kernels(keys, (*channels, image[2]))
        return cls(body, kernels, tuple(jnp.zeros(c) for c in (*channels[1:], image[2])), image)

    def __call__(self, x: Float[Array, "..."], y: Float[Array, "..."] | None = None) -> Float[Array, "..."]:
        flat = self.body(x, y)
        height, width = (-(-side // 2 ** len(self.kernels)) for side in self.image[:2])
        maps = flat.reshape(-1, height, width, flat.shape[-1] // (height * width))
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            doubled = jax.nn.relu(maps).repeat(2, axis=1).repeat(2, axis=2)
            maps = convolved(doubled, kernel, stride=1) + bias
        height, width, _ = self.image
        return maps[:, :height, :width].reshape(*flat.shape[:-1], math.prod(self.image))

    features = __call__


def times(x, weight):
    """Matrix product x @ weight, (..., f) -> (..., h), on x flattened to two axes.

    With more axes XLA takes a fifth more time for the gradient.
    """
    return (x.reshape(-1, x.shape[-1]) @ weight).reshape(*x.shape[:-1], weight.shape[-1])


def random_kernels(keys, channels):
    """Random kernels (3, 3, a, b) of variance 2 / (9 a), from each number of `channels`, a, to the next, b."""
    pairs = zip(keys, channels[:-1], channels[1:], strict=True)
    return tuple(jax.random.normal(key, (3, 3, a, b)) * jnp.sqrt(2 / (9 * a)) for key, a, b in pairs)


def convolved(maps, kernel, stride):
    """Convolution of maps (n, h, w, a) by a kernel (3, 3, a, b), with zeros around them."""
    layout = "NHWC", "HWIO", "NHWC"
    return jax.lax.conv_general_dilated(maps, kernel, (stride, stride), "SAME", dimension_numbers=layout)
