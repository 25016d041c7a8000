"""Four corpora of about one kind: excerpts of documentation that every environment of the benchmarks has anyway.

The reference of the language Python, as `help()` has it, and the docstrings of jax, scipy and matplotlib: paragraphs of
prose, of which one that comes twice is kept once, cut into pieces of 100 characters. Test excerpts are of other files
(of the reference, other articles) than those that are learnt from.
"""

import ast
import importlib.metadata
import importlib.util
import json
import pathlib
import platform
import pydoc_data.topics
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

PLACE = pathlib.Path(__file__).parents[1] / ".benchmarks"
CORPORA = "Python", "jax", "scipy", "matplotlib"
SIZE, TEST_SHARE, FEWEST = 100, 0.25, 60  # characters of an excerpt, share of excerpts to test, letters of a paragraph


@dataclass(frozen=True)
class Corpora:
    """Excerpts to learn from, in random order, of each corpus, and those to test (n,) with labels (n,)."""

    train: list[list[str]]
    test: list[str]
    labels: np.ndarray

    def labelled(self, count: int, repeat: int = 0) -> tuple[list[str], np.ndarray]:
        """Excerpts of each corpus, `count` of each that has so many, and their labels: other ones for each `repeat`."""
        chosen = [np.roll(own, -repeat * count)[:count].tolist() for own in self.train]
        y = np.repeat(np.arange(len(chosen)), [len(own) for own in chosen])
        return [text for own in chosen for text in own], y

    def pool(self, most: int) -> list[str]:
        """All excerpts to learn from, `most` of each corpus at the most."""
        return [text for own in self.train for text in own[:most]]


def load(num_test: int, held_out: bool = False) -> Corpora:
    """Corpora, with so many test excerpts of each; `held_out` are those of training files, to choose settings by."""
    random, inner = np.random.default_rng(0), np.random.default_rng(1)  # of its own, so that the test files stay
    train, test = [], []
    for name in CORPORA:
        learnt, tested = _split(_excerpts(name), random)
        halves = _shuffled(learnt, random), _shuffled(tested, random)
        if held_out:
            halves = tuple(_shuffled(own, inner) for own in _split(learnt, inner))
        train.append(halves[0])
        test.append(halves[1])
    test = [own[:num_test] for own in test]
    labels = np.repeat(np.arange(len(test)), [len(own) for own in test])
    return Corpora(train, [text for own in test for text in own], labels)


def _shuffled(files: dict[str, list[str]], random: np.random.Generator) -> list[str]:
    """Excerpts of files in random order."""
    texts = [text for own in files.values() for text in own]
    return [texts[i] for i in random.permutation(len(texts))]


def _split(files: dict[str, list[str]], random: np.random.Generator) -> tuple[dict, dict]:
    """Files to learn from and files to test: random ones, until these have their share of the excerpts."""
    total, tested = sum(map(len, files.values())), {}
    names = [sorted(files)[i] for i in random.permutation(len(files))]
    for name in names:
        if sum(map(len, tested.values())) >= TEST_SHARE * total:
            break
        tested[name] = files[name]
    return {name: own for name, own in files.items() if name not in tested}, tested


def _excerpts(name: str) -> dict[str, list[str]]:
    """Excerpts of each file; kept for the next time, as to read all files takes long."""
    version = platform.python_version() if name == "Python" else importlib.metadata.version(name)
    kept = PLACE / f"excerpts-{name}-{version}.json"
    if not kept.exists():
        PLACE.mkdir(exist_ok=True)
        kept.write_text(json.dumps(_cut(name)))
    return json.loads(kept.read_text())


def _cut(name: str) -> dict[str, list[str]]:
    """Excerpts of each file, cut anew."""
    seen, found = set(), {}
    for file, texts in _documents(name):
        new = [p for text in texts for p in _paragraphs(text) if p not in seen and not seen.add(p)]
        whole = " ".join(new)
        if pieces := [whole[i : i + SIZE] for i in range(0, len(whole) - SIZE + 1, SIZE)]:
            found[file] = pieces
    return found


def _paragraphs(text: str) -> Iterator[str]:
    """Paragraphs of prose on one line each: no examples, no directives, no headings or tables."""
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line.strip() for line in paragraph.strip().splitlines()]
        if any(line.startswith((">>>", "...", ".. ")) or re.fullmatch(r"[-=~]{3,}", line) for line in lines):
            continue
        joined = " ".join(" ".join(lines).split())
        if len(joined) >= FEWEST:
            yield joined


def _documents(name: str) -> Iterator[tuple[str, list[str]]]:
    """Names of files with the docstrings of each."""
    if name == "Python":
        yield from ((article, [text]) for article, text in sorted(pydoc_data.topics.topics.items()))
        return
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    root = pathlib.Path(spec.submodule_search_locations[0])
    for file in sorted(root.rglob("*.py")):
        relative = file.relative_to(root)
        if "tests" in relative.parts:
            continue
        try:
            tree = ast.parse(file.read_text())
        except (SyntaxError, UnicodeDecodeError):
            continue
        kinds = ast.Module, ast.ClassDef, ast.FunctionDef
        docs = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds)]
        yield str(relative), [doc for doc in docs if doc]
