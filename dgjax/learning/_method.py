"""Contract of a learning method: four parts, which `fit` calls in this order.

    method.check(model, problem)                       raises where the method is not for such a model or such rows
    state = method.init(model, problem, trace)         before the first step
    state = method.advance(problem, state, until)      steps, as far as step `until` or the end; called again and again
    outcome, fitted = method.result(problem, state)    how the fit ended, and the fitted model

A state has `step`, the number of steps taken, `converged`, True if no step follows, and `trace`, the objective after
each step so far.
"""

import abc
from typing import Any, ClassVar, NamedTuple

from jax import Array

from dgjax._arguments import AnyArray


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
    """

    pads: ClassVar[bool] = True

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

    def checkpointer(self, model: Any, problem: Any) -> Any:
        """Object that saves the state to disk while the fit runs; None if nothing is saved."""
        del model, problem
