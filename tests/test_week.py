"""The ten tasks of docs/how_to/week.md: short enough to be read, and their figures are those of benchmarks/week.py."""

import re

import pytest
import week
from markdown_examples import examples

LINKED = re.findall(r"\]\((\w+)\.md\)", (week.PAGES / "week.md").read_text().split("Two more")[0])


def test_there_are_ten():
    assert len(set(LINKED)) == len(LINKED) == 10


@pytest.mark.parametrize("name", LINKED)
def test_a_task_takes_twenty_lines_at_most_and_has_peers(name):
    lines = [line.strip() for _, code, _ in examples(week.PAGES / f"{name}.md") for line in code.splitlines()]
    assert 0 < sum(bool(line) and not line.startswith("#") for line in lines) <= 20
    assert name in week.PEERS


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in week.PEERS if name != "serving"])  # whose figures are times
def test_figures_are_those_of_the_page_and_its_peers(name, tmp_path, monkeypatch):
    pytest.importorskip({"time_series": "hmmlearn", "tagging": "pycrfsuite"}.get(name, "sklearn"))
    monkeypatch.chdir(tmp_path)
    lines = week.table(name)
    assert not set(lines) - set((week.PAGES / f"{name}.md").read_text().splitlines())
