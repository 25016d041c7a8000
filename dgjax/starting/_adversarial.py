"""Generative adversarial networks of random perceptrons, to be fitted by `fit`."""

from collections.abc import Sequence

import jax
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from dgjax._arguments import as_count, as_key, check_size, constant
from dgjax._elsewhere import told_keywords
from dgjax.data import check_cells, float_type, label_counts
from dgjax.densities import Adversarial, Mixture, moments
from dgjax.networks import MLP
from dgjax.starting import _training_data
from dgjax.starting._streams import started_from_streams
from dgjax.tables import started_from_tables


@started_from_streams
@started_from_tables("gaussian")
@told_keywords
def adversarial(
    key: Array,
    x: ArrayLike,
    y: ArrayLike | None = None,
    num_classes: int | None = None,
    *,
    latent_dim: int = 16,
    hidden: Sequence[int] = (128, 128),
    penalty: float = 1.0,
) -> Adversarial | Mixture:
    """Generative adversarial network of random networks, to be fitted by `dgjax.fit(model, x, y, dgjax.Optax(...))`.

    Of rows `x` (n, d), of which no cell is missing: they say which mean and spread the columns have. With labels `y`
    (n,), -1 where unknown, the discriminator tells k classes and "drawn", and the generator draws rows of a class; the
    weights of classes are their shares of the labels known. The generator has `latent_dim` inputs and `hidden` layers,
    the discriminator the same in reverse. `penalty` weighs the squared slope of the discriminator. `num_classes` is one
    more than the highest label by default. Two learning rates: `dgjax.Optax(optax.adam(4e-4, b1=0.5), batch_size=64,
    key=key, generator=optax.adam(1e-4, b1=0.5))`.

    Raises ValueError for missing cells, bad cells or labels, a single class, or sizes beyond this machine's memory.
    """
    key, sizes = as_key(key), [as_count(size, "hidden") for size in hidden]
    latent_dim = as_count(latent_dim, "latent_dim")
    rows, summary, k = _training_data.perhaps_labelled(x, y, num_classes)
    d, dtype = rows.shape[1], float_type(rows)
    for a, b in zip((latent_dim, *sizes), (*sizes, max(d, k)), strict=True):
        check_size((a, b), hidden=hidden, latent_dim=latent_dim)
    key_generator, key_discriminator = jax.random.split(key)
    generator = MLP.start(key_generator, (latent_dim, *sizes, d), k)
    discriminator = MLP.start(key_discriminator, (d, *sizes[::-1], k))
    generator, discriminator = jax.tree.map(lambda leaf: leaf.astype(dtype), (generator, discriminator))
    centre, scale = moments(summary, len(rows))
    density = Adversarial(generator, discriminator, centre, scale, latent_dim, k, penalty)
    check_cells(rows, density.supports, summary, x)
    if y is None:
        return density
    shares = label_counts(np.asarray(y, int), k)[1:] + 1.0
    return Mixture(constant(np.log(shares / shares.sum()).astype(dtype)), density)
