"""Bayesian inference: the posterior of any model's parameters."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax import Array
from numpy.typing import ArrayLike

from dgjax import _advice, _prior, priors, starting
from dgjax._arguments import is_concrete
from dgjax.data import as_floats, as_model
from dgjax.numpyro._adapter import Conditional, Marginal
from dgjax.numpyro._sites import Place, draw

M = TypeVar("M")
Samples = Mapping[str, Any]


def bayesian(model: M, prior: Any = None, sites: Any = None) -> "Bayesian[M]":
    """NumPyro model of data, with the parameters of `model` unknown: p(parameters) p(x, y | parameters).

    `prior` is from `dgjax.priors`, such as `proper_prior(model, x)`; None is flat on weights and probabilities only.
    `sites` are NumPyro distributions by site name, `{"density.mean": dist.Normal(0, 10)}`, which override the prior; or
    one distribution for all sites without a prior. Of `model` only shapes and structural zeros matter: what is at minus
    infinity stays so.

    Raises ValueError for a prior that does not fit the model, or is not proper, or for a site without any prior.
    """
    checked = as_model(model)
    if not is_concrete(checked):
        raise ValueError("bayesian needs a model with values, whose zeros can be seen: call it outside of jit.")
    bare = checked is not model
    prior = priors.MixturePrior(None, prior) if bare and prior is not None else prior
    if checked.generative:
        prior = _prior.checked_prior(checked, prior, jnp.result_type(*jax.tree.leaves(checked)))
    made = Bayesian(checked, prior, sites, bare)
    names = set(made.dims)
    unknown = set(sites) - names if isinstance(sites, dict) else set()
    if unknown:
        raise ValueError(f"sites must be among {sorted(names)}; got {sorted(unknown)}.")
    return made


@dataclasses.dataclass(frozen=True, eq=False)
class Bayesian(Generic[M]):
    """NumPyro model made by `bayesian`, for NUTS, guides and Predictive, and conversions of its samples.

    Call it with x (n, d), or sequences (n, t, d) with `lengths` (n,), and labels y, (n,) or (n, t), -1 where unknown. A
    generative model has a site "x"; a discriminative one, given x, has a site "y". Without x, `num_rows` (and
    `num_steps` for sequences) samples from the prior.
    """

    template: Any
    prior: Any
    sites: Any
    bare: bool

    def __call__(
        self,
        x: ArrayLike | None = None,
        y: ArrayLike | None = None,
        lengths: ArrayLike | None = None,
        *,
        num_rows: int | None = None,
        num_steps: int | None = None,
    ) -> None:
        model = self._draw(lambda name, prior, dims: numpyro.sample(name, prior))
        x = None if x is None else jnp.asarray(as_floats(x, "x"))
        if x is None and (num_rows is None or not self.template.generative):
            raise ValueError("x is needed, or of a generative model num_rows, to draw rows in its place.")
        with numpyro.plate("rows", num_rows if x is None else len(x)):
            if not self.template.generative:
                numpyro.sample("y", Conditional(model, x, lengths), obs=y)  # type: ignore[arg-type]
                return
            steps = {}
            if self.template.sequential:
                steps = {"num_steps": num_steps if x is None else np.shape(x)[1], "lengths": lengths}
            numpyro.sample("x", Marginal(model, y, **steps), obs=x)

    def _draw(self, site: Any) -> Any:
        return draw(self.template, self.prior, Place("", site, self.sites))

    @property
    def dims(self) -> dict[str, tuple[str, ...]]:
        """Names of each site's axes, for ArviZ; the label axis is "component", or for a chain "state"."""
        names: dict[str, tuple[str, ...]] = {}

        def site(name, prior, dims):
            names[name] = dims
            return prior.sample(jax.random.key(0))

        jax.eval_shape(lambda: jax.tree.leaves(self._draw(site)))
        return names

    def model(self, samples: Samples) -> M:
        """Models of all samples, stacked: leaves have the samples' axes first, for `jax.vmap`."""
        names = list(self.dims)
        own = {name: jnp.asarray(samples[name]) for name in names}
        dims = self.dims[names[0]]
        batch = own[names[0]].shape[: own[names[0]].ndim - len(dims)]

        def one(own):
            model = self._draw(lambda name, prior, dims: own[name])
            return model.density if self.bare else model

        for _ in batch:
            one = jax.vmap(one)
        return one(own)

    def ordered(self, samples: Samples, by: str = "density.mean") -> dict[str, Array]:
        """Samples with labels relabelled in each draw so that the first column of the site `by` increases.

        The likelihood of a mixture does not depend on the order of its labels (label switching): of the k! equivalent
        orders this keeps one.

        Raises ValueError if `by` is no site with labels.
        """
        of_paths = self.template.sequential and not self.template.one_label
        dims, label = self.dims, "state" if of_paths else "component"
        if by not in dims or dims[by][:1] != (label,):
            labelled = [name for name, axes in dims.items() if axes[:1] == (label,)]
            raise ValueError(f"by must be one of {labelled}; got {_advice.shown(by)}.")
        value = jnp.asarray(samples[by])
        order = jnp.argsort(value[(..., *[0] * (len(dims[by]) - 1))], axis=-1)

        def renumbered(name, value):
            for place, axis in enumerate(dims.get(name, ())):
                if axis in (label, f"{label}_to"):
                    at = value.ndim - len(dims[name]) + place
                    index = jnp.expand_dims(order, [i for i in range(order.ndim - 1, value.ndim) if i != at])
                    value = jnp.take_along_axis(value, index, axis=at)
            return value

        return {name: renumbered(name, jnp.asarray(value)) for name, value in samples.items()}

    def inference_data(self, mcmc: Any, order: str | None = None) -> Any:
        """ArviZ InferenceData of a run of `numpyro.infer.MCMC`, axes named; `order` is a site to order labels by.

        Raises ModuleNotFoundError without ArviZ: `pip install "dgjax[bayes]"`.
        """
        import arviz

        data: Any = arviz.from_numpyro(mcmc, dims={name: list(axes) for name, axes in self.dims.items()})
        if order is not None:
            samples = {name: mcmc.get_samples(group_by_chain=True)[name] for name in self.dims}
            for name, value in self.ordered(samples, order).items():
                data.posterior[name] = data.posterior[name].copy(data=np.asarray(value))
        return data


def proper_prior(model: Any, x: ArrayLike, strength: float = 1.0, lengths: ArrayLike | None = None) -> Any:
    """Proper conjugate prior worth `strength` rows that look like the columns of x, which can be sampled from.

    Unlike `dgjax.weak_prior`, which is made for modes and may be improper, its expected covariance, or variance, is
    that of the columns: E[S] = scale / (degrees - d - 1), E[v] = rate / (shape - 1).
    """
    return _proper(starting.weak_prior(model, x, strength, lengths=lengths), strength)


def _proper(prior, strength):
    if isinstance(prior, priors.NormalInverseWishart):
        degrees = prior.mean.shape[-1] + 1 + strength
        return dataclasses.replace(prior, degrees=jnp.asarray(degrees, prior.mean.dtype))
    if isinstance(prior, priors.NormalInverseGamma | priors.FactorPrior):
        cells = strength * (prior.mean.shape[-1] if prior.rate.shape[-1] == 1 else 1)
        return dataclasses.replace(prior, shape=jnp.asarray(1 + cells / 2, prior.mean.dtype))
    if isinstance(prior, priors.ColumnsPrior):
        return priors.ColumnsPrior(tuple(_proper(block, strength) for block in prior.blocks))
    if isinstance(prior, priors.MixturePrior | priors.HiddenMarkovPrior):
        return dataclasses.replace(prior, density=_proper(prior.density, strength))
    return prior
