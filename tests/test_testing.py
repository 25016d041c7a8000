"""dgjax.testing: one line checks a density of one's own, and every law names what breaks it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from markdown_examples import ROOT, run
from zoo import DISCRIMINATIVE, SEQUENTIAL, every

import dgjax as dg
from dgjax import testing
from dgjax.structures import Classes
from dgjax.testing import _check, check_density, check_model, check_scorer
from dgjax.testing._compare import LAWS


@pytest.fixture(scope="module")
def exponential():
    """The density of CONTRIBUTING.md, which is in no package."""
    return run(ROOT / "CONTRIBUTING.md")["Exponential"]


@pytest.mark.slow
def test_a_density_of_ones_own_is_checked_by_one_line(exponential):
    check_density(lambda rng: exponential(rng.normal(size=(2, 3))))


def test_a_density_of_ones_own_is_checked_by_one_line_but_for_its_fits(exponential):
    check_density(lambda rng: exponential(rng.normal(size=(1, 2))), learn=False, num_draws=20)


@every(SEQUENTIAL + DISCRIMINATIVE, ())
def test_laws_of_chains_and_scorers(case):
    check_model(case.make, closed_form=case.closed_form, fixed=case.fixed)


def test_laws_of_a_scorer_by_one_line():
    check_scorer(lambda rng: dg.Linear(rng.normal(size=(2, 2))))


# Every law below is told by a density, a model or a label space that breaks it.


def slow_if(few, laws):
    """Laws to break, of which `make test-all` alone breaks a few: fits, which take long to compile."""
    return [pytest.param(law, marks=[pytest.mark.slow] * (law in few)) for law in laws]


def spoilt(right, **members):
    """A class with some members replaced, by functions of the right class and the arguments."""

    def bound(member):
        return lambda self, *arguments, **options: member(right, self, *arguments, **options)

    return dg.dataclass(type("Wrong", (right,), {"__annotations__": {}, **{k: bound(v) for k, v in members.items()}}))


def sample_of(model, missing=True, unknown=False):
    sample = testing.random_sample(model)
    sample = sample.some_missing() if missing else sample
    return sample.some_unknown() if unknown else sample


def rates(rng, labels=2):
    return rng.normal(size=(labels, 3)).astype("float32")


def mixture(density):
    return dg.Mixture(jnp.log(jnp.array([0.4, 0.6], "float32")), density)


@jax.custom_batching.custom_vmap
def off_under_vmap(x):
    return x


@off_under_vmap.def_vmap
def _(axis_size, in_batched, x):
    return x + 1, in_batched[0]


def coarse(x):
    """With 8 bits of each number, in float32."""
    return x if x.dtype == "float64" else jax.lax.reduce_precision(x, 8, 8)


def as_in_a_table(right, self, x, y, weights, log_weights):
    """Labels that are unknown are the most probable one: k-means instead of EM."""
    return right.expectation(
        self, x, jnp.where(y < 0, (log_weights + self.scores(x)).argmax(-1), y), weights, log_weights
    )


def frozen(self):
    return type(self)(jax.lax.stop_gradient(self.log_rate))


WRONG_SCORES = {
    "evidence is the sum over labels": lambda right, self, x: right.scores(self, x) + 0.1,
    "marginal is missing elsewhere": lambda right, self, x: right.scores(self, jnp.nan_to_num(x)),
    "a row does not depend on the rows beside it": lambda right, self, x: right.scores(self, x) + 0.1 * jnp.nansum(x),
    "gradient is a model and right": lambda right, self, x: right.scores(frozen(self), x) + 0 * self.log_rate.sum(),
    "float32 is float64 to the contract": lambda right, self, x: right.scores(self, coarse(x)),
    "jit and vmap change nothing": lambda right, self, x: off_under_vmap(right.scores(self, x)),
}


@pytest.mark.parametrize(
    "law", slow_if(["a row does not depend on the rows beside it", "gradient is a model and right"], WRONG_SCORES)
)
def test_wrong_scores_are_told(law, exponential):
    wrong = spoilt(exponential, scores=WRONG_SCORES[law])
    with jax.enable_x64("gradient" in law):
        models = [mixture(wrong(rates(np.random.default_rng(seed)))) for seed in (0, 1)]
        if "gradient" in law:
            models = jax.tree.map(lambda leaf: leaf.astype("float64"), models)
        arguments = *models[: 2 if "vmap" in law else 1], sample_of(models[0])
        with pytest.raises(AssertionError, match=f"^{law}: .*[0-9]"):
            LAWS[law](*arguments)


WRONG_MEMBERS = {
    "marginal is missing elsewhere": {"marginal": lambda right, self, columns: right.marginal(self, columns[::-1])},
    "filling in keeps what was observed": {
        "impute": lambda right, self, x, posterior: right.impute(self, jnp.full_like(x, jnp.nan), posterior)
    },
    "own samples have the predicted labels": {
        "sample": lambda right, self, key, at: right.sample(self, key, (1 - at[0],))
    },
    "own samples have no slope": {
        "sample": lambda right, self, key, at: 1.4 * right.sample(self, key, at),
    },
    "own samples have no slope: the mean of slopes at rows filled": {
        "sample_missing": lambda right, self, keys, x, at: jnp.where(
            jnp.isnan(x), 1.5 * right.sample_missing(self, keys, x, at), x
        )
    },
    "statistics add and are linear in counts": {
        "statistics": lambda right, self, x, counts: right.statistics(self, x, jnp.ceil(counts))
    },
    "twin has the same posterior": {
        "discriminative": lambda right, self: (self.log_rate.sum(-1).at[0].add(0.1), right.discriminative(self)[1])
    },
    "twin has the same gradient": {"discriminative": lambda right, self: right.discriminative(frozen(self))},
    "a step never loses": {"maximizer": lambda right, self, s: type(self)(right.maximizer(self, s).log_rate + 0.5)},
    "a weight is a number of rows": {
        "expectation": lambda right, self, x, y, weights, logs: right.expectation(self, x, y, 0 * weights + 1, logs)
    },
    "an unknown label is every label by its posterior": {"expectation": as_in_a_table},
    "saved and loaded to the bit": {
        "__post_init__": lambda right, self: object.__setattr__(self, "log_rate", self.log_rate + 1)
    },
}
TWINS = "twin has the same posterior", "twin has the same gradient"
DRAWS = [law for law in WRONG_MEMBERS if law.startswith("own")]
FITS = "a step never loses", "a weight is a number of rows", "an unknown label is every label by its posterior"


@pytest.mark.parametrize("law", slow_if((*FITS, *DRAWS, *TWINS, "filling in keeps what was observed"), WRONG_MEMBERS))
def test_a_wrong_member_of_a_density_is_told(law, exponential):
    model = mixture(spoilt(exponential, **WRONG_MEMBERS[law])(rates(np.random.default_rng(0))))
    arguments = () if law.startswith(("own", "saved")) else (_learnable(model, law),)
    with pytest.raises(AssertionError, match=f"^{law}.*[0-9]"):
        LAWS[law.split(":")[0]](model, *arguments)


def _learnable(model, law):
    sample = testing.random_sample(model)
    if law in (*TWINS, FITS[-1]):
        return sample
    return _check.learnable(model, sample)


def test_statistics_that_move_wrongly_are_told(exponential):
    off = {"recentred": lambda right, self, statistics, *_: jax.tree.map(lambda leaf: leaf + 1, statistics)}
    wrong = spoilt(exponential, **off)
    one, other = (mixture(wrong(rates(np.random.default_rng(seed)))) for seed in (0, 1))
    with pytest.raises(AssertionError, match=r"^statistics move with the parameters.*[0-9]"):
        LAWS["statistics move with the parameters"](one, other, testing.random_sample(one))


@pytest.mark.slow
def test_a_wrong_closed_form_is_told(exponential, x64):
    """By its slope, in float64: it is the same one wherever a fit starts."""
    off = {"maximizer": lambda right, self, s: type(self)(right.maximizer(self, s).log_rate + 0.5)}
    wrong = spoilt(exponential, **off)
    one, other = (
        jax.tree.map(lambda leaf: leaf.astype("float64"), mixture(wrong(rates(np.random.default_rng(seed)))))
        for seed in (0, 1)
    )
    sample = testing.random_sample(one)
    with pytest.raises(AssertionError, match=r"^the closed form is stationary: .*slope"):
        testing.the_closed_form_is_stationary(one, other, sample._replace(y=jnp.arange(12) % 2))


def test_probabilities_that_do_not_add_to_one_are_told():
    wrong = spoilt(dg.Bernoulli, scores=lambda right, self, x: right.scores(self, x) + 0.1)
    with pytest.raises(AssertionError, match=r"^probabilities add to one: .* differ by 0\.1"):
        testing.probabilities_add_to_one(wrong(np.zeros((1, 2), "float32")))


def test_members_that_cannot_be_are_told(exponential):
    wrong = spoilt(exponential)
    wrong.supports = property(lambda self: (self.support,) * 5)
    with pytest.raises(AssertionError, match=r"^labels fit the density: 5 supports for 3 columns"):
        check_density(lambda rng: wrong(rates(rng)))
    broken = spoilt(dg.Linear, penalty=lambda right, self: jnp.nan * right.penalty(self))
    with pytest.raises(AssertionError, match=r"^penalty is a finite number: .*nan"):
        check_scorer(lambda rng: broken(rates(rng)))


def test_an_error_says_which_law_it_came_from(exponential):
    wrong = spoilt(exponential, statistics=lambda right, self, x, counts: 1 / 0)
    model = mixture(wrong(rates(np.random.default_rng(0))))
    with pytest.raises(ZeroDivisionError) as told:
        testing.statistics_add_and_are_linear_in_counts(model, sample_of(model))
    assert "statistics add and are linear in counts" in "".join(told.value.__notes__)


def unknown_is(value):
    """score where y is known, another value where it is not."""
    return lambda right, self, y, known=False: jnp.where(y < 0, value(self), right.score(self, y))


WRONG_STRUCTURES = {
    "partition is the sum over labels": {"log_partition": lambda right, self: right.log_partition(self) + 0.1},
    "marginals are sums over labels": {"marginals": lambda right, self: right.marginals(self)[:, ::-1]},
    "mode has the highest score": {"mode": lambda right, self: self.scores.argmin(-1)},
    "clamped sums what a label allows": {
        "clamped": lambda right, self, y: (self.scores.max(-1), right.clamped(self, y)[1])
    },
    "given keeps the labels that agree": {"given": lambda right, self, y: self},
    "score is that of a known label": {"score": lambda right, self, y, known=False: right.score(self, y) + 0.1 * known},
    "soft counts are hard counts by their posterior": {
        "clamped": lambda right, self, y: (right.clamped(self, y)[0], right.clamped(self, y)[1] ** 2)
    },
    "gradient of the partition is right": {
        "log_partition": lambda right, self: jax.lax.stop_gradient(right.log_partition(self)) + 0 * self.scores.sum()
    },
    "samples have the marginals": {"sample": lambda right, self, key: self.scores.argmax(-1)},
    "has density tells nan and infinity": {"has_density": lambda right, self: jnp.ones((), bool)},
    "jit changes nothing": {
        "log_partition": lambda right, self: right.log_partition(self) + isinstance(self.scores, jax.core.Tracer)
    },
}


def classes(rng, right=Classes):
    return right(rng.normal(size=(4, 3)).astype("float32"))


@pytest.mark.parametrize("law", slow_if(["jit changes nothing"], WRONG_STRUCTURES))
def test_a_wrong_member_of_a_label_space_is_told(law):
    wrong = spoilt(Classes, **WRONG_STRUCTURES[law])
    with pytest.raises(AssertionError, match=f"^{law}: "):
        LAWS[law](classes(np.random.default_rng(0), wrong))


WRONG_POTENTIALS = {
    "conditional is joint less evidence": {"score": unknown_is(lambda self: self.scores.max(-1))},
    "posterior is the share of each label": {"log_marginals": lambda right, self: right.log_marginals(self) + 0.1},
    "posterior is the share of each label: the log of": {
        "log_partition": lambda right, self: right.log_partition(self) + 0.1
    },
    "posterior is the share of each label: predict": {"mode": lambda right, self: self.scores.argmin(-1)},
    "counts are gradients": {
        "log_partition": lambda right, self: jax.lax.stop_gradient(right.log_partition(self)) + 0 * self.scores.sum()
    },
}


@pytest.mark.parametrize("law", slow_if([law for law in WRONG_POTENTIALS if ":" in law], WRONG_POTENTIALS))
def test_a_wrong_model_is_told(law, exponential):
    structure = spoilt(Classes, **WRONG_POTENTIALS[law])

    def potentials(right, self, x):
        found = right.potentials(self, x)
        return structure(found.scores, found.empty)

    model = mixture(exponential(rates(np.random.default_rng(0))))
    wrong = spoilt(dg.Mixture, potentials=potentials)(model.log_weights, model.density)
    with pytest.raises(AssertionError, match=f"^{law}"):
        LAWS[law.split(":")[0]](wrong, sample_of(wrong, unknown=True))


def test_every_law_is_broken_above():
    """A law that nothing here breaks may be one that cannot fail."""
    broken = {name.split(":")[0] for name in (*WRONG_SCORES, *WRONG_MEMBERS, *WRONG_STRUCTURES, *WRONG_POTENTIALS)}
    elsewhere = "the closed form is stationary", "probabilities add to one", "labels fit the density"
    elsewhere = (*elsewhere, "statistics move with the parameters")
    assert set(LAWS) == broken | {*elsewhere, "penalty is a finite number"}
