"""Data set to compare on: features with missing cells, labels, names; checked before anything is fitted."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from dgjax.compare._columns import MOST_LEVELS, Column, Named
from dgjax.compare._errors import InputError
from dgjax.compare._reading import Reading
from dgjax.compare._table import AS_FOUND, Table, listed, read_table

TARGET_NAMES = ("target", "label", "class", "y")
IDENTIFIER = re.compile(r"(?i:^(id|index|row|rownames|row[ _]?(number|no|nr)|key)$)|(?i:[ _.-]id$)|[a-z]I[dD]$")
FEWEST_ROWS = 8  # of each class: training and test rows of every split
# A number that may stand for a missing cell: in more of the cells, and so many ranges of the other numbers away.
OFTEN, FAR, FEW_VALUES = 0.05, 1.0, 4
EMBEDDED = ("digits", "breast-cancer", "wine", "iris")
SIMULATED, TEXTS = "activity", "messages"


@dataclass(frozen=True)
class Image:
    """Image layout of columns that are pixels: its size, the pixels kept, and the value of those left out."""

    height: int
    width: int
    kept: np.ndarray
    rest: np.ndarray
    low: float
    high: float

    def pixels(self, x: np.ndarray) -> np.ndarray:
        """Rows (n, d) of kept columns as pictures (n, height, width)."""
        flat = np.tile(self.rest, (len(x), 1))
        flat[:, self.kept] = x
        return flat.reshape(-1, self.height, self.width)


@dataclass(frozen=True)
class Dataset:
    """Rows x (n, d), NaN missing, and labels y (n,), -1 unknown."""

    name: str
    x: np.ndarray
    y: np.ndarray
    columns: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    classes: tuple[str, ...]
    target: str
    notes: tuple[str, ...] = ()
    image: Image | None = None

    @property
    def numeric(self) -> np.ndarray:
        """Mask (d,) of the columns of numbers."""
        return np.array([not levels for levels in self.levels])

    @property
    def labelled(self) -> np.ndarray:
        """Numbers of the rows whose label is known."""
        return np.flatnonzero(self.y >= 0)

    @property
    def strata(self) -> np.ndarray:
        """Strata (n,) of rows, which every split holds in equal shares: the labels."""
        return self.y

    @property
    def sizes(self) -> list[tuple[str, int]]:
        """Sizes of the data set to print, as pairs of a word and a number, such as ("Rows", 150)."""
        return [("Rows", len(self.x)), ("Columns", len(self.columns))]

    def at(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows by their numbers, with the labels to predict."""
        return self.x[rows], self.y[rows]

    def table(self, x: np.ndarray) -> np.ndarray:
        """Table (m, d) of all rows in `x`: rows (n, d) themselves, or the steps of sequences, one after another."""
        return x


def load(
    data: str,
    target: str | None = None,
    drop: tuple[str, ...] = (),
    reading: Reading = AS_FOUND,
    bins: int | None = None,
    keep: tuple[str, ...] = (),
) -> Dataset:
    """Data set from a file, or an embedded one by its name; `bins` makes so many classes of a target of numbers.

    Identifiers are left out, but for those in `keep`.
    """
    options = {"--target": target, "--drop": drop, "--bins": bins, "--keep": keep}
    if is_embedded(data, EMBEDDED, options | reading.options):
        return _embedded(data)
    if both := [column for column in keep if column in drop]:
        raise InputError(f"--keep {both[0]}: expected without --drop {both[0]}, got both; leave one out")
    table, name = table_of(data, target, drop, reading=reading)
    table = _without_identifiers(table, target, keep)
    dataset = from_table(table, name, target, bins)
    missing = len(dataset.y) - len(dataset.labelled)
    if not missing:
        return dataset
    note = (
        f"{missing} of {len(dataset.y)} rows have no {dataset.target}: they count as unlabelled, "
        "and only the question of unlabelled rows uses them."
    )
    return replace(dataset, notes=(*dataset.notes, note))


def is_embedded(data: str, names: tuple[str, ...], options: Mapping[str, Any] = MappingProxyType({})) -> bool:
    """Whether `data` is one of the embedded names; raises InputError for options that go with files only."""
    if data not in names or Path(data).is_file():
        return False
    for option, value in options.items():
        if value:
            raise InputError(
                f"{option}: expected only with a file, got it with the embedded data set '{data}'; leave it out"
            )
    return True


def table_of(
    data: str, target: str | None, drop: tuple[str, ...], named: Named | None = None, reading: Reading = AS_FOUND
) -> tuple[Table, str]:
    """Table in a file, and the file's name."""
    path = Path(data)
    if path.is_dir():
        raise InputError(f"DATA {data}: expected a file, got a folder; name the file in it, as {path / 'data.csv'}")
    if path.is_char_device() or path.is_block_device():
        raise InputError(f"DATA {data}: expected a file, got a device; name a file")
    if not path.exists():
        raise InputError(
            f"DATA {data}: expected a file or one of {', '.join((*EMBEDDED, SIMULATED, TEXTS))}, got neither; check "
            "the path, or type: dgjax compare digits"
        )
    if target is not None and target in drop:
        raise InputError(
            f"--drop {target}: expected a column other than the target, got the target; leave out one of the two"
        )
    return read_table(path, drop, named, reading), path.name


def _without_identifiers(table: Table, target: str | None, keep: tuple[str, ...]) -> Table:
    """Table less the columns whose names say that they identify rows and whose cells all differ; notes say so."""
    for name in keep:
        if name not in table.names:
            raise InputError(f"--keep {name}: expected a column of the data, got none; it has {listed(table.names)}")
    found = [c.name for c in table.columns if c.name not in (target, *keep) and _identifies(c)]
    if not found or len(table.columns) - len(found) < 2:
        return table
    notes = [f"Column '{name}' identifies the rows: left out (--keep '{name}' takes it in)." for name in found]
    return replace(table.without(tuple(found)), notes=(*table.notes, *notes))


def _identifies(column: Column) -> bool:
    known = column.values[~np.isnan(column.values)]
    numbers = bool((known == np.floor(known)).all()) and len(known) > 2
    return numbers and bool(IDENTIFIER.search(column.name)) and len(np.unique(known)) == len(known)


def from_table(table: Table, name: str, target: str | None = None, bins: int | None = None) -> Dataset:
    """Data set from a table, split into target and features; raises InputError for what cannot be compared on."""
    if len(table.names) < 2:
        raise InputError(
            f"DATA: expected a target and at least one more column, got {len(table.names)} ({listed(table.names)}); "
            "add columns"
        )
    chosen, note = target_of(table.names, target)
    column = table.column(chosen)
    labels, classes = labels_of(column if bins is None else binned(column, bins))
    features = table.without((chosen,)).columns
    _check_features(features, chosen)
    notes = [*table.notes, *note]
    counters = [c.name for c in features if _counts_rows(c)]
    notes += [f"Column '{c}' numbers the rows: if it is an identifier, leave it out (--drop '{c}')." for c in counters]
    notes += [note for note in map(_stand_in, features) if note]
    return Dataset(
        name=name,
        x=np.column_stack([c.values for c in features]),
        y=labels,
        columns=tuple(c.name for c in features),
        levels=tuple(c.levels for c in features),
        classes=classes,
        target=chosen,
        notes=tuple(notes),
    )


def target_of(names: list[str], target: str | None) -> tuple[str, list[str]]:
    """Name of the target among those of columns, and what to say of how it was found."""
    if target is not None and target not in names:
        raise InputError(
            f"--target {target}: expected a column of the data, got none of that name; it has {listed(names)}"
        )
    if target is not None:
        return target, []
    usual = [name for name in names if name.lower() in TARGET_NAMES]
    chosen = usual[0] if usual else names[-1]
    why = "by its name" if usual else "as the last column"
    return chosen, [f"The target is '{chosen}', {why}; --target names another."]


def labels_of(column: Column) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels (n,) of a column, -1 where it is empty, and the names of the classes."""
    known = ~np.isnan(column.values)
    values, codes = np.unique(column.values[known], return_inverse=True)
    if len(values) == 0:
        raise InputError(
            f"--target {column.name}: expected class labels, got only empty cells; --target names another column"
        )
    if len(values) > MOST_LEVELS and not column.levels:
        raise InputError(
            f"--target {column.name}: expected class labels, got {len(values)} different numbers, a quantity, and "
            "these models tell classes apart; to compare on its quarters type --bins 4; --target names another column"
        )
    if len(values) > MOST_LEVELS:
        raise InputError(
            f"--target {column.name}: expected at most {MOST_LEVELS} classes, got {len(values)} different values; "
            "--target names another column"
        )
    classes = tuple(column.levels[int(v)] if column.levels else f"{v:g}" for v in values)
    if len(values) == 1:
        raise InputError(
            f"--target {column.name}: expected at least two classes, got one ('{classes[0]}' in all rows); "
            "--target names another column"
        )
    counts = np.bincount(codes)
    if counts.min() < FEWEST_ROWS:
        raise InputError(
            f"--target {column.name}: expected at least {FEWEST_ROWS} rows in each class, got {counts.min()} of "
            f"'{classes[int(counts.argmin())]}'; add rows, merge that class with another, or leave its rows out"
        )
    labels = np.full(len(known), -1)
    labels[known] = codes
    return labels, classes


def binned(column: Column, bins: int) -> Column:
    """Column of classes of a column of numbers: ranges between its quantiles, of about as many rows each.

    Raises InputError for fewer than two bins, text, or numbers that repeat so much that two ranges would be one.
    """
    if not 2 <= bins <= MOST_LEVELS:
        raise InputError(f"--bins {bins}: expected 2 to {MOST_LEVELS}, got {bins}; type: --bins 4")
    if column.levels:
        raise InputError(
            f"--bins {bins}: expected a target of numbers, got '{column.name}', which is of text ({column.levels[0]}); "
            "leave --bins out, or --target names another column"
        )
    known = ~np.isnan(column.values)
    cuts = np.unique(np.quantile(column.values[known], np.arange(1, bins) / bins)) if known.any() else np.zeros(0)
    codes = np.searchsorted(cuts, column.values[known], "left")
    if known.any() and (len(cuts) < bins - 1 or len(np.unique(codes)) < bins):
        raise InputError(
            f"--bins {bins}: expected numbers that differ enough for so many ranges of as many rows, got "
            f"'{column.name}', where single numbers are frequent; type a smaller number, or leave --bins out"
        )
    ends = [f"{cut:.4g}" for cut in cuts]
    if len(set(ends)) < len(ends):
        ends = [repr(float(cut)) for cut in cuts]
    between = [f"{low} to {high}" for low, high in itertools.pairwise(ends)]
    values = np.full(len(known), np.nan)
    values[known] = codes
    levels = (f"up to {ends[0]}", *between, f"over {ends[-1]}") if ends else ()
    return replace(column, values=values, levels=levels)


def _check_features(features: tuple[Column, ...], target: str) -> None:
    for column in features:
        given = column.values[~np.isnan(column.values)]
        if len(given) == 0:
            raise InputError(
                f"column '{column.name}': expected numbers or text, got only empty cells; "
                f"leave it out: --drop '{column.name}'"
            )
        if (given == given[0]).all():
            value = column.levels[0] if column.levels else f"{given[0]:g}"
            raise InputError(
                f"column '{column.name}': expected at least two different values, got {value} in every row; "
                f"leave it out: --drop '{column.name}'"
            )
    if all(column.levels for column in features):
        names = [column.name for column in features]
        raise InputError(
            f"DATA: expected at least one column of numbers beside the target '{target}', "
            f"got only text ({listed(names)}); store what can be counted or measured as numbers, or "
            f"compare on one as text: --text '{names[0]}'"
        )


def _counts_rows(column: Column) -> bool:
    return not column.levels and len(column.values) > 2 and bool((np.diff(column.values) == 1).all())


def _stand_in(column: Column) -> str:
    """Warning text on a number that may stand for missing cells: at one end, far from all others, and frequent."""
    given = column.values[~np.isnan(column.values)]
    values, counts = np.unique(given, return_counts=True)
    if column.levels or len(values) <= FEW_VALUES:
        return ""
    for end, next_to, rest in ((0, 1, values[1:]), (-1, -2, values[:-1])):
        value, gap = values[end], abs(values[end] - values[next_to])
        nines = value < 0 <= rest[0] and set(f"{-value:g}") == {"9"}
        if counts[end] > OFTEN * len(given) and (gap > FAR * np.ptp(rest) or nines):
            return (
                f"Column '{column.name}' is {value:.12g} in {counts[end] / len(given):.0%} of its cells, far from all "
                f"others ({rest[0]:.6g} to {rest[-1]:.6g}). If that stands for a missing cell, type: "
                f"--missing {value:.12g}"
            )
    return ""


def _embedded(name: str) -> Dataset:
    from sklearn import datasets

    loaders = {
        "digits": datasets.load_digits,
        "breast-cancer": datasets.load_breast_cancer,
        "wine": datasets.load_wine,
        "iris": datasets.load_iris,
    }
    bunch = loaders[name]()
    x = np.asarray(bunch.data, float)
    dataset = Dataset(
        name=name,
        x=x,
        y=np.asarray(bunch.target, int),
        columns=tuple(str(column) for column in bunch.feature_names),
        levels=((),) * x.shape[1],
        classes=tuple(str(label) for label in bunch.target_names),
        target="target",
        notes=(f"The embedded data set '{name}' of scikit-learn.",),
    )
    return _digits(dataset) if name == "digits" else dataset


def _digits(dataset: Dataset) -> Dataset:
    varies = np.ptp(dataset.x, axis=0) > 0
    kept, constant = np.flatnonzero(varies), np.flatnonzero(~varies)
    note = (
        f"{len(constant)} of {len(varies)} pixels never change (columns {', '.join(map(str, constant))}): "
        "left out of the models, drawn in the pictures."
    )
    return replace(
        dataset,
        x=dataset.x[:, kept],
        columns=tuple(dataset.columns[i] for i in kept),
        levels=((),) * len(kept),
        notes=(*dataset.notes, note),
        image=Image(8, 8, kept, dataset.x[0], 0.0, 16.0),
    )
