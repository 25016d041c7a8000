import re

import dgjax as dg
import pytest
from markdown_examples import ROOT, examples, run

DOCS = ROOT / "docs"
PAGES = [ROOT / "CONTRIBUTING.md", *sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)]


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)], ids=lambda page: page.stem)
def test_examples_run_as_written(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(page)


def test_every_public_name_is_in_the_reference():
    reference = (DOCS / "api.md").read_text()
    documented = set(re.findall(r"^\.\. auto(?:function|class|data):: (\w+)", reference, re.MULTILINE))
    assert documented == {name for name in vars(dg) if _is_public(name)}


def _is_public(name):
    return not name.startswith("_") and getattr(getattr(dg, name), "__module__", "").startswith("dgjax.")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#:]+?\.(?:md|svg|png))(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"
