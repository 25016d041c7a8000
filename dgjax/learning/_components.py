"""Size classes of components: a mixture with further ones, which are off, so that one program serves all of a class."""

from typing import Any

import numpy as np

from dgjax._arguments import is_concrete
from dgjax.data import Data, component_class
from dgjax.densities import Mixture
from dgjax.learning._em import EM
from dgjax.learning._method import Method


def in_component_class(model: Any, x: Any) -> Any:
    """Mixture with components that are off after its own, as many as its size class has for known rows x (n, d).

    Any other model stays as it is, as do those with parts that count components which are off, and much data.
    """
    if not (isinstance(model, Mixture) and model.density.labels_off) or getattr(x, "ndim", 0) != 2:
        return model
    padded = component_class(model.num_labels, *x.shape) if is_concrete(model, x) else model.num_labels
    return model if padded == model.num_labels else model.with_components(padded)


def to_be_fitted(model: Any, data: Data, prior: Any, method: Method | None, blend: Any) -> Any:
    """Mixture padded by `in_component_class` where EM is to fit it, and all of its components are hidden.

    A prior of the user's, which may be another for each component, says that it stays as it is.
    """
    own, by_em = prior is not None and not isinstance(prior, str), isinstance(method, EM | None)
    if own or not by_em or blend is not None or not is_concrete(data.y, data.weights):
        return model
    return model if (np.asarray(data.y) >= 0).any() else in_component_class(model, data.x)
