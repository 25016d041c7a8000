"""Explanations: what each column of a row contributes to a prediction, exactly, by Shapley values of the marginals."""

from dgjax.explaining._explain import explain as explain
from dgjax.explaining._explanation import Explanation as Explanation
