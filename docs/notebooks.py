"""Each tutorial as a notebook to download, made from its page when the documentation is built."""

import re
from pathlib import Path

import jupytext

PICTURE = re.compile(r"^```\{eval-rst\}\n\.\. plot::\n((?: +:[^\n]*\n)*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"(^```$\n+)```text\n.*?^```$\n*", re.MULTILINE | re.DOTALL)
LEFT_OUT = re.compile(r"^```(?:sh|\{(?:image|include|toctree|admonition)\}).*?^```$\n*", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+?)(?:\.md)?(#[^)]*)?\)")
DOWNLOAD = re.compile(r"\{download\}`([^`<]+?) <([^`>]+)>`")
INSTALL = "```python\n%pip install -q 'dgjax[compare,plot]'\n```"


def as_notebook(text: str, folder: Path) -> str:
    """Notebook, as JSON, of a page in Markdown: a cell for each example of Python, without what it printed.

    A file to download, its path relative to the page's folder, is written by a cell: the notebook needs none beside it.
    Pictures that Sphinx draws are cells like the others, and a link to a page is its name, for there is none beside it.
    """
    text = PICTURE.sub(lambda found: f"```python\n{_dedented(found[2])}```", text)
    text = PRINTED.sub(r"\1", text)
    text = LEFT_OUT.sub("", text)
    text = re.sub(r"\[([^]]+)" + LINK.pattern, r"\1", text)
    files = "".join(
        f"```python\n%%writefile {name}\n{(folder / path).read_text(encoding='utf-8').rstrip()}\n```\n\n"
        for name, path in DOWNLOAD.findall(text)
    )
    title, _, rest = DOWNLOAD.sub(r"`\1`", text).partition("\n\n")
    notebook = jupytext.reads(f"{title}\n\n{INSTALL}\n\n{files}{rest}", fmt="md")
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return jupytext.writes(notebook, fmt="ipynb")


def _dedented(code: str) -> str:
    return re.sub(r"^ {4}", "", code, flags=re.MULTILINE)


def add_link(app, name, source):
    """Above a tutorial's text, called by Sphinx as it reads the page: a link to its notebook, which is written now."""
    if name.split("/")[0] != "tutorials":
        return
    own = Path(name).name
    folder = Path(app.outdir) / "_notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{own}.ipynb").write_text(as_notebook(source[0], Path(app.srcdir) / "tutorials"), encoding="utf-8")
    title, _, rest = source[0].partition("\n\n")
    link = f'<a class="notebook" href="../_notebooks/{own}.ipynb" download>Download this page as a notebook</a>'
    source[0] = f"{title}\n\n```{{raw}} html\n<p>{link}</p>\n```\n\n{rest}"


def setup(app):
    """Called by Sphinx."""
    app.connect("source-read", add_link)
    return {"parallel_read_safe": True}
