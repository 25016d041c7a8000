"""Networks of other libraries as encoders and decoders, and those that are provided."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from laws import assert_close

import dgjax as dg

D, M, N = 6, 2, 40
KEY = jax.random.key(0)
pytestmark = pytest.mark.xdist_group("networks")


def fitted(encoder, decoder):
    """A few steps of learning gain; every verb works."""
    model = dg.VariationalAutoencoder(encoder, decoder, dg.BernoulliCells(), D, M, num_samples=8)
    x = np.random.default_rng(0).integers(0, 2, (N, 1)) * np.ones((N, D))
    x[::5, 2] = np.nan
    fit = dg.fit(model, x, method=dg.Optax(optax.adam(3e-2), batch_size=20, key=KEY), max_steps=60)
    assert fit.objective[-1] > fit.objective[0]
    assert np.isfinite(dg.log_prob(fit.model, x)).all()
    assert not np.isnan(dg.impute(fit.model, x)).any()
    return fit.model


@pytest.mark.slow
def test_modules_of_flax(tmp_path):
    linen = pytest.importorskip("flax.linen")

    class Layers(linen.Module):
        size: int

        @linen.compact
        def __call__(self, x):
            return linen.Dense(self.size)(linen.gelu(linen.Dense(9)(x)))

    encoder, decoder = Layers(2 * M), Layers(D)
    model = fitted(
        dg.Network(encoder.init(KEY, jnp.zeros((1, D))), encoder.apply),
        dg.Network(decoder.init(KEY, jnp.zeros((1, M))), decoder.apply),
    )
    with pytest.raises(ValueError, match=r"parameters is dict.* @dgjax\.dataclass"):
        dg.save(tmp_path / "model", model)


@pytest.mark.slow
def test_modules_of_flax_nnx():
    nnx = pytest.importorskip("flax.nnx")

    class Layers(nnx.Module):
        def __init__(self, inputs, outputs, rngs):
            self.hidden, self.last = nnx.Linear(inputs, 9, rngs=rngs), nnx.Linear(9, outputs, rngs=rngs)

        def __call__(self, x):
            return self.last(nnx.gelu(self.hidden(x)))

    def network(inputs, outputs):
        graph, state = nnx.split(Layers(inputs, outputs, nnx.Rngs(0)))
        return dg.Network(state, lambda state, x: nnx.merge(graph, state)(x))

    fitted(network(D, 2 * M), network(M, D))


@pytest.mark.slow
def test_modules_of_equinox():
    equinox = pytest.importorskip("equinox")

    def network(inputs, outputs):
        arrays, rest = equinox.partition(equinox.nn.MLP(inputs, outputs, 9, 1, key=KEY), equinox.is_array)
        return dg.Network(arrays, lambda arrays, x: jax.vmap(equinox.combine(arrays, rest))(x))

    fitted(network(D, 2 * M), network(M, D))


@pytest.mark.slow
def test_plain_functions_with_labels():
    """A function of rows and labels, in both places: it sees every row with every label."""

    def apply(parameters, x, y):
        return jnp.tanh(x @ parameters["w"] + y @ parameters["v"])

    def network(inputs, outputs):
        rng = np.random.default_rng(inputs)
        return dg.Network(
            {"w": jnp.asarray(rng.normal(size=(inputs, outputs))), "v": jnp.asarray(rng.normal(size=(3, outputs)))},
            apply,
        )

    density = dg.VariationalAutoencoder(network(D, 2 * M), network(M, D), dg.BernoulliCells(), D, M, 3)
    model = dg.Mixture(np.zeros(3), density)
    x, y = dg.sample(model, KEY, N)
    assert_close(dg.predict_log_proba(model, x)[:2], dg.predict_log_proba(model, x[:2]), 1e-5)
    assert np.isfinite(dg.fit(model, x, y, method=dg.Optax(optax.adam(1e-2), key=KEY), max_steps=3).objective).all()


@pytest.mark.slow
def test_labels_within_the_first_layer_are_inputs_more():
    """Its offset is what a one-hot input would add, whatever shares of labels there are."""
    network = dg.MLP.start(KEY, (D, 5, 3), num_classes=4)
    weight = jnp.concatenate([network.weights[0], network.offset])
    wide = dg.MLP((weight, network.weights[1]), network.biases)
    x, y = jnp.linspace(-1, 1, 2 * D).reshape(2, D), jax.nn.softmax(jnp.arange(8.0).reshape(2, 4))
    assert_close(network(x, y), wide(jnp.concatenate([x, y], -1)), 1e-5)
    every = network(x[:, None], jnp.eye(4))
    assert every.shape == (2, 4, 3)
    assert_close(every[1, 2], network(x[1:], jnp.eye(4)[2:3])[0], 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("image", [(8, 8, 1), (7, 5, 2)])
def test_convolutions_halve_and_double(image):
    pixels = int(np.prod(image))
    encoder = dg.ConvolutionalEncoder.start(KEY, image, (3, 4), (9, 2 * M))
    decoder = dg.ConvolutionalDecoder.start(KEY, image, (4, 3), (M, 9))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, pixels)), jnp.float32)
    assert encoder(x).shape == (2, 3, 2 * M)
    assert_close(encoder(x)[1, 2], encoder(x[1, 2][None])[0], 1e-5)
    assert decoder(encoder(x)[..., :M]).shape == x.shape
    moved = encoder(x.at[0, 0, 0].add(1.0)) != encoder(x)
    assert moved[0, 0].any()
    assert not moved[0, 1].any()
