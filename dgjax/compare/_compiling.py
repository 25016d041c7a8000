"""Settings of compilation for the command: quick, and kept on disk for the next call.

They hold for this process alone. A program that imports dgjax keeps its own settings;
`docs/tutorials/getting_started.md` says how to have these there.
"""

import logging
import os
from pathlib import Path

import jaxlib.version

from dgjax_kernels import older_emitters


def quick_flag(version: tuple[int, ...] = jaxlib.version.__version_info__) -> str:
    """XLA's flag for its older code generator for loops on a CPU, which takes less than half of the time to compile.

    The handwritten digits, `--quick`, 2 cores: 2 min 40 s where nothing is compiled, 1 min 9 s where all is on disk.
    Empty where jaxlib has no such generator: a flag that XLA does not know would end the process.
    """
    return "".join(f"--{name}={str(value).lower()}" for name, value in older_emitters(version).items())


def compile_quickly() -> None:
    """Sets XLA and JAX to compile quickly, before the first program; what the user has set already stays."""
    import jax

    # One line for each program would drown the progress, which says what runs.
    logging.getLogger("dgjax").setLevel(logging.ERROR)
    flags = os.environ.get("XLA_FLAGS", "")
    if quick_flag() and "xla_cpu_use_fusion_emitters" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {quick_flag()}".strip()
    if jax.config.values["jax_compilation_cache_dir"] is None and (folder := _folder()) is not None:
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def _folder():
    """Folder of the user's for caches, if it can be written to; else None."""
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    folder = Path(home, "dgjax", "compiled")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except (OSError, RuntimeError):
        return None
    return folder
