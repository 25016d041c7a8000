"""Pictures of latent spaces."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from dgjax._autoencoder_verbs import encode
from dgjax._types import Generative
from dgjax.plot import _style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def latent(
    model: Generative,
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    dimensions: Sequence[int] = (0, 1),
    classes: Sequence[str] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Means of two of the latent variables of each row, in the colours of `y`: of an autoencoder or factor analysis.

    Returns the axes. Raises ValueError for a model without latent variables, or of fewer.
    """
    mean = np.asarray(encode(model, x)[0])
    first, second = (int(own) for own in dimensions)
    if max(first, second) >= mean.shape[-1]:
        raise ValueError(
            f"dimensions must be two of the model's {mean.shape[-1]} latent variables; got {tuple(dimensions)}."
        )
    ax, shown = _style.axes(ax), _style.some(len(mean))
    labels = np.zeros(len(mean), int) if y is None else np.asarray(y).astype(int)
    _style.points(ax, mean[shown][:, [first, second]], labels[shown], classes)
    ax.set(xlabel=f"latent variable {first}", ylabel=f"latent variable {second}")
    return ax
