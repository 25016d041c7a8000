"""A fit that is stopped goes on to the same result; what is not that fit, or no checkpoint, is refused by name."""

import functools
import os
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from laws import assert_same_tree

import dgjax as dg
from dgjax._digest import digest
from dgjax.learning import _checkpoint

X = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
Y = np.arange(64) % 2
START = dg.Mixture(np.log([0.5, 0.5]), dg.DiagonalGaussian(np.zeros((2, 2)), np.zeros((2, 1))))
ADAM = optax.adam(0.1)
OF_METHOD = {"optimizer": ADAM, "batch_size": 16, "key": jax.random.key(0)}


OF_FIT = "prior", "blend", "weights"


def learnt(folder=None, model=START, x=X, y=Y, method=None, max_steps=30, **options):
    of_fit = {name: options.pop(name) for name in OF_FIT if name in options}
    method = dg.Optax(**{**OF_METHOD, **options}) if method is None else method
    return dg.fit(model, x, y, method, max_steps=max_steps, checkpoint=folder, **of_fit)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder with twenty steps in it."""
    folder = tmp_path_factory.mktemp("kept") / "new" / "fit"
    learnt(folder, max_steps=20)
    return folder


def test_going_on_is_as_if_there_had_been_no_stop(kept):
    file = kept / "fit.safetensors"
    before = file.read_bytes()
    once, resumed = learnt(), learnt(kept)
    assert_same_tree(resumed.model, once.model, 0)
    assert (resumed.objective[:-1][:19] == once.objective[:19]).all()
    assert resumed.num_steps == 30
    assert [one.name for one in kept.iterdir()] == ["fit.safetensors"]
    with pytest.raises(ValueError, match=r"30 steps of this fit, and max_steps is 20.*max_steps=30 or more"):
        learnt(kept, max_steps=20)
    file.write_bytes(before)


OTHER = {
    "x": {"x": X + 50},
    "x, y, weights": {"x": X[:40], "y": Y[:40]},
    "y": {"y": 1 - Y},
    "weights": {"weights": 1 + np.arange(64.0)},
    "start": {"model": dg.Mixture(np.log([0.25, 0.75]), START.density)},
    "prior": {"prior": "weak"},
    "optimizer": {"optimizer": optax.adam(0.2)},
    "batch_size": {"batch_size": 8},
    "key": {"key": jax.random.key(1)},
    "validation": {"validation": 0.25},
    "blend": {"blend": 0.5},
    "validation, patience": {"validation": 0.25, "patience": 3},
    "method": {"method": dg.EM()},
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if "validation" in n else n for n in OTHER])
def test_another_fit_is_refused_by_what_differs(kept, name):
    with pytest.raises(ValueError, match=f"holds a fit of other {name}: .*Type the path of a new folder"):
        learnt(kept, **OTHER[name])


@pytest.mark.slow
def test_another_precision_is_refused(kept):
    with jax.enable_x64(True), pytest.raises(ValueError, match="holds a fit of other "):
        learnt(kept, x=X.astype(float))


def test_another_version_is_refused(kept, monkeypatch):
    monkeypatch.setattr(_checkpoint, "version", lambda name: "0.0.1")
    with pytest.raises(ValueError, match=r"of other versions \(.*; here dgjax 0\.0\.1, jax 0\.0\.1, .*\)"):
        learnt(kept)


def test_a_new_folder_is_what_the_error_says(kept, tmp_path):
    assert learnt(tmp_path / "new", x=X + 50, max_steps=20).num_steps == 20
    with pytest.raises(ValueError, match="of other x: "):
        learnt(tmp_path / "new")


def damaged(how):
    def make(kept, path):
        path.mkdir()
        data = bytearray((kept / "fit.safetensors").read_bytes())
        data[len(data) - 3] ^= how == "flipped"
        (path / "fit.safetensors").write_bytes(data[: 1000 if how == "cut" else None])

    return make


def a_model(_, path):
    path.mkdir()
    dg.save(path / "fit.safetensors", START)


BAD = {
    "a file": (lambda _, path: path.write_text("a"), NotADirectoryError, "is a file"),
    "a pipe": (lambda _, path: os.mkfifo(path), NotADirectoryError, "is a pipe"),
    "below a file": (lambda _, path: path.parent.write_text("a"), OSError, "Not a directory"),
    "with other things": (lambda _, path: (path / "a").mkdir(parents=True), ValueError, "holds a, which is none"),
    "truncated": (damaged("cut"), ValueError, "truncated"),
    "changed": (damaged("flipped"), ValueError, "damaged"),
    "a model": (a_model, ValueError, "no dgjax.checkpoint header"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_checkpoint_is_refused_at_once(kept, tmp_path, name):
    make, error, words = BAD[name]
    path = tmp_path / "folder" / "fit" if name == "below a file" else tmp_path / "fit"
    make(kept, path)
    threads = threading.active_count()
    with pytest.raises(error, match=words) as caught:
        learnt(path)
    assert str(path) in str(caught.value)
    assert "Type the path of a new folder" in str(caught.value)
    assert threading.active_count() == threads


def test_an_empty_folder_will_do(tmp_path):
    assert learnt(tmp_path, max_steps=20).num_steps == 20
    assert [one.name for one in tmp_path.iterdir()] == ["fit.safetensors"]


def test_fits_inside_jit_are_not_kept(tmp_path):
    with pytest.raises(ValueError, match="not inside jit"):
        jax.jit(lambda x: learnt(tmp_path / "fit", x=x).model)(X)
    assert not list(tmp_path.iterdir())


def decays(rate):
    return lambda step: rate / (1 + step)


ARRAY = np.arange(6.0).reshape(2, 3)
DIFFERENT = {
    "numbers": (0.1, 0.2, 1, "1", None, (1,), ((1,), 1), [1]),
    "arrays": (ARRAY, ARRAY.T, ARRAY.astype(np.float32), ARRAY.reshape(3, 2), ARRAY[:, ::-1]),
    "keys": (jax.random.key(0), jax.random.key(1)),
    "models": (START, START.density, dg.Poisson(ARRAY), dg.Bernoulli(ARRAY)),
    "functions": (decays(0.1), decays(0.2), lambda step: 0.1 / (1 + step), lambda step: 0.1 / (2 + step), jnp.sin),
    "partial": (functools.partial(decays, 0.1), functools.partial(decays, 0.2), jax.jit(decays)),
    "optimizers": (ADAM, optax.adam(0.2), optax.adam(0.1, b1=0.8), optax.sgd(0.1), optax.sgd(decays(0.1))),
    "dictionaries": ({"a": 1, "b": 2}, {"a": 2, "b": 1}, {1, 2}, {1, 3}),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_digests_tell_what_differs(name):
    assert len({digest(value) for value in DIFFERENT[name]}) == len(DIFFERENT[name])


def test_digests_of_one_thing_are_one():
    assert digest(optax.adam(0.1)) == digest(ADAM)
    assert digest(optax.sgd(decays(0.1))) == digest(optax.sgd(decays(0.1)))
    assert digest(ARRAY) == digest(np.asfortranarray(ARRAY)) == digest(ARRAY[::-1][::-1])
    assert digest(np.int64(16)) == digest(16)
    loop = []
    loop.append(loop)
    assert len(digest(loop)) == 64
