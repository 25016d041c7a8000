import re
import shutil
from dataclasses import is_dataclass

import jax.numpy as jnp
import pytest
from markdown_examples import ROOT, examples, run

import dgjax as dg
import dgjax.numpyro as dgn
import dgjax.sklearn as dgs
import dgjax_kernels as kernels
from dgjax import plot, structures, testing

DOCS = ROOT / "docs"
BUILT = {"_build", "_versions"}
PAGES = [ROOT / "CONTRIBUTING.md", *sorted(page for page in DOCS.rglob("*.md") if not BUILT & set(page.parts))]


QUICK = "CONTRIBUTING", "getting_started", "gaussian"
EXAMPLES = [
    pytest.param(page, marks=[] if page.stem in QUICK else pytest.mark.slow, id=page.stem)
    for page in PAGES
    if examples(page)
]


@pytest.mark.parametrize("page", EXAMPLES)
def test_examples_run_as_written(page, tmp_path, monkeypatch, request):
    if page.stem == "errors":  # which shows what users see, where the type checker of the tests would speak first
        request.getfixturevalue("without_the_type_checker")
    shutil.copy(ROOT / "tests" / "data" / "speed.csv", tmp_path)
    monkeypatch.chdir(tmp_path)
    run(page)


def test_the_density_to_copy_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    density = run(ROOT / "CONTRIBUTING.md")["Exponential"](jnp.zeros((2, 3)))
    assert isinstance(density, dg.Density)
    x = jnp.array([[1.0, 2.0, 3.0], [2.0, jnp.nan, 1.0], [5.0, 4.0, 9.0], [8.0, 7.0, jnp.nan]])
    y = jnp.array([0, 0, 1, 1])
    model = dg.fit(dg.Mixture(jnp.zeros(2), density), x, y).model
    assert jnp.allclose(jnp.exp(-model.density.log_rate), jnp.array([[1.5, 2.0, 2.0], [6.5, 5.5, 9.0]]))
    complete = dg.impute(model, x)
    twin = dg.discriminative(model)
    assert jnp.allclose(dg.predict_log_proba(twin, complete), dg.predict_log_proba(model, complete), atol=1e-5)


def test_every_public_name_is_in_the_reference():
    documented = {
        module: set() for module in (dg, dg.learning, dg.priors, dgn, plot, dgs, kernels, testing, structures)
    }
    modules = {module.__name__: names for module, names in documented.items()}
    modules |= {"dgjax.dask": set(), "dgjax.streams": set(), "dgjax_kernels.processes": set()}
    here = None
    for line in (DOCS / "reference" / "api.md").read_text().splitlines():
        if found := re.match(r"\.\. currentmodule:: (\S+)", line):
            here = modules[found[1]]
        elif found := re.match(r"\.\. auto(?:function|decorator|class):: (\w+)", line):
            here.add(found[1])
    assert documented[dg] == {name for name in vars(dg) if _is_public(name)}
    assert documented[dgn] == {name for name in vars(dgn) if _is_public(name, dgn)}
    assert documented[plot] == {name for name in vars(plot) if _is_public(name, plot)}
    assert documented[dgs] == {name for name in vars(dgs) if _is_public(name, dgs)}
    assert documented[dg.priors] == {name for name, value in vars(dg.priors).items() if is_dataclass(value)}
    assert documented[testing] == {name for name in vars(testing) if _is_public(name, testing)}
    assert documented[kernels] <= vars(kernels).keys()
    assert documented[dg] | documented[dg.learning] | {
        "restarted",
        "closed_form",
        "has_networks",
        "in_component_class",
        "in_precision",
        "moments",
        "problem_of",
    } >= {name for name in vars(dg.learning) if _is_public(name, dg.learning)}


def _is_public(name, module=dg):
    return not name.startswith("_") and getattr(getattr(module, name), "__module__", "").startswith("dgjax.")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#:]+?\.(?:md|svg|png))(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_figures_beside_other_libraries_are_those_of_the_benchmarks():
    """`make bench` writes one page; what another page says of the same cases is copied from it."""
    measured = (DOCS / "reference" / "benchmarks.md").read_text().splitlines()
    told = (DOCS / "explanation" / "related.md").read_text().splitlines()
    figures = {line for line in told if re.search(r"\dx \|", line)}
    assert figures
    assert not figures - set(measured)
