"""Named NumPyro distributions with missing cells, whose parameters follow NumPyro's conventions.

Each is a `Marginal` or `Conditional` of a model built from its parameters, which are views of that model.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike
from numpyro.distributions.util import cholesky_of_inverse

from dgjax._arguments import as_count
from dgjax._pytree import dataclass, static
from dgjax._types import Scorer
from dgjax.densities import Bernoulli, Categorical, DiagonalGaussian, Gaussian, Mixture, Multinomial, Poisson
from dgjax.models import HiddenMarkov as HiddenMarkovModel, LinearChainCRF as LinearChainCRFModel
from dgjax.numpyro._adapter import Conditional, Marginal
from dgjax.numpyro._emission import as_density
from dgjax.numpyro._parameters import (
    Logs,
    checked,
    each,
    log_weights,
    lower_cholesky,
    positive,
    real,
    simplex,
    together,
    unit,
)

P_LOGITS = ("probs", "logits")


class GaussianMixture(Marginal):
    """Gaussian mixture distribution with missing cells: log p(x) = log sum_k probs_k N(x_observed; loc_k, L_k L_k^T).

    `probs` (*batch, k), or `logits`; `loc` (*batch, k, d); `scale_tril` L (*batch, k, d, d), or (d, d) for one that all
    components share. Events are rows (d,), NaN where a cell is missing.

    Raises ValueError for parameters of a wrong shape, or outside their constraints.
    """

    arg_constraints = {"probs": simplex, "loc": each(real, 2), "scale_tril": each(lower_cholesky)}

    def __init__(
        self,
        probs: ArrayLike | None = None,
        loc: ArrayLike | None = None,
        scale_tril: ArrayLike | None = None,
        *,
        logits: ArrayLike | None = None,
        validate_args: bool | None = None,
    ) -> None:
        owner, tied = "GaussianMixture", np.ndim(scale_tril) == 2  # type: ignore[arg-type]
        weights = log_weights(owner, probs, logits, P_LOGITS), 1
        mean = checked(owner, "loc", _needed(owner, loc=loc), each(real, 2)), 2
        factor = checked(owner, "scale_tril", _needed(owner, scale_tril=scale_tril), each(lower_cholesky, 1 - tied))
        model, ndim = together(lambda w, m, L: Mixture(w, Gaussian(m, L)), weights, mean, (factor, 3 - tied))
        super().__init__(model, batch_shape=_batch(model, ndim), validate_args=validate_args)

    @property
    def probs(self) -> Array:
        """Probabilities of components, or of classes (*batch, k)."""
        return jax.nn.softmax(self.model.log_weights, axis=-1)

    @property
    def loc(self) -> Array:
        """Component means (*batch, k, d)."""
        return self.model.density.mean

    @property
    def scale_tril(self) -> Array:
        """Lower Cholesky factors of the components' covariances (*batch, k, d, d)."""
        L = jnp.tril(self.model.density.scale_tril)
        return jnp.broadcast_to(L if L.ndim > self.loc.ndim else L[..., None, :, :], (*self.loc.shape, L.shape[-1]))


class GenerativeClassifier(Marginal):
    """Distribution of rows of k classes: p(x_observed, y) where `labels` are given, summed over y where they are -1.

    `probs` (*batch, k), or `logits`; `density` of a row given its class is a dgjax density with labels (k,), or a
    NumPyro distribution with batch (k,) of rows. `labels` () for each row of the batch: for x (n, d) they are (n,).
    `Conditional(classifier.model, x)` is the distribution of new labels.
    """

    arg_constraints = {"probs": simplex}

    def __init__(
        self,
        probs: ArrayLike | None = None,
        density: Any = None,
        labels: ArrayLike | None = None,
        *,
        logits: ArrayLike | None = None,
        validate_args: bool | None = None,
    ) -> None:
        owner = "GenerativeClassifier"
        of_class = as_density(_needed(owner, density=density), "density")
        weights = log_weights(owner, probs, logits, P_LOGITS), 1
        model, ndim = together(lambda w: Mixture(w, of_class), weights)
        super().__init__(model, labels, batch_shape=_batch(model, ndim), validate_args=validate_args)

    probs = GaussianMixture.probs


class HiddenMarkov(Marginal):
    """Hidden Markov distribution of sequences: log p(x) = log sum_y p(y) prod_s p(x_s_observed | y_s).

    `initial_probs` (*batch, k) and `transition_probs` (*batch, k, k), from row to column, or their logits; zeros stay
    zero. `emission` is a dgjax density with labels (k,), or a NumPyro distribution with batch (k,). Events are
    sequences (t, d) of `num_steps` t steps, of which the first `lengths` exist; cells and whole steps may be NaN. With
    known `states` (t,), -1 for unknown ones, the likelihood is p(x, states).
    """

    arg_constraints = {"initial_probs": simplex, "transition_probs": each(simplex)}

    def __init__(
        self,
        initial_probs: ArrayLike | None = None,
        transition_probs: ArrayLike | None = None,
        emission: Any = None,
        num_steps: int | None = None,
        *,
        initial_logits: ArrayLike | None = None,
        transition_logits: ArrayLike | None = None,
        states: ArrayLike | None = None,
        lengths: ArrayLike | None = None,
        validate_args: bool | None = None,
    ) -> None:
        owner = "HiddenMarkov"
        density = as_density(_needed(owner, emission=emission))
        start = log_weights(owner, initial_probs, initial_logits, ("initial_probs", "initial_logits")), 1
        names = "transition_probs", "transition_logits"
        moves = log_weights(owner, transition_probs, transition_logits, names, ndim=1), 2
        model, ndim = together(lambda a, A: HiddenMarkovModel(a, A, density), start, moves)
        options = {"num_steps": num_steps, "lengths": lengths, "validate_args": validate_args}
        super().__init__(model, states, batch_shape=_batch(model, ndim), **options)

    @property
    def initial_probs(self) -> Array:
        """Probabilities of the first state (*batch, k)."""
        return jax.nn.softmax(self.model.log_initial, axis=-1)

    @property
    def transition_probs(self) -> Array:
        """Transition probabilities (*batch, k, k), from row to column."""
        return jax.nn.softmax(self.model.log_transition, axis=-1)


class LinearChainCRF(Conditional):
    """Conditional random field: distribution of paths y of k states, log p(y) = s(y) - log sum_y' exp s(y').

    s(y) = initial_{y_0} + sum_s scores_{s, y_s} + sum_s transition_{y_s, y_{s+1}}. `initial` (*batch, k); `transition`
    (*batch, k, k), from row to column, minus infinity where a transition is impossible; `scores` (*batch, t, k), any
    function of the data, with `lengths` (*batch). Steps with state -1, and steps beyond a length, are summed out.
    """

    arg_constraints = {"initial": Logs(), "transition": each(Logs())}

    def __init__(
        self,
        initial: ArrayLike,
        transition: ArrayLike,
        scores: ArrayLike,
        lengths: ArrayLike | None = None,
        *,
        validate_args: bool | None = None,
    ) -> None:
        owner = "LinearChainCRF"
        start, moves = (
            checked(owner, "initial", initial, Logs()),
            checked(owner, "transition", transition, each(Logs())),
        )
        itself = Itself(start.shape[-1])
        model, ndim = together(lambda a, A: LinearChainCRFModel(a, A, itself), (start, 1), (moves, 2))
        super().__init__(model, scores, lengths, batch_shape=_batch(model, ndim), validate_args=validate_args)

    @property
    def initial(self) -> Array:
        """Scores of the first state (*batch, k)."""
        return self.model.initial

    @property
    def transition(self) -> Array:
        """Transition scores (*batch, k, k), from row to column."""
        return self.model.transition


@dataclass
class Itself(Scorer):
    """Identity scorer: rows (n, k) are themselves the scores, s(x, y) = x_y."""

    num_labels: int = static()

    @property
    def label_shape(self) -> tuple[int, ...]:
        return (self.num_labels,)

    @property
    def num_features(self) -> int:
        return self.num_labels

    def scores(self, x: Array) -> Array:
        return x


class OfOne(Marginal):
    """Distribution of rows of a single density, missing cells (NaN) marginalised; base of `NaNNormal` and others."""

    def _of_density(self, validate_args: bool | None, build: Any, *parameters: tuple[Array, int]) -> None:
        one = lambda *arrays: Mixture.of_one(build(*(array[None] for array in arrays)))  # noqa: E731
        model, ndim = together(one, *parameters)
        Marginal.__init__(self, model, batch_shape=_batch(model, ndim), validate_args=validate_args)

    def _of_label(self, name: str, rank: int) -> Array:
        """A parameter of the density, without its label axis of length 1."""
        return getattr(self.model.density, name).squeeze(-rank - 1)


class NaNMultivariateNormal(OfOne):
    """Multivariate normal of rows with missing cells: N(x_observed; loc_observed, covariance_observed).

    Rows are (d,). `loc` (*batch, d) and one of `covariance_matrix`, `precision_matrix`, `scale_tril` (*batch, d, d).

    Raises ValueError unless just one of the three is given, within its constraint.
    """

    arg_constraints = {"loc": each(real), "scale_tril": lower_cholesky}

    def __init__(
        self,
        loc: ArrayLike,
        covariance_matrix: ArrayLike | None = None,
        precision_matrix: ArrayLike | None = None,
        scale_tril: ArrayLike | None = None,
        *,
        validate_args: bool | None = None,
    ) -> None:
        owner = "NaNMultivariateNormal"
        if sum(one is not None for one in (covariance_matrix, precision_matrix, scale_tril)) != 1:
            raise ValueError(f"{owner} takes one of covariance_matrix, precision_matrix and scale_tril.")
        if covariance_matrix is not None:
            scale_tril = jnp.linalg.cholesky(jnp.asarray(covariance_matrix))
        elif precision_matrix is not None:
            scale_tril = cholesky_of_inverse(jnp.asarray(precision_matrix))
        L = checked(owner, "scale_tril", _needed(owner, scale_tril=scale_tril), lower_cholesky), 2
        self._of_density(validate_args, Gaussian, (checked(owner, "loc", loc, each(real)), 1), L)

    @property
    def loc(self) -> Array:
        """Mean (*batch, d)."""
        return self._of_label("mean", 1)

    @property
    def scale_tril(self) -> Array:
        """Lower Cholesky factor of the covariance (*batch, d, d)."""
        return self._of_label("scale_tril", 2)


class NaNNormal(OfOne):
    """Distribution of rows (d,) of independent normal cells, NaN where missing. `loc` and `scale` (*batch, d)."""

    arg_constraints = {"loc": each(real), "scale": each(positive)}

    def __init__(self, loc: ArrayLike, scale: ArrayLike, *, validate_args: bool | None = None) -> None:
        mean, spread = (
            checked("NaNNormal", "loc", loc, each(real)),
            checked("NaNNormal", "scale", scale, each(positive)),
        )
        mean, spread = jnp.broadcast_arrays(mean, spread)
        self._of_density(validate_args, DiagonalGaussian, (mean, 1), (jnp.log(spread), 1))

    loc = NaNMultivariateNormal.loc

    @property
    def scale(self) -> Array:
        """Standard deviation of each cell (*batch, d)."""
        return jnp.exp(self._of_label("log_scale", 1))


class NaNBernoulli(OfOne):
    """Distribution of rows (d,) of independent cells 0 or 1, NaN where missing.

    `probs` (*batch, d), or `logits`. Raises ValueError unless just one of them is given, within its constraint.
    """

    arg_constraints = {"probs": each(unit)}

    def __init__(
        self,
        probs: ArrayLike | None = None,
        *,
        logits: ArrayLike | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if (probs is None) == (logits is None):
            raise ValueError("NaNBernoulli takes one of probs and logits.")
        if probs is not None:
            p = checked("NaNBernoulli", "probs", probs, each(unit))
            logits = jnp.log(p) - jnp.log1p(-p)
        else:
            logits = checked("NaNBernoulli", "logits", logits, each(real))  # type: ignore[arg-type]
        self._of_density(validate_args, Bernoulli, (jnp.asarray(logits), 1))

    @property
    def logits(self) -> Array:
        """Log-odds of 1 for each cell (*batch, d)."""
        return self._of_label("logits", 1)

    @property
    def probs(self) -> Array:
        """Probability of 1 for each cell (*batch, d)."""
        return jax.nn.sigmoid(self.logits)


class NaNCategorical(OfOne):
    """Distribution of rows (d,) of independent categories 0 to c - 1, NaN where missing.

    `probs` (*batch, d, c), or `logits`. Raises ValueError unless just one of them is given, within its constraint.
    """

    arg_constraints = {"probs": each(simplex)}

    def __init__(
        self,
        probs: ArrayLike | None = None,
        *,
        logits: ArrayLike | None = None,
        validate_args: bool | None = None,
    ) -> None:
        logs = log_weights("NaNCategorical", probs, logits, P_LOGITS, ndim=1)
        self._of_density(validate_args, Categorical, (logs, 2))

    @property
    def probs(self) -> Array:
        """Category probabilities of each cell (*batch, d, c)."""
        return jax.nn.softmax(self._of_label("logits", 2), axis=-1)


class NaNPoisson(OfOne):
    """Distribution of rows (d,) of independent Poisson counts, NaN where missing. `rate` (*batch, d)."""

    arg_constraints = {"rate": each(positive)}

    def __init__(self, rate: ArrayLike, *, validate_args: bool | None = None) -> None:
        self._of_density(validate_args, Poisson, (jnp.log(checked("NaNPoisson", "rate", rate, each(positive))), 1))

    @property
    def rate(self) -> Array:
        """Rate of each count (*batch, d)."""
        return jnp.exp(self._of_label("log_rate", 1))


class NaNMultinomial(OfOne):
    """Multinomial distribution of counts (d,), NaN where missing; observed counts are scored given their own total.

    `total_count` is the total of sampled rows only; `probs` (*batch, d), or `logits`.

    Raises ValueError unless just one of `probs` and `logits` is given, or for a negative `total_count`.
    """

    arg_constraints = {"probs": simplex}

    def __init__(
        self,
        total_count: int = 1,
        probs: ArrayLike | None = None,
        *,
        logits: ArrayLike | None = None,
        validate_args: bool | None = None,
    ) -> None:
        total = as_count(total_count, "total_count", 0)
        logs = log_weights("NaNMultinomial", probs, logits, P_LOGITS)
        self._of_density(validate_args, lambda p: Multinomial(p, total), (logs, 1))

    @property
    def probs(self) -> Array:
        """Probability of each column (*batch, d)."""
        return jax.nn.softmax(self._of_label("logits", 1), axis=-1)


def _needed(owner, **parameter):
    ((name, value),) = parameter.items()
    if value is None:
        raise ValueError(f"{owner} needs {name}.")
    return value


def _batch(model, ndim):
    return jax.tree.leaves(model)[0].shape[:ndim]
