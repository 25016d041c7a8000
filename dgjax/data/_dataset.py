"""`Data`: validated data, after every check that can be made before anything is compiled."""

import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

import dgjax_kernels as kernels
from dgjax._pytree import for_complete_rows, precisions
from dgjax.data._arrays import rows_and_summary
from dgjax.data._cells import check_cells, plainly_complete
from dgjax.data._sequences import as_sequences, every_step
from dgjax.data._shards import check_same_everywhere
from dgjax.data._sparse_rows import as_sparse_rows
from dgjax.sparse import RowsLike, SparseRows, is_sparse
from dgjax.structures import Sequences

M = TypeVar("M")
D = TypeVar("D", bound="Data")


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("x", "y", "weights", "summary"),
    meta_fields=("complete", "labelled", "num_classes"),
)
@dataclasses.dataclass(frozen=True)
class Data:
    """Validated data, as a model is shown them: built once by the public function that was called, and passed down.

    `x`: rows (n, d), or `Sequences` of them. `y`: their labels, -1 where unknown, and `weights`, where a model is
    learnt; `num_classes` where one is started. `summary`: of each column; or of each column in the rows of each label,
    where all cells and labels are known, by which large NumPy arrays are read once, where they are (zero-copy).

    Two facts are static, so that a program for complete rows is another than that for rows with holes. `complete`:
    every cell was checked, is observed and in its column's support. `labelled`: every label is known. They are False
    where that cannot be said before compiling.
    """

    __no_type_check__ = True  # JAX puts anything in place of the fields

    x: Any
    y: Any = None
    weights: Any = None
    summary: Any = None
    complete: bool = False
    labelled: bool = False
    num_classes: int = 0

    @property
    def known(self) -> bool:
        """True if no cell and no label is missing, so that one M-step is the closed form."""
        return self.complete and self.labelled

    @property
    def columns(self) -> kernels.ColumnSummary:
        """Summary of each column."""
        return self.summary.columns if isinstance(self.summary, kernels.LabelledSummary) else self.summary

    def replace(self: D, **fields: Any) -> D:
        """Data with other values of some fields."""
        other = object.__new__(type(self))  # `dataclasses.replace` takes 3 us
        other.__dict__.update(self.__dict__, **fields)
        return other

    def shown_to(self, model: M) -> M:
        """Model specialised to these rows: where none misses a cell, it need not look for missing ones."""
        return for_complete_rows(model) if self.complete else model


def as_model(model: Any) -> Any:
    """Model as it is, or made from a bare density of one label. Raises TypeError for what is neither."""
    kernels.check_not_forked()
    if not isinstance(model, type) and hasattr(type(model), "as_model"):
        check_same_everywhere(model)
        return model.as_model()
    given, advice = f"a {type(model).__name__}", "The model comes first, then the data."
    if isinstance(model, type):
        given = f"the class {model.__name__}"
    elif hasattr(type(getattr(model, "model", None)), "as_model"):
        name, by = ("found", "select") if type(model).__name__ == "Selection" else ("fit", "fit")
        advice = f"Type {name}.model, where {name} is what dgjax.{by} gave."
    elif isinstance(model, str | os.PathLike):
        advice = f"Type dgjax.load({os.fspath(model)!r})."
    raise TypeError(
        f"model must be a dgjax model, such as dgjax.naive_bayes(x, y) or dgjax.Mixture(log_weights, density); got "
        f"{given}. {advice}"
    )


def model_and_rows(
    model: Any,
    x: RowsLike,
    lengths: Any = None,
    summary: kernels.ColumnSummary | None = None,
    option: Callable[[], Any] | None = None,
    sparse: bool = False,
) -> tuple[Any, Data]:
    """Validated model and data: the model, made from a bare density if it is one, and its rows in `Data`.

    After every check possible before compiling, in the wider of the precisions of both. Rows that are known are checked
    even where the model is traced. `summary` is one of the columns, if there is one; where the model is learnt,
    `option` gives that option of a starter by which it would have taken other cells. Rows may be `sparse`, if the model
    takes such, where what is asked is no answer about every cell.
    """
    known = _few_rows(model, x) if lengths is None else None
    if known is not None:
        return known
    with jax.ensure_compile_time_eval():
        if is_sparse(x) and lengths is None and _takes_sparse_rows(model):
            return _model_and_sparse_rows(as_model(model), x, sparse)
        return _model_and_rows(model, x, lengths, summary, option)


def _few_rows(model, x):
    """Model and few rows or sequences of NumPy's, if a quick look finds nothing to convert or to refuse; else None.

    A service asks about one row at a time, and all the checks together take twice as long as the program; of one
    sequence of 300 steps 0.1 ms for 0.14.
    """
    if type(x) is not np.ndarray or as_model(model) is not model or x.ndim != 2 + model.sequential:
        return None
    if model.num_features != x.shape[-1] or precisions(model) != {x.dtype} or x.dtype.kind != "f":
        return None
    if jax.dtypes.canonicalize_dtype(x.dtype) != x.dtype:
        return None
    complete = plainly_complete(x, model.supports)
    if complete is None:
        return None
    given: Any = x
    rows = Sequences(given, every_step(x), model.one_label) if model.sequential else given
    return model, Data(rows, complete=complete)


def _model_and_rows(model, x, lengths, summary, option):
    model = as_model(model)
    if model.sequential:
        sequences = as_sequences(x, lengths, model.num_features)
        model, steps = _one_precision(model, sequences.x)
        sequences = Sequences(steps, sequences.lengths, model.one_label)
        complete = check_cells(sequences.in_rows(), model.supports, None, x, option, steps.shape[1])
        return model, Data(sequences, complete=bool(complete))
    if lengths is not None:
        raise ValueError("lengths is for models of sequences, and this is a model of rows; leave it out.")
    rows, seen = rows_and_summary(x, model.num_features)
    complete = check_cells(rows, model.supports, seen if summary is None else summary, x, option)
    model, rows = _one_precision(model, rows)
    return model, Data(rows, complete=bool(complete))


def _takes_sparse_rows(model: Any) -> bool:
    """Whether rows of a model may be sparse, of which few cells are observed."""
    own = as_model(model)
    return own.generative and not own.sequential and own.takes_sparse_rows


def _model_and_sparse_rows(model, x, allowed):
    if not allowed:
        whole = "x" if isinstance(x, SparseRows) else "dgjax.SparseRows.from_scipy(x)"
        raise ValueError(
            f"x must be an array here, where every cell is asked for; got a sparse {type(x).__name__}. Type "
            f"{whole}.toarray(), which has NaN where nothing is stored."
        )
    model, rows = _one_precision(model, as_sparse_rows(x, model.num_features))
    return model, Data(rows)


def _one_precision(model: Any, rows: Any) -> tuple[Any, Any]:
    """Model and rows in the wider of their two precisions, as jax.numpy would have it."""
    if precisions(model) <= {rows.dtype}:  # asked first, for JAX takes 40 us to answer
        return model, rows
    dtype = jnp.result_type(rows, *jax.tree.leaves(model))
    return jax.tree.map(lambda leaf: leaf.astype(dtype), model), rows.astype(dtype)
