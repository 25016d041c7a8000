"""What is installed: two import packages and a command, typed, one version, and nothing that happens on import."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import dgjax
import dgjax_kernels
from dgjax._version import installed_version
from dgjax.compare._compiling import quick_flag

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_both_packages_are_typed():
    for package in (dgjax, dgjax_kernels):
        assert (Path(package.__file__).parent / "py.typed").exists()


def test_the_installed_version_is_that_of_the_project():
    try:
        installed = metadata.version("dgjax")
    except metadata.PackageNotFoundError:
        pytest.skip("run from a checkout that is not installed")
    assert installed == dgjax.__version__ == PROJECT["version"]


def test_without_being_installed_the_version_is_unknown(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert installed_version() == "unknown"


def test_the_command_tells_its_version_without_jax():
    script = (
        "import sys, _dgjax_command; _dgjax_command.main(); assert not {'jax', 'numpy', 'dgjax'} & set(sys.modules)"
    )
    assert told_by("-c", script, "--version") == f"dgjax {metadata.version('dgjax')}\n"


def test_the_package_run_as_a_module_is_the_command():
    assert told_by("-m", "dgjax", "--version") == f"dgjax {metadata.version('dgjax')}\n"


def told_by(*arguments):
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_citation_and_the_hooks_are_of_the_versions_in_use():
    """One version of the project, and one of the formatter: what pre-commit runs is what `make lint` runs."""
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {PROJECT['version']}\n" in citation
    assert f"\nlicense: {PROJECT['license']}\n" in citation
    (ruff,) = (pinned for pinned in PROJECT["optional-dependencies"]["dev"] if pinned.startswith("ruff=="))
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert f"ruff-pre-commit\n    rev: v{ruff.removeprefix('ruff==')}\n" in hooks


def test_the_changelog_knows_the_version():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{PROJECT['version']}]" in changelog or "## [Unreleased]" in changelog


def test_import_changes_no_setting_and_loads_no_extra():
    script = (
        "import jax, logging, sys\n"
        "before = dict(jax.config.values), list(logging.getLogger().filters)\n"
        "import dgjax, dgjax_kernels\n"
        "assert before == (dict(jax.config.values), list(logging.getLogger().filters))\n"
        "extras = {'pandas', 'sklearn', 'matplotlib', 'jinja2', 'pyarrow', 'typer', 'numpyro'} & set(sys.modules)\n"
        "assert not extras, extras\n"
        "assert 'dgjax.testing' not in sys.modules\n"
    )
    paths = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_wheel_has_both_packages_and_nothing_else(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"dgjax", "dgjax_kernels", "_dgjax_command.py"}
    for source in [*ROOT.glob("dgjax/**/*.py"), *ROOT.glob("kernels/dgjax_kernels/**/*.py")]:
        assert str(source.relative_to(ROOT)).removeprefix("kernels/") in names


def test_a_folder_is_entered_by_its_init():
    """No private module of one folder is imported from another, nor from above it."""
    private = re.compile(r"^from dgjax\.(\w+)(?:\._\w+ import| import .*\b_\w+)", re.MULTILINE)
    for path in (ROOT / "dgjax").rglob("*.py"):
        folders = {name for name in private.findall(path.read_text()) if (ROOT / "dgjax" / name).is_dir()}
        assert folders <= {path.relative_to(ROOT / "dgjax").parts[0]}, path


def test_the_command_keeps_what_it_compiles_where_it_may(tmp_path):
    program = "import os, jax; from dgjax.compare._compiling import compile_quickly as quickly; quickly(); quickly(); "
    told = "print(os.environ['XLA_FLAGS'], jax.config.values['jax_compilation_cache_dir'])"
    closed = tmp_path / "a file"
    closed.touch()
    for home, folder in ((tmp_path, tmp_path / "dgjax" / "compiled"), (closed, None)):
        own = {**os.environ, "XDG_CACHE_HOME": str(home), "XLA_FLAGS": "--xla_cpu_enable_fast_math=false"}
        done = subprocess.run(
            [sys.executable, "-c", program + told], env=own, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == [own["XLA_FLAGS"], *quick_flag().split(), str(folder)]


def test_options_that_a_newer_compiler_has_not_are_not_given():
    """A flag that XLA does not know ends the process, and an option fails the first call."""
    assert quick_flag((0, 11, 0)) == "--xla_cpu_use_fusion_emitters=false"
    assert quick_flag((0, 11, 1)) == quick_flag((0, 12, 0, 1)) == ""
