"""Models that are not densities of rows: logistic regression, hidden Markov models, linear-chain CRFs."""

from dgjax.models._discriminative import DiscriminativeModel as DiscriminativeModel
from dgjax.models._hidden_markov import HiddenMarkov as HiddenMarkov
from dgjax.models._linear_chain import LinearChainCRF as LinearChainCRF
from dgjax.models._logistic import Logistic as Logistic
from dgjax.models._marginalized import Marginalized as Marginalized
from dgjax.models._markov_chain import MarkovChain as MarkovChain
