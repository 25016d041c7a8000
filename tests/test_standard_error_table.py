"""Standard errors of a model of a table: by the names of columns, levels and classes, each beside its own array."""

import jax
import numpy as np
import pytest
from table_cases import pandas

import dgjax as dg

RNG = np.random.default_rng(0)
N = 200
NAMES = np.array(["Adelie", "Gentoo"], object)
CLASS = RNG.integers(0, 2, N)
FRAME = pandas.DataFrame(
    {
        "island": RNG.choice(["Biscoe", "Dream"], N),
        "bill": RNG.normal(size=N) + CLASS,
        "banded": RNG.random(N) < 0.3,
        "mass": RNG.normal(size=N),
        "species": NAMES[CLASS],
    }
)
NUMBERS = FRAME[["bill", "mass", "species"]]


def entry(errors, *names):
    return next(own for own in errors.entries if own[:3] == names)


def test_columns_of_several_kinds_have_their_names():
    model = dg.naive_bayes(FRAME, "species")
    errors = dg.standard_errors(model, FRAME, "species")
    reals, islands, bands = (
        next(i for i, block in enumerate(model.density.blocks) if isinstance(block, kind))
        for kind in (dg.DiagonalGaussian, dg.Categorical, dg.Bernoulli)
    )
    mean = model.density.blocks[reals].mean
    found = entry(errors, "mean", "Gentoo", "mass")
    assert np.isclose(found.estimate, mean[1, 1], rtol=1e-5)
    assert np.isclose(found.standard_error, errors.density.blocks[reals].mean[1, 1])
    assert np.isclose(found.standard_error, NUMBERS["mass"][CLASS == 1].std(ddof=0) / np.sqrt(CLASS.sum()), rtol=1e-4)
    levels = errors.density.blocks[islands].logits
    assert np.isclose(entry(errors, "logits", "Adelie", "island = Dream").standard_error, levels[0, 0, 1])
    shares = np.exp([entry(errors, "logits", "Adelie", f"island = {name}").estimate for name in ("Biscoe", "Dream")])
    assert np.isclose(shares.sum(), 1)
    assert np.isclose(
        entry(errors, "logits", "Gentoo", "banded").standard_error, errors.density.blocks[bands].logits[1, 0]
    )
    assert np.isclose(np.exp(entry(errors, "log_weights", "Gentoo", "").estimate), CLASS.mean())


def test_they_print_as_a_table_and_are_a_frame():
    model = dg.naive_bayes(NUMBERS, "species")
    errors = dg.standard_errors(model, NUMBERS, "species")
    assert "Gentoo" in str(errors)
    assert str(errors) == repr(errors)
    assert "<table>" in errors._repr_html_()
    frame = errors.frame()
    assert frame.columns.tolist() == ["parameter", "label", "column", "estimate", "standard_error"]
    assert len(frame) == len(errors.entries) == 10
    assert type(errors.frame()) is pandas.DataFrame
    with pytest.raises(AttributeError):
        errors.densities  # noqa: B018


@pytest.mark.parametrize(
    ("covariance", "names"),
    [
        ("tied", {("scale_tril", "", "bill"), ("scale_tril", "", "mass, bill"), ("scale_tril", "", "mass")}),
        ("spherical", {("log_scale", "Adelie", ""), ("log_scale", "Gentoo", "")}),
    ],
)
def test_covariances_are_named(covariance, names):
    model = dg.discriminant_analysis(NUMBERS, "species", covariance)
    entries = dg.standard_errors(model, NUMBERS, "species").entries
    assert {own[:3] for own in entries if own.parameter not in ("mean", "log_weights")} == names


@pytest.mark.slow
def test_weights_of_a_regression_are_named():
    start = dg.discriminative(dg.naive_bayes(FRAME, "species"))
    model = dg.fit(start, FRAME, "species", prior=dg.priors.Ridge(1.0)).model
    errors = dg.standard_errors(model, FRAME, "species", prior=dg.priors.Ridge(1.0))
    told = {(own.parameter, own.label, own.column) for own in errors.entries}
    assert ("weight", "Gentoo", "island = Dream") in told
    assert ("weight", "Adelie", "banded = 1") in told
    assert ("square", "Adelie", "mass") in told
    assert not any(own.parameter == "offset" for own in errors.entries)


def test_arrays_and_functions_are_answered_as_ever():
    model = dg.naive_bayes(NUMBERS, "species")
    plain = dg.standard_errors(model, NUMBERS[["bill", "mass"]].to_numpy(), CLASS)
    assert plain._fields == ("log_weights", "density")
    shares = dg.standard_errors(model, NUMBERS, "species", of=lambda own: jax.nn.softmax(own.log_weights))
    assert shares.shape == (2,)
