"""Choice of the default method of a model: EM, Newton's method or L-BFGS."""

from typing import Any

from dgjax import _advice
from dgjax.learning._ascent import number_of_parameters
from dgjax.learning._em import EM
from dgjax.learning._lbfgs import LBFGS
from dgjax.learning._method import Method
from dgjax.learning._newton import Newton, sample_size
from dgjax.learning._objective import Problem
from dgjax.learning._optax import is_optimizer
from dgjax.models import Logistic
from dgjax.scorers import Linear

# Newton holds and factors a matrix of this many parameters squared; above it L-BFGS took less time on every shape, and
# with kernels for the derivatives above the second, or where there are too few rows for a sample.
NEWTON_LIMIT, LINEAR_NEWTON_LIMIT = 256, 1024


def usual(model: Any, n: int, blend: Any = None) -> Method:
    """Default method: EM for generative models, Newton's for few parameters, L-BFGS for many, chains and blends."""
    if model.generative and blend is None:
        return EM()
    return LBFGS() if model.generative or not _is_small(model, n) else Newton()


def _is_small(model, n):
    """Whether Newton's method is faster than L-BFGS: for few parameters, or more where a sample of rows is enough.

    Never for chains, whose Hessian takes as many passes as there are parameters.
    """
    if model.sequential:
        return False
    size = number_of_parameters(model)
    sampled = Problem.linear(model) and size <= LINEAR_NEWTON_LIMIT and sample_size(size, n) < n
    return size <= NEWTON_LIMIT or sampled


def reads_in_place(model: Any, x: Any, method: Method | None) -> bool:
    """Whether a fit can read zero-copy rows, as only gradients of all rows are needed.

    That is logistic regression by Newton's method on a sample of the rows.
    """
    if not (isinstance(model, Logistic) and isinstance(model.scorer, Linear) and hasattr(x, "__len__")):
        return False
    method = usual(model, len(x)) if method is None else method
    return isinstance(method, Newton) and sample_size(number_of_parameters(model), len(x)) < len(x)


def checked_method(method: Any) -> Method:
    """The method; raises ValueError with what to type for a name, an optimizer, a class or anything else."""
    if isinstance(method, Method):
        return method
    told = {"em": "EM()", "newton": "Newton()", "lbfgs": "LBFGS()"}.get(str(method).lower().replace("-", ""), "")
    if is_optimizer(method):
        told = "Optax(optimizer), and for minibatches dgjax.Optax(optimizer, batch_size=64, key=jax.random.key(0))"
    elif isinstance(method, type) and issubclass(method, Method):
        told = f"{method.__name__}(), with brackets"
    told = f"Type method=dgjax.{told}." if told else "Leave it out for the usual one."
    raise ValueError(
        f"method must be dgjax.EM(), Newton(), LBFGS(), Optax(optimizer), Restarts(num, key) or another "
        f"dgjax.learning.Method; got {_advice.shown(method)}. {told}"
    )
