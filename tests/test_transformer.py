"""Transformers: a plain one in loops, what a mask hides, places, labels, dropout, and every platform."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import transformer_oracle
from laws import assert_close, slow
from test_lowering import lower

import dgjax as dg
import dgjax_kernels as kernels

T, F, K = 5, 3, 2
KEY = jax.random.key(0)
CAUSAL = jnp.asarray(np.tril(np.ones((T, T), bool)))
pytestmark = pytest.mark.xdist_group("networks")


def network(num_outputs: int | None = 4, **options):
    return dg.Transformer.start(KEY, F, num_outputs, width=8, num_layers=2, num_heads=2, **options)


def tokens(n=2, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, T, F)))


KINDS = {
    "causal": ({}, CAUSAL),
    "rotary": ({"rotary": True, "activation": "silu"}, None),
    "labels and places": ({"num_classes": K, "num_positions": T + 1}, CAUSAL),
}


@pytest.mark.parametrize("kind", ["rotary", *slow("causal", "labels and places")])
def test_outputs_are_those_of_loops(kind, x64):
    options, mask = KINDS[kind]
    own, x = network(**options), tokens()
    own = jax.tree.map(lambda leaf: leaf.astype(float), own)
    y = jnp.eye(K)[:, None] if own.offset is not None else None
    expected = [transformer_oracle.outputs(own, row, None if y is None else y[i, 0], mask) for i, row in enumerate(x)]
    assert_close(jax.jit(lambda own, x: own(x, y, mask))(own, x), np.stack(expected))


@pytest.mark.slow
def test_tied_outputs_are_products_with_the_rows_of_tokens(x64):
    own = jax.tree.map(lambda leaf: leaf.astype(float), network(None))
    numbers = jnp.array([[0, 2, 1, 1, 0]])
    assert_close(own(numbers)[0], transformer_oracle.outputs(own, numbers[0]))
    assert_close(own(numbers), own(jax.nn.one_hot(numbers, F)))
    assert_close(own(numbers), own.features(numbers) @ own.embedding.T)


def test_what_a_mask_hides_has_no_gradient():
    """Of the causal mask the future; of any mask what it does not show, by whatever way through the layers."""
    own, x = network(), tokens(1)[0]
    slope = jax.jit(jax.jacobian(lambda x, mask: own(x, None, mask)))
    chosen = jnp.eye(T, dtype=bool).at[3, 1].set(True)
    for mask in (CAUSAL, chosen):
        assert ((np.abs(slope(x, mask)).sum((1, 3)) > 0) == mask).all()


@pytest.mark.slow
def test_a_query_that_sees_no_key_is_0():
    q, k, v = (tokens(seed=seed)[..., None, :] for seed in range(3))
    mask = CAUSAL & (jnp.arange(T) != 2)[:, None]
    of_keys = jax.grad(lambda k: (kernels.attention(q, k, v, mask)[:, 2] ** 2).sum())(k)
    assert (np.asarray(kernels.attention(q, k, v, mask))[:, 2] == 0).all()
    assert (np.asarray(of_keys) == 0).all()


@pytest.mark.slow
def test_attention_is_that_of_jax():
    q, k, v = (tokens(seed=seed)[..., None, :] for seed in range(3))
    for mask in (jnp.ones((T, T), bool), CAUSAL):
        expected = jax.nn.dot_product_attention(q, k, v, mask=mask[None, None])
        assert_close(kernels.attention(q, k, v, mask), expected)


@pytest.mark.slow
def test_dropout_leaves_out_a_share_and_keeps_the_mean():
    own = network(dropout=0.25)
    x = tokens()
    assert_close(own(x), dataclasses.replace(own, dropout=0.0)(x), 0)
    from dgjax.networks._transformer import _dropped

    left = np.asarray(_dropped(jnp.ones((400, 100)), 0.25, KEY))
    assert abs((left == 0).mean() - 0.25) < 0.01
    assert abs(left.mean() - 1) < 0.01
    assert (own(x, None, None, KEY) != own(x)).any()


@pytest.mark.slow
def test_it_lowers_for_every_platform():
    own, x = network(), tokens()
    lower(jax.grad(lambda own: own(x, None, CAUSAL).sum()), own)


WRONG = {
    "heads": (lambda own: dataclasses.replace(own, num_heads=3), "num_heads must divide the width"),
    "odd heads": (lambda own: dataclasses.replace(own, num_heads=8, rotary=True), "of an even size"),
    "activation": (lambda own: dataclasses.replace(own, activation="gelu"), 'must be "squared_relu" or "silu"'),
    "places": (lambda own: dataclasses.replace(own, positions=jnp.ones((3, 8)))(tokens()), "at most 3 tokens"),
    "widths": (lambda own: dataclasses.replace(own, scale=jnp.ones(3)), "one width"),
}


def test_mistakes_are_named():
    own = network()
    for call, words in WRONG.values():
        with pytest.raises(ValueError, match=words):
            call(own)
