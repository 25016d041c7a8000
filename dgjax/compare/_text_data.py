"""Texts to compare on: one for each row, with a label, checked before anything is fitted."""

from dataclasses import dataclass

import numpy as np

from dgjax.compare import _messages
from dgjax.compare._columns import Named, parse_texts
from dgjax.compare._dataset import EMBEDDED, SIMULATED, TEXTS, Dataset, is_embedded, labels_of, table_of, target_of
from dgjax.compare._errors import InputError
from dgjax.compare._reading import Reading
from dgjax.compare._table import AS_FOUND, listed


@dataclass(frozen=True)
class TextDataset(Dataset):
    """Texts x (n,), str, and labels y (n,), -1 unknown; `columns` is the name of the one column that texts are in."""

    @property
    def sizes(self) -> list[tuple[str, int]]:
        """Sizes of the data set to print, as pairs of a word and a number: of texts, and of characters in all."""
        return [("Texts", len(self.x)), ("Characters", sum(map(len, self.x)))]

    def table(self, x: np.ndarray) -> np.ndarray:
        """Table (n, 1) of texts x: their numbers of characters."""
        return np.array([[len(text)] for text in x], float)


def load(
    data: str,
    target: str | None = None,
    text: str | None = None,
    drop: tuple[str, ...] = (),
    reading: Reading = AS_FOUND,
    found: bool = False,
) -> TextDataset:
    """Texts from a file with a row for each, or the simulated ones by their name.

    `text` is the column of the texts, `found` says that nobody named it.
    """
    options = {"--target": target, "--text": text, "--drop": drop, **reading.options}
    if is_embedded(data, (*EMBEDDED, SIMULATED, TEXTS), options):
        return _simulated()
    assert text is not None
    if target == text:
        raise InputError(
            f"--target {target}: expected class labels, got the column of the texts; --target names another column"
        )
    if text in drop:
        raise InputError(f"--drop {text}: expected a column other than that of --text, got the same; name two columns")
    named = Named("--text", text, "holds the texts", parse_texts, lambda names: _read(names, text, target))
    table, name = table_of(data, target, drop, named, reading)
    chosen = next(column.name for column in table.columns if column.name != text)
    labels, classes = labels_of(table.column(chosen))
    column = table.column(text)
    given = ~np.isnan(column.values)
    x = np.array([column.levels[int(i)] for i in column.values[given]], object)
    notes = [*table.notes, *_alone(text, table.left_out, found)]
    if target is None:
        notes.append(f"The target is '{chosen}'; --target names another.")
    notes += _counted(labels[given], int((~given).sum()), chosen)
    return TextDataset(name, x, labels[given], (text,), ((),), classes, chosen, tuple(notes))


def _read(names: list[str], text: str, target: str | None) -> list[str]:
    """Names of the columns to read: that of the texts, and the target."""
    others = [name for name in names if name != text]
    if not others:
        raise InputError(f"DATA: expected a column of labels beside the texts '{text}', got none; add one")
    return [text, target_of(others, target)[0]]


def _alone(text: str, left_out: tuple[str, ...], found: bool) -> list[str]:
    """Notes on a column of texts that nobody named, and on the others, which are left out."""
    notes = [f"Column '{text}' is free text."] if found else []
    if left_out:
        instead = f" To compare on the others instead, type: --drop '{text}'" if found else ""
        notes.append(f"Compared on '{text}' alone: {listed(list(left_out))} left out.{instead}")
    return notes


def _counted(labels: np.ndarray, empty: int, target: str) -> list[str]:
    """Notes on rows without a text, which are left out, and on texts without a label."""
    unknown = int((labels < 0).sum())
    notes = [f"{empty} rows without a text are left out."] if empty else []
    if unknown:
        notes.append(
            f"{unknown} of {len(labels)} texts have no {target}: they count as unlabelled, and only the question of "
            "unlabelled texts uses them."
        )
    return notes


def _simulated() -> TextDataset:
    texts, kinds = _messages.messages()
    x = np.array(texts, object)
    return TextDataset(TEXTS, x, kinds, ("text",), ((),), _messages.KINDS, "kind", (_messages.NOTE,))
