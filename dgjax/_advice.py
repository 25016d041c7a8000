"""Error advice: the sentence at the end of an error that says what to type instead. Computed only when raising."""

import math
import re
import reprlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

FEW = 8  # entries, texts or columns that a message lists
_BRIEF = reprlib.Repr()
_BRIEF.maxlist = _BRIEF.maxtuple = _BRIEF.maxdict = _BRIEF.maxset = FEW
_BRIEF.maxstring = _BRIEF.maxother = 60


def shown(value: Any) -> str:
    """Short text of a value for a message, however long or deep it is; large arrays by their shape."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and math.prod(shape) > FEW:
        return f"{'DataFrame' if hasattr(value, 'iloc') else 'an array'} of shape {shape}"
    return " ".join(_BRIEF.repr(value.item() if isinstance(value, np.generic) else value).split())


WORDED = re.compile(r"\b(columns?(?:\(s\))?|combination of) (\d+(?:, \d+)*)")
"""How errors word columns of an array, by number: "column 3", "column(s) 1, 2", "a combination of 1, 2"."""
LEFT_OUT = re.compile(r"(?:type )?np\.delete\(x, \[([\d, ]+)\], axis=-1\)", re.IGNORECASE)


def named(text: str, names: Sequence[str], without: Callable[[list[str]], str]) -> str:
    """Message about columns of an array, by number, as one about those of a table, by name.

    `without(names)` is what to type for a table less some columns, in place of code for arrays.
    """

    def of(numbers: str) -> list[str]:
        return [names[int(number)] for number in numbers.split(", ") if int(number) < len(names)]

    text = WORDED.sub(lambda found: f"{found[1]} {', '.join(map(repr, of(found[2]))) or found[2]}", text)
    return LEFT_OUT.sub(lambda found: without(of(found[1])).rstrip("."), text)


def numbered(given: Any, labels: np.ndarray, name: str) -> str:
    """Code that renumbers labels from 0 in the order of their values, -1 where unknown.

    `labels` are ints read of `given`, with -1 where that is masked or NA, which np.unique would take for a value.
    """
    low = float(labels.min(initial=0))
    source = signed(given, name, -1 if low >= -1 else math.floor(low) - 1)
    return f"np.unique({source}, return_inverse=True)[1]{' - 1' if source != name or low == -1 else ''}"


def signed(given: Any, name: str, fill: int = -1) -> str:
    """Code for plain integer labels: fills masked, NA or NaN entries with `fill`; just the name if there are none."""
    holds = getattr(getattr(given, "dtype", None), "kind", "O") in "if"
    if np.ma.is_masked(given):
        return f"np.ma.filled({name}{'' if holds else '.astype(int)'}, {fill})"
    wide = "" if holds else '.astype("Int64")'
    if _has_na(given):
        return f"{name}{wide}.fillna({fill})"
    return f"np.where(np.isnan({name}), {fill}, {name})" if np.isnan(np.asarray(given, float)).any() else name


def plain(given: Any, name: str) -> str:
    """Code for plain float cells: fills masked or NA entries with NaN; just the name if there are none."""
    if np.ma.is_masked(given):
        return f"np.ma.filled({name}.astype(float), np.nan)"
    return f"{name}.to_numpy(float, na_value=np.nan)" if _has_na(given) else name


def _has_na(given: Any) -> bool:
    """Whether a pandas object has nullable columns with some NA."""
    types = getattr(given, "dtypes", None)
    types = list(types) if getattr(given, "ndim", 1) == 2 and types is not None else [getattr(given, "dtype", None)]
    own = hasattr(given, "isna") and not all(isinstance(one, np.dtype) for one in types)
    return own and bool(np.any(given.isna()))


def relabelled(given: Any, labels: np.ndarray, num_labels: int, name: str) -> str:
    """Error advice: one sentence that says what to do where labels lie outside 0 to num_labels - 1.

    `given` is the user's array, `labels` the ints read of it, -1 where unknown, and `name` its name in the message.
    """
    known = np.unique(labels[labels != -1] if labels.min() >= -1 else labels)
    if (code := of_unknown(labels, name)) and known[-1] < num_labels:
        return f"Type {code}{f', or {numbered(given, labels, name)} to number them' * (len(known) == num_labels)}."
    if 1 <= known[0] <= known[-1] == num_labels:
        lower = f"np.subtract({signed(given, name)}, 1)"
        return f"Type {f'np.maximum({lower}, -1)' if labels.min() < 0 else lower}, for labels from 1."
    if len(known) == num_labels:
        return f"Type {numbered(given, labels, name)} to number them."
    if len(known) > num_labels:
        return f"Start a model of {len(known)} labels."
    source = signed(given, name)
    found = f"np.searchsorted(classes, {source})"
    found = f"np.where(np.equal({source}, -1), -1, {found})" if labels.min() == -1 else found
    return (
        f"Type {found}, where classes is the list of the {num_labels} values that the model's labels stand for, in "
        "order."
    )


def of_unknown(labels: np.ndarray, name: str) -> str | None:
    """Error advice where one value alone is less than -1, such as -999: code for it, should it mean unknown."""
    low = np.unique(labels[labels < -1])
    if len(low) != 1 or len(np.unique(labels[labels >= 0])) < 2:
        return None
    return f"np.where(np.equal({name}, {low[0]}), -1, {name}) if {low[0]} means unknown"


def of_fractions(given: Any, labels: np.ndarray, name: str) -> str:
    """Error advice for labels that are not whole numbers: code that renumbers them, NaN becoming -1."""
    if np.isnan(labels).any():
        flat, back = (name, "") if labels.ndim == 1 else (f"np.ravel({name})", f".reshape(np.shape({name}))")
        code = f"pandas.Series({flat}).factorize(sort=True)[0]{back}"
        return f"Type {code} to number them, with -1 where they are NaN."
    return f"Type {numbered(given, labels, name)} to number them."


def of_text(given: Any, array: np.ndarray, name: str, labels: bool) -> str:
    """Error advice for text: code that reads it as numbers, or else codes each distinct value by a number.

    `labels` says that these are labels rather than cells; an empty string if there is no advice.
    """
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
    if array.ndim == 1 and any(" " in cell.strip() for cell in array if isinstance(cell, str)):
        return (
            f"Type CountVectorizer().fit_transform({name}).toarray(), where CountVectorizer counts words, of "
            'sklearn.feature_extraction.text; kinds="multinomial" takes their numbers.'
        )
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
    """Code that converts an array of text or objects to floats; an empty string if that fails."""
    try:
        given.astype(float) if np.ma.isMaskedArray(given) else np.asarray(given, float)
    except (TypeError, ValueError):
        return ""
    return f"{name}.astype(float)" if np.ma.isMaskedArray(given) else f"np.asarray({name}, float)"


def _kind_of(column: Any) -> str:
    """Kind of a column of objects: "numbers", "text", or "marked": numbers, and other text where missing."""
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
    """Error advice for arrays of Python objects with None or NA: code that converts them to numbers."""
    strange = next((at for at, cell in np.ndenumerate(array) if not _may_be_number(cell)), None)
    if strange is not None:
        place = f"{name}[{', '.join(map(str, strange))}]"
        return f"Leave out what is no number, such as {place}, which is {shown(array[strange])}."
    if array.ndim == 1 and labels:
        return f'Type pandas.Series({name}, dtype="Float64").fillna(-1).'
    if array.ndim == 2:
        return f'Type pandas.DataFrame({name}).astype("Float64").'
    told = _as_numbers(given, name)
    return f"Type {told}." if told else ""


def _may_be_number(cell: Any) -> bool:
    return cell is None or type(cell).__name__ == "NAType" or hasattr(cell, "__float__")


def of_dates(given: Any, name: str) -> tuple[list[Any], str]:
    """Columns of a frame that hold dates or times, and code that makes seconds of them."""
    kinds = {column: getattr(kind, "kind", "O") for column, kind in zip(given.columns, given.dtypes, strict=True)}
    columns = [column for column, kind in kinds.items() if kind in "mM"]
    second, told = "np.timedelta64(1, 's')", "c"
    for kind, code in (("m", "c"), ("M", "(c - c.min())")):
        told = f"{code} / {second} if c.dtype.kind == '{kind}' else {told}" if kind in kinds.values() else told
    return columns, f"{name}.apply(lambda c: {told})"


def of_cell(given: Any, cells: np.ndarray, column: int, supports: Any, wrong: np.ndarray, option: Any) -> str:
    """Error advice for the first cell of a column outside its support: rounding, masking, or another kind of column.

    `given` is the caller's x, `cells` (n, d) its numbers, `supports` has one for each column, and `wrong` (n, d) masks
    cells outside theirs. `option` is the name of a starter's argument for the kind of column, and words to end with, or
    None. The advice begins with a space; it is empty where there is none.
    """
    support, value, source = supports[column], cells[wrong[:, column].argmax(), column], plain(given, "x")
    read = "np.asarray(x)" if source == "x" else source
    here = f"np.arange({'x.shape' if hasattr(given, 'shape') else 'np.shape(x)'}[-1]) == {column}"
    fraction = np.isfinite(value) and support.whole and value != np.floor(value)
    if np.isinf(value) and support.missing:
        if source == "x" and not np.isinf(np.asarray(given, float)).any():
            return " Type jax.config.update('jax_enable_x64', True), and float64 columns."
        return f" Type x = np.where(np.isinf({source}), np.nan, {source})."
    if np.isfinite(value) and option and not (value == -1 and np.nanmin(cells[:, column]) == -1 and not fraction):
        return _of_kind(cells, supports, wrong, *option)
    bits = np.array([(one.whole, one.low, one.high) == (True, 0, 1) for one in supports])
    seen = support.missing and (support.words.startswith("a category") or (value == -1 and 0 in cells[:, column]))
    if bits[column] and np.isfinite(value) and not seen:
        raw = bits & wrong.any(0)
        bits = bits if 2 * raw.sum() > bits.sum() else raw  # a raw column may have no cell above 1
        return _of_bits(read, source, bits, np.isnan(cells).any())
    if fraction:
        told = "np.round(x)" if all(one.whole for one in supports) else f"np.where({here}, np.round({read}), {source})"
        return f" If it is a whole number, type x = {told}."
    if not support.missing or not np.isfinite(value):
        return ""
    if value < support.low:
        below = f"{read} < {support.low:g}"
        below = below if all(one.low == support.low for one in supports) else f"({here}) & ({below})"
        return f" If that says that it is missing, type x = np.where({below}, np.nan, {source})."
    above = _above(read, supports)
    return f" What the model has not seen is scored as missing: type x = np.where({above}, np.nan, {source})."


def _of_bits(read, source, columns, holes):
    """Error advice for binary columns: code that makes cells 0 and 1 by a threshold, as in the rows learnt from."""
    bits = f"{read} > threshold"
    bits = f"np.where(np.isnan({source}), np.nan, {bits})" if holes else bits
    if not columns.all():
        bits = f"np.where(np.isin(np.arange(np.shape(x)[-1]), {np.flatnonzero(columns).tolist()}), {bits}, {source})"
    return f" If those that the model was learnt from were 0 and 1 by a threshold, type x = {bits}."


def _above(read, supports):
    """Code that masks the cells above their columns' supports, of all columns at once."""
    high = [one.high for one in supports]
    if len(set(high)) == 1:
        return f"{read} > {high[0]:g}"
    if len(high) > 2 * FEW:
        return f"{read} > [support.high for support in model.supports]"
    return f"{read} > [{', '.join('np.inf' if one == np.inf else f'{one:g}' for one in high)}]"


def _of_kind(cells, supports, wrong, option, where):
    """Error advice on which kind of column to choose, when a model is started, so that its cells are in the support."""
    counts = ((cells >= 0) & (cells == np.floor(cells)) | np.isnan(cells)).all(0)
    if option == "likelihood":
        kind = "poisson" if counts.all() else "gaussian"
        return f' Type likelihood="{kind}"{where}.'
    suits = ["categorical" if count else "gaussian" for count in counts]
    named = [own if bad else _kind_named(one) for own, one, bad in zip(suits, supports, wrong.any(0), strict=True)]
    kinds = set(named)
    if counts.all() and len(kinds | {"bernoulli", "poisson"}) <= 3:
        return f' Type {option}="categorical", or {option}="poisson" for counts{where}.'
    if "multinomial" in kinds or len(kinds) == 1 or len(named) > 2 * FEW:
        return f' Type {option}="gaussian"{where}.'
    return f" Type {option}={named}{where}."


def _kind_named(support: Any) -> str:
    """Name of the kind of column with a given support, such as "bernoulli" or "poisson"."""
    kinds = ("multinomial", "categorical", "poisson")
    usual = "gaussian" if not support.whole else "poisson" if support.high == np.inf else "categorical"
    return "bernoulli" if support.high == 1 else next((kind for kind in kinds if kind in support.words), usual)


def standardised(axes: tuple[int, ...], constant: bool = False, missing: bool = False) -> str:
    """Code that gives columns mean 0 and spread 1: with some `constant`, which stay 0, or with cells `missing`."""
    over = axes[0] if len(axes) == 1 else axes
    mean, spread = (f"np.nan{name}(x, {over})" if missing else f"x.{name}({over})" for name in ("mean", "std"))
    spread = f"np.where({spread} > 0, {spread}, 1)" if constant else spread
    return f"x = (x - {mean}) / {spread}"


def transposed(given: Any, ndim: int, name: str) -> str:
    """Code that swaps rows and columns, or in sequences steps and columns."""
    if ndim == 3:
        return f"np.swapaxes({name}, 1, 2)"
    return f"{name}.T" if hasattr(given, "T") else f"np.transpose({name})"


def of_width(given: Any, shape: tuple[int, ...], num_features: int, name: str) -> str:
    """Error advice for rows with another number of columns than the model: transpose, select, or pad with NaN."""
    d = shape[-1]
    if shape[-2] == num_features:
        return f" Type {transposed(given, len(shape), name)}."
    if d > num_features:
        at = f"[..., :{num_features}]"
        own = name if hasattr(given, "__array_priority__") else f"np.asarray({name})"
        own = f"{name}.iloc[:, :{num_features}]" if hasattr(given, "iloc") else f"{own}{at}"
        return f" Give the model's columns and no other, in their order: type {own} if they are the first."
    before = "(0, 0), " * (len(shape) - 1)
    source = plain(given, name)
    source = f"np.asarray({name}, float)" if source == name else source
    return (
        f" Where a column is missing give NaN: type np.pad({source}, ({before}(0, {num_features - d})), "
        f"constant_values=np.nan) if those are the last; or ask the model of what is there, dgjax.marginal."
    )


def split(name: str) -> str:
    """Code for a list of sequences, from all their steps, one sequence after another, and `lengths`."""
    return f"np.split({name}, np.cumsum(lengths)[:-1])"


def padded(shapes: set[tuple[int, ...]], name: str, labels: bool = False) -> str:
    """Error advice for sequences of unequal length: code that pads them into one array."""
    if labels:
        return f"Type {name} = dgjax.pad({name})[0]."
    if len({shape[1:] for shape in shapes}) > 1 or not {len(shape) for shape in shapes} <= {1, 2}:
        return "Give each the same columns."
    series = f"[np.reshape(one, (-1, 1)) for one in {name}]"
    steps = name if len(min(shapes)) == 2 else series
    return f"Type {name}, lengths = dgjax.pad({steps}). Give lengths=lengths too."


def of_no_model(model: Any, path: Any) -> str:
    """Error advice for `save` of something that is no model, such as a `Fit`, or of arguments in the wrong order."""
    if hasattr(type(getattr(model, "model", None)), "as_model"):
        return "Type dgjax.save(path, fit.model)."
    if hasattr(type(path), "as_model"):
        return "The path comes first: type dgjax.save(path, model)."
    return ""


COLUMNS, CLASSES = "Type np.shape(x)[-1].", "Type np.max(y) + 1."
CRF, REGRESSION = (
    f"Type dgjax.fit(dgjax.{starter}(np.shape(x)[-1], np.max(y) + 1), x, y)."
    for starter in ("linear_chain_crf", "logistic_regression")
)
"""What to type where a starter that takes sizes was given data."""
WITHOUT_LABELS = "Without classes to tell apart, type dgjax.gaussian_mixture(key, x, num_components)."
SEQUENCES_WITHOUT_LABELS = (
    "Without classes to tell apart, type dgjax.hidden_markov_mixture(key, x, num_components, num_states)."
)
STATES_WITHOUT_LABELS = "Without states to tell apart, type dgjax.hidden_markov(key, x, num_states)."
"""What to type where there are no labels, or those of one class."""
