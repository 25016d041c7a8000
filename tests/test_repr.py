"""What a model prints: its parts and fields, arrays by dtype and shape."""

import jax
import jax.numpy as jnp
import numpy as np

import dgjax as dg

NORMAL = dg.Gaussian(np.zeros((3, 4)), np.stack([np.eye(4)] * 3))
MODEL = dg.Mixture(np.zeros(3), NORMAL)
SHOWN = """Mixture(
    log_weights: float32[3],
    density: Gaussian(mean: float32[3,4], scale_tril: float32[3,4,4]),
)"""


def test_a_model_is_shown_by_the_shapes_of_its_fields():
    assert repr(NORMAL) == "Gaussian(mean: float32[3,4], scale_tril: float32[3,4,4])"
    assert repr(MODEL) == SHOWN
    assert repr(dg.priors.Ridge(0.25)) == "Ridge(strength: 0.25)"
    mixed = dg.Columns((dg.Poisson(np.zeros((2, 1))), dg.Bernoulli(np.zeros((2, 2)))), ((1,), (0, 2)))
    assert "blocks: (Poisson(log_rate: float32[2,1]), Bernoulli(logits: float32[2,2]))" in repr(mixed)
    assert "columns=((1,), (0, 2))" in repr(mixed)
    assert max(map(len, repr(dg.neural_classifier(jax.random.key(0), 4, 3)).splitlines())) < 100


def test_a_fit_is_shown_with_its_model_indented():
    lines = repr(dg.Fit(MODEL, jnp.zeros(7), True, 7)).splitlines()
    assert lines[:3] == ["Fit(", "    model: Mixture(", "        log_weights: float32[3],"]
    assert "    objective: float32[7]," in lines
    assert "    converged: True," in lines


def test_a_model_is_shown_inside_of_transformations():
    seen = []
    jax.jit(lambda model: seen.append(repr(model)))(MODEL)
    jax.vmap(lambda prior: seen.append(repr(prior)))(dg.priors.Ridge(np.ones(2)))
    assert seen == [SHOWN, "Ridge(strength: float32[])"]
    assert repr(jax.tree.map(lambda leaf: None, NORMAL)) == "Gaussian(mean: None, scale_tril: None)"


def test_a_class_may_show_itself():
    @dg.dataclass
    class Own:
        a: jax.Array

        def __repr__(self):
            return "mine"

    assert repr(Own(np.zeros(2))) == "mine"
