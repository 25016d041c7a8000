"""Folder of compiled programs: read and written by any number of processes, and safe to delete at any time.

`DGJAX_CACHE_DIR` names it, by default `~/.cache/dgjax/programs` (or under `XDG_CACHE_HOME`); where it is empty, nothing
is kept. Files are pickles, so only a folder is used that is the user's own and that no other user may write to.
"""

import contextlib
import hashlib
import os
import tempfile
import zlib
from pathlib import Path

VARIABLE = "DGJAX_CACHE_DIR"
MOST_BYTES = 1 << 28  # of all files, those of the longest unread are deleted beyond it
PRUNED_EVERY = 64  # files written by a process
WIDTH = hashlib.sha256().digest_size
_written = 0


def folder() -> Path | None:
    """The folder, made if need be; None if the user wants none, or there can be none that is the user's own."""
    named = os.environ.get(VARIABLE)
    if named == "":
        return None
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
        found = Path(named) if named else cache / "dgjax" / "programs"
        found.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = found.stat()
    except (OSError, RuntimeError):  # no place to write to, or no home
        return None
    private = not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)
    return found if private else None


def read(key: str) -> bytes | None:
    """Content of the file for a key; None if there is none, or what is there is not what was written."""
    place = folder()
    if place is None:
        return None
    path = place / key
    try:
        content = path.read_bytes()
        with contextlib.suppress(OSError):
            os.utime(path)  # for `_prune`
    except OSError:
        return None
    whole = hashlib.sha256(content[WIDTH:]).digest() == content[:WIDTH]
    return zlib.decompress(content[WIDTH:]) if whole else None


def write(key: str, content: bytes) -> None:
    """Writes the file for a key, in one piece for whoever reads it meanwhile; nothing where it cannot be written."""
    global _written
    place = folder()
    if place is None:
        return
    try:
        handle, temporary = tempfile.mkstemp(dir=place)
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            packed = zlib.compress(content, 1)
            file.write(hashlib.sha256(packed).digest() + packed)
        Path(temporary).replace(place / key)
    except OSError:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
    _written += 1
    if _written % PRUNED_EVERY == 1:
        _prune(place)


def _prune(place):
    """Deletes what was not read for the longest time, beyond MOST_BYTES."""
    files = []
    for path in place.iterdir():
        with contextlib.suppress(OSError):
            status = path.stat()
            files.append((status.st_mtime, status.st_size, path))
    total = 0
    for _, size, path in sorted(files, reverse=True):
        total += size
        if total > MOST_BYTES:
            with contextlib.suppress(OSError):
                path.unlink()
