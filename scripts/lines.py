"""Print how many lines of Python each folder has, and its longest file."""

import sys
from pathlib import Path


def main(folders: list[str]) -> None:
    """Print one line for each folder."""
    print(f"{'folder':<24}{'files':>7}{'lines':>8}   longest")
    for folder in folders:
        lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in Path(folder).rglob("*.py")}
        longest = max(lines, key=lines.__getitem__, default=Path(folder))
        print(f"{folder:<24}{len(lines):>7}{sum(lines.values()):>8}   {longest.name} {lines.get(longest, 0)}")


if __name__ == "__main__":
    main(sys.argv[1:])
