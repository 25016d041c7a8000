"""Diffusion models of random networks, to be fitted by `fit`."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from dgjax import _advice
from dgjax._arguments import as_count, as_key, check_size, constant
from dgjax._elsewhere import told_keywords
from dgjax.data import check_cells, float_type
from dgjax.densities import NUM_TIMES, Diffusion, Mixture, moments, supports_of_diffusion
from dgjax.networks import MLP, Transformer, UNet
from dgjax.starting import _training_data, _units
from dgjax.starting._streams import started_from_streams
from dgjax.tables import started_from_tables

KINDS = "mlp", "transformer", "unet"
HEAD = 32  # units of each head of attention, at least


@started_from_streams
@started_from_tables("gaussian")
@told_keywords
def diffusion(
    key: Array,
    x: ArrayLike,
    y: ArrayLike | None = None,
    kind: str = "mlp",
    num_classes: int | None = None,
    *,
    whole: Sequence[int] | None = None,
    width: int | None = None,
    num_layers: int = 3,
    image: tuple[int, ...] | None = None,
    num_steps: int = 20,
    split: float = 0.5,
) -> Diffusion | Mixture:
    """Diffusion model by a random network, to be fitted by `dgjax.fit(model, x, y, dgjax.Optax(...))`.

    Of rows `x` (n, d), NaN where missing: they say how many columns there are, of what mean and spread, and which hold
    whole numbers, and so are dequantised: those numbered in `whole`, by default every column of which all cells are
    whole. With labels `y` (n,), -1 where unknown, it is a generative classifier: a mixture of one density for each
    class, which share all parameters but what the network makes of the class. A `kind` "mlp" is a perceptron of
    `num_layers` hidden layers, 256 wide; "transformer" has a token for each cell, `num_layers` layers, 64 wide; "unet"
    convolves an `image` (height, width) or (height, width, channels) at `num_layers` sizes, each half the one before,
    with 32 channels: `width` is another such number. `num_steps` are those of the ODE, and `split` is the share of rows
    by which it learns some cells given others, as in `dgjax.Diffusion`. `num_classes` is one more than the highest
    label by default.

    Raises ValueError for bad cells or labels, a single class, another kind, an image that has not d pixels, or sizes
    beyond this machine's memory.
    """
    key, num_layers = as_key(key), as_count(num_layers, "num_layers")
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {_advice.shown(list(KINDS))}; got {kind!r}.")
    width = as_count({"mlp": 256, "transformer": 64, "unet": 32}[kind] if width is None else width, "width")
    rows, summary, k = _training_data.perhaps_labelled(x, y, num_classes)
    d, dtype = rows.shape[1], float_type(rows)
    shape = _image(kind, image, d)
    check_size((width, max(num_layers * width, 3 * d)), num_layers=num_layers, width=width)
    columns = _units.whole_columns(summary, whole, d)
    check_cells(rows, supports_of_diffusion(d, columns), summary, x)
    centre, scale = _units.with_noise(moments(summary, len(rows)), np.isin(np.arange(d), columns))
    network = jax.tree.map(lambda leaf: leaf.astype(dtype), _network(key, kind, d, k, width, num_layers, shape))
    centre, scale = (constant(own.astype(dtype)) for own in (centre, scale))
    options = {"num_steps": as_count(num_steps, "num_steps"), "split": split, "tokens": kind == "transformer"}
    density = Diffusion(network, centre, scale, k, columns, **options)
    return density if y is None else Mixture(constant(np.full(k, -np.log(k), dtype)), density)


def _network(key, kind, d, k, width, num_layers, image):
    """A random network whose velocity is 0: rows are normal where learning starts."""
    if kind == "transformer":
        heads = next(heads for heads in range(max(1, width // HEAD), 0, -1) if width % heads == 0)
        inputs = 3 + NUM_TIMES
        network = Transformer.start(key, inputs, 1, width, num_layers, heads, k, d, activation="silu")
        return dataclasses.replace(network, output=jnp.zeros((width, 1)))
    if kind == "unet":
        return UNet.start(key, image, (width,) * num_layers, NUM_TIMES, k)
    network = MLP.start(key, (3 * d + NUM_TIMES, *[width] * num_layers, d), k, activation="silu")
    return dataclasses.replace(network, weights=(*network.weights[:-1], jnp.zeros_like(network.weights[-1])))


def _image(kind, image, d):
    """Height, width and channels of an image of d pixels, for a U-Net."""
    if (kind == "unet") != (image is not None):
        raise ValueError(
            f'image is for kind="unet", which needs it, image=(height, width); got {kind!r} and {image!r}.'
        )
    if image is None:
        return None
    shape = tuple(as_count(side, "image") for side in image)
    shape = (*shape, 1) if len(shape) == 2 else shape
    if len(shape) != 3 or np.prod(shape) != d:
        raise ValueError(
            f"image must be (height, width) or (height, width, channels) of the {d} columns; got {image!r}."
        )
    return shape
