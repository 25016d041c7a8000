"""Runs the examples of a Markdown page as a reader would: from top to bottom, in one fresh namespace.

A `.. plot::` in an ```{eval-rst} block is an example too, whose picture Sphinx draws.
A ```text block right under one is what the example prints, and is checked.
"""

import contextlib
import io
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(
    r"^```(?:python|\{eval-rst\}\n\.\. plot::(?:\n +:[^\n]*)*)\n(.*?)^```$(?:\n+```text\n(.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)


def examples(page: Path) -> list[tuple[int, str, str | None]]:
    """The line, the code and the expected output (None where the page shows none) of each example."""
    text = page.read_text(encoding="utf-8")
    found = BLOCK.finditer(text)
    return [(text.count("\n", 0, own.start(1)), textwrap.dedent(own[1]), own[2]) for own in found]


def run(page: Path) -> dict[str, Any]:
    """Runs all examples of the page, and raises where one fails or prints something else than the page shows.

    Returns the names that they define.
    """
    namespace = {"__name__": "__main__"}
    # A page may set how arrays print, or their precision; the next one starts afresh.
    with settings_kept(), np.printoptions():
        # Most of what an example costs is compiling it, and a fast program is of no use to a few rows.
        jax.config.update("jax_disable_most_optimizations", True)
        for line, code, expected in examples(page):
            printed = _printed(page, line, code, namespace)
            if expected is not None and printed.strip() != expected.strip():
                raise AssertionError(
                    f"{page.relative_to(ROOT)}, the example at line {line + 1} prints\n\n{printed}"
                    f"\nwhere the page shows\n\n{expected}"
                )
    return namespace


@contextlib.contextmanager
def settings_kept() -> Iterator[None]:
    """JAX's settings after it are those before."""
    before = dict(jax.config.values)
    try:
        yield
    finally:
        for name, value in before.items():
            if jax.config.values[name] != value:
                jax.config.update(name, value)


def _printed(page, line, code, namespace):
    printed = io.StringIO()
    # Blank lines in front make a traceback name the page's own line.
    with contextlib.redirect_stdout(printed):
        exec(compile("\n" * line + code, str(page), "exec"), namespace)
    return printed.getvalue()
