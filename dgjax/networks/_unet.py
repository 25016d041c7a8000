"""Convolutional U-Net of images: rows to rows of the same pixels."""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from dgjax._pytree import dataclass, static, tree
from dgjax.networks._feedforward import convolved, random_kernels, times


@dataclass
class UNetBlock:
    """Residual block of convolutions: m + c2 * silu(c1 * silu(n(m)) + e `shift`), e being of the whole image.

    `first` and `second` are kernels (3, 3, c, c), `shift` (s, c); n divides each pixel by its root mean square.
    """

    first: Float[Array, "3 3 c c"]
    second: Float[Array, "3 3 c c"]
    shift: Float[Array, "s c"]

    @classmethod
    def start(cls, key: Key[Array, ""], channels: int, size: int) -> "UNetBlock":
        """Random initial block of so many channels, told `size` numbers; its second kernel is half of the usual."""
        *keys, own = jax.random.split(key, 3)
        first, second = random_kernels(keys, (channels,) * 3)
        return cls(first, second / 2, jax.random.normal(own, (size, channels)) / math.sqrt(size))

    def __call__(self, maps: Float[Array, "n h w c"], told: Float[Array, "n s"]) -> Float[Array, "n h w c"]:
        """Maps of the same shape."""
        hidden = convolved(jax.nn.silu(_normalised(maps)), self.first, 1) + (told @ self.shift)[:, None, None]
        return maps + convolved(jax.nn.silu(hidden), self.second, 1)


@dataclass
class UNet:
    """U-Net of images: convolutions at sizes that halve and double again, joined across; (..., f) -> (..., d).

    `image` is (height, width, channels), d = height width channels, of any height and width: halves are rounded up, and
    what doubling adds is cut off. Inputs are several planes of d pixels and s numbers about the whole image, f = p d +
    s, of which e = silu(numbers `embedding` + y `offset`), with labels y (..., k).

    `stem` takes all planes to the first of the channels. At each size there is a block of `down`, then `narrower`, a
    convolution of stride 2; on the way back `wider` after doubling, the maps of that size added, and a block of `up`.
    `output` gives the pixels. Source: Ronneberger, Fischer and Brox (2015); as a diffusion model Ho et al. (2020).
    """

    embedding: Float[Array, "s e"]
    stem: Float[Array, "3 3 p c"]
    down: tuple[UNetBlock, ...] = tree()
    up: tuple[UNetBlock, ...] = tree()
    narrower: tuple[Array, ...] = tree()
    wider: tuple[Array, ...] = tree()
    output: Float[Array, "3 3 c o"] = tree()
    offset: Float[Array, "k e"] | None = None
    image: tuple[int, int, int] = static(default=(1, 1, 1))

    @classmethod
    def start(
        cls,
        key: Key[Array, ""],
        image: tuple[int, int, int],
        channels: Sequence[int],
        num_told: int,
        num_classes: int = 1,
        num_planes: int = 3,
    ) -> "UNet":
        """Random initial U-Net whose outputs are 0: one size of maps for each number in `channels`.

        It takes `num_planes` planes, and `num_told` numbers about the whole image.
        """
        keys, size = jax.random.split(key, 7), 4 * channels[0]
        back = tuple(channels)[::-1]
        stem = random_kernels(keys[:1], (num_planes * image[2], channels[0]))[0]
        each = [jax.random.split(own, len(channels)) for own in keys[1:5]]
        down = tuple(UNetBlock.start(*own, size) for own in zip(each[0], channels, strict=True))
        up = tuple(UNetBlock.start(*own, size) for own in zip(each[1], back[1:], strict=False))
        narrower = tuple(
            random_kernels([k], pair)[0] for k, pair in zip(each[2], itertools.pairwise(channels), strict=False)
        )
        wider = tuple(random_kernels([k], pair)[0] for k, pair in zip(each[3], itertools.pairwise(back), strict=False))
        embedding = jax.random.normal(keys[5], (num_told, size)) / math.sqrt(num_told)
        offset = None if num_classes == 1 else jax.random.normal(keys[6], (num_classes, size))
        output = jnp.zeros((3, 3, channels[0], image[2]))
        return cls(embedding, stem, down, up, narrower, wider, output, offset, image)

    @property
    def widest(self) -> int:
        """Numbers of the largest maps of one image."""
        return math.prod(self.image[:2]) * self.stem.shape[-1]

    def __call__(self, x: Float[Array, "..."], y: Float[Array, "..."] | None = None) -> Float[Array, "..."]:
        told = times(x[..., x.shape[-1] - len(self.embedding) :], self.embedding)
        if y is not None and self.offset is not None:
            told = told + y @ self.offset
        lead = told.shape[:-1]
        told = jax.nn.silu(told).reshape(-1, told.shape[-1])
        height, width, channels = self.image
        planes = jnp.broadcast_to(
            x[..., : x.shape[-1] - len(self.embedding)], (*lead, x.shape[-1] - len(self.embedding))
        )
        planes = planes.reshape(-1, self.stem.shape[2] // channels, height, width, channels)
        maps = convolved(jnp.moveaxis(planes, 1, 3).reshape(len(told), height, width, -1), self.stem, 1)
        return self._through(maps, told).reshape(*lead, height * width * channels)

    def _through(self, maps, told):
        seen = []
        for i, block in enumerate(self.down):
            maps = block(maps if i == 0 else convolved(maps, self.narrower[i - 1], 2), told)
            seen.append(maps)
        for kernel, block, across in zip(self.wider, self.up, seen[-2::-1], strict=True):
            doubled = maps.repeat(2, axis=1).repeat(2, axis=2)[:, : across.shape[1], : across.shape[2]]
            maps = block(convolved(doubled, kernel, 1) + across, told)
        return convolved(jax.nn.silu(_normalised(maps)), self.output, 1)


def _normalised(maps):
    return maps * jax.lax.rsqrt(jnp.square(maps).mean(-1, keepdims=True) + 1e-6)
