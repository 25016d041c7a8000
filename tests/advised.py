"""What errors are about, and how what they advise is read out of them."""

import re

import numpy as np

import dgjax as dg

X = np.random.default_rng(0).normal(size=(6, 2))
Y = np.array([0, 1] * 3)
ROWS = dg.Mixture(np.zeros(2), dg.DiagonalGaussian(np.zeros((2, 2)), np.zeros((2, 2))))
CHAIN = dg.HiddenMarkov(np.zeros(2), np.zeros((2, 2)), ROWS.density)


def bayes(x=X, y=Y, **options):
    return dg.naive_bayes(x, y, prior="weak", **options)


ENDS = r"\.$|\. |, or |, and |, for |, where |, with |, then | to number | if they | if those | for counts| where the "
TYPED = re.compile(rf"(?:\b[Tt]ype|values.* with) (.+?)(?:{ENDS})")


def typed(message):
    found = TYPED.search(message)
    assert found, message
    return found[1]
