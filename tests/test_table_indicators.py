"""Tables whose categories are shown to models as indicators: encoding by hand, answers in levels, what is refused."""

import jax
import numpy as np
import optax
import pytest

import dgjax as dg

pandas = pytest.importorskip("pandas")
pytestmark = pytest.mark.usefixtures("without_the_type_checker")
RNG = np.random.default_rng(0)
N = 60
CLASS = np.arange(N) % 2
COLOURS = np.array(["blue", "green", "red"])[(CLASS + RNG.integers(0, 2, N)) % 3]
FRAME = pandas.DataFrame(
    {
        "size": RNG.normal(size=N) + 2 * CLASS,
        "colour": COLOURS,
        "old": RNG.random(N) < 0.5,
        "kind": np.array(["a", "b"])[CLASS],
    }
)
ENCODED = np.column_stack([FRAME["size"], COLOURS == "green", COLOURS == "red", FRAME["old"]]).astype(float)


def table(frame=FRAME, label="kind"):
    return dg.Table.of(frame, label, indicators=True)


@pytest.fixture(scope="module")
def model():
    return dg.discriminant_analysis(table(), prior="weak")


def test_categories_are_one_number_for_each_level_but_the_first(model):
    np.testing.assert_array_equal(table().x, ENCODED)
    holes = FRAME.assign(colour=FRAME["colour"].where(np.arange(N) != 3))
    assert np.isnan(table(holes).x[3]).tolist() == [False, True, True, False]
    plain = dg.discriminant_analysis(ENCODED, CLASS, prior="weak")
    np.testing.assert_array_equal(dg.log_prob(model, FRAME), dg.log_prob(plain, ENCODED))
    assert list(dg.predict(model, FRAME)) == [["a", "b"][own] for own in np.asarray(dg.predict(plain, ENCODED))]


def test_answers_are_levels(model):
    holes = FRAME.assign(colour=FRAME["colour"].where(np.arange(N) % 5 != 3))
    filled = dg.impute(model, holes)
    assert set(filled["colour"]) <= {"blue", "green", "red"}
    assert (filled["colour"][np.arange(N) % 5 != 3] == FRAME["colour"][np.arange(N) % 5 != 3]).all()
    drawn = dg.sample(model, jax.random.key(0), 50)
    assert list(drawn.columns) == list(FRAME.columns)
    assert set(drawn["colour"]) <= {"blue", "green", "red"}
    assert drawn["old"].dtype == bool
    only = dg.marginal(model, ["colour"])
    assert only.schema.names == ("colour",)
    holes = FRAME.assign(size=np.nan, old=None)
    np.testing.assert_allclose(dg.log_prob(only, FRAME), dg.log_prob(model, holes), rtol=1e-4)
    assert "colour = green" in str(model)


def test_models_of_numbers_take_mixed_frames(tmp_path):
    groups = dg.gaussian_mixture(jax.random.key(0), table(FRAME.drop(columns="kind"), None), 2)
    fit = dg.fit(groups, FRAME.drop(columns="kind"), prior="weak", max_steps=5)
    assert dg.predict(fit.model, FRAME).shape == (N,)
    own = table()
    start = dg.neural_classifier(jax.random.key(0), 4, 2, hidden=(4,))
    classifier = dg.fit(start, own, method=dg.Optax(optax.adam(0.01)), max_steps=3).model
    dg.save(tmp_path / "model.safetensors", classifier)
    back = dg.load(tmp_path / "model.safetensors")
    assert list(dg.predict(back, FRAME)) == list(dg.predict(classifier, FRAME))


def test_the_indicators_of_a_column_are_one_player(model):
    assert dg.explain(model, FRAME.head(3)).names == ("size", "colour", "old")
    assert dg.explain(model, FRAME.head(3), columns=["colour", ["size", "old"]]).names == ("colour", "size, old")


def test_what_cannot_be_is_refused(model):
    with pytest.raises(
        ValueError, match=r"all indicators of a column, .*\['colour = green', 'colour = red'\].*columns=\['colour'\]"
    ):
        dg.marginal(model, [1])
    with pytest.raises(ValueError, match="x column 'colour' is of categories, whose numbers are no quantities") as told:
        dg.gaussian_mixture(jax.random.key(0), dg.Table.of(FRAME.drop(columns="kind")), 2)
    assert "indicators=True" in str(told.value)
    with pytest.raises(ValueError, match=r"dgjax.Table.of\(x, indicators=True\)"):
        dg.gaussian_mixture(jax.random.key(0), FRAME.drop(columns="kind"), 2)
    with pytest.raises(ValueError, match=r"x column 'one' holds one category, \['k'\], .*x.drop\(columns=\['one'\]\)"):
        table(FRAME.assign(one="k"))
    with pytest.raises(ValueError, match="must hold one of"):
        dg.predict(model, FRAME.assign(colour="mauve"))


def test_tilts_and_adversaries_are_started_from_tables():
    own = table()
    adversary = dg.adversarial(jax.random.key(0), own, hidden=(4,))
    base = dg.fit(dg.gaussian_mixture(jax.random.key(0), table(FRAME.drop(columns="kind"), None), 1), FRAME).model
    tilt = dg.tilted(jax.random.key(0), base, own, hidden=(4,), num_samples=100)
    for model in (adversary, tilt):
        assert model.schema.names == ("size", "colour", "old")
        assert set(dg.predict(model, FRAME)) <= {"a", "b"}
