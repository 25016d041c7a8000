"""A page as Chromium lays it out at several widths: what sticks out, what is not drawn, what is too small to read."""

import html
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (360, 768, 1280)  # pixels: a telephone, a tablet, a desk
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: no chromium or google-chrome on the path")
SCRIPT = """
function seen(frame) {
  const page = frame.contentDocument, width = page.documentElement.clientWidth;
  const shown = [...page.body.querySelectorAll("*")].filter(e => e.checkVisibility());
  const scrolls = e => e.closest(".scroll, pre, details:not([open])");
  const name = e => e.tagName + " " + e.textContent.trim().slice(0, 40);
  return {
    scrolls: page.documentElement.scrollWidth > width,
    outside: shown.filter(e => !scrolls(e) && e.getBoundingClientRect().right > width + 1).map(name),
    undrawn: [...page.images].filter(e => !e.naturalWidth || !e.alt.trim()).map(e => e.alt),
    small: shown.filter(e => e.childElementCount == 0 && e.textContent.trim() && e.tagName != "OPTION" &&
      parseFloat(page.defaultView.getComputedStyle(e).fontSize) < 11).map(name),
    headings: [...page.querySelectorAll("h1,h2,h3")].map(e => Number(e.tagName[1])),
    language: page.documentElement.lang,
    images: page.images.length,
    dead: [...page.querySelectorAll("a[href^='#']")].filter(e => !page.getElementById(e.hash.slice(1))).map(name),
  };
}
window.onload = () => {
  document.getElementById("found").textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(seen));
};
"""


def seen(page: Path, folder: Path) -> dict[int, dict]:
    """What a page looks like at each of `WIDTHS`."""
    frames = "".join(
        f'<iframe src="{page.as_uri()}" style="width:{w}px;height:900px;border:0"></iframe>' for w in WIDTHS
    )
    harness = folder / "harness.html"
    harness.write_text(f'<!DOCTYPE html><body>{frames}<pre id="found"></pre><script>{SCRIPT}</script>', "utf-8")
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files")
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [CHROMIUM, *flags, profile, "--virtual-time-budget=5000", "--dump-dom", harness.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    return dict(zip(WIDTHS, json.loads(html.unescape(found[1])), strict=True))


def check(page: Path, folder: Path) -> None:
    """Fails where a page scrolls sideways, words or pictures stick out or are missing, or headings skip a level."""
    for width, found in seen(page, folder).items():
        told = {name: found[name] for name in ("outside", "undrawn", "small", "dead") if found[name]}
        assert not told, f"at {width} pixels: {told}"
        assert not found["scrolls"], f"at {width} pixels the page scrolls sideways"
        assert found["images"], "no picture at all"
        assert found["language"] == "en"
        levels = found["headings"]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
