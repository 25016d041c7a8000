"""Learning: `fit`, and one file for each method (EM, Newton, L-BFGS, optax, restarts).

A method is a frozen object with four parts, `check`, `init`, `advance` and `result` (see `Method`). `fit` checks the
data once, makes a `Problem` of it, and runs the method on it. A new method is one new class: no other file changes.
"""

from dgjax.learning._components import in_component_class as in_component_class
from dgjax.learning._descent import Diverged as Diverged
from dgjax.learning._em import EM as EM
from dgjax.learning._fit import Fit as Fit, closed_form as closed_form, fit as fit, problem_of as problem_of
from dgjax.learning._lbfgs import LBFGS as LBFGS
from dgjax.learning._method import Method as Method, Outcome as Outcome
from dgjax.learning._newton import Newton as Newton
from dgjax.learning._objective import Problem as Problem, has_networks as has_networks
from dgjax.learning._optax import Optax as Optax
from dgjax.learning._progress import Interrupted as Interrupted
from dgjax.learning._restarts import Restarts as Restarts, restarted as restarted
from dgjax.learning._stepwise import Averaged as Averaged, update as update
from dgjax.learning._streamed import in_precision as in_precision, moments as moments
