"""The walks of docs/architecture.md, beside the functions that real calls pass through."""

import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from laws import slow
from markdown_examples import ROOT

import dgjax as dg

X = np.random.default_rng(0).normal(size=(90_000, 3))
Y = np.arange(len(X)) % 2
SEQUENCES = X[:60].reshape(4, 15, 3)
WALKS = {
    "`naive_bayes(x, y)`": lambda: dg.naive_bayes(X, Y),
    "`fit` of a mixture": lambda: dg.fit(dg.gaussian_mixture(jax.random.key(0), X[:50], 2), X[:50], max_steps=2),
    "`log_prob` of a hidden Markov model": lambda: dg.log_prob(
        dg.hidden_markov(jax.random.key(0), SEQUENCES, 2), SEQUENCES
    ),
}


def stops_of(walk):
    page = (ROOT / "docs" / "architecture.md").read_text().split(f"### {walk}")[1].split("##")[0]
    return re.findall(r"^\| \d \| `(?:dgjax_kernels/)?([^`]+)` \| `(\w+)`", page, re.MULTILINE)


@pytest.mark.filterwarnings("ignore::dgjax.ConvergenceWarning")
@pytest.mark.parametrize("walk", [next(iter(WALKS)), *slow(*list(WALKS)[1:])])
def test_a_walk_is_the_way_of_the_call(walk):
    jax.clear_caches()  # what is compiled already passes through nothing
    passed = []

    def seen(frame, event, argument):
        if event == "call":
            passed.append((Path(frame.f_code.co_filename), frame.f_code.co_name))

    sys.setprofile(seen)
    try:
        WALKS[walk]()
    finally:
        sys.setprofile(None)
    stops, rest = stops_of(walk), iter(passed)
    assert 4 <= len(stops) <= 7
    for file, function in stops:
        found = any(str(path).endswith(f"/{file}") and name == function for path, name in rest)
        assert found, f"{file} {function} is not passed after the stops before it"
