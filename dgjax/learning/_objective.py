"""Objective of a fit in nats, its derivatives, and the coordinates in which a fit by gradient maximises it."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

import dgjax_kernels as kernels
from dgjax._arguments import AnyArray, is_concrete, is_sharded
from dgjax._neural import Neural
from dgjax.data import Data, extremes
from dgjax.densities import Draws, contrast, has_draws, is_contrastive, with_draws
from dgjax.learning._sum_to_zero import sum_to_zero
from dgjax.learning._units import Units, moved_back
from dgjax.models import LinearChainCRF, Logistic
from dgjax.priors import Ridge
from dgjax.scorers import CategoryWeights, ColumnScorers, DiagonalQuadratic, Linear, LogLinear, Quadratic
from dgjax.sparse import SparseRows
from dgjax.structures import num_steps


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("x", "y", "weights", "prior", "blend", "draws", "units"),
    meta_fields=("complete", "labelled"),
    drop_fields=("summary", "num_classes"),  # of a start alone
)
@dataclasses.dataclass(frozen=True)
class Problem(Data):
    """Objective of a fit, with its data: sum_n w_n [blend log p(x_n, y_n) + (1 - blend) log p(y_n | x_n)] + log prior.

    In nats. Without `blend`, log p(x, y) of a generative model and log p(y | x) of a discriminative one. Where a model
    is scored by draws, by `draws` if there are any, else by its own. Where rows were centred and scaled, `units` are
    theirs; a penalty is of the weights in the user's units. It is the data with what is asked of them: `x`, `y`,
    `weights`, and `complete`, that no cell is missing, as far as is known, and `labelled`, that no label is.
    """

    prior: Any = None
    blend: Array | None = None
    draws: Draws | None = None
    units: Units | None = None

    @property
    def weight(self) -> Array:
        """Sum of the weights of all rows."""
        return kernels.shards.total(self.weights.sum())

    @property
    def strength(self) -> Array:
        """Strength of the ridge penalty of a discriminative model; 0 for other priors."""
        return self.prior.strength if isinstance(self.prior, Ridge) else jnp.zeros(())

    def row_values(self, model: Any, x: Any, y: Array) -> Array:
        """Objective (n,) of rows, unweighted: 0 of p(y | x) where a label is unknown, plus what is learnt beside it."""
        draws = self.draws and self.draws._replace(key=kernels.shards.own_key(self.draws.key))
        model = self.shown_to(with_draws(model, draws))
        if is_contrastive(model):
            return contrast(model, x, y)
        if self.blend is None and self.labelled and model.generative:
            return model.joint_at(x, y)
        potentials = model.potentials(x)
        joint = potentials.score(y, self.labelled)
        if self.blend is None and model.generative:
            return joint
        evidence = potentials.log_partition()
        if self.blend is None:
            return joint - evidence + model.auxiliary(x)
        return joint - (1 - self.blend) * evidence

    def penalty(self, model: Any) -> Array:
        """Log prior of a generative model, minus strength / 2 |w|^2 of a discriminative one."""
        if model.generative:
            return model.log_prior(self.prior)
        model = model if self.units is None else moved_back(model, self.units)
        # Before they are squared: those of columns in units of 1e-20 have squares that are no number, nor 0 times it.
        root = jnp.sqrt(self.strength)
        return -0.5 * jax.tree.map(lambda w: jnp.where(jnp.isfinite(w), root * w, w), model).penalty()

    @staticmethod
    def linear(model: Any) -> bool:
        """Dispatch: True if there are kernels for the derivatives: of discriminative models with linear scores."""
        return not model.generative and model.linear

    def value_and_grad(self, model: Any) -> tuple[Array, Any]:
        """Objective in nats and its gradient, a pytree like the model."""
        if not self.linear(model):
            return self.objective(model, jax.value_and_grad)
        rows = kernels.shards.total(model.gradient(self.x, self.y, self.weights))
        return jax.tree.map(jnp.add, rows, jax.value_and_grad(self.penalty)(model))

    def derivatives(self, vector: Array, unravel: Any) -> tuple[Array, Array]:
        """Gradient (p,) and Hessian (p, p) of the objective by a vector (p,), of which `unravel` makes a model."""
        model = unravel(vector)
        if self.linear(model):
            curvature = kernels.shards.total(model.curvature(self.x, self.y, self.weights))
            hessian = self._penalty_hessian(model, vector, unravel) - curvature
            return ravel_pytree(self.value_and_grad(model)[1])[0], hessian

        def of_vector(fn):
            flat = lambda v: fn(unravel(v))  # noqa: E731
            return lambda m: (jax.grad(flat)(ravel_pytree(m)[0]), jax.hessian(flat)(ravel_pytree(m)[0]))

        return self.objective(model, of_vector, row_cost=vector.size * model.num_labels)

    def _penalty_hessian(self, model, vector, unravel):
        """Hessian (p, p) of the log prior, as a function of a vector of parameters.

        Diagonal, as that of squares of weights, unless columns were moved and a scorer has weights of their products,
        which moving mixes.
        """
        if not self.mixes(model):
            return -jnp.diag(self.penalty_curvature(vector, unravel))
        return jax.hessian(lambda v: self.penalty(unravel(v)))(vector)

    def mixes(self, model: Any) -> bool:
        """Whether the penalty mixes parameters of the fit: a ridge, columns with units, no `Linear` scorer or a turn.

        The ridge is of weights in the user's units. Of a scorer with weights of products of columns, one of lower
        degree is a sum of several weights of the centred columns; of turned columns each is a sum of several.
        """
        moves = self.units is not None and (self.units.turn is not None or not isinstance(model.scorer, Linear))
        return moves and isinstance(self.prior, Ridge)

    def penalty_curvature(self, vector: Array, unravel: Any) -> Array:
        """Hessian diagonal of minus the penalty: exact where the penalty is quadratic and mixes no parameters.

        Elsewhere s * (g(s) - g(0)), g the gradient of minus the penalty and s fixed random signs: a rough size only. Of
        `vector` only the size and dtype count, not the values.
        """
        signs = jnp.asarray(np.random.default_rng(0).choice([-1.0, 1.0], vector.size), vector.dtype)
        slope = jax.grad(lambda v: -self.penalty(unravel(v)))
        return signs * (slope(signs) - slope(jnp.zeros_like(vector)))

    def objective(self, model: Any, derivative: Any = lambda f: f, row_cost: int | None = None) -> Any:
        """Objective in nats, summed over blocks of rows, or what `derivative` makes of it as a function of the model.

        `derivative` takes a function of the model and gives another, whose results add over rows, such as
        `jax.value_and_grad`.
        """

        def block(x, y, weights):
            def value(m):
                return kernels.pairwise_sum(jnp.where(weights > 0, weights * self.row_values(m, x, y), 0))

            return derivative(value)(model)

        cost = model.row_cost * num_steps(self.x) if row_cost is None else row_cost
        fill = (0, -1, 0)
        rows = kernels.shards.total(kernels.sum_rows(block, self.x, self.y, self.weights, fill=fill, row_cost=cost))
        return jax.tree.map(jnp.add, rows, derivative(self.penalty)(model))


def is_concave(model: Any) -> bool:
    """Whether the log-likelihood is concave: the scores are linear in the parameters."""
    if not isinstance(model, Logistic | LinearChainCRF):
        return False
    scorers = model.scorer.scorers if isinstance(model.scorer, ColumnScorers) else (model.scorer,)
    return all(isinstance(own, Linear | LogLinear | CategoryWeights | DiagonalQuadratic | Quadratic) for own in scorers)


def has_networks(model: Any) -> bool:
    """Whether a part of a model is a neural network: of a neural scorer, or of an autoencoder."""
    neural = lambda node: isinstance(node, Neural)  # noqa: E731
    return has_draws(model) or any(map(neural, jax.tree.leaves(model, is_leaf=neural)))


def counted(x: Any, y: AnyArray, weights: AnyArray) -> tuple[Any, AnyArray]:
    """Masking of rows of weight 0: rows x and labels y, such rows replaced by the first that counts.

    Their infinities would reach the gradient as NaN. Zero-copy rows stay as they are.
    """
    if kernels.shards.is_part(weights):
        if is_sharded(weights) and extremes(weights)[0] > 0:  # a copy of the rows is saved
            return x, y
        return _counted_of_shards(x, y, weights)
    counts = weights > 0
    if isinstance(x, kernels.ZeroCopyRows | SparseRows) or (is_concrete(counts) and np.asarray(counts).all()):
        return x, y

    def first_where_none(leaf):
        xp = np if isinstance(leaf, np.ndarray) and isinstance(counts, np.ndarray) else jnp
        return xp.where(counts.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, leaf[counts.argmax()])

    return jax.tree.map(first_where_none, (x, y))


@functools.partial(kernels.compiled_once, results=kernels.shards.ROWS)
def _counted_of_shards(x, y, weights):
    """What `counted` gives, of sharded rows: the first row that counts is that of the first shard that has one."""
    shards, counts = kernels.shards, weights > 0
    n = len(weights)
    own = jnp.where(counts.any(), shards.row_numbers(n)[counts.argmax()], shards.number(n))
    row = shards.least(own)[None]
    first = shards.picked((x, y), row // n, row % n)

    def or_first(leaf, other):
        return jnp.where(counts.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, other)

    return jax.tree.map(or_first, (x, y), first)


class Frame(NamedTuple):
    """Coordinates of a fit: the parameters are those of `model` + F v at coordinates v, F the `whitener`.

    So a curvature with the inverse F F^T is the identity. F is (p, p), its diagonal (p,), or what all labels' weights
    have in common (1, d, d), where a scorer's weights are the last of the parameters; where it is None, v are the
    parameters themselves. `units` are those of the model, where the rows are in the user's; `away` are those of both,
    where the rows were moved too.
    """

    model: Any
    whitener: Array | None = None
    units: Units | None = None
    away: Units | None = None

    def coordinates(self) -> tuple[Array, Any]:
        """Coordinates (p,) of the frame's model, and the function from coordinates to a model.

        Parameters at minus infinity, structural zeros, stay.
        """
        vector, unravel = ravel_pytree(self.model)
        free = jnp.isfinite(vector)
        plain = jnp.where(free, vector, 0)

        def back(parameters):
            model = unravel(jnp.where(free, parameters, vector))
            return model if self.units is None else moved_back(model, self.units)

        if self.whitener is None:
            return plain, back
        return jnp.zeros_like(plain), lambda v: back(plain + self.spread(v))

    def spread(self, v: Array) -> Array:
        """Change of the parameters F v (p,) for a change v (p,) of the coordinates."""
        F = self.whitener
        if F is None:
            return v
        if F.ndim < 3:
            return F * v if F.ndim == 1 else F @ v
        d, own = F.shape[-1], self.model.scorer.weight.size
        return jnp.concatenate([v[:-own], (v[-own:].reshape(-1, d) @ F[0].T).reshape(-1)])

    def inner_at(self, vector: Array, strength: Array) -> Any:
        """Model in the units of the frame at coordinates (p,), weights less what is common to all classes.

        A ridge has that at 0; beside the curvature of many rows it has next to none, and no step would move it there.
        """
        return sum_to_zero(self._replace(units=None).coordinates()[1](vector), strength)

    @kernels.compiled_once
    def model_at(self, vector: Array, strength: Array) -> Any:
        """Model in the user's units at coordinates (p,), with a ridge prior of this strength, or 0."""
        model, units = self.inner_at(vector, strength), self.away if self.units is None else self.units
        return model if units is None else moved_back(model, units)


def make_loss(problem: Problem, unravel: Any, scale: Array | None = None) -> Any:
    """Loss, minus the objective for each unit of weight, as a function of a vector of which `unravel` makes a model.

    Its gradient is summed over blocks of rows, so that its memory stays flat too. In place of a vector, any pytree that
    `unravel` takes; `scale` in place of 1 / sum of weights.
    """
    scale = jnp.asarray(1 / problem.weight if scale is None else scale)

    @jax.custom_vjp
    def loss(vector):
        model = unravel(vector)
        return -scale * (problem.value_and_grad(model)[0] if problem.linear(model) else problem.objective(model))

    def forward(vector):
        model, pull = jax.vjp(unravel, vector)
        value, grad = problem.value_and_grad(model)
        return -scale * value, jax.tree.map(lambda leaf: -scale * leaf, pull(grad)[0])

    loss.defvjp(forward, lambda grad, cotangent: (jax.tree.map(lambda leaf: cotangent * leaf, grad),))
    return loss


def as_number(value: Any, dtype: Any) -> Array:
    """Array of a number in a precision, made on the host, without a compilation."""
    return value.astype(dtype) if isinstance(value, Array) else jax.device_put(np.asarray(value, dtype))


def tolerance(tol: Any, problem: Problem) -> AnyArray:
    """Tolerance as an array in the problem's precision; NumPy's until a program takes it."""
    dtype = problem.weights.dtype
    return tol.astype(dtype) if isinstance(tol, Array) else np.asarray(tol, dtype)
