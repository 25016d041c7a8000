"""Check that every link within built pages leads to a page, a file and a heading that are there; none is fetched."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """Links of a page, and the names that links may lead to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.names: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.names |= {value for key in ("id", "name") if (value := told.get(key))}
        self.links |= {value for key in ("href", "src") if (value := told.get(key))}


def broken(folder: Path) -> list[str]:
    """What leads nowhere, as `page: link`."""
    pages = {path.resolve(): Page(path) for path in sorted(folder.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            place = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            place = place / "index.html" if place.is_dir() else place
            named = pages[place].names if place in pages else set()
            if not place.exists() or (parts.fragment and place in pages and unquote(parts.fragment) not in named):
                found.append(f"{path.relative_to(folder.resolve())}: {link}")
    return found


def main(folder: Path) -> None:
    """Print what leads nowhere, and end with an error if there is any."""
    if not any(folder.rglob("*.html")):
        sys.exit(f"no pages in {folder}: type  make docs")
    if found := broken(folder):
        sys.exit("\n".join(["Links that lead nowhere:", *found]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
