"""Build the documentation of each tag v*, and of the checkout as "latest", side by side in docs/_versions.

    python scripts/versions.py

Each is built from its own tree with its own docs/conf.py. The names of all are given to it as DGJAX_DOCS_VERSIONS, by
which docs/_templates/versions.html links from every page to the first page of the others.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "_versions"


def tags() -> list[str]:
    """Tags of versions, the newest first."""
    listed = ["git", "tag", "--list", "v[0-9]*", "--sort=-version:refname"]
    return subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


def build(tree: Path, name: str, names: list[str]) -> None:
    """The pages of a tree, in a folder of its name."""
    paths = os.pathsep.join([str(tree), str(tree / "kernels")])
    own = {**os.environ, "PYTHONPATH": paths, "DGJAX_DOCS_VERSIONS": " ".join(names), "DGJAX_DOCS_VERSION": name}
    print(f"==> {name}", flush=True)
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", tree / "docs", OUT / name]
    subprocess.run(command, env=own, check=True)


def main() -> None:
    """Build them all, and a page at the root that leads to the newest version."""
    names = ["latest", *tags()]
    build(ROOT, "latest", names)
    for tag in names[1:]:
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder) / tag
            subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, tag], cwd=ROOT, check=True)
            try:
                build(tree, tag, names)
            finally:
                subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)
    newest = names[1] if len(names) > 1 else "latest"
    (OUT / "index.html").write_text(f'<meta http-equiv="refresh" content="0; url={newest}/index.html">\n')
    print(f"The documentation of {', '.join(names)} is at {OUT / 'index.html'}")


if __name__ == "__main__":
    main()
