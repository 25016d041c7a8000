"""What every method of learning is: four parts, which `fit` calls in this order, and how a fit ended.

    method.check(model, problem)                       raises where the method is not for such a model or such rows
    state = method.init(model, problem, trace)         before the first step
    state = method.advance(problem, state, until)      steps, as far as step `until` or the end; called again and again
    outcome, fitted = method.result(problem, state)    the model, and what there is to say of the way to it

A state has `step`, how many steps there were, `converged`, whether there is no going on, and `trace`, the objective
after each step so far.
"""

import abc
from typing import Any, NamedTuple

from jax import Array


class Outcome(NamedTuple):
    """How a fit ended: the objective in nats, that after each step, how many steps there were, whether they led to a
    maximum, the objective of held-out rows after each epoch, and a warning where the fit is short of a maximum.
    """

    value: Array
    trace: Array
    step: Array
    converged: Array
    validation: Array | None = None
    warning: str | None = None


class Method(abc.ABC):
    """How `fit` climbs an objective, from a start to a maximum: `init`, `advance` and `result`, after a `check`.

    A method is a frozen dataclass of its options. `problem` is the objective: rows, labels, weights and prior, with
    `problem.objective(model)` and `problem.value_and_grad(model)` in nats.
    """

    @property
    def tolerance(self) -> Any:
        """Nats for each row that a step must promise to gain to be taken; 0 where only `max_steps` ends a fit."""
        return getattr(self, "tol", 0.0)

    def check(self, model: Any, problem: Any) -> None:
        """Raises ValueError where this method is not for such a model, or such rows."""
        del model, problem

    @abc.abstractmethod
    def init(self, model: Any, problem: Any, trace: Array) -> Any:
        """The state before the first step; `trace` has room for the objectives of all steps."""

    @abc.abstractmethod
    def advance(self, problem: Any, state: Any, until: Array) -> Any:
        """The state after step `until`, or where the fit ended before."""

    @abc.abstractmethod
    def result(self, problem: Any, state: Any) -> tuple[Outcome, Any]:
        """How the fit ended, and the model that it led to."""

    def advance_each(self, problem: Any, states: list[Any], until: Array) -> list[Any]:
        """The states of several starts, each advanced as `advance` does it."""
        return [self.advance(problem, state, until) for state in states]

    def checkpointer(self, model: Any, problem: Any) -> Any:
        """What keeps the state on disk while the fit runs; None where nothing does."""
        del model, problem
