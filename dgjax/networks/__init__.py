"""Neural networks: of rows, for every label at once, and of sequences of tokens.

A network is any pytree that can be called. One of rows, an encoder or decoder of an autoencoder, is called as
`network(x)`, or with labels as `network(x, y)`: x (..., f) and y (..., k), one-hot or memberships that sum to 1, to
(..., outputs); leading axes broadcast. `features(x, y)` is its last hidden layer, which a classifier is built on.
`Network` makes a network of any pure function. One of tokens, such as `Transformer`, is called as
`network(x, y, mask)`: x (..., t, f), y (..., 1, k) or None, and which tokens each token sees (..., t, t), to
(..., t, outputs).
"""

from dgjax.networks._bijections import Bijection as Bijection, SplineBijection as SplineBijection
from dgjax.networks._feedforward import (
    MLP as MLP,
    ConvolutionalDecoder as ConvolutionalDecoder,
    ConvolutionalEncoder as ConvolutionalEncoder,
    Network as Network,
)
from dgjax.networks._transformer import (
    MOST_DROPOUT as MOST_DROPOUT,
    Transformer as Transformer,
    TransformerLayers as TransformerLayers,
)
from dgjax.networks._unet import UNet as UNet, UNetBlock as UNetBlock
