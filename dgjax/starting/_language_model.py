"""Language models of a transformer that is initialised at random, to be fitted by `fit`."""

import numpy as np
from jax import Array

from dgjax._arguments import as_count, as_key, check_number, check_size, constant
from dgjax._elsewhere import told_keywords
from dgjax.densities import LanguageModel, MaskedLanguageModel, Mixture
from dgjax.networks import MOST_DROPOUT, Transformer

HEAD = 32  # units of each head of attention, at least; an even number, for rotary positions


@told_keywords
def language_model(
    key: Array,
    num_categories: int,
    num_classes: int | None = None,
    *,
    width: int = 128,
    num_layers: int = 4,
    dropout: float = 0.0,
) -> LanguageModel | Mixture:
    """Language model by a random transformer, to be fitted by `dgjax.fit(model, x, y, dgjax.Optax(...), lengths=...)`.

    Of sequences of tokens 0 to `num_categories` - 1 (`dgjax.tokenize`: 256 bytes, or those of a tokenizer), of any
    length. With `num_classes` it is a generative classifier of texts: a mixture of one model for each class, which
    share all parameters but what a label adds to each token. `width` is that of the `num_layers` layers, of which in
    learning a share `dropout` is left out.

    Raises ValueError for fewer than 2 categories or classes, an odd width, or sizes beyond this machine's memory.
    """
    network, c, k = _network(key, num_categories, num_classes, width, num_layers, dropout)
    return _of_classes(LanguageModel(network, c, k), num_classes)


@told_keywords
def masked_language_model(
    key: Array,
    num_categories: int,
    num_classes: int | None = None,
    *,
    width: int = 128,
    num_layers: int = 4,
    dropout: float = 0.0,
) -> MaskedLanguageModel | Mixture:
    """Masked language model (BERT) by a random transformer, to be fitted by `dgjax.fit(..., method=dgjax.Optax(...))`.

    Of sequences of tokens 0 to `num_categories` - 1 (`dgjax.tokenize`: 256 bytes, or those of a tokenizer), of any
    length: any token given any others. Fitted to texts without labels, its `network` is the trunk of a classifier,
    `dgjax.Neural.start(model.network, dgjax.TokenCells(num_categories), 1, num_classes)`. With `num_classes` it is a
    generative classifier itself: a mixture of one model for each class, which share all parameters but what a label
    adds to each token. `width` is that of the `num_layers` layers, of which in learning a share `dropout` is left out.

    Raises ValueError for fewer than 2 categories or classes, an odd width, or sizes beyond this machine's memory.
    """
    network, c, k = _network(key, num_categories, num_classes, width, num_layers, dropout)
    return _of_classes(MaskedLanguageModel(network, c, k), num_classes)


def _network(key, num_categories, num_classes, width, num_layers, dropout):
    """Random transformer of c + 1 inputs and c outputs, with c and the number of classes, 1 for None."""
    key, c = as_key(key), as_count(num_categories, "num_categories", 2)
    k = 1 if num_classes is None else as_count(num_classes, "num_classes", 2)
    width, num_layers = as_count(width, "width", 2), as_count(num_layers, "num_layers")
    check_number(dropout, "dropout", 0, MOST_DROPOUT)
    if width % 2:
        raise ValueError(f"width must be even; got {width}. Type width={width + 1}.")
    check_size((num_layers, 4 * width, width), num_layers=num_layers, width=width)
    check_size((c, width), num_categories=num_categories, width=width)
    num_heads = next(heads for heads in range(max(1, width // HEAD), 0, -1) if width % (2 * heads) == 0)
    network = Transformer.start(key, c + 1, c, width, num_layers, num_heads, k, rotary=True, dropout=float(dropout))
    return network, c, k


def _of_classes(density, num_classes):
    """The density, or the mixture of those of all classes."""
    if num_classes is None:
        return density
    k = density.num_classes
    return Mixture(constant(np.full(k, -np.log(k), "float32")), density)
