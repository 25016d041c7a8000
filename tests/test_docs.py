import re
from dataclasses import is_dataclass

import pytest
from markdown_examples import ROOT, examples, run

import dgjax as dg
import dgjax_kernels as kernels

DOCS = ROOT / "docs"
PAGES = [ROOT / "CONTRIBUTING.md", *sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)]


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)], ids=lambda page: page.stem)
def test_examples_run_as_written(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(page)


def test_every_public_name_is_in_the_reference():
    documented = {module: set() for module in (dg, dg.priors, kernels)}
    modules = {module.__name__: names for module, names in documented.items()}
    here = None
    for line in (DOCS / "api.md").read_text().splitlines():
        if found := re.match(r"\.\. currentmodule:: (\S+)", line):
            here = modules[found[1]]
        elif found := re.match(r"\.\. auto(?:function|decorator|class):: (\w+)", line):
            here.add(found[1])
    assert documented[dg] == {name for name in vars(dg) if _is_public(name)}
    assert documented[dg.priors] == {name for name, value in vars(dg.priors).items() if is_dataclass(value)}
    assert documented[kernels] <= vars(kernels).keys()


def _is_public(name):
    return not name.startswith("_") and getattr(getattr(dg, name), "__module__", "").startswith("dgjax.")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#:]+?\.(?:md|svg|png))(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"
