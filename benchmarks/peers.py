"""Other libraries, each given the same data, start, precision and number of steps. One not installed is left out."""

import functools
import importlib
import warnings

import jax
import numpy as np


def installed(name: str) -> bool:
    """Whether a peer is there; says so if it is not."""
    try:
        importlib.import_module(name)
    except ImportError:
        warnings.warn(f"{name} is not installed, so nothing is compared with it", stacklevel=2)
        return False
    return True


def mixture_of_scikit_learn(x, mean, covariance, steps):
    """The same mixture, from equal weights and unit covariances."""
    from sklearn.mixture import GaussianMixture

    k, d = mean.shape
    precisions = {
        "full": np.stack([np.eye(d)] * k),
        "tied": np.eye(d),
        "diag": np.ones((k, d)),
        "spherical": np.ones(k),
    }
    name = {"diagonal": "diag"}.get(covariance, covariance)
    model = GaussianMixture(
        k,
        covariance_type=name,
        tol=0,
        reg_covar=0,
        max_iter=steps,
        weights_init=np.full(k, 1 / k),
        means_init=mean,
        precisions_init=precisions[name].astype(x.dtype),
    )
    return quietly(functools.partial(model.fit, x))


def mixture_of_gmmx(x, mean, covariance, steps):
    """A mixture in JAX, float32 only, which holds n k d d floats at once; None where it cannot take the case.

    Nor does it get many large covariances: for 16 of 64 columns its calls of LAPACK waited for each other for ever.
    """
    k, d = mean.shape
    fits = covariance in ("full", "diagonal") and x.dtype == np.float32 and len(x) * k * d * d <= 2e8
    if not fits or (covariance == "full" and k * d * d > 1024) or not installed("gmmx"):
        return None
    from gmmx import EMFitter, GaussianMixtureModelJax

    own = np.stack([np.eye(d)] * k) if covariance == "full" else np.ones((k, d))
    name = {"diagonal": "diag"}.get(covariance, covariance)
    start = GaussianMixtureModelJax.from_squeezed(
        means=mean, covariances=own.astype(x.dtype), weights=np.full(k, 1 / k, x.dtype), covariance_type=name
    )
    fitter, rows = EMFitter(max_iter=steps, tol=0, reg_covar=0), jax.numpy.asarray(x)
    return lambda: fitter.fit(x=rows, gmm=start)


def quietly(fn):
    """Without the warning that so many steps were not enough."""

    def run(*arguments):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return fn(*arguments)

    return run
