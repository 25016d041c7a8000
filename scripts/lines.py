"""Print how many lines of Python each folder has, how many of them have a comment, and its longest file."""

import sys
import tokenize
from pathlib import Path


def comments(path: Path) -> int:
    """Count the lines that have a comment, but for those that speak to a linter or a type checker."""
    with path.open("rb") as source:
        found = [token.string for token in tokenize.tokenize(source.readline) if token.type == tokenize.COMMENT]
    return sum(not text.startswith(("# noqa", "# type:", "# pyright")) for text in found)


def main(folders: list[str]) -> None:
    """Print one line for each folder."""
    print(f"{'folder':<24}{'files':>7}{'lines':>8}{'comments':>10}   longest")
    for folder in folders:
        lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in Path(folder).rglob("*.py")}
        longest, total = max(lines, key=lines.__getitem__, default=Path(folder)), sum(lines.values())
        share = f"{sum(map(comments, lines)) / max(total, 1):.1%}"
        print(f"{folder:<24}{len(lines):>7}{total:>8}{share:>10}   {longest.name} {lines.get(longest, 0)}")


if __name__ == "__main__":
    main(sys.argv[1:])
