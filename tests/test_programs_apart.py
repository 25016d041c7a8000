"""The tests of programs on disk, in a process of their own, for they ask of one that has just begun."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("which", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_programs_in_a_process_of_their_own(which):
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-m", which]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    given = {"cwd": ROOT, "env": environment | {"DGJAX_APART": "1"}, "capture_output": True, "text": True}
    done = subprocess.run([*command, "tests/test_programs.py"], timeout=600, check=False, **given)
    assert done.returncode == 0, done.stdout[-4000:]
