"""Build a release, check it, and say what to type to publish it; nothing is tagged or uploaded here.

    python scripts/release.py

The sdist and the wheel are built and checked by twine, and the wheel is installed in an empty environment for each
Python from 3.11 to 3.14 that this machine has, where `scripts/smoke.py` uses it.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
RELATIVE = re.compile(r"\]\((?!https?:|#)([^)]+)\)")  # of a link or picture
MINORS = range(11, 15)
BARE = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


def complaints(version: str) -> list[str]:
    """What keeps this version from being published, each with what to do; empty if nothing does."""
    found = []
    if f"\n## [{version}]" not in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"):
        found.append(f"CHANGELOG.md has no section of this version: name one  ## [{version}] - {time.strftime('%F')}")
    if f"\nversion: {version}\n" not in (ROOT / "CITATION.cff").read_text(encoding="utf-8"):
        found.append(f"CITATION.cff is of another version: write  version: {version}  in it")
    if relative := RELATIVE.search((ROOT / "README.md").read_text(encoding="utf-8")):
        found.append(f"README.md leads to '{relative[1]}', which PyPI does not have: write an address with https://")
    if git("tag", "--list", f"v{version}"):
        found.append(f"the tag v{version} is there already: write the next version in pyproject.toml")
    if git("status", "--porcelain"):
        found.append("there are changes that are not committed: commit them, or what is built is not what is tagged")
    return found


def git(*arguments: str) -> str:
    """What git prints."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def interpreters() -> dict[int, str]:
    """The Python of each minor version that is on the path, under pyenv or known to uv, and runs."""
    found = {}
    for minor in MINORS:
        kept = Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python")
        places = [shutil.which(f"python3.{minor}"), *map(str, kept)]
        if uv := shutil.which("uv"):
            asked = subprocess.run([uv, "python", "find", f"3.{minor}"], capture_output=True, text=True, check=False)
            places.append(asked.stdout.strip())
        running = (place for place in places if place and minor_of(place) == minor)
        if place := next(running, None):
            found[minor] = place
    return found


def minor_of(python: str) -> int | None:
    """Minor version of an interpreter, None of one that does not run."""
    asked = [python, "-c", "import sys; print(sys.version_info[1])"]
    done = subprocess.run(asked, capture_output=True, text=True, env=BARE, check=False)
    return int(done.stdout) if done.returncode == 0 else None


def build() -> Path:
    """The wheel, beside its sdist in `dist`, both checked."""
    shutil.rmtree(DIST, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "build", "--outdir", DIST, ROOT], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *sorted(DIST.iterdir())], check=True)
    (wheel,) = DIST.glob("*.whl")
    return wheel


def use(wheel: Path, python: str, version: str) -> None:
    """Install the wheel in an empty environment and run the smoke test there, away from the checkout."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True, env=BARE)
        own, smoke = f"{folder}/bin/python", shutil.copy(ROOT / "scripts" / "smoke.py", folder)
        install = [own, "-m", "pip", "install", "-qq", "--disable-pip-version-check", f"{wheel}[compare]"]
        subprocess.run(install, check=True, env=BARE)
        subprocess.run([own, smoke, version], check=True, env=BARE | {"DGJAX_CACHE_DIR": ""}, cwd=folder)


def main() -> None:
    """Build, check, use, and say what is left to do."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        sys.exit(f"the version in pyproject.toml must be as 0.2.0 or 0.2.0rc1; got {version}")
    missing, began = complaints(version), time.perf_counter()
    wheel, found = build(), interpreters()
    for minor, python in found.items():
        print(f"==> Python 3.{minor}, {python}", flush=True)
        use(wheel, python, version)
    if absent := [f"3.{minor}" for minor in MINORS if minor not in found]:
        print(f"Not found on this machine, so not tried: Python {', '.join(absent)}")
    print(f"Built and tried in {time.perf_counter() - began:.0f} s.")
    if missing or not found:
        sys.exit("\n- ".join([f"dgjax {version} is not to be published yet:", *missing]))
    print(f"To publish it:\n\n  git tag -a v{version} -m 'dgjax {version}' && git push origin v{version}")
    print(f"  {sys.executable} -m twine upload dist/*\n")


if __name__ == "__main__":
    main()
