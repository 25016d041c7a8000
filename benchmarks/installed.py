"""First calls on 200 rows of 4 columns where pip has installed dgjax and it has never run, each in its own process.

`python benchmarks/installed.py` makes an empty environment, installs this folder into it, and prints how long each
starter, fit and verb takes, the longest first. It ends with an error if one of them imports numba.
"""

import pathlib
import subprocess
import sys
import tempfile
import venv

import rich
import rich.table
from bench_small_first_calls import CALLS, DATA, processes

WITHOUT_NUMBA = "(jax.block_until_ready(jax.tree.leaves({})), 'numba' in __import__('sys').modules)[1]"


def main():
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = f"{folder}/bin/python"
        subprocess.run([python, "-m", "pip", "install", "-qq", pathlib.Path(__file__).parents[1]], check=True)
        with processes(python) as fresh:
            found = {
                name: fresh(setup=f"n = 200\n{DATA}", call=WITHOUT_NUMBA.format(call), value=True)
                for name, call in CALLS.items()
            }
    table = rich.table.Table("first call", "seconds")
    for name, answer in sorted(found.items(), key=lambda item: -item[1]["seconds"]):
        table.add_row(name, f"{answer['seconds']:.2f}")
    rich.print(table)
    with_numba = [name for name, answer in found.items() if answer["value"]]
    sys.exit(f"numba was imported by: {', '.join(with_numba)}" if with_numba else 0)


if __name__ == "__main__":
    main()
