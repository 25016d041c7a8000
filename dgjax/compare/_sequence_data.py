"""Sequences to compare on: steps with missing cells, a state for each, checked before anything is fitted."""

from dataclasses import dataclass, replace

import numpy as np

from dgjax.compare import _simulate
from dgjax.compare._columns import Named, parse_names
from dgjax.compare._dataset import EMBEDDED, SIMULATED, TEXTS, Dataset, from_table, is_embedded, table_of
from dgjax.compare._errors import InputError
from dgjax.compare._reading import Reading
from dgjax.compare._table import AS_FOUND

FEWEST_SEQUENCES = 12  # to split into those to learn from and those to test on


@dataclass(frozen=True)
class SequenceDataset(Dataset):
    """Sequences x (n,) of steps (t_i, d), NaN missing, and states y (n,) of (t_i,), -1 unknown; told by `sequence`."""

    sequence: str = ""

    @property
    def labelled(self) -> np.ndarray:
        """Numbers of the sequences whose every state is known."""
        return np.flatnonzero([(y >= 0).all() for y in self.y])

    @property
    def strata(self) -> np.ndarray:
        """Strata of sequences: the rarest state in each, so that the first few of a split hold every state."""
        counts = np.bincount(np.concatenate(self.y) + 1, minlength=1 + len(self.classes))[1:]
        place = np.empty(len(counts), int)
        place[np.argsort(counts)] = np.arange(len(counts))
        rarest = np.argsort(counts)
        return np.array([rarest[place[y[y >= 0]].min()] if (y >= 0).any() else -1 for y in self.y])

    @property
    def sizes(self) -> list[tuple[str, int]]:
        """Sizes of the data set to print, as pairs of a word and a number: of sequences, steps in all, and columns."""
        return [("Sequences", len(self.x)), ("Steps", sum(map(len, self.x))), ("Columns", len(self.columns))]

    def at(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sequences by their numbers, and the states of all their steps in turn."""
        return self.x[rows], np.concatenate(self.y[rows])

    def table(self, x: np.ndarray) -> np.ndarray:
        """Table (m, d) of all steps of the sequences x, in turn."""
        return np.concatenate(x)


def load(
    data: str,
    target: str | None = None,
    sequence: str | None = None,
    drop: tuple[str, ...] = (),
    reading: Reading = AS_FOUND,
) -> SequenceDataset:
    """Sequences from a file with a row for each step, or the simulated data set by its name."""
    options = {"--target": target, "--sequence": sequence, "--drop": drop, **reading.options}
    if is_embedded(data, (*EMBEDDED, SIMULATED, TEXTS), options):
        return _simulated()
    assert sequence is not None
    for option, name in (("--target", target), ("--drop", sequence if sequence in drop else None)):
        if name == sequence:
            raise InputError(
                f"{option} {name}: expected a column other than that of --sequence, got the same; name two columns"
            )
    named = Named("--sequence", sequence, "says which sequence a row belongs to", parse_names)
    table, name = table_of(data, target, drop, named, reading)
    codes = table.column(sequence).values.astype(int)
    flat = from_table(table.without((sequence,)), name, target)
    return _check(_grouped(flat, codes, sequence))


def _grouped(flat: Dataset, codes: np.ndarray, sequence: str) -> SequenceDataset:
    """Sequences from a flat data set: the rows of each, in the order of the file, wherever they stand in it."""
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes))[:-1]
    x, y = np.split(flat.x[order], ends), np.split(flat.y[order], ends)
    counters = [name for j, name in enumerate(flat.columns) if all((np.diff(one[:, j]) == 1).all() for one in x)]
    # What numbers the rows of the file is one of them, and said once.
    notes = [note for note in flat.notes if "numbers the rows" not in note]
    notes += [f"Column '{c}' numbers the steps: unless it means more, leave it out (--drop '{c}')." for c in counters]
    return SequenceDataset(
        name=flat.name,
        x=ragged(x),
        y=ragged(y),
        columns=flat.columns,
        levels=flat.levels,
        classes=flat.classes,
        target=flat.target,
        notes=tuple(notes),
        sequence=sequence,
    )


def _check(dataset: SequenceDataset) -> SequenceDataset:
    """Check of sequences: raises InputError if whole sequences cannot be split; notes what only one question uses."""
    count, longest, option = len(dataset.x), max(map(len, dataset.x)), f"--sequence {dataset.sequence}"
    if longest < 2:
        raise InputError(
            f"{option}: expected sequences of several rows, got a different value in each of the {count} rows; name "
            "the column that rows of one sequence share, or leave --sequence out"
        )
    if count == 1:
        raise InputError(
            f"{option}: expected at least {FEWEST_SEQUENCES} sequences, got one, with the same value in all rows; name "
            "the column that tells sequences apart, or leave --sequence out"
        )
    known = len(dataset.labelled)
    if known < FEWEST_SEQUENCES:
        raise InputError(
            f"{option}: expected at least {FEWEST_SEQUENCES} sequences with a {dataset.target} at every step, got "
            f"{known} of {count}; whole sequences are split into those to learn from and those to test on: add some, "
            "or cut long ones into parts with names of their own"
        )
    if known == count:
        return dataset
    note = (
        f"{count - known} of {count} sequences lack the {dataset.target} of a step or more: they count as unlabelled, "
        "and only the question of sequences without labels uses them."
    )
    return replace(dataset, notes=(*dataset.notes, note))


def _simulated() -> SequenceDataset:
    x, y = _simulate.activity()
    return SequenceDataset(
        name=SIMULATED,
        x=ragged(x),
        y=ragged(y),
        columns=_simulate.CHANNELS,
        levels=((),) * len(_simulate.CHANNELS),
        classes=_simulate.STATES,
        target="activity",
        notes=(_simulate.NOTE,),
        sequence="wearer",
    )


def ragged(arrays: list[np.ndarray]) -> np.ndarray:
    """Ragged array: arrays of unequal length as the entries of one array (n,)."""
    whole = np.empty(len(arrays), object)
    whole[:] = arrays
    return whole


def hide_cells(x: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Sequences x (n,) with that share of all cells NaN, completely at random; a whole step may be among them."""
    random = np.random.default_rng((seed, 2))
    return ragged([np.where(random.random(one.shape) < share, np.nan, one) for one in x])


def hide_steps(x: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Sequences x (n,) with that share of all steps NaN, completely at random."""
    random = np.random.default_rng((seed, 3))
    return ragged([np.where(random.random((len(one), 1)) < share, np.nan, one) for one in x])
