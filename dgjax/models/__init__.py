"""Models that are not densities: they know p(y | x) only."""

from dgjax.models._logistic import Logistic as Logistic
from dgjax.models._marginalized import Marginalized as Marginalized
