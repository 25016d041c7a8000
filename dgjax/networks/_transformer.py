"""Transformer: layers of attention and perceptrons over the tokens of a sequence."""

import dataclasses
import itertools
import math
import operator

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

import dgjax_kernels as kernels
from dgjax._arguments import check_number
from dgjax._pytree import dataclass, static, tree
from dgjax.networks._feedforward import times

ACTIVATIONS = {"squared_relu": lambda x: jnp.square(jax.nn.relu(x)), "silu": jax.nn.silu}
"""Of the hidden units of a layer; `gelu` takes two to three times as long on a CPU, and learns no better."""
UNROLLED = 8
"""Layers that the scan has side by side: what is kept of each for the gradient lies where it was made. A step of
learning of 4 layers takes 200 ms, rolled up 280, and is compiled in 12 s, rolled up in 11."""
STEPS = 256  # of the share of units that dropout may leave out
MOST_DROPOUT = 0.99  # with all left out there were nothing to learn from


@dataclass
class TransformerLayers:
    """Parameters of the l layers of a transformer, stacked along their first axis: width h, m hidden units.

    `projections` (l, h, 3 h) gives queries, keys and values, `attended` (l, h, h) takes the heads' results back;
    `hidden` (l, h, m) and `outputs` (l, m, h) are the perceptron; `scales` (l, 2, h) those of the normalised inputs of
    both.
    """

    projections: Float[Array, "l h 3*h"]
    attended: Float[Array, "l h h"]
    hidden: Float[Array, "l h m"]
    outputs: Float[Array, "l m h"]
    scales: Float[Array, "l 2 h"]


@dataclass
class Transformer:
    """Transformer with normalised inputs (pre-norm): tokens (..., t, f) -> (..., t, outputs).

    z = x `embedding`, or for token numbers x (..., t) the rows `embedding`[x]; plus y `offset` for labels y (..., 1, k)
    and `positions` (p, h) of the first t of p places, where there are any. Each layer adds attention(n(z)) and then
    perceptron(n(z)) to z, with n(z) = scale z / sqrt(mean z^2). The outputs are n(z) `output`, or where that is None
    n(z) `embedding`^T (tied weights). `mask` (..., t, t) is True where a token sees another; None is everywhere, and
    `jnp.tril(jnp.ones((t, t), bool))` is the causal mask. `rotary` turns queries and keys by their places. With a `key`
    a share `dropout` of what each layer adds is left out at random, as in learning.

    Raises ValueError if shapes do not fit together, for an odd size of heads with `rotary`, or another activation.
    Source: Vaswani et al. (2017); pre-norm Xiong et al. (2020); squared relu So et al. (2021); rotary Su et al. (2021).
    """

    embedding: Float[Array, "f h"]
    layers: TransformerLayers
    scale: Float[Array, " h"]
    output: Float[Array, "h o"] | None = None
    offset: Float[Array, "k h"] | None = None
    positions: Float[Array, "p h"] | None = None
    num_heads: int = static(default=4)
    activation: str = static(default="squared_relu")
    rotary: bool = static(default=False)
    dropout: float = static(default=0.0)

    def __post_init__(self) -> None:
        width = self.embedding.shape[1]
        others = (self.scale, self.layers.scales, self.offset, self.positions)
        widths = [leaf.shape[-1] for leaf in others if leaf is not None]
        if {width} != {*widths, self.layers.attended.shape[-1]} or (
            self.output is not None and len(self.output) != width
        ):
            raise ValueError(f"Transformer expects one width in all of its parts; got {width} and {widths}.")
        if width % self.num_heads or (self.rotary and width // self.num_heads % 2):
            raise ValueError(
                f"num_heads must divide the width{', into heads of an even size' * self.rotary}; got {self.num_heads} "
                f"and {width}."
            )
        check_number(self.dropout, "dropout", 0, MOST_DROPOUT)
        if self.activation not in ACTIVATIONS:
            raise ValueError(f'activation must be "squared_relu" or "silu"; got {self.activation!r}.')

    @classmethod
    def start(
        cls,
        key: Key[Array, ""],
        num_inputs: int,
        num_outputs: int | None,
        width: int = 128,
        num_layers: int = 4,
        num_heads: int = 4,
        num_classes: int = 1,
        num_positions: int | None = None,
        *,
        activation: str = "squared_relu",
        rotary: bool = False,
        dropout: float = 0.0,
    ) -> "Transformer":
        """Random initial transformer, with 4 hidden units for each of `width`.

        Weights have variance 1 / inputs, what a layer adds another 1 / (2 l) for its l layers, and outputs 1 / 4; of
        embeddings, offsets and positions the variance is 1 / 4. With `num_outputs` None they are tied to the embedding;
        `num_positions` places have positions that are learnt. Source: Radford et al. (2019), section 2.3.
        """
        h, m, each = width, 4 * width, (num_layers, width)
        parts = {
            "projections": ((*each, 3 * h), 1 / h),
            "attended": ((*each, h), 1 / (2 * num_layers * h)),
            "hidden": ((*each, m), 1 / h),
            "outputs": ((num_layers, m, h), 1 / (2 * num_layers * m)),
            "embedding": ((num_inputs, h), 1 / 4),
            "output": None if num_outputs is None else ((h, num_outputs), 1 / (4 * h)),
            "offset": None if num_classes == 1 else ((num_classes, h), 1 / 4),
            "positions": None if num_positions is None else ((num_positions, h), 1 / 4),
        }
        drawn = _normal({name: part for name, part in parts.items() if part is not None}, key)
        of_layers = {name: drawn.pop(name) for name in ("projections", "attended", "hidden", "outputs")}
        layers = TransformerLayers(**of_layers, scales=jnp.ones((num_layers, 2, h)))
        options = {"activation": activation, "rotary": rotary, "dropout": dropout}
        return cls(**drawn, layers=layers, scale=jnp.ones(h), num_heads=num_heads, **options)

    def __call__(
        self,
        x: Array,
        y: Float[Array, "*m 1 k"] | None = None,
        mask: Bool[Array, "*s t t"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "*b t o"]:
        return self._read(self.features(x, y, mask, key))

    def features(
        self,
        x: Array,
        y: Float[Array, "*m 1 k"] | None = None,
        mask: Bool[Array, "*s t t"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "*b t h"]:
        """Activations (..., t, h) after the last layer, normalised."""
        z = self._embedded(x, y)
        mask = jnp.ones((z.shape[-2],) * 2, bool) if mask is None else mask
        keys = None if key is None else jax.random.split(key, len(self.layers.scales))

        def through(z, own):
            layer, key = own
            return self._layer(z, _with_scales_inside(layer), key, mask), None

        z, _ = jax.lax.scan(through, z, (self.layers, keys), unroll=UNROLLED)
        return _normalised(z) * self.scale

    def prefilled(
        self, x: Int[Array, "n t"], y: Float[Array, "n 1 k"] | None, start: Int[Array, " n"], size: int
    ) -> tuple[Float[Array, "n o"], "SeenTokens"]:
        """Outputs (n, o) after the last of the tokens x, and what is kept of these to go on to `size` tokens in all.

        The sequences end at the same place, and row n begins at place `start[n]`; what is before it counts for nothing.
        """
        t = x.shape[1]
        keys_seen = jnp.arange(t) >= start[:, None]
        mask = (jnp.tril(jnp.ones((t, t), bool)) & keys_seen[:, None]) | jnp.eye(t, dtype=bool)
        z, kept = self._embedded(x, y, jnp.maximum(jnp.arange(t) - start[:, None], 0)), []
        for layer in self._each_layer():
            q, k, v = self._heads(z, layer, jnp.arange(t))
            z = self._added(z, kernels.attention(q, k, v, mask), layer)
            room = (0, 0), (0, 0), (0, size - t), (0, 0)
            kept.append((layer, *(jnp.pad(jnp.swapaxes(own, 1, 2), room) for own in (k, v))))
        return self._read(_normalised(z[:, -1]) * self.scale), SeenTokens(tuple(kept), jnp.asarray(t), start)

    def stepped(
        self, seen: "SeenTokens", token: Int[Array, " n"], y: Float[Array, "n 1 k"] | None
    ) -> tuple[Float[Array, "n o"], "SeenTokens"]:
        """Outputs (n, o) after one more token of each row, by the keys and values of those before; and all of them."""
        place, kept = seen.place, []
        z = self._embedded(token[:, None], y, (place - seen.start)[:, None])
        for layer, *before in seen.layers:
            q, *new = (own[:, 0] for own in self._heads(z, layer, place[None]))
            keys, values = (
                jax.lax.dynamic_update_slice(own, one[:, :, None], (0, 0, place, 0))
                for own, one in zip(before, new, strict=True)
            )
            places = jnp.arange(keys.shape[2])
            mask = (places <= place) & (places >= seen.start[:, None])
            z = self._added(z, kernels.attention_of_one(q, keys, values, mask), layer)
            kept.append((layer, keys, values))
        return self._read(_normalised(z[:, 0]) * self.scale), SeenTokens(tuple(kept), place + 1, seen.start)

    def _read(self, features):
        """Outputs (..., o) of features (..., h)."""
        return times(features, self.embedding.T if self.output is None else self.output)

    def _each_layer(self):
        """Layers one by one: what they keep is then changed in place, where a scan would copy it at each token."""
        each = range(len(self.layers.scales))
        return [_with_scales_inside(jax.tree.map(operator.itemgetter(i), self.layers)) for i in each]

    def _embedded(self, x, y, places=None):
        z = self.embedding[x] if jnp.issubdtype(x.dtype, jnp.integer) else times(x, self.embedding)
        if self.positions is not None:
            if z.shape[-2] > len(self.positions):
                raise ValueError(f"x must have at most {len(self.positions)} tokens, one a place; got {z.shape[-2]}.")
            z = z + (self.positions[: z.shape[-2]] if places is None else self.positions[places])
        return z if y is None or self.offset is None else z + y @ self.offset

    def _layer(self, z, layer, key, mask):
        """One layer of z (..., t, h), `layer` holding its parameters alone; `key` is that of dropout, or None."""
        q, k, v = self._heads(z, layer, jnp.arange(z.shape[-2]))
        return self._added(z, kernels.attention(q, k, v, mask), layer, key)

    def _heads(self, z, layer, places):
        """Queries, keys and values (..., t, a, c) of z (..., t, h), at `places` (t,)."""
        heads = self.num_heads, z.shape[-1] // self.num_heads
        projected = times(_normalised(z), layer.projections)
        q, k, v = (part.reshape(*z.shape[:-1], *heads) for part in jnp.split(projected, 3, axis=-1))
        return (_rotated(q, places), _rotated(k, places), v) if self.rotary else (q, k, v)

    def _added(self, z, attended, layer, key=None):
        """z (..., t, h) with what attention and then the perceptron add."""
        key_attended, key_outputs = (None, None) if key is None else jax.random.split(key)
        z = z + _dropped(times(attended.reshape(z.shape), layer.attended), self.dropout, key_attended)
        hidden = ACTIVATIONS[self.activation](times(_normalised(z), layer.hidden))
        return z + _dropped(times(hidden, layer.outputs), self.dropout, key_outputs)


@dataclass
class SeenTokens:
    """Keys and values (n, a, size, c) of each layer for the tokens seen so far, which end before `place`.

    Row n begins at place `start[n]`. Each layer's parameters are kept too: cut out of those of all layers at every
    token they would take as long as the token itself.
    """

    layers: tuple[tuple[TransformerLayers, Array, Array], ...] = tree()
    place: Int[Array, ""] = tree()
    start: Int[Array, " n"] = tree()


def _normal(parts, key):
    """Normal arrays by name, of a shape and a variance each, cut from one draw: each shape takes 0.7 s to compile."""
    sizes = [math.prod(shape) for shape, _ in parts.values()]
    drawn = jnp.split(jax.random.normal(key, (sum(sizes),)), list(itertools.accumulate(sizes))[:-1])
    each = zip(parts.items(), drawn, strict=True)
    return {name: math.sqrt(variance) * own.reshape(shape) for (name, (shape, variance)), own in each}


def _with_scales_inside(layer):
    """A layer whose products take inputs before they are scaled: (scale z) W = z (scale W), of fewer numbers."""
    of_heads, of_hidden = layer.scales[..., None]
    return dataclasses.replace(layer, projections=of_heads * layer.projections, hidden=of_hidden * layer.hidden)


def _normalised(z):
    """Root-mean-square normalisation of z (..., h), without a scale. Source: Zhang and Sennrich (2019).

    The mean as a product: forwards and back 0.9 of the time, of 2,048 tokens of width 128.
    """
    h = z.shape[-1]
    return z * jax.lax.rsqrt(times(z**2, jnp.full((h, 1), 1 / h, z.dtype)) + 1e-6)


def _rotated(heads, places):
    """Rotary positions: the pairs of numbers of each head (..., t, a, c) turned by angles place 10,000^(-2 i / c)."""
    c = heads.shape[-1]
    angles = places[:, None].astype(heads.dtype) * 1e4 ** (-jnp.arange(0, c, 2, dtype=heads.dtype) / c)
    cos, sin = jnp.cos(angles)[:, None], jnp.sin(angles)[:, None]
    one, other = heads[..., : c // 2], heads[..., c // 2 :]
    return jnp.concatenate([one * cos - other * sin, one * sin + other * cos], -1)


def _dropped(x, share, key):
    """Dropout: x without a random share of its numbers, in steps of 1 / 256, the others scaled up to the same mean.

    By bits of 8 for each number, a quarter of what a uniform number takes.
    """
    off = round(share * STEPS)
    if key is None or not off:
        return x
    kept = jax.random.bits(key, x.shape, "uint8") >= off
    return jnp.where(kept, x * (STEPS / (STEPS - off)), 0)
