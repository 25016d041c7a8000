"""Models on disk: what is saved loads, what is hostile is named, and files keep what they had."""

import copy
import json
import os
import random
import stat

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import assert_same_tree
from safetensors.numpy import save_file

import dgjax as dg
from dgjax import _archive, _serialize

POISSON = dg.Poisson(np.zeros((2, 3)))
QDA = dg.Mixture(np.log([0.25, 0.75]), dg.Gaussian(np.arange(4.0).reshape(2, 2), np.stack([np.eye(2)] * 2)))
LOGISTIC = dg.logistic_regression(3, 2)
COLUMNS = dg.Columns([POISSON, dg.Multinomial(np.zeros((2, 2)), total_count=4)], ((2, 0, 1), (3, 4)))


def described(model, folder):
    """The header and the arrays of a model's file."""
    dg.save(folder / "whole", model)
    return _archive.read(folder / "whole", _serialize.MODEL, lambda h: _serialize._arrays_of(h["model"], "model"))


def put(path, node, arrays):
    """A file whose checksum is right, whatever it describes."""
    _archive.write(path, _serialize.MODEL, {"model": node}, arrays)


def refused(path, error=ValueError):
    with pytest.raises(error) as caught:
        dg.load(path)
    assert path.name in str(caught.value)
    assert len(str(caught.value)) < 400
    return str(caught.value)


def loaded_or_refused(path):
    """The model, or None after an error that names the file."""
    try:
        return dg.load(path)
    except (ValueError, OSError) as error:
        if str(path) not in str(error):
            raise
    return None


@pytest.mark.parametrize("model", [QDA, COLUMNS], ids=["QDA", "columns"])
def test_a_damaged_file_is_refused_or_says_the_same(tmp_path, model):
    path, dice = tmp_path / "model", random.Random(0)
    dg.save(path, model)
    whole = path.read_bytes()
    for _ in range(150):
        data = bytearray(whole)
        at = dice.randrange(len(data))
        if (how := dice.choice(["flip", "flips", "cut", "more"])) == "cut":
            del data[at:]
        elif how == "more":
            data[at:at] = dice.randbytes(dice.randrange(1, 9))
        else:
            for _ in range(1 if how == "flip" else 4):
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(data)
        loaded = loaded_or_refused(path)
        assert loaded is None or assert_same_tree(loaded, model, 0) is None


JUNK = (None, 0, "x", [], {}, {"none": True}, {"static": 3}, {"static": [[0], [1.5]]}, {"static": float("nan")})
JUNK = (*JUNK, {"static": 10**30}, {"tuple": []}, {"array": "model"}, {"class": "Poisson", "fields": {}}, True)


def places(node):
    keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    return [place for key in keys for place in [(node, key), *places(node[key])]]


@pytest.mark.parametrize("model", [QDA, COLUMNS], ids=["QDA", "columns"])
def test_another_description_is_refused_or_a_model(tmp_path, model):
    header, arrays = described(model, tmp_path)
    path, dice = tmp_path / "model", random.Random(1)
    for _ in range(150):
        node = copy.deepcopy(header["model"])
        holder, key = dice.choice(places(node))
        holder[key] = copy.deepcopy(dice.choice(JUNK))
        change = dice.choice([np.ravel, lambda a: a[None], lambda a: a[..., :0], lambda a: a.astype(int), np.asarray])
        name = dice.choice(list(arrays))
        try:
            needed = set(_serialize._arrays_of(node, "model"))
        except ValueError:
            needed = set(arrays)
        given = {k: change(a) if k == name else a for k, a in arrays.items() if k in needed}
        put(path, node, given)
        loaded = loaded_or_refused(path)
        assert loaded is None or hasattr(type(loaded), "as_model")


NOTHING = {"none": True}
WRITTEN = {"class": "Poisson", "fields": {"log_rate": {"array": "a"}}}
RATE = {"array": "a"}
DEEP = json.loads('{"tuple":[' * 80 + '{"none":true}' + "]}" * 80)
RATES = np.zeros((2, 3), np.float32)


def blocks(node):
    return {"class": "Columns", "fields": {"blocks": node}}


DESCRIPTIONS = {
    "nothing in a field": ({"class": "Poisson", "fields": {"log_rate": NOTHING}}, {}, "log_rate is None"),
    "a static for an array": ({"class": "Poisson", "fields": {"log_rate": {"static": 1}}}, {}, "log_rate"),
    "whole numbers": (WRITTEN, {"a": np.zeros((2, 3), np.int32)}, r"log_rate is int32\[2, 3\]"),
    "too few dimensions": (WRITTEN, {"a": np.zeros((), np.float32)}, "log_rate is"),
    "complex": (WRITTEN, {"a": np.zeros((2, 3), np.complex64)}, "of C64"),
    "a missing array": (WRITTEN, {}, "lacks its array 'a'"),
    "an array too many": (WRITTEN, {"a": RATES, "b": RATES}, "'b' that belongs nowhere"),
    "one array many times": (blocks({"tuple": [{"array": "a"}] * 300}), {"a": RATES}, "'a' 300 times"),
    "a deep one": (blocks(DEEP), {}, "nests more than 64 levels"),
    "a tuple": ({"tuple": [WRITTEN]}, {"a": RATES}, "a tuple, which is no model"),
    "a prior": ({"class": "Gamma", "fields": {"shape": {"array": "a"}, "rate": {"array": "b"}}},
                {"a": np.ones(3, np.float32), "b": np.ones(3, np.float32)}, "a Gamma, which is no model"),
    "a field too many": ({"class": "Poisson", "fields": {"log_rate": RATE, "b": NOTHING}}, {"a": RATES}, "'b'"),
    "text for a number": (
        {"class": "Multinomial", "fields": {"logits": {"array": "a"}, "total_count": {"static": "4"}}},
        {"a": RATES},
        "total_count is '4'",
    ),
    "half a number": (
        {"class": "Multinomial", "fields": {"logits": {"array": "a"}, "total_count": {"static": 4.5}}},
        {"a": RATES},
        "total_count is 4.5",
    ),
    "no density in a mixture": (
        {"class": "Mixture", "fields": {"log_weights": {"array": "a"}, "density": {"array": "b"}}},
        {"a": np.zeros(2, np.float32), "b": RATES},
        "density is float32",
    ),
    "shapes that differ": (
        {"class": "Mixture", "fields": {"log_weights": {"array": "b"}, "density": WRITTEN}},
        {"a": RATES, "b": np.zeros(5, np.float32)},
        "no Mixture that could be",
    ),
    "a class in no class": ([WRITTEN], {"a": RATES}, "makes no sense"),
}  # fmt: skip


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_what_is_no_model_is_named(tmp_path, name):
    node, arrays, words = DESCRIPTIONS[name]
    put(tmp_path / "model", node, arrays)
    with pytest.raises(ValueError, match=words):
        dg.load(tmp_path / "model")
    refused(tmp_path / "model")


HEADERS = {
    "NaN": '{"format_version": NaN, "model": {"none": true}}',
    "text": '{"format_version": "2"}',
    "negative": '{"format_version": -1}',
    "true": '{"format_version": true}',
    "none": "[]",
    "huge": '{"format_version": ' + "9" * 5000 + "}",
    "a deep one": '{"format_version": 1, "model":' + '{"tuple":[' * 5000 + "1" + "]}" * 5000 + "}",
    "deep numbers": '{"format_version": 1, "model": {"class": "Multinomial", "fields": {"logits": {"none": true}, '
    '"total_count": {"static": ' + "[" * 900 + "]" * 900 + "}}}}",
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_make_no_sense(tmp_path, name):
    save_file({}, tmp_path / "model", {"dgjax": HEADERS[name]})
    refused(tmp_path / "model")


def test_files_of_the_first_version_load(tmp_path):
    save_file({"a": RATES}, tmp_path / "model", {"dgjax": json.dumps({"format_version": 1, "model": WRITTEN})})
    assert_same_tree(dg.load(tmp_path / "model"), POISSON, 0)
    save_file({"a": RATES}, tmp_path / "model", {"dgjax": json.dumps({"format_version": 2, "model": WRITTEN})})
    assert "damaged" in refused(tmp_path / "model")


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices")
def test_what_is_no_file_is_neither_waited_for_nor_replaced(tmp_path):
    pipe, device = tmp_path / "pipe", tmp_path / "null"
    os.mkfifo(pipe)
    device.symlink_to("/dev/null")
    assert "a pipe" in refused(pipe)
    assert "a device" in refused(device)
    refused(tmp_path, IsADirectoryError)
    refused(tmp_path / "none", FileNotFoundError)
    with pytest.raises(ValueError, match="path must be"):
        dg.load("a\0b")
    for path in (pipe, device, tmp_path):
        with pytest.raises(FileExistsError, match=path.name):
            dg.save(path, POISSON)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read all")
def test_files_without_permission_are_named(tmp_path):
    dg.save(tmp_path / "model", POISSON)
    (tmp_path / "model").chmod(0)
    refused(tmp_path / "model", PermissionError)
    with pytest.raises(PermissionError, match="must not be written to"):
        dg.save(tmp_path / "model", POISSON)


@pytest.mark.skipif(os.name != "posix", reason="modes and links")
def test_a_file_that_is_replaced_keeps_its_mode_and_its_link(tmp_path):
    path, link, dangling = tmp_path / "model", tmp_path / "link", tmp_path / "dangling"
    before = os.umask(0o027)
    try:
        dg.save(path, POISSON)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    link.symlink_to("model")
    dangling.symlink_to("later")
    dg.save(link, QDA)
    dg.save(dangling, QDA)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o604
    assert_same_tree(dg.load(path), QDA, 0)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["dangling", "later", "link", "model"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "model"
    dg.save(path, POISSON)

    def full(*_):
        raise OSError(28, "No space left on device", "part")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(OSError, match=r"No space left.*model"):
        dg.save(path, QDA)
    assert_same_tree(dg.load(path), POISSON, 0)
    assert [one.name for one in tmp_path.iterdir()] == ["model"]


def test_only_what_loads_is_saved(tmp_path):
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), LOGISTIC)
    values = {"tuple": (POISSON, POISSON), "Gamma": dg.priors.Gamma(np.ones(3), np.ones(3)), "Logistic": stacked}
    for name, value in values.items():
        with pytest.raises(ValueError, match=name):
            dg.save(tmp_path / "model", value)
    assert not list(tmp_path.iterdir())


def test_a_class_of_another_name_takes_no_place(tmp_path):
    theirs = type("Poisson", (), {"__annotations__": {"log_rate": jax.Array}, "as_model": lambda self: self})
    theirs = dg.dataclass(theirs)
    dg.save(tmp_path / "model", POISSON)
    assert type(dg.load(tmp_path / "model")) is dg.Poisson
    with pytest.raises(ValueError, match="another class of the name Poisson"):
        dg.save(tmp_path / "model", theirs(np.zeros(2)))


def test_memory_that_is_not_there_is_named(tmp_path):
    shape, size = [1, 1 << 41], 1 << 43
    texts = {"dgjax": json.dumps({"format_version": 1, "model": WRITTEN})}
    header = json.dumps({"__metadata__": texts, "a": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}})
    with (tmp_path / "model").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header.encode())
        try:
            file.truncate(8 + len(header) + size)
        except OSError:
            pytest.skip("no sparse files of this size here")
    assert "memory" in refused(tmp_path / "model")


def test_integers_and_arrays_of_numpy_are_kept(tmp_path):
    dg.save(tmp_path / "model", dg.Multinomial(np.zeros((1, 2)), total_count=np.int64(5)))
    assert dg.load(tmp_path / "model").total_count == 5
    weights = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    layers = dg.MLP((weights, weights.T), (np.zeros(3, np.float32), np.zeros(2, np.float32)))
    model = dg.VariationalAutoencoder(layers, dg.MLP.start(jax.random.key(0), (1, 2)), dg.BernoulliCells(), 2, 1)
    dg.save(tmp_path / "model", model)
    assert (np.asarray(dg.load(tmp_path / "model").encoder.weights[0]) == weights).all()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32], ids=str)
def test_the_precision_is_kept(tmp_path, dtype):
    model = dg.Poisson(jnp.full((1, 2), 0.1, dtype))
    dg.save(tmp_path / "model", model)
    loaded = dg.load(tmp_path / "model")
    assert loaded.log_rate.dtype == dtype
    assert (loaded.log_rate == model.log_rate).all()


def test_digits_that_are_lost_are_told_with_what_to_type(tmp_path):
    with jax.enable_x64(True):
        model = dg.Poisson(np.full((1, 2), 0.1))
        dg.save(tmp_path / "model", model)
        assert_same_tree(dg.load(tmp_path / "model"), model, 0)
    with pytest.warns(dg.PrecisionWarning, match=r'model .*type jax.config.update\("jax_enable_x64", True\)'):
        assert dg.load(tmp_path / "model").log_rate.dtype == jnp.float32


ZEROS = np.zeros((2, 3))
MISFITS = {
    "MLP expects weights": lambda: dg.MLP((ZEROS, ZEROS), (ZEROS[0], ZEROS[0])),
    "MLP expects": lambda: dg.MLP((), ()),
    "got shapes .* and": lambda: dg.MLP((ZEROS,), (ZEROS[0],), np.zeros((4, 2))),
    "each column once": lambda: dg.ColumnScorers((dg.Linear(ZEROS),), ((0, 1),)),
    "columns for each scorer": lambda: dg.ColumnScorers((dg.Linear(ZEROS),), ((0, 1, 1),)),
    "as many as it has": lambda: dg.ColumnScorers((), ()),
    "the scorer's 3 features": lambda: dg.Shifted(np.zeros(2), dg.Linear(ZEROS)),
    "num_samples": lambda: dg.Marginalized(LOGISTIC, POISSON, 0),
    "cells": lambda: dg.Neural(dg.MLP((ZEROS,), (ZEROS[0],)), dg.Linear(ZEROS), dg.Linear(ZEROS), 2),
}


@pytest.mark.parametrize("words", MISFITS)
def test_parts_that_do_not_fit_make_no_dataclass(words):
    with pytest.raises(ValueError, match=words):
        MISFITS[words]()
