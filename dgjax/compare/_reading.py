"""Reading of a text file: the options of the command line, and the way from bytes to text."""

import bz2
import codecs
import gzip
import io
import lzma
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from dgjax.compare._errors import InputError

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|", "space": " "}
PACKED_SUFFIXES = (".gz", ".bz2", ".xz", ".zip", ".zst", ".zstd")
QUOTED_OR_COMMENT = r'("(?:[^"]|"")*")|{comment}[^\r\n]*'


@dataclass(frozen=True)
class Reading:
    """Options for reading a file; None is found out, or is what it is in pandas."""

    separator: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    comment: str | None = None
    missing: tuple[str, ...] = ()
    no_header: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "separator", SEPARATORS.get(self.separator or "", self.separator))
        for option in ("separator", "decimal", "thousands", "comment"):
            mark = getattr(self, option)
            if mark is not None and (len(mark) != 1 or mark.isalnum() or mark in '"\r\n+-'):
                raise InputError(
                    f"--{option} {mark}: expected one character that is no letter, digit, sign or quote, got "
                    f"{mark!r}; type it between quotes, as --{option} ','"
                )
        if self.decimal is not None and self.decimal == self.thousands:
            raise InputError(
                f"--thousands {self.thousands}: expected another mark than that of --decimal, got the same"
            )
        try:
            "".encode(self.encoding or "utf-8")
        except LookupError:
            raise InputError(
                f"--encoding {self.encoding}: expected the name of an encoding, got one that Python does not know; "
                "type one such as utf-8, utf-16, cp1252 or latin-1"
            ) from None

    @property
    def options(self) -> dict[str, Any]:
        """Options that were given, by their names."""
        return {f"--{name.replace('_', '-')}": value for name, value in vars(self).items()}


def unpacked(path: Path) -> bytes:
    """Bytes of a file, unpacked if it is compressed by gzip, bzip2, xz, zip or zstd."""
    raw = path.read_bytes()
    for magic, unpack in PACKERS.items():
        if raw.startswith(magic):
            try:
                return unpack(path, raw)
            except InputError:
                raise
            except Exception:  # each module has errors of its own, and zlib's, lzma's and Arrow's have no common base
                raise InputError(
                    f"DATA {path}: expected a packed file that is whole, got one that cannot be unpacked; pack it again"
                ) from None
    return raw


def _unzip(path: Path, raw: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        names = [one.filename for one in archive.infolist() if not one.is_dir()]
        if len(names) != 1:
            raise InputError(
                f"DATA {path}: expected one file within, got {len(names)} ({', '.join(names[:4])}); unpack it, and "
                "name one of them"
            )
        return archive.read(names[0])


def _unzstd(_: Path, raw: bytes) -> bytes:
    with pa.CompressedInputStream(pa.BufferReader(raw), "zstd") as stream:
        return stream.read()


PACKERS: dict[bytes, Callable[[Path, bytes], bytes]] = {
    b"\x1f\x8b": lambda _, raw: gzip.decompress(raw),
    b"BZh": lambda _, raw: bz2.decompress(raw),
    b"\xfd7zXZ\x00": lambda _, raw: lzma.decompress(raw),
    b"PK\x03\x04": _unzip,
    b"\x28\xb5\x2f\xfd": _unzstd,
}
MARKS = {  # of byte order; that of UTF-32 begins with that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def text_of(path: Path, raw: bytes, reading: Reading) -> str:
    """Text from bytes, by `--encoding`, or a byte-order mark, or else UTF-8; comments are left out if told."""
    marked = next((name for mark, name in MARKS.items() if raw.startswith(mark)), None)
    if b"\0" in raw and reading.encoding is None and marked is None:
        _refuse_zeros(path, raw)
    encoding = reading.encoding or marked or "utf-8"
    try:
        text = raw.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InputError(
            f"DATA {path}: expected text in {encoding.upper()}, got the byte 0x{raw[error.start]:02x}, which is none; "
            f"type: --encoding {_other_encoding(raw, encoding)}"
        ) from None
    if "\0" in text:
        _refuse_zeros(path, raw)
    if reading.comment is None:
        return text
    pattern = QUOTED_OR_COMMENT.format(comment=re.escape(reading.comment))
    return re.sub(pattern, lambda match: match[1] or "", text)


def _refuse_zeros(path: Path, raw: bytes) -> None:
    """Raises InputError for text in UTF-16 without a mark: every second byte of Latin letters or digits is 0 there."""
    even, odd = raw[::2].count(0), raw[1::2].count(0)
    if max(10 * min(even, odd), len(raw) // 20) < max(even, odd):
        other = "utf-16-le" if odd > even else "utf-16-be"
        raise InputError(f"DATA {path}: expected text in UTF-8, got text in UTF-16; type: --encoding {other}")
    raise InputError(f"DATA {path}: expected text, got bytes that are none; name a file that is CSV or Parquet")


def _other_encoding(raw: bytes, tried: str) -> str:
    """Name of an encoding other than `tried` in which the bytes are text."""
    for encoding in ("utf-8", "cp1252"):
        try:
            raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding != tried:
            return encoding
    return "latin-1"
