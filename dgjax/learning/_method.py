"""Contract of a learning method: four parts, which `fit` calls in this order.

    method.check(model, problem)                       raises where the method is not for such a model or such rows
    state = method.init(model, problem, trace)         before the first step
    state = method.advance(problem, state, until)      steps, as far as step `until` or the end; called again and again
    outcome, fitted = method.result(problem, state)    how the fit ended, and the fitted model

A state has `step`, the number of steps taken, `converged`, True if no step follows, and `trace`, the objective after
each step so far. A checkpoint has what `kept(state)` gives, and `restored(problem, state, parts)` puts it back.
"""

import abc
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from dgjax._arguments import AnyArray
from dgjax._digest import host_array


class Outcome(NamedTuple):
    """How a fit ended: `value` is the objective in nats, `trace` that after each step, `step` the number of steps.

    `converged` is True at a maximum. `validation` is the objective of held-out rows after each epoch, `warning` a
    message where the fit ended short of a maximum.
    """

    value: Array
    trace: Array
    step: Array
    converged: Array
    validation: Array | None = None
    warning: str | None = None


class Method(abc.ABC):
    """Learning method: an abstract base class of what `fit` calls, `check`, `init`, `advance` and `result`.

    A method is a frozen dataclass of its options. `problem` is the objective, made of rows, labels, weights and prior,
    with `problem.objective(model)` and `problem.value_and_grad(model)` in nats. If `pads`, rows of weight 0 may follow
    those given to `fit`, so that few programs serve all numbers of rows; a method that draws single rows says False.
    `passes` over the rows are what a step takes, infinity where shapes do not say how long that is.
    """

    pads: ClassVar[bool] = True
    passes: ClassVar[float] = 1.0

    @property
    def tolerance(self) -> Any:
        """Stopping tolerance: nats for each row below which a step's gain ends the fit; 0 if only `max_steps` does."""
        return getattr(self, "tol", 0.0)

    def check(self, model: Any, problem: Any) -> None:
        """Raises ValueError if this method is not for such a model, or for such rows."""
        del model, problem

    @abc.abstractmethod
    def init(self, model: Any, problem: Any, trace: Array) -> Any:
        """State before the first step; `trace` is an array with a place for the objective of each step."""

    @abc.abstractmethod
    def advance(self, problem: Any, state: Any, until: AnyArray) -> Any:
        """State after step `until`, or after the last step if the fit ended before."""

    @abc.abstractmethod
    def result(self, problem: Any, state: Any) -> tuple[Outcome, Any]:
        """Outcome of the fit, and the fitted model."""

    def advance_each(self, problem: Any, states: list[Any], until: AnyArray) -> list[Any]:
        """States of fits from several starts, each advanced to step `until` or to its end."""
        return [self.advance(problem, state, until) for state in states]

    def kept(self, state: Any) -> list[Any] | None:
        """What a checkpoint keeps of a state: pytrees of arrays that change as the fit runs; None to keep nothing."""
        return [state]

    def restored(self, problem: Any, state: Any, parts: list[list[np.ndarray]]) -> Any:
        """The state that was kept: the one before the first step with the leaves of those pytrees put back.

        Raises OtherShapes where they do not fit.
        """
        del problem
        return filled(state, parts[0])


class OtherShapes(ValueError):
    """Error: saved arrays have other shapes than the state that they are to replace."""


def filled(tree: Any, leaves: list[np.ndarray]) -> Any:
    """A pytree with saved arrays in place of its leaves; raises OtherShapes where they do not fit.

    An array of one axis may have had another length, for that of a trace depends on `max_steps`.
    """
    old, structure = jax.tree.flatten(tree)
    if len(leaves) != len(old) or not all(map(_fits, leaves, old)):
        raise OtherShapes
    with jax.enable_x64(True):  # Newton's steps may be in float64
        return jax.tree.unflatten(structure, list(map(_into, leaves, old)))


def _fits(found, leaf):
    on_device = isinstance(leaf, jax.Array)
    leaf = host_array(leaf) if on_device else leaf
    dtype = leaf.dtype if on_device else jax.dtypes.canonicalize_dtype(leaf.dtype)  # what a program makes of it
    return found.dtype == dtype and (found.shape == leaf.shape or found.ndim == len(leaf.shape) == 1)


def _into(found, leaf):
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(found), impl=jax.random.key_impl(leaf))
    if found.shape != leaf.shape:
        whole, room = np.array(leaf), min(len(found), len(leaf))
        whole[:room] = found[:room]
        found = whole
    return jax.device_put(found)
