"""Tables from CSV or Parquet files: named columns of text or numbers, or an `InputError` that says why not."""

import csv
import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as parquet

from dgjax.compare._columns import Column, Named, cells_of, date_error, is_free_text, parse, parse_for, style_of
from dgjax.compare._errors import FreeTextError, InputError
from dgjax.compare._numbers import POINT, parse_numbers
from dgjax.compare._reading import PACKED_SUFFIXES, Reading, text_of, unpacked

TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".data", "")
PARQUET_SUFFIXES = (".parquet", ".pq")
NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "space"}
SEPARATOR_WORDS = {"\t": "tabs", " ": "spaces"}
COMMENTS = "#%!"
AS_FOUND = Reading()


@dataclass(frozen=True)
class Table:
    """Table: columns of one length, in the order of the file, notes made while reading them, and names left out."""

    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Names of the columns, in order."""
        return [column.name for column in self.columns]

    def column(self, name: str) -> Column:
        """Column of a name."""
        return self.columns[self.names.index(name)]

    def without(self, names: tuple[str, ...]) -> "Table":
        """Table less some columns."""
        return replace(self, columns=tuple(c for c in self.columns if c.name not in names))


class Wanted(NamedTuple):
    """Columns that a model reads of a file, and those of them that are texts, whatever they hold."""

    names: frozenset[str]
    texts: frozenset[str]


def read_table(
    path: Path,
    drop: tuple[str, ...] = (),
    named: Named | None = None,
    reading: Reading = AS_FOUND,
    wanted: Wanted | None = None,
) -> Table:
    """Table of a file, read by its suffix.

    The columns in `drop` are not even parsed, nor any but those `wanted`; one that is `named` is in its own way. Raises
    FreeTextError if one is free text, and none is named.
    """
    inner = path.with_suffix("") if path.suffix.lower() in PACKED_SUFFIXES else path
    suffix = inner.suffix.lower()
    if suffix not in TEXT_SUFFIXES + PARQUET_SUFFIXES:
        raise InputError(
            f"DATA {path}: expected a CSV (.csv, .tsv, .txt) or a Parquet (.parquet) file, got '{suffix}'; "
            f"save it as {path.with_suffix('.csv').name}"
        )
    try:
        raw = unpacked(path)
    except PermissionError:
        raise InputError(f"DATA {path}: expected a file that can be read, got no permission; chmod +r {path}") from None
    if not raw:
        raise InputError(f"DATA {path}: expected a header line and rows, got an empty file; check that it was written")
    if suffix in PARQUET_SUFFIXES or raw.startswith(b"PAR1"):
        return _read_parquet(path, raw, drop, named, reading, wanted)
    return _read_csv(path, text_of(path, raw, reading), drop, named, reading, wanted)


def check_names(path: Path, names: list[str], drop: tuple[str, ...], named: Named | None) -> None:
    """Raises InputError for two columns of one name, and for columns named by an option that are not there.

    Options name columns to drop, and one of names or texts.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        row = "; if the first line is a row, type: --no-header" if _is_number(twice[0]) else ""
        raise InputError(
            f"DATA {path}: expected column names that differ, got '{twice[0]}' {names.count(twice[0])} times; "
            f"rename one in the header, as '{twice[0]}_2'{row}"
        )
    for name in drop:
        if name not in names:
            raise InputError(
                f"--drop {name}: expected a column of {path.name}, got none of that name; it has {listed(names)}"
            )
    if named is not None and named.column not in names:
        near = get_close_matches(named.column, names, 1)
        raise InputError(
            f"{named.option} {named.column}: expected the column of {path.name} that {named.holds}, got none of that "
            f"name; {f'type: {named.option} {near[0]}' if near else f'it has {listed(names)}'}"
        )


def listed(names: list[str], most: int = 12) -> str:
    """Text that lists names for a message, shortened."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _read_csv(
    path: Path, text: str, drop: tuple[str, ...], named: Named | None, reading: Reading, wanted: Wanted | None
) -> Table:
    separator = reading.separator or _separator(path, text)
    rows = _csv_rows(path, text, separator)
    first = next(rows, None)
    if first is None:
        raise InputError(
            f"DATA {path}: expected a header line and rows, got only blank lines; check that it was written"
        )
    _, header = first
    if reading.no_header:
        rows, header = itertools.chain([first], rows), [f"c{i}" for i in range(len(header))]
    names = [name.strip() or f"column {i + 1}" for i, name in enumerate(header)]
    _check_header(path, names)
    check_names(path, names, drop, named)
    body = list(rows)
    for number, row in body:
        if len(row) != len(names):
            raise _ragged(path, text, len(names), number, row, separator)
    if not body:
        raise InputError(f"DATA {path}: expected rows below the header, got none; check that it was written in full")
    if len(names) == 1 and wanted is None:
        _check_one_column(path, text, names[0])
    lines = [number for number, _ in body]
    kept = [i for i, name in enumerate(names) if name not in drop and (wanted is None or name in wanted.names)]
    columns = {names[i]: [row[i] for _, row in body] for i in kept}
    notes = [f"Cells are separated by {SEPARATOR_WORDS.get(separator, repr(separator))}."] if separator != "," else []
    table = _table(columns, lines, "line", named, reading, separator, notes, wanted=wanted)
    if wanted is not None:
        return table
    if not reading.no_header and _is_row_like(names, table):
        note = f"The first line was taken for column names ({listed(names, 5)}): if it is a row, type: --no-header"
        table = replace(table, notes=(*table.notes, note))
    return _without_row_numbers(table, not header[0].strip())


def _table(
    columns: Mapping[str, Sequence[str]],
    lines: Sequence[int],
    place: str,
    named: Named | None,
    reading: Reading,
    separator: str,
    notes: Sequence[str],
    stored: frozenset[str] = frozenset(),
    wanted: Wanted | None = None,
) -> Table:
    """Table of cells: columns of numbers, all written in one style, or of categories, and one that is `named`.

    Columns in `stored` are numbers already.
    """
    own_way = None if named is None else named.column
    read = list(columns) if named is None else named.beside(list(columns))
    cells = {name: cells_of(name, columns[name], lines, reading, place) for name in read if name != own_way}
    if wanted is not None:
        numbers = [name for name in cells if name not in wanted.texts]
        style = style_of([cells[name] for name in numbers if name not in stored], reading, separator)
        parsed = tuple(parse_for(own, style, name in wanted.texts) for name, own in cells.items())
        return Table(parsed, tuple(notes))
    if named is None and (free := [name for name, own in cells.items() if is_free_text(own.texts)]):
        raise FreeTextError(free)
    style = style_of([own for name, own in cells.items() if name not in stored], reading, separator)
    parsed = tuple(
        named.parse(name, columns[name], lines, place)
        if named is not None and name == own_way
        else parse(cells[name], POINT if name in stored else style)
        for name in read
    )
    commas = ["Numbers have decimal commas."] if style.decimal == "," and reading.decimal is None else []
    left_out = tuple(name for name in columns if name not in read)
    return Table(parsed, (*notes, *commas, *(note for column in parsed for note in column.notes)), left_out)


def _separator(path: Path, text: str) -> str:
    """Separator of cells: the one that splits the first rows into most cells, as many in each; else the header."""
    widths = {mark: _widths(text, mark) for mark in ",;\t|"}
    even = {mark: found[0] for mark, found in widths.items() if len(set(found)) == 1 and found[0] > 1}
    most = max(even.values(), default=0)
    if [*even.values()].count(most) > 1:
        ways = " or ".join(f"--separator {NAMES[mark]}" for mark, width in even.items() if width == most)
        raise InputError(f"DATA {path}: expected cells that one mark separates, got two that may; type: {ways}")
    return max(even or widths, key=lambda mark: (widths[mark] or [0])[0])


def _widths(text: str, separator: str, rows: int = 20) -> list[int]:
    """Numbers of cells in the first rows that are not blank."""
    start = text[: 1 << 16]
    reader = csv.reader(io.StringIO(start, newline=""), delimiter=separator, skipinitialspace=True)
    try:
        found = list(itertools.islice((len(row) for row in reader if any(map(str.strip, row))), rows))
    except csv.Error:
        return []
    # The last row may be cut.
    return found[:-1] if len(start) < len(text) and 1 < len(found) < rows else found


def _check_one_column(path: Path, text: str, name: str) -> None:
    """Raises, with what to type, if one column may be many: after a comment, or between other marks."""
    if name[0] in COMMENTS:
        raise InputError(
            f"DATA {path}: expected column names in the first line, got '{name}'; type: --comment '{name[0]}'"
        )
    for mark in " :^~":
        widths = _widths(text, mark)
        if len(set(widths)) == 1 and widths[0] > 1:
            words = NAMES.get(mark, f"'{mark}'")
            raise InputError(
                f"DATA {path}: expected cells separated by commas, semicolons, tabs or pipes, got one column "
                f"'{name}'; type: --separator {words}"
            )


def _ragged(path: Path, text: str, width: int, line: int, row: list[str], separator: str) -> InputError:
    """Error for a row that is not as wide as the header; the row may be a comment."""
    hint = f"a cell that holds '{separator}' needs double quotes"
    mark = row[0].lstrip()[:1]
    if mark not in COMMENTS and width < len(row):
        mark = text.lstrip()[:1]
    if mark and mark in COMMENTS:
        hint = f"if lines that begin with {mark} are comments, type: --comment '{mark}'"
    return InputError(
        f"DATA {path}, line {line}: expected {width} cells as in the header, got {len(row)}; correct that line ({hint})"
    )


def _csv_rows(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Lines that are not blank: number and cells of each."""
    if separator == " ":
        text = re.sub(r"(?m)^ +| +$", "", text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for row in reader:
            if row and (len(row) > 1 or row[0].strip()):
                yield reader.line_num, row
    except csv.Error as error:
        raise InputError(
            f"DATA {path}, line {reader.line_num}: expected a CSV file, got one that cannot be read ({error}), as "
            "where a double quote is not closed; double each quote within a cell"
        ) from None


def _check_header(path: Path, names: list[str]) -> None:
    if all(map(_is_number, names)) and not _counts(names):
        raise InputError(
            f"DATA {path}: expected column names in the first line, got numbers ({listed(names, 4)}); "
            "if it is a row, type: --no-header"
        )


def _is_number(text: str) -> bool:
    return parse_numbers([text])[1] is None


def _counts(names: list[str]) -> bool:
    """Whether names are 0, 1, 2 and so on, as pandas names columns that have no name."""
    return len(names) > 2 and names == [str(i) for i in range(len(names))]


def _is_row_like(names: list[str], table: Table) -> bool:
    """Whether what was taken for names may be cells: numbers over numbers that do not count, or texts that recur."""
    numbers = [name for name in names if _is_number(name)]
    if numbers and not (len(numbers) > 1 and numbers == [str(int(float(numbers[0])) + i) for i in range(len(numbers))]):
        return True
    return any(column.name in column.levels for column in table.columns)


def _without_row_numbers(table: Table, unnamed: bool) -> Table:
    """Table without the nameless first column of row numbers, which many tools write."""
    values = table.columns[0].values
    if not unnamed or table.columns[0].levels or any(value != values[0] + i for i, value in enumerate(values)):
        return table
    note = "The first column has no name and numbers the rows: left out."
    return replace(table, columns=table.columns[1:], notes=(*table.notes, note))


def _read_parquet(
    path: Path, raw: bytes, drop: tuple[str, ...], named: Named | None, reading: Reading, wanted: Wanted | None
) -> Table:
    try:
        file = parquet.ParquetFile(pa.BufferReader(raw))
        names = list(file.schema_arrow.names)
        check_names(path, names, drop, named)
        table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"DATA {path}: expected a Parquet file, got one that cannot be read ({str(error).splitlines()[0]}); "
            "write it again, or give the data as CSV"
        ) from None
    if table.num_rows == 0:
        raise InputError(f"DATA {path}: expected rows, got none; check that it was written in full")
    kept = [name for name in names if name not in drop and not name.startswith("__index_level_")]
    kept = kept if wanted is None else [name for name in kept if name in wanted.names]
    notes = ["The stored row index is left out."] if any(n.startswith("__index_level_") for n in names) else []
    own_way = None if named is None else named.column
    columns = {name: _arrow_cells(name, table.column(name), name == own_way) for name in kept}
    kinds = {name: table.column(name).type for name in kept}
    stored = frozenset(n for n, kind in kinds.items() if pa.types.is_integer(kind) or pa.types.is_floating(kind))
    return _table(columns, range(1, table.num_rows + 1), "row", named, reading, ",", notes, stored, wanted)


def _arrow_cells(name: str, column: pa.ChunkedArray, names: bool) -> list[str]:
    kind = column.type
    if pa.types.is_temporal(kind) and not names:
        raise date_error(name, str(kind))
    if (pa.types.is_nested(kind) or pa.types.is_binary(kind)) and not names:
        raise InputError(f"column '{name}': expected numbers or text, got {kind}; leave it out: --drop '{name}'")
    return ["" if cell is None else str(cell) for cell in column.to_pylist()]
