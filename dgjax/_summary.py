"""`summary`, and what `print` shows of models and fits: kind, sizes, parameters in a table, how a fit ended.

Parameters are read where they are, so nothing is compiled; inside `jit`, where they have no values, `print` shows the
shapes that `repr` has.
"""

import html
import io
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from dgjax._arguments import is_concrete
from dgjax._elsewhere import told_keywords
from dgjax._parameter_table import Rows, Words, kind, number, parameter_rows
from dgjax._verbs import capabilities, num_parameters
from dgjax.data import as_model
from dgjax.densities import Density, Mixture
from dgjax.learning import Fit
from dgjax.models import DiscriminativeModel, HiddenMarkov, LinearChainCRF, Logistic, Marginalized
from dgjax.tables import Tabular

FEW_ROWS, FEW_COLUMNS, WIDTH = 12, 7, 110
"""Rows and columns of parameters that `print` shows, and characters in a line of facts."""


@dataclass(frozen=True)
class Summary:
    """Summary of a model or fit, for a terminal or a notebook: a title, facts, and its parameters in a table.

    `facts` are pairs of a name and a text; `head` and `rows` the table, texts too, the label first in each row: of
    columns of numbers the mean ± standard deviation, of 0 and 1 the probability of 1, of categories the likeliest and
    its probability, of counts the rate; the weights of a linear scorer. Without a table both are empty.
    """

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()

    def __str__(self) -> str:
        out = io.StringIO()
        # No table is squeezed: a terminal that is narrower breaks its lines.
        widest = [max(map(len, column)) for column in zip(self.head, *self.rows, strict=True)]
        width = max(WIDTH, len(self.title), sum(widest) + 3 * len(widest) + 2)
        from rich.console import Console  # as long to import as a tenth of all else

        Console(file=out, width=width, color_system=None).print(self.__rich__())
        return "\n".join(line.rstrip() for line in out.getvalue().rstrip("\n").split("\n"))

    __repr__ = __str__

    def __rich__(self) -> Any:
        from rich.box import SIMPLE_HEAD
        from rich.console import Group
        from rich.table import Table as RichTable
        from rich.text import Text

        parts: list[Any] = [Text(self.title, "bold")]
        if self.facts:
            facts = RichTable.grid(padding=(0, 2))
            for fact in self.facts:
                facts.add_row(*map(Text, fact))
            parts.append(facts)
        if self.head:
            table = RichTable(box=SIMPLE_HEAD, pad_edge=False)
            for name in self.head:
                table.add_column(Text(name), justify="left" if name == self.head[0] else "right")
            for row in self.rows:
                table.add_row(*map(Text, row))
            parts.append(table)
        return Group(*parts)

    def _repr_html_(self) -> str:
        def cells(tag, texts):
            return "".join(f'<{tag} style="text-align:right">{html.escape(text)}</{tag}>' for text in texts)

        facts = "".join(f"<div>{html.escape(name)}: {html.escape(text)}</div>" for name, text in self.facts)
        rows = "".join(f"<tr>{cells('td', row)}</tr>" for row in self.rows)
        table = f"<table><thead><tr>{cells('th', self.head)}</tr></thead><tbody>{rows}</tbody></table>"
        return f"<div><strong>{html.escape(self.title)}</strong>{facts}{table if self.head else ''}</div>"


@told_keywords
def summary(model: Any) -> Summary:
    """Summary of a model or of a fit, to print or to look at in a notebook: all that `print(model)` says, and more.

    Its kind and sizes, what it can be asked (`dgjax.capabilities`), memory, all parameters in one table, a row for each
    label, and of a fit how it ended. Names are those of the table that it was learnt from.

    Raises TypeError for what is neither, and ValueError inside `jit`, where parameters have no values.
    """
    inner = model.model if isinstance(model, Fit) else model
    own = as_model(inner)
    if not is_concrete(own):
        raise ValueError("summary is for a model whose parameters have values; inside jit they have shapes alone.")
    kinds = [f"{name} {word}" for name, word in capabilities(inner)._asdict().items()]
    leaves = jax.tree.leaves(own)
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    words = words_of(inner)
    facts = (*_ended(model), ("answers", ", ".join(kinds)), ("memory", f"{size:,} bytes"), *_moves(own, words))
    table = parameter_rows(own, words)
    if len(table.head) - 1 > max(FEW_COLUMNS, len(table.rows)):
        labels, *columns = zip(*table.rows, strict=True)
        turned = zip(table.head[1:], columns, strict=True)
        table = Rows((table.head[0], *labels), tuple((name, *texts) for name, texts in turned))
    return Summary(_title(own), facts, table.head, table.rows)


def brief(model: Any) -> str:
    """Text that `print` shows of a model or fit: at most a dozen rows and seven columns of its parameters."""
    try:
        return _brief(model)
    except Exception:
        # A model that a transformation took apart may hold anything; print never fails.
        return repr(model)


def _brief(model):
    inner = model.model if isinstance(model, Fit) else model
    if not is_concrete(model):
        return repr(model)
    own = as_model(inner)
    table, notes = _cut(parameter_rows(own, words_of(inner)))
    return str(Summary(_title(own), (*_ended(model), *notes), table.head, table.rows))


def _cut(rows):
    """The first rows and columns of a table, and a note on those that are left out."""
    k, d = len(rows.rows), len(rows.head) - 1
    left = [f"{n} {name}" for n, name in ((k - FEW_ROWS, "rows"), (d - FEW_COLUMNS, "columns")) if n > 0]
    note = (("not shown", f"{' and '.join(left)} more: dgjax.summary(model)"),) if left else ()
    cut = tuple(row[: FEW_COLUMNS + 1] for row in rows.rows[:FEW_ROWS])
    return Rows(rows.head[: FEW_COLUMNS + 1], cut), note


def _title(model):
    """Title: kind, labels, columns, parameters, precision."""
    dtype = np.result_type(*(leaf.dtype for leaf in jax.tree.leaves(model)))
    labels = "states" if isinstance(model, HiddenMarkov | LinearChainCRF) else "labels"
    what = f"{type(model).__name__} of {model.num_labels} {labels}"
    if isinstance(model, Mixture) and model.num_labels == 1:
        what = kind(model.density)
    elif isinstance(model, Mixture | HiddenMarkov):
        what += f": {kind(model.density)}"
    elif isinstance(model, Logistic | LinearChainCRF):
        what += f": {type(model.scorer).__name__}"
    elif isinstance(model, Marginalized):
        what += f": {type(model.classifier).__name__}, cells by {kind(_density(model))}"
    columns = "" if model.num_features is None else f"{model.num_features} column(s), "
    return f"{what}; {columns}{int(num_parameters(model)):,} parameters, {dtype}"


def _density(model):
    """Density of the cells of a classifier of rows with some missing: that of a single label as itself."""
    own = model.density
    return own.density if isinstance(own, Mixture) else own


def _ended(fit):
    """How a fit ended."""
    if not isinstance(fit, Fit):
        return ()
    steps = int(fit.num_steps)
    last = "" if not steps else f", objective {number(float(fit.objective[-1]))} nats"
    how = "converged" if bool(fit.converged) else "not converged"
    if fit.validation is None:
        return (("fit", f"{how} after {steps:,} step(s){last}"),)
    values = np.asarray(fit.validation, float)
    best = f"; best of {len(values)} epochs by held-out rows: epoch {int(np.nanargmax(values)) + 1}"
    return (("fit", f"{steps:,} steps{last}{best}"),)


def _moves(model, words):
    """Of a chain the probabilities of its moves."""
    if not isinstance(model, HiddenMarkov) or model.log_transition.ndim > 2:
        return ()
    logs = np.asarray(model.log_transition, float)
    p = np.exp(logs - logs.max(-1, keepdims=True))
    p = p / p.sum(-1, keepdims=True)
    return tuple(
        (f"moves from {words.label(i)}", ", ".join(f"{words.label(j)} {own:.2f}" for j, own in enumerate(row)))
        for i, row in enumerate(p)
    )


def words_of(model: Any) -> Words:
    """Names of columns, levels and labels, of the schema of a model of a table."""
    if not isinstance(model, Tabular):
        return Words()
    schema = model.schema
    labels = None if schema.label is None else schema.label.levels
    return Words([column.name for column in schema.shown], [column.levels for column in schema.shown], labels)


def _html(model: Any) -> str | None:
    """What a notebook shows of a model or fit; None, so that it shows `repr`, where there are no values."""
    return summary(model)._repr_html_() if is_concrete(model) else None


for shown in (Density, DiscriminativeModel, Fit, Tabular):
    shown.__str__, shown._repr_html_ = brief, _html  # type: ignore[attr-defined]
