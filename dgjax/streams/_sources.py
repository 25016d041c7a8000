"""Sources of a stream: what can be read in parts, again and again, from memory, files, other libraries or functions.

A source gives parts in order: frames, if its columns have names, or else tuples (x, y, weights, lengths) of arrays, of
which all but x may be missing. Parts are of any size; a stream makes blocks of them.
"""

import itertools
import mmap
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from dgjax import _advice
from dgjax._digest import digest
from dgjax.tables import is_frame

ARROW_FORMATS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".arrow": "ipc", ".feather": "ipc"}
INSTALL = "Parquet, CSV and Arrow files are read by PyArrow: type pip install pyarrow narwhals."
EXPECTED = (
    "a numpy.memmap or array, a path of Parquet, Arrow, CSV or .npy files, a dataset or table of PyArrow, a frame or "
    "lazy frame of Polars, an array or frame of Dask, or blocks: a list, or a function that gives an iterator of x, "
    "(x, y) or (x, y, weights)"
)


class Source(ABC):
    """Source of parts: the abstract base class of what a stream is made of."""

    again = True
    """Whether it can be read more than once."""
    length: int | None = None
    """Number of rows, or of sequences, if that is known without reading them."""

    @abstractmethod
    def parts(self, size: int, columns: Sequence[str] | None) -> Generator[Any, None, None]:
        """Parts in order, of `size` rows where the source can choose; of frames the given columns, None for all."""

    @abstractmethod
    def mark(self) -> str:
        """What identifies the rows, as text."""


class OfArrays(Source):
    """Arrays in memory or mapped to memory, of rows or sequences, their labels and weights."""

    def __init__(self, x: Any, y: Any, weights: Any) -> None:
        self.arrays = x, y, weights
        self.length = len(x) * (x.shape[1] if len(x.shape) == 3 else 1)

    def parts(self, size: int, columns: Sequence[str] | None) -> Generator[Any, None, None]:
        for start in range(0, len(self.arrays[0]), size):
            yield tuple(own if own is None else own[start : start + size] for own in self.arrays)
            for own in self.arrays:
                _forget(own)

    def mark(self) -> str:
        return digest([_identity(own) for own in self.arrays])


def _forget(array):
    """Gives the pages back that a file mapped to memory has in this process; the system may keep them for the next."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and getattr(array, "mode", "c") != "c" and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _identity(array):
    """What identifies an array: a file by its name and time, one in memory by all its numbers."""
    if isinstance(array, np.memmap) and array.filename is not None:
        return [*_of_file(array.filename), array.shape, array.dtype.str, array.strides, array.offset]
    return array


def _of_file(path):
    stat = Path(path).stat()
    return [str(Path(path).absolute()), stat.st_size, stat.st_mtime_ns]


class OfDataset(Source):
    """Dataset of PyArrow: of many files it reads the row groups in order, and of these the columns that are asked."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def parts(self, size: int, columns: Sequence[str] | None) -> Generator[Any, None, None]:
        import pyarrow as pa

        own = {"columns": None if columns is None else list(columns), "batch_size": size}
        for piece, options in _pieces(self.dataset):
            for batch in piece.scanner(**own, **options).to_batches():
                if len(batch):
                    yield pa.Table.from_batches([batch])

    def mark(self) -> str:
        files = getattr(self.dataset, "files", None)
        if files and all(Path(path).exists() for path in files):
            return digest([_of_file(path) for path in files])
        return digest([str(self.dataset.schema), self.dataset.count_rows()])


def _pieces(dataset):
    """Pieces of a dataset that are read one after another, with how: row groups, files, or a filtered dataset itself.

    By itself a scanner reads ahead what nobody may ask for yet: 1e7 rows of 8 columns held 170 MB, so they hold 59.
    """
    from pyarrow.dataset import ParquetFragmentScanOptions

    options = {"batch_readahead": 0, "fragment_readahead": 0}
    try:
        fragments = dataset.get_fragments()
    except ValueError:  # as of every filtered dataset
        yield dataset, options
        return
    options["schema"] = dataset.schema
    for fragment in fragments:
        if hasattr(fragment, "split_by_row_group"):
            options["fragment_scan_options"] = ParquetFragmentScanOptions(pre_buffer=False)
            yield from ((group, options) for group in fragment.split_by_row_group())
        else:
            yield fragment, options


class OfFrame(Source):
    """Frame in memory, in slices."""

    def __init__(self, frame: Any) -> None:
        self.frame = frame

    def parts(self, size: int, columns: Sequence[str] | None) -> Generator[Any, None, None]:
        frame = self.frame if columns is None else _selected(self.frame, list(columns))
        for start in range(0, _height(frame), size):
            yield _slice(frame, start, size)

    def mark(self) -> str:
        return digest([repr(type(self.frame)), [_slice(self.frame, 0, 10).__repr__()], _height(self.frame)])


def _height(frame):
    return len(next(iter(frame.values()))) if isinstance(frame, dict) else len(frame)


def _selected(frame, columns):
    if isinstance(frame, dict):
        return {name: frame[name] for name in columns}
    return frame.select(columns) if hasattr(frame, "select") else frame[columns]


def _slice(frame, start, size):
    if isinstance(frame, dict):
        return {name: cells[start : start + size] for name, cells in frame.items()}
    return frame.iloc[start : start + size] if hasattr(frame, "iloc") else frame.slice(start, size)


class OfLazyFrame(Source):
    """Lazy frame of Polars, of which batches are collected by its streaming engine."""

    def __init__(self, frame: Any) -> None:
        self.frame = frame

    def parts(self, size: int, columns: Sequence[str] | None) -> Generator[Any, None, None]:
        frame = self.frame if columns is None else self.frame.select(list(columns))
        if hasattr(frame, "collect_batches"):
            yield from frame.collect_batches(chunk_size=size, maintain_order=True)
            return
        height = frame.select(frame.collect_schema().names()[:1]).collect(engine="streaming").height
        for start in range(0, height, size):
            yield frame.slice(start, size).collect(engine="streaming")

    def mark(self) -> str:
        return digest(self.frame.explain())


class OfDask(Source):
    """Array or frame of Dask, whose chunks are computed one after another."""

    def __init__(self, chunks: Any) -> None:
        self.chunks = chunks

    def parts(self, size: int, columns: Sequence[str] | None) -> Generator[Any, None, None]:
        own = self.chunks if columns is None else self.chunks[list(columns)]
        if not hasattr(own, "columns") and own.ndim > 1:  # rows as wholes
            own = own.rechunk(dict.fromkeys(range(1, own.ndim), -1))
        chunks = own.to_delayed()  # a list of a frame's, a matrix of an array's
        for chunk in chunks if isinstance(chunks, list) else chunks.ravel():
            part = chunk.compute()
            if len(part):
                yield part if hasattr(own, "columns") else (part,)

    def mark(self) -> str:
        return str(getattr(self.chunks, "name", None) or getattr(self.chunks, "_name", ""))


class OfBlocks(Source):
    """Blocks of any iterable: x, (x, y), (x, y, weights), (x, y, weights, lengths), or frames."""

    def __init__(self, make: Callable[[], Iterable[Any]], name: str, again: bool = True) -> None:
        self.make, self.name, self.again = make, name, again
        self.held: Iterator[Any] | None = None
        self.last: Any = None

    def parts(self, size: int, columns: Sequence[str] | None) -> Generator[Any, None, None]:
        if self.again:
            blocks = self._anew()
        elif self.held is None:
            raise ValueError(
                f"source can be read once alone, for it is a {self.name}, and was read before. Give what can be read "
                "again: a list of blocks, or a function that gives a new iterator each time, such as "
                "dgjax.stream(lambda: blocks(path)). One pass is enough for method=dgjax.EM(stepwise=0.6)."
            )
        else:
            blocks, self.held = self.held, None
        for block in blocks:
            if is_frame(block):
                yield block if columns is None else _selected(block, list(columns))
            elif type(block).__name__ == "RecordBatch":
                import pyarrow as pa

                table = pa.Table.from_batches([block])
                yield table if columns is None else table.select(list(columns))
            else:
                yield tuple(block) if isinstance(block, tuple) else (block,)

    def _anew(self):
        given = self.make()
        if isinstance(given, Iterator) and given is self.last:
            raise ValueError(
                f"source must give a new iterator each time; it gave the same {type(given).__name__} again, which was "
                "read before. Make it in the function: type dgjax.stream(lambda: blocks(path))."
            )
        self.last = given
        return iter(given)

    def mark(self) -> str:
        return digest([self.name, self.make])  # a list by all its arrays, a function by its code


def source_of(given: Any, label: Any, weight: Any) -> Source:
    """Source of what a user gave; `label` and `weight` may be arrays beside an array.

    Raises ValueError for what is no source, with what to type.
    """
    kind = type(given).__module__.partition(".")[0]
    if isinstance(given, str | os.PathLike):
        return _of_path(Path(given), label, weight)
    if kind == "dask":
        return OfDask(given)
    if kind == "polars" and type(given).__name__ == "LazyFrame":
        return OfLazyFrame(given)
    if kind == "pyarrow" and hasattr(given, "scanner"):
        return OfDataset(given)
    if is_frame(given):
        return OfFrame(given)
    if hasattr(given, "__array__") or (hasattr(given, "shape") and hasattr(given, "dtype")):
        if not hasattr(given, "shape") or len(given.shape) not in (2, 3):
            raise ValueError(f"source must be rows (n, d) or sequences (n, t, d); got shape {np.shape(given)}.")
        _check_beside(given, label, "label")
        _check_beside(given, weight, "weight")
        return OfArrays(given, label, weight)
    if callable(given) and not isinstance(given, type):
        return OfBlocks(cast(Any, given), getattr(given, "__qualname__", type(given).__name__))
    if isinstance(given, Iterator):
        source = OfBlocks(lambda: given, type(given).__name__, again=False)
        source.held = given
        return source
    if isinstance(given, Iterable) and not isinstance(given, bytes):
        return OfBlocks(lambda: given, f"{type(given).__name__}")
    raise ValueError(f"source must be {EXPECTED}; got {_advice.shown(given)}.")


def first_of(source: Source, size: int) -> Any:
    """The first part of a source; of one that can be read once, it is given again. None of an empty one."""
    if isinstance(source, OfBlocks) and not source.again and source.held is not None:
        first = next(source.held, None)
        source.held = source.held if first is None else itertools.chain([first], source.held)
        return None if first is None else next(OfBlocks(lambda: [first], source.name).parts(size, None))
    parts = source.parts(size, None)
    try:
        return next(parts, None)
    finally:
        parts.close()


def _of_path(path, label, weight):
    if not path.exists():
        raise ValueError(f"source must be a path that exists; there is none at {str(path)!r}.")
    if path.suffix == ".npy":
        return source_of(np.load(path, mmap_mode="r"), label, weight)
    kind = ARROW_FORMATS.get(path.suffix.lower(), "parquet" if path.is_dir() else None)
    if kind is None:
        raise ValueError(
            f"source must be a path of files that end with {', '.join(ARROW_FORMATS)} or .npy, or a folder of Parquet "
            f"files; got {str(path)!r}. Of numbers without a header type np.memmap(path, dtype, 'r', shape=(n, d))."
        )
    try:
        from pyarrow import dataset
    except ImportError:
        raise ImportError(INSTALL) from None
    return OfDataset(dataset.dataset(path, format=arrow_format(kind)))


def arrow_format(kind: str) -> Any:
    """Format of files as PyArrow reads it; in CSV an empty cell of text is a missing one, as one of numbers is."""
    if kind != "csv":
        return kind
    from pyarrow import csv, dataset

    return dataset.CsvFileFormat(convert_options=csv.ConvertOptions(strings_can_be_null=True))


def _check_beside(x, own, name):
    if isinstance(own, str):
        raise ValueError(
            f"{name} must be an array with one number for each row, for the source has no names; got {own!r}."
        )
    if own is not None and (not hasattr(own, "__getitem__") or len(own) != len(x)):
        raise ValueError(f"{name} must have an entry for each of the {len(x)} rows; got {_advice.shown(own)}.")
