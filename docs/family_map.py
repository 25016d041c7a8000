"""Writes the table of docs/explanation/map.md: what each family can be asked, by its own declaration.

Run it from the root of the repository: python docs/family_map.py
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import dgjax as dg
from dgjax.densities import Learned

PAGE = Path(__file__).parent / "explanation" / "map.md"
BEGIN, END = "<!-- written by docs/family_map.py -->\n", "<!-- end -->\n"
HEADS = (
    "family",
    "$\\log p(x)$",
    "$\\log p(x)$, cells missing",
    "$p(y \\mid x)$",
    "new rows",
    "filling in",
    "exact twin",
    "learnt by",
    "cost of a row",
    "take it for",
)
K, D, C, M = 2, 3, 3, 2  # classes, columns, categories, components of a class or states of a chain


class Family(NamedTuple):
    """A row of the map: a model of few parameters, which says itself what it can be asked, and what it does not say."""

    name: str
    page: str
    make: Callable[[], Any]
    cost: str
    when: str


def _classes(density: Any) -> dg.Mixture:
    return dg.Mixture(np.zeros(density.label_shape), density)


def _gaussian(*labels: int) -> dg.Gaussian:
    return dg.Gaussian(np.random.default_rng(0).normal(size=(*labels, D)), np.broadcast_to(np.eye(D), (*labels, D, D)))


def _columns() -> dg.Columns:
    rng = np.random.default_rng(1)
    normal = dg.DiagonalGaussian(rng.normal(size=(K, 1)), np.zeros((K, 1)))
    return dg.Columns((normal, dg.Categorical(rng.normal(size=(K, 1, C))), dg.Poisson(rng.normal(size=(K, 1)))))


def _chain(*labels: int) -> dg.HiddenMarkov:
    return dg.HiddenMarkov(np.zeros((*labels, M)), np.zeros((*labels, M, M)), _gaussian(*labels, M))


def _rows(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(20, D)).astype("float32"), rng.integers(0, K, 20)


def _texts(start: Callable[..., Any]) -> Any:
    return start(jax.random.key(0), C, K, num_layers=1, width=8)


def _flow(whole: bool) -> Any:
    x, y = _rows()
    rows = np.round(x) if whole else x
    return dg.normalizing_flow(jax.random.key(0), rows, y, num_layers=2, width=4, num_bins=3)


def _diffusion() -> Any:
    """By probes, and away from where it starts, where there is nothing to estimate."""
    start = dg.diffusion(jax.random.key(0), *_rows(), width=4, num_layers=1, num_steps=4)
    density = jax.tree.map(lambda leaf: leaf + 0.1, start.density)
    return dataclasses.replace(start, density=dataclasses.replace(density, num_probes=2))


def _autoregressive() -> Any:
    return dg.autoregressive(jax.random.key(0), *_rows(), num_layers=1, width=8)


def _autoencoder() -> Any:
    return dg.variational_autoencoder(jax.random.key(0), D, M, "gaussian", K, hidden=(4,))


def _crf() -> dg.LinearChainCRF:
    return dg.linear_chain_crf(D, M)


def _marginalized() -> dg.Marginalized:
    return dg.marginalize(dg.logistic_regression(D, K), _classes(_gaussian(K)))


def _tilted() -> dg.Mixture:
    rng = np.random.default_rng(2)
    return _classes(dg.Tilted(_gaussian(1), dg.Linear(rng.normal(size=(K, D))), num_samples=1000))


FAMILIES = (
    Family("Gaussian: LDA, QDA", "gaussian", lambda: _classes(_gaussian(K)), "$k d^2$", "numbers that go together"),
    Family("independent columns: naive Bayes", "columns", lambda: _classes(_columns()), "$k d$", "any kinds, few rows"),
    Family(
        "multinomial",
        "multinomial",
        lambda: _classes(dg.Multinomial(np.zeros((K, D)), 5)),
        "$k d$",
        "counts of one total, as of words",
    ),
    Family(
        "mixtures within classes",
        "mixtures",
        lambda: _classes(_classes(_gaussian(K, M))),
        "$k m d^2$",
        "classes of several clouds, clusters",
    ),
    Family(
        "latent classes",
        "columns",
        lambda: dg.latent_class_analysis(jax.random.key(0), _rows()[0], K),
        "$k d$",
        "clusters of mixed tables",
    ),
    Family(
        "factors",
        "factors",
        lambda: _classes(dg.FactorGaussian(np.zeros((K, D)), np.ones((K, D, 1)), np.zeros((K, D)))),
        "$k d r$",
        "many columns, few causes; ratings",
    ),
    Family("hidden Markov", "sequences", _chain, "a step: $k^2$ and its emission", "a label for each step"),
    Family(
        "hidden Markov of each class",
        "sequence_classes",
        lambda: _classes(_chain(K)),
        "a step: $c k^2$ and emissions",
        "a label for each sequence",
    ),
    Family(
        "Markov chain, n-grams",
        "markov_chains",
        lambda: _classes(dg.MarkovChain(np.random.default_rng(0).normal(size=(K, C + 1, C)))),
        "a look-up a symbol",
        "short texts, symbols",
    ),
    Family(
        "variational autoencoder",
        "autoencoder",
        _autoencoder,
        "a pass for each draw of $z$",
        "images, causes to look at",
    ),
    Family("autoregressive", "autoregressive", _autoregressive, "a pass for each order", "any cells given any others"),
    Family("flow, real columns", "flows", lambda: _flow(False), "a pass; draws one, or $d$", "exact, real, complete"),
    Family("flow, whole numbers", "flows", lambda: _flow(True), "a pass for each draw of noise", "counts as flows"),
    Family("tilted", "tilted", _tilted, "a pass, and the base's", "what a density at hand has missed"),
    Family(
        "adversarial",
        "adversarial",
        lambda: dg.adversarial(jax.random.key(0), *_rows(), hidden=(4,)),
        "a pass; draws one",
        "draws alone",
    ),
    Family(
        "diffusion model",
        "diffusion",
        _diffusion,
        "80 passes for an ODE; draws 40",
        "images and rows to draw",
    ),
    Family(
        "language model",
        "language_models",
        lambda: _texts(dg.language_model),
        "a pass; draws one a token",
        "texts, to score and to go on",
    ),
    Family(
        "masked language model",
        "masked_language_models",
        lambda: _texts(dg.masked_language_model),
        "a pass a token",
        "gaps in texts, few labels",
    ),
    Family(
        "logistic regression",
        "logistic",
        lambda: dg.logistic_regression(D, K),
        "$k d$",
        "labels alone, complete rows",
    ),
    Family("linear-chain CRF", "sequences", _crf, "a step: $k^2$", "labels of steps alone"),
    Family(
        "neural classifier",
        "autoencoder",
        lambda: dg.neural_classifier(jax.random.key(0), D, K, hidden=(4,)),
        "a pass",
        "labels alone, of images",
    ),
    Family(
        "classifier averaged by a density",
        "logistic",
        _marginalized,
        "its own for each draw",
        "labels of rows with holes",
    ),
)


def table() -> str:
    """The table of all families, in Markdown."""
    rows = [HEADS, ["---"] * len(HEADS), *map(_row, FAMILIES)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(family):
    model = family.make()
    link = f"[{family.name}](../reference/families/{family.page}.md)"
    return link, *map(_word, dg.capabilities(model)), _learnt(model), family.cost, family.when


def _word(kind):
    return "—" if kind == "none" else kind


def _learnt(model):
    if not model.generative:
        return "gradient"
    return "gradient" if isinstance(model.density, Learned) else "EM, closed form"


def main() -> None:
    """Writes the table between its marks."""
    before, _, after = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + after.partition(END)[2])


if __name__ == "__main__":
    main()
