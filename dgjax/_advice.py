"""What to type instead: the words that errors end with. Looked for on the way to raising, and at no other time."""

import math
import reprlib
from typing import Any

import numpy as np

FEW = 8
_BRIEF = reprlib.Repr()
_BRIEF.maxlist = _BRIEF.maxtuple = _BRIEF.maxdict = _BRIEF.maxset = FEW
_BRIEF.maxstring = _BRIEF.maxother = 60


def shown(value: Any) -> str:
    """A value for a message, however long or deep it is."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and math.prod(shape) > FEW:
        return f"{'array' if hasattr(value, '__array_priority__') else type(value).__name__} of shape {shape}"
    return " ".join(_BRIEF.repr(value.item() if isinstance(value, np.generic) else value).split())


def numbered(given: Any, labels: np.ndarray, name: str) -> str:
    """What numbers labels from 0 in the order of their values, with -1 where they are unknown.

    `labels` are what was read of `given`: -1 where that is masked or NA, which np.unique would take for a value.
    """
    low = float(labels.min(initial=0))
    source = signed(given, name, -1 if low >= -1 else math.floor(low) - 1)
    return f"np.unique({source}, return_inverse=True)[1]{' - 1' if source != name or low == -1 else ''}"


def signed(given: Any, name: str, fill: int = -1) -> str:
    """What makes labels plain, `fill` where they are masked or NA; their name where they are plain."""
    holds = getattr(getattr(given, "dtype", None), "kind", "O") in "if"
    if np.ma.is_masked(given):
        return f"np.ma.filled({name}{'' if holds else '.astype(int)'}, {fill})"
    wide = "" if holds else '.astype("Int64")'
    return f"{name}{wide}.fillna({fill})" if _has_na(given) else name


def plain(given: Any, name: str) -> str:
    """What makes cells plain, NaN where they are masked or NA; their name where they are plain."""
    if np.ma.is_masked(given):
        return f"np.ma.filled({name}.astype(float), np.nan)"
    return f"{name}.to_numpy(float, na_value=np.nan)" if _has_na(given) else name


def _has_na(given: Any) -> bool:
    """Whether pandas keeps numbers there of which some are NA."""
    types = getattr(given, "dtypes", None)
    types = list(types) if getattr(given, "ndim", 1) == 2 and types is not None else [getattr(given, "dtype", None)]
    own = hasattr(given, "isna") and not all(isinstance(one, np.dtype) for one in types)
    return own and bool(np.any(given.isna()))


def relabelled(given: Any, labels: np.ndarray, num_labels: int, name: str) -> str:
    """What makes labels of a model's, of which some lie outside 0 to num_labels - 1."""
    known = np.unique(labels[labels != -1] if labels.min() >= -1 else labels)
    if 1 <= known[0] <= known[-1] == num_labels:
        lower = f"np.subtract({signed(given, name)}, 1)"
        return f"Type {f'np.maximum({lower}, -1)' if labels.min() < 0 else lower}, for labels from 1."
    if len(known) == num_labels:
        return f"Type {numbered(given, labels, name)} to number them."
    if len(known) > num_labels:
        return f"Start a model of {len(known)} labels."
    return (
        f"Type np.searchsorted(classes, {signed(given, name)}), where classes is the list of the {num_labels} values "
        f"that the model's labels stand for, in order."
    )


def of_fractions(given: Any, labels: np.ndarray, name: str) -> str:
    """What makes whole numbers of labels that are not: NaN stays unknown."""
    missing = np.isnan(labels)
    known = labels[~missing]
    if missing.any() and labels.ndim == 1 and ((known < 0) | (known != np.floor(known))).any():
        return f"Type pandas.Series({name}).factorize(sort=True)[0] to number them, with -1 where they are NaN."
    if missing.any():
        return f"Type np.where(np.isnan({name}), -1, {name})."
    return f"Type {numbered(given, labels, name)} to number them."


def of_text(given: Any, array: np.ndarray, name: str, labels: bool) -> str:
    """What makes numbers of text: those that it spells, and else a number for each of its values."""
    told, loose = _as_numbers(given, name), np.ma.isMaskedArray(given)
    if labels:
        some = loose or any(not isinstance(cell, str) for cell in array.flat)
        if some and array.ndim > 1:
            return ""
        coded = f"np.unique({name}, return_inverse=True)[1]"
        coded = f"pandas.Series({name}).factorize(sort=True)[0]" if some else coded
        return f"Type {told}." if told else f"Type {coded} to number them."
    if told:
        return f"Type {told}."
    if array.ndim != 2:
        return ""
    kinds = [_kind_of(column) for column in array.T]
    names = list(given.columns) if hasattr(given, "columns") else list(range(len(kinds)))
    texts = [own for own, kind in zip(names, kinds, strict=True) if kind == "text"]
    marked = ', errors="coerce"' * ("marked" in kinds)
    why = ", with NaN for what is no number" * bool(marked)
    if not texts:
        return f"Type pandas.DataFrame({name}).apply(pandas.to_numeric{marked}){why}."
    codes = 'c.astype("category").cat.codes.replace(-1, np.nan)'
    rest = "" if len(texts) == len(names) else f" if c.name in {texts} else pandas.to_numeric(c{marked})"
    which = f" of column(s) {texts}" if rest and len(texts) <= FEW else ""
    return f"Number the values{which} with pandas.DataFrame({name}).apply(lambda c: {codes}{rest}){why}."


def _as_numbers(given: Any, name: str) -> str:
    """What reads all of it as numbers, if there is such a thing."""
    try:
        given.astype(float) if np.ma.isMaskedArray(given) else np.asarray(given, float)
    except (TypeError, ValueError):
        return ""
    return f"{name}.astype(float)" if np.ma.isMaskedArray(given) else f"np.asarray({name}, float)"


def _kind_of(column: Any) -> str:
    """Whether a column is of numbers, is of text, or of numbers "marked" by some other text where they are missing."""
    read = [_is_number(cell) for cell in column if isinstance(cell, str)]
    numbers = sum(read) + sum(isinstance(cell, int | float | np.number) and cell == cell for cell in column)
    if all(read):
        return "numbers"
    return "marked" if 2 * numbers > len(read) - sum(read) + numbers else "text"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def of_objects(given: Any, array: np.ndarray, name: str, labels: bool) -> str:
    """What makes numbers of objects, some of which are None or NA."""
    known = [cell for cell in array.flat if cell is not None and type(cell).__name__ != "NAType"]
    strange = next((cell for cell in known if not hasattr(cell, "__float__")), None)
    if strange is not None:
        return f"Leave out what is no number, such as {shown(strange)}."
    if array.ndim == 1 and labels:
        return f'Type pandas.Series({name}, dtype="Float64").fillna(-1).'
    if array.ndim == 2:
        return f'Type pandas.DataFrame({name}).astype("Float64").'
    told = _as_numbers(given, name)
    return f"Type {told}." if told else ""
