"""Laws of computation: independence of rows, jit and vmap, gradients, precision, sampling, saving."""

import dataclasses
import pathlib
import tempfile
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dgjax as dg
from dgjax.testing._compare import close, expect, gradient_is_the_slope, in_precision, law, precision, same_tree
from dgjax.testing._data import Sample, is_generative, label_indicators, random_sample, takes_missing


@law
def a_row_does_not_depend_on_the_rows_beside_it(model: Any, sample: Sample, tolerance: float | None = None) -> None:
    """Law: results for a row are those of the row alone, and beside other rows.

    Complete rows beside rows with NaN take another code path in generative models than complete rows alone; both agree.
    """
    x, y, lengths = sample
    few_bits = 64 * float(jnp.finfo(x.dtype).eps) if tolerance is None else tolerance
    generative, missing = is_generative(model), takes_missing(model)
    # Row 0 is always a row that the model can take, beside which nothing but row 4 stands.
    alone = (jnp.full_like(x, jnp.nan) if missing else jnp.broadcast_to(x[:1], x.shape)).at[4].set(x[4])
    verbs = [dg.predict_log_proba, *[dg.log_prob] * generative, *[dg.impute] * missing]
    for verb in verbs:
        among, beside = (verb(model, rows, lengths) for rows in (x, alone))
        close(f"{verb.__name__} of row 4 among the rows, and beside others", among[4], beside[4], few_bits)
    verb = dg.log_joint if generative else dg.log_conditional
    among, beside = (verb(model, rows, y, lengths) for rows in (x, alone))
    close(f"{verb.__name__} of row 4 among the rows, and beside others", among[4], beside[4], few_bits)
    verb, first = verbs[1 if generative else 0], None if lengths is None else lengths[:1]
    among = verb(model, x, lengths)
    close(f"{verb.__name__} of one row, and of it among others", verb(model, x[:1], first), among[:1], few_bits)
    complete = ~np.isnan(x).reshape(len(x), -1).any(-1)
    if complete.any() and not complete.all():
        whole = verb(model, jnp.where(complete.reshape(-1, *[1] * (x.ndim - 1)), x, x[complete.argmax()]), lengths)
        what = f"{verb.__name__} of complete rows beside incomplete ones, and beside complete ones"
        close(what, np.asarray(among)[complete], np.asarray(whole)[complete], few_bits)


@law
def jit_and_vmap_change_nothing(one: Any, other: Any, sample: Sample) -> None:
    """Law: two models stacked, under jit and vmap, give what each gives alone."""
    x, y, lengths = sample

    def ask(model: Any) -> Any:
        return dg.log_prob(model, x, lengths) if is_generative(model) else dg.log_conditional(model, x, y, lengths)

    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), one, other)
    close("the two under jit and vmap, and each alone", jax.jit(jax.vmap(ask))(both), np.stack([ask(one), ask(other)]))


@law
def gradient_is_a_model_and_right(model: Any, sample: Sample, fixed: Collection[str] = ()) -> None:
    """Law: jax.grad of a model is a model, finite, and in float64 agrees with differences along a random line.

    Fields named in `fixed` are never trained: no gradient is asked of them.
    """
    x, y, lengths = sample

    @jax.jit
    def total(own: Any) -> Any:
        values = dg.log_prob(own, x, lengths) if is_generative(own) else dg.log_conditional(own, x, y, lengths)
        return values.sum()

    grad = jax.grad(total)(model)
    expect(type(grad) is type(model), f"the gradient of a {type(model).__name__} is a {type(grad).__name__}.")
    for path, leaf in jax.tree.flatten_with_path(grad)[0]:
        expect(
            jnp.isfinite(leaf).all(), f"the gradient by {jax.tree_util.keystr(path)} has values that are not finite."
        )
    if precision(model) == "float64":
        gradient_is_the_slope("the gradient", total, model, grad, fixed)


FIRST_LABEL = {True: ("log_weights", "log_initial"), False: ("bias", "initial")}
"""The field that is added to the score of a row's first label, of generative and of discriminative models."""


@law
def counts_are_gradients(model: Any, sample: Sample) -> None:
    """Law: the gradient by the log-weights of the first label is its expected count less n times its prior probability.

    For log p(y | x) it is the count of given labels less the expected one. Models without such a field are skipped.
    """
    lifted: Any = model.as_model()
    x, y, lengths = sample
    generative = is_generative(lifted)
    names = {field.name for field in getattr(lifted, "__dataclass_fields__", {}).values()}
    name = next((own for own in FIRST_LABEL[generative] if own in names), None)
    if name is None:
        return

    def total(values: Any) -> Any:
        moved: Any = dataclasses.replace(lifted, **{name: values})
        return (dg.log_prob(moved, x, lengths) if generative else dg.log_conditional(moved, x, y, lengths)).sum()

    proba = np.exp(dg.predict_log_proba(lifted, x, lengths))
    paths, values = np.ndim(y) == 2, getattr(lifted, name)
    soft = (proba[:, 0] if paths else proba).sum(0)
    hard = label_indicators(np.asarray(y)[:, 0] if paths else y, lifted.num_labels).sum(0)
    expected = soft - len(x) * np.asarray(jax.nn.softmax(values)) if generative else (hard - soft)[-len(values) :]
    close(f"the gradient by {name}, and counts", jax.grad(total)(values), expected.astype(x.dtype))


@law
def float32_is_float64_to_the_contract(model: Any, sample: Sample) -> None:
    """Law: a log-density in float32 is within 1e-3 nats plus 1e-5 of its size of the float64 one."""
    x, y, lengths = in_precision(sample, "float32")

    def ask(model: Any, x: Any) -> np.ndarray:
        values = dg.log_prob(model, x, lengths) if is_generative(model) else dg.log_conditional(model, x, y, lengths)
        return np.asarray(values)

    value = ask(in_precision(model, "float32"), x)
    expect(value.dtype == "float32", f"a model and rows of float32 give {value.dtype}.")
    with jax.enable_x64(True):
        exact = ask(in_precision(in_precision(model, "float32"), "float64"), x.astype("float64"))
    expect(exact.dtype == "float64", f"a model and rows of float64 give {exact.dtype}.")
    error = np.abs(value - exact)
    worst = int(np.argmax(error - 1e-5 * np.abs(exact)))
    expect(
        (error <= 1e-3 + 1e-5 * np.abs(exact)).all(),
        f"float32 says {value[worst]:.8g} of row {worst}, float64 {exact[worst]:.10g}, {error[worst]:.3g} apart.",
    )


@law
def own_samples_have_the_predicted_labels(model: Any, num_draws: int = 150) -> None:
    """Law: E[(1[y = k] - p(k | x)) (1, x)] = 0 over samples (x, y) of the model, within five standard errors.

    Checked for the y sampled with x, and for y sampled given x. A model of one label passes.
    """
    terms = [_label_surplus(model, seed) for seed in range(num_draws)]
    words = "of sample", "of sample_labels"
    for surplus, of in zip(np.concatenate(terms, 1), words, strict=True):
        _expect_no_mean(f"labels {of} above their posterior", surplus)


def _label_surplus(model: Any, seed: int) -> np.ndarray:
    """Label indicators less posteriors, times (1, x): (2, n, k, 1 + d), for y sampled with x and y sampled given x."""
    x, y, _ = random_sample(model, seed)
    expect(x.dtype == precision(model), f"sample gives {x.dtype} for a model of {precision(model)}.")
    posterior = np.exp(dg.predict_log_proba(model, x))
    if np.ndim(y) == 2:
        y = dg.sample(model, jax.random.key(seed), x.shape[:2])[1]
    drawn = y, dg.sample_labels(model, jax.random.key(seed), x)
    k, rows = model.as_model().num_labels, np.asarray(x).reshape(len(x), -1)
    surplus = np.stack([(label_indicators(own, k) - posterior).reshape(len(x), -1) for own in drawn])
    return surplus[..., None] * np.concatenate([np.ones((len(x), 1)), rows], 1)[:, None]


@law
def own_samples_have_no_slope(model: Any, num_draws: int = 100) -> None:
    """Law: the score has mean 0, E[d log p(x) / d parameters] = 0 over samples x, within five standard errors.

    Half of the rows are samples; the others lose cells, where these may be missing, and get them back by
    `sample_missing`, unless `capabilities` says that the density of cells is an estimate. It holds only if samples,
    conditional samples and the density's normaliser agree.
    """

    @jax.jit
    def slopes(model: Any, x: Any) -> Any:
        return jax.jacrev(lambda own: dg.log_prob(own, x))(model)

    whole, again = [], []
    for seed in range(num_draws):
        x = random_sample(model, seed).x
        if not takes_missing(model) or dg.capabilities(model).missing == "estimate":
            whole.append(_flat(slopes(model, x)))
            continue
        taken = random_sample(model, 10_000 + seed)._replace(lengths=None).some_missing(seed, 0.5).x
        filled = dg.sample_missing(model, jax.random.key(seed), taken)
        for found, rows in ((whole, x), (again, filled)):
            found.append(_flat(slopes(model, rows)))
    _expect_no_mean("slopes at draws of sample", np.concatenate(whole))
    if again:
        _expect_no_mean("slopes at rows filled by sample_missing", np.concatenate(again))


def _flat(tree: Any) -> np.ndarray:
    """Floats of a pytree of rows, (n, p)."""
    return np.concatenate([np.reshape(leaf, (len(leaf), -1)) for leaf in _floats(tree)], 1)


def _floats(tree: Any) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]


def _expect_no_mean(what: str, values: np.ndarray) -> None:
    """Raises AssertionError unless the mean over rows (n, ...) is 0 within five of its standard errors."""
    mean, error = values.mean(0), values.std(0) / np.sqrt(len(values)) + 1e-6
    worst = np.abs(mean) / error
    expect(
        (worst < 5).all(),
        f"the mean of {what}, expected to be 0, is {worst.max():.1f} standard errors from it over {len(values)} rows.",
    )


@law
def saved_and_loaded_to_the_bit(model: Any) -> None:
    """Law: load returns what save was given, every bit of every array."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.safetensors"
        dg.save(path, model)
        same_tree("what was loaded, and what was saved", dg.load(path), model, 0.0)
