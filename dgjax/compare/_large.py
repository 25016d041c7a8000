"""Commands on files that may be larger than memory: `dgjax fit`, `predict` and `score`, block by block.

Files are Parquet, Arrow or a folder of Parquet files, and CSV files too large to be read whole.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.parquet as parquet
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

import dgjax as dg
from dgjax.compare import _predict
from dgjax.compare._errors import InputError
from dgjax.streams import arrow_format

BLOCK = 65_536  # rows
LARGE = 200 << 20  # bytes, from which on a file is read in blocks
FORMATS = {".parquet": "parquet", ".pq": "parquet", ".arrow": "ipc", ".feather": "ipc", ".csv": "csv"}
OUTPUTS = (".csv", ".parquet")


def is_large(data: str, out: Path | None) -> bool:
    """Whether a file is read in blocks: a folder, a large file, one of Arrow, or one whose answers go to Parquet."""
    path = Path(data)
    kind = FORMATS.get(path.suffix.lower())
    asked = kind == "ipc" or (out is not None and out.suffix.lower() == ".parquet")
    return path.is_dir() or (kind is not None and path.is_file() and (asked or path.stat().st_size > LARGE))


def dataset(data: str) -> pyarrow.dataset.Dataset:
    """Dataset of a file or folder; raises InputError where there is none that can be read."""
    path = Path(data)
    if not path.exists():
        raise InputError(f"DATA {data}: expected a file or a folder of Parquet files, got none; check the path")
    kind = "parquet" if path.is_dir() else FORMATS.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"DATA {data}: expected a file that ends with {', '.join(FORMATS)}, got another; convert it")
    try:
        return pyarrow.dataset.dataset(path, format=arrow_format(kind))
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"DATA {data}: expected {kind}, got what cannot be read as such: {error}") from None


def rows_of(data: str, source: pyarrow.dataset.Dataset) -> int | None:
    """Number of rows of a file, None where only a pass would tell."""
    return None if Path(data).suffix.lower() == ".csv" else source.count_rows()


@contextmanager
def watched(total: int | None, what: str) -> Iterator[Callable[[int, bool], None]]:
    """Progress bar of a pass over so many rows, with the time left of it.

    Gives what is told of rows that are done, and whether they are the first of another pass.
    """
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[done]}")
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task, passes = bar.add_task(what, total=total, done="0 rows"), 1

        def told(rows: int, again: bool = False) -> None:
            nonlocal passes
            if again:
                passes += 1
                bar.reset(task, description=f"{what}, pass {passes}")
            bar.update(task, advance=rows)
            bar.update(task, done=f"{int(bar.tasks[0].completed):,} rows")

        yield told


def predict(model: dg.Tabular, data: str, out: Path) -> int:
    """Writes predictions for the rows of a large file, block by block, to a CSV or Parquet file; returns their number.

    The file appears when it is whole.
    """
    if out.suffix.lower() not in OUTPUTS:
        raise InputError(f"--out {out}: expected a file that ends with {' or '.join(OUTPUTS)}, got another")
    part, rows, writer = out.with_name(f".{out.name}.{os.getpid()}.part"), 0, None
    try:
        for found in answers(model, data, "predict"):
            table = pa.table({name: _column(own) for name, own in found.items()})
            writer = writer or _writer(part, out.suffix.lower(), table.schema)
            writer.write_table(table.cast(writer.schema) if isinstance(writer, parquet.ParquetWriter) else table)
            rows += len(table)
        if writer is None:
            raise InputError(f"DATA {data}: expected rows, got none; name a file that has some")
        writer.close()
        part.replace(out)
    except OSError as error:
        raise InputError(
            f"--out {out}: expected a file that can be written, got '{error.strerror or error}'; name another"
        ) from None
    finally:
        part.unlink(missing_ok=True)
    return rows


def score(model: dg.Tabular, data: str) -> dict[str, float]:
    """Means over the rows of a file: log p(x); of rows with a label accuracy, log-loss and log p(x, y); and counts."""
    label = model.schema.label
    sums: dict[str, float] = {}
    names = dataset(data).schema.names
    known = label is not None and label.name in names

    def add(name: str, values: np.ndarray) -> None:
        for key, own in ((name, float(np.sum(values))), (f"# {name}", float(len(values)))):
            sums[key] = sums.get(key, 0.0) + own

    for frame in _frames(model, data, "score", (label.name,) if known and label is not None else ()):
        rows, y = _read(model, frame, known, data)
        if dg.capabilities(model.model).log_prob != "none":
            add("log p(x)", np.asarray(dg.log_prob(model.model, rows), float))
        if known and label is not None:
            log_proba = np.asarray(dg.predict_log_proba(model.model, rows), float)[y >= 0]
            y = y[y >= 0]
            add("accuracy", log_proba.argmax(1) == y)
            add("log-loss", -log_proba[np.arange(len(y)), y])
        add("rows", np.ones(len(rows)))
    counted = {name: sums[f"# {name}"] for name in sums if not name.startswith("# ")}
    means = {name: sums[name] / max(count, 1) for name, count in counted.items() if name != "rows"}
    return {"rows": sums.get("rows", 0.0), **means}


def _read(model, frame, known, data):
    """Rows of a block, and labels if they are known; raises InputError for what the model has not learnt."""
    try:
        rows = model.schema.rows(frame)
        return rows, np.asarray(model.schema.labels(model.schema.label.name, frame)) if known else np.zeros(0, int)
    except ValueError as error:
        raise InputError(f"DATA {data}: {error}") from None


def answers(model: dg.Tabular, data: str, what: str) -> Iterator[dict[str, np.ndarray]]:
    """Columns of predictions, block by block."""
    for frame in _frames(model, data, what):
        try:
            yield _predict.columns_of(model, frame)
        except ValueError as error:
            raise InputError(f"DATA {data}: {error}") from None


def _frames(model, data, what, more=()):
    """Blocks of the columns that a model reads, and a bar of how many there were."""
    source = dataset(data)
    absent = next((name for name in model.schema.names if name not in source.schema.names), None)
    if absent is not None:
        raise InputError(
            f"DATA {data}: expected the column '{absent}', which the model has learnt, got "
            f"{', '.join(source.schema.names[:12])}; add it, with empty cells if it is missing"
        )
    total = rows_of(data, source)
    scanner = source.scanner(columns=[*model.schema.names, *more], batch_size=BLOCK, batch_readahead=2)
    with watched(total, what) as told:
        for batch in scanner.to_batches():
            if len(batch):
                yield pa.Table.from_batches([batch])
                told(len(batch), False)


def _column(values):
    own = np.asarray(values)
    return pa.array(own.tolist() if own.dtype == object else own)


def _writer(path, suffix, schema):
    return parquet.ParquetWriter(path, schema) if suffix == ".parquet" else pyarrow.csv.CSVWriter(path, schema)


def told_scores(scores: Mapping[str, float]) -> str:
    """Scores as lines of text."""
    rows = f"rows      {int(scores['rows']):,}"
    units = {"log p(x)": " nats a row", "accuracy": "", "log-loss": " nats a row"}
    return "\n".join([rows, *(f"{name:9} {value:.6g}{units[name]}" for name, value in scores.items() if name in units)])
