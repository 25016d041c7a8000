"""The kernel that nearly all tests need is compiled once, before there are workers that would each compile it.

As quick runs have it: by a lower level of numba's, and cached apart, or users would run it.
"""

import os
import pathlib
import subprocess
import sys

# Without Python's search for cycles of garbage: the process ends with what it compiled.
PROGRAM = """
import gc, sys
gc.disable()
from dgjax_kernels.cpu.gaussian.estep import handler
handler.target(sys.argv[1])
"""


def lower_level() -> None:
    """Sets how numba compiles, here and in processes that inherit it, before numba is imported."""
    os.environ.setdefault("NUMBA_OPT", "1")
    os.environ.setdefault("NUMBA_CACHE_DIR", str(pathlib.Path(__file__).parents[1] / ".pytest_cache" / "numba"))


def compile_all(precisions: list[str]) -> None:
    """Compiles for all precisions at once, each in a process of its own."""
    kernels = str(pathlib.Path(__file__).parents[1] / "kernels")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [kernels, os.environ.get("PYTHONPATH")]))}
    for compiler in [
        subprocess.Popen([sys.executable, "-c", PROGRAM, precision], env=environment) for precision in precisions
    ]:
        compiler.wait()
