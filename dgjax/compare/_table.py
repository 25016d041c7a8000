"""From a CSV or Parquet file to named columns of text or numbers, or an `InputError` that says why not."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

from dgjax.compare._columns import Column, date_error, parse_names, parse_numbers, parse_text
from dgjax.compare._errors import InputError

TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".data", "")
PARQUET_SUFFIXES = (".parquet", ".pq")


@dataclass(frozen=True)
class Table:
    """Columns of one length, in the order of the file, and what was said while reading them."""

    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The columns' names, in order."""
        return [column.name for column in self.columns]

    def column(self, name: str) -> Column:
        """The column of that name."""
        return self.columns[self.names.index(name)]

    def without(self, names: tuple[str, ...]) -> "Table":
        """The table less those columns."""
        return Table(tuple(c for c in self.columns if c.name not in names), self.notes)


def read_table(path: Path, drop: tuple[str, ...] = (), sequence: str | None = None) -> Table:
    """Read a file by its suffix; the columns in `drop` are not even parsed, that of `sequence` is taken for names."""
    suffix = path.suffix.lower()
    if suffix not in TEXT_SUFFIXES + PARQUET_SUFFIXES:
        raise InputError(
            f"DATA {path}: expected a CSV (.csv, .tsv, .txt) or a Parquet (.parquet) file, got '{suffix}'; "
            f"save it as {path.with_suffix('.csv').name}"
        )
    try:
        empty = path.stat().st_size == 0
        if not empty:
            return (_read_parquet if suffix in PARQUET_SUFFIXES else _read_csv)(path, drop, sequence)
    except PermissionError:
        raise InputError(f"DATA {path}: expected a file that can be read, got no permission; chmod +r {path}") from None
    raise InputError(f"DATA {path}: expected a header line and rows, got an empty file; check that it was written")


def check_names(path: Path, names: list[str], drop: tuple[str, ...], sequence: str | None) -> None:
    """Refuse two columns of one name, and columns to drop, or to tell sequences by, that are not there."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"DATA {path}: expected column names that differ, got '{twice[0]}' {names.count(twice[0])} times; "
            f"rename one in the header, as '{twice[0]}_2'"
        )
    for name in drop:
        if name not in names:
            raise InputError(
                f"--drop {name}: expected a column of {path.name}, got none of that name; it has {listed(names)}"
            )
    if sequence is not None and sequence not in names:
        near = get_close_matches(sequence, names, 1)
        raise InputError(
            f"--sequence {sequence}: expected the column of {path.name} that says which sequence a row belongs to, got "
            f"none of that name; {f'type: --sequence {near[0]}' if near else f'it has {listed(names)}'}"
        )


def listed(names: list[str], most: int = 12) -> str:
    """Names for a message, shortened."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _read_csv(path: Path, drop: tuple[str, ...], sequence: str | None) -> Table:
    rows = _csv_rows(path)
    first = next(rows, None)
    if first is None:
        raise InputError(
            f"DATA {path}: expected a header line and rows, got only blank lines; check that it was written"
        )
    _, header, delimiter = first
    names = [name.strip() or f"column {i + 1}" for i, name in enumerate(header)]
    _check_header(path, names)
    check_names(path, names, drop, sequence)
    lines: list[int] = []
    cells: list[list[str]] = []
    for line, row, _ in rows:
        if len(row) != len(names):
            raise InputError(
                f"DATA {path}, line {line}: expected {len(names)} cells as in the header, got {len(row)}; "
                f"correct that line (a cell that holds '{delimiter}' needs double quotes)"
            )
        lines.append(line)
        cells.append(row)
    if not cells:
        raise InputError(f"DATA {path}: expected rows below the header, got none; check that it was written in full")
    kept = [(i, name) for i, name in enumerate(names) if name not in drop]
    columns = [
        parse_names(name, [row[i] for row in cells], lines)
        if name == sequence
        else parse_text(name, [row[i] for row in cells], lines, delimiter == ";")
        for i, name in kept
    ]
    notes = [f"Cells are separated by {'tabs' if delimiter == chr(9) else delimiter!r}."] if delimiter != "," else []
    return _without_row_numbers(Table(tuple(columns), tuple(notes)), header[0].strip() == "")


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str], str]]:
    """Line number, cells and delimiter of each line that is not blank."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            start = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=start.count)
            reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
            for row in reader:
                if row and (len(row) > 1 or row[0].strip()):
                    yield reader.line_num, row, delimiter
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise InputError(
            f"DATA {path}: expected text in UTF-8, got the byte 0x{byte:02x}, which is none; "
            f"convert it: iconv -f latin1 -t utf-8 {path.name} > {path.stem}-utf8.csv"
        ) from None
    except csv.Error as error:
        raise InputError(
            f"DATA {path}: expected a CSV file, got one that cannot be read ({error}); save it again"
        ) from None


def _check_header(path: Path, names: list[str]) -> None:
    if all(parse_numbers([name])[1] is None for name in names):
        raise InputError(
            f"DATA {path}: expected column names in the first line, got numbers ({listed(names, 4)}); "
            "add a header line, as a,b,c,target"
        )


def _without_row_numbers(table: Table, unnamed: bool) -> Table:
    """The nameless first column that many tools write is the row's number and says nothing."""
    values = table.columns[0].values
    if not unnamed or table.columns[0].levels or any(value != values[0] + i for i, value in enumerate(values)):
        return table
    return Table(table.columns[1:], (*table.notes, "The first column has no name and numbers the rows: left out."))


def _read_parquet(path: Path, drop: tuple[str, ...], sequence: str | None) -> Table:
    try:
        file = parquet.ParquetFile(path)
        names = list(file.schema_arrow.names)
        check_names(path, names, drop, sequence)
        table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"DATA {path}: expected a Parquet file, got one that cannot be read ({str(error).splitlines()[0]}); "
            "write it again, or give the data as CSV"
        ) from None
    if table.num_rows == 0:
        raise InputError(f"DATA {path}: expected rows, got none; check that it was written in full")
    kept = [name for name in names if name not in drop and not name.startswith("__index_level_")]
    notes = ("The stored row index is left out.",) if any(n.startswith("__index_level_") for n in names) else ()
    return Table(tuple(_arrow_column(name, table.column(name), name == sequence) for name in kept), notes)


def _arrow_column(name: str, column: pa.ChunkedArray, names: bool) -> Column:
    kind = column.type
    if names:
        cells = ["" if cell is None else str(cell) for cell in column.to_pylist()]
        return parse_names(name, cells, list(range(1, len(cells) + 1)), place="row")
    if pa.types.is_temporal(kind):
        raise date_error(name, str(kind))
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        raise InputError(f"column '{name}': expected numbers or text, got {kind}; leave it out: --drop '{name}'")
    cells = ["" if cell is None else str(cell) for cell in column.to_pylist()]
    return parse_text(name, cells, list(range(1, len(cells) + 1)), place="row")
