"""How Sphinx builds the documentation: `make docs`."""

import logging
import os
import re
import sys
import tomllib
from pathlib import Path

from numpy.typing import ArrayLike
from sphinx.util.typing import stringify_annotation

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))

# Examples are of a few rows, and compiling them is most of what they cost; that it takes long is no warning here.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
logging.getLogger("dgjax").setLevel(logging.ERROR)

project = "dgjax"
author = "The dgjax authors"
copyright = author
release = version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

extensions = [
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "notebooks",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx-mathjax-offline",
]
exclude_patterns = ["_build", "_versions"]
nitpicky = False
default_role = "code"

plot_html_show_formats = plot_html_show_source_link = False
plot_include_source = True
plot_formats = ["svg"]

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath", "tasklist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"dgjax {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
templates_path = ["_templates"]
# Of `make docs-versions`, which builds several side by side.
html_context = {
    "versions": os.environ.get("DGJAX_DOCS_VERSIONS", "").split(),
    "version_here": os.environ.get("DGJAX_DOCS_VERSION", ""),
}
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "versions.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f5fa8", "color-brand-content": "#1f5fa8"},
    "dark_css_variables": {"color-brand-primary": "#7db5f0", "color-brand-content": "#7db5f0"},
}


def escape(app, what, name, obj, options, lines):
    """Docstrings are plain text with `code`: what reStructuredText would take for markup elsewhere is text.

    "Raises ..." and "Source: ..." begin a paragraph of their own.
    """
    inside, paragraphs = False, []
    for line in lines:
        parts = line.split("`")
        for i, part in enumerate(parts):
            if inside == bool(i % 2):
                parts[i] = re.sub(r"([*|\\]|(?<=\w)_(?=\W|$))", r"\\\1", part)
        inside ^= not len(parts) % 2
        if re.match(r"(Raises|Source:) ", line) and paragraphs and paragraphs[-1]:
            paragraphs.append("")
        paragraphs.append("`".join(parts))
    lines[:] = paragraphs


def shorten(app, what, name, obj, options, signature, returns):
    """Types as the source has them, where Sphinx spells out what they stand for."""
    if getattr(obj, "_is_protocol", False):
        return "", None
    full = stringify_annotation(ArrayLike, "smart")
    return tuple(text and _array(text.replace(full, "ArrayLike")) for text in (signature, returns))


def _array(text):
    text = re.sub(r"~?jaxlib\.[\w.]*Array", "Array", text)
    return re.sub(r"\[Array, '([^']*)'\]", r'[Array, "\1"]', text)


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", escape)
    app.connect("autodoc-process-signature", shorten)
