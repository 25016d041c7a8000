"""`python tests/compiled.py float32 ...`: compiles the kernel that nearly all tests need, for these precisions, once.

As quick runs have it: by a lower level of numba's, and cached apart, or users would run it.
"""

import os
import pathlib
import subprocess
import sys

PROGRAM = "import sys; from dgjax_kernels.cpu.gaussian.estep import handler; handler.target(sys.argv[1])"


def lower_level() -> None:
    """Sets how numba compiles, here and in processes that inherit it, before numba is imported."""
    os.environ.setdefault("NUMBA_OPT", "1")
    os.environ.setdefault("NUMBA_CACHE_DIR", str(pathlib.Path(__file__).parents[1] / ".pytest_cache" / "numba"))


def compile_all(precisions: list[str]) -> None:
    """Compiles for all precisions at once, each in a process of its own."""
    for compiler in [subprocess.Popen([sys.executable, "-c", PROGRAM, precision]) for precision in precisions]:
        compiler.wait()


if __name__ == "__main__":
    lower_level()
    compile_all(sys.argv[1:])
