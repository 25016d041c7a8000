"""The command `dgjax`: its version, for which nothing else is imported, and all else by `dgjax.compare`.

It stands outside of the package, for what is in `dgjax` imports JAX, which takes a second.
"""

import sys
from importlib import metadata


def main() -> None:
    """Run the command with the arguments of the process."""
    if sys.argv[1:] == ["--version"]:
        print(f"dgjax {metadata.version('dgjax')}")
        return
    from dgjax.compare import _cli

    _cli.main()
