"""What is done with the pages when they are built, and what a release is held to."""

import json
import re
import shutil
import subprocess

import pytest
from markdown_examples import ROOT, examples

from scripts import links, release, versions

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))


def test_links_that_lead_nowhere_are_told(tmp_path):
    (tmp_path / "one.html").write_text(
        '<a href="two.html#here">a</a> <a href="https://example.org/x">b</a> <a href="#top">c</a> <h1 id="top">t</h1>'
    )
    (tmp_path / "two.html").write_text('<p id="here"></p> <img src="none.png"> <a href="one.html#gone">d</a>')
    assert links.broken(tmp_path) == ["two.html: none.png", "two.html: one.html#gone"]
    with pytest.raises(SystemExit, match=r"two.html: none\.png"):
        links.main(tmp_path)
    (tmp_path / "two.html").write_text('<p id="here"></p>')
    links.main(tmp_path)


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_notebook_has_the_examples_of_its_page(page):
    """In order, each a cell, after one that installs what they need; and no link to a page that is not beside it."""
    pytest.importorskip("jupytext")
    from docs import notebooks

    cells = json.loads(notebooks.as_notebook(page.read_text(), page.parent))["cells"]
    code = ["".join(cell["source"]).strip() for cell in cells if cell["cell_type"] == "code"]
    assert code[0].startswith("%pip install")
    files = [own for own in code if own.startswith("%%writefile")]
    assert code[1 : 1 + len(files)] == files
    assert code[1 + len(files) :] == [own.strip() for _, own, _ in examples(page)]
    prose = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    assert "](../" not in prose
    assert "{download}" not in prose
    assert all(f"%%writefile {name}" in "".join(files) for name in re.findall(r"\w+\.csv", "".join(code[1:])))
    assert "```" not in prose


def test_a_release_says_what_is_in_its_way(monkeypatch):
    version = "9.9.9"
    monkeypatch.setattr(release, "git", lambda *arguments: "")
    assert [told.split()[0] for told in release.complaints(version)] == ["CHANGELOG.md", "CITATION.cff", "README.md"]
    monkeypatch.setattr(release, "git", lambda *arguments: "something")
    told = " ".join(release.complaints(version))
    assert "the tag v9.9.9 is there already" in told
    assert "not committed" in told


def test_pythons_that_do_not_run_are_not_tried(tmp_path):
    broken = tmp_path / "python3.11"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    assert release.minor_of(str(broken)) is None


@pytest.mark.slow
def test_every_tag_has_its_pages_and_each_page_leads_to_those_of_the_others(tmp_path, monkeypatch):
    pytest.importorskip("sphinx")
    docs = tmp_path / "docs"
    docs.mkdir()
    shutil.copytree(ROOT / "docs" / "_templates", docs / "_templates")
    settings = (ROOT / "docs" / "conf.py").read_text()
    context = settings[settings.index("html_context") : settings.index("html_sidebars")]
    own = "import os\ntemplates_path = ['_templates']\nhtml_sidebars = {'**': ['versions.html']}\n"
    (docs / "conf.py").write_text(own + context)
    git = [
        "git",
        "-C",
        str(tmp_path),
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@example.org",
        "-c",
        "commit.gpgsign=false",
    ]
    subprocess.run([*git, "init", "-q"], check=True)
    for number in (1, 10, 9):
        (docs / "index.rst").write_text(f"Version {number}\n==========\n")
        subprocess.run([*git, "add", "docs"], check=True)
        subprocess.run([*git, "commit", "-qm", "a version"], check=True)
        subprocess.run([*git, "tag", f"v0.{number}.0"], check=True)
    monkeypatch.setattr(versions, "ROOT", tmp_path)
    monkeypatch.setattr(versions, "OUT", docs / "_versions")
    versions.main()
    names = ["latest", "v0.10.0", "v0.9.0", "v0.1.0"]
    for name in names:
        page = (versions.OUT / name / "index.html").read_text()
        assert [f'value="../{other}/index.html"' in page for other in names] == [True] * 4, page
        assert f"Version {name.split('.')[1] if name != 'latest' else 9}" in page
        assert f'value="../{name}/index.html" selected' in page
    assert "v0.10.0/index.html" in (versions.OUT / "index.html").read_text()
    assert (
        subprocess.run([*git, "worktree", "list"], capture_output=True, text=True, check=True).stdout.count("\n") == 1
    )
