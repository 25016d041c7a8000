"""Starters of streams: a first model of a sample of the rows, and of the facts of all of them; or a closed form."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import jax
import numpy as np

from dgjax import _advice
from dgjax._arguments import as_key
from dgjax.data import Data
from dgjax.learning import closed_form
from dgjax.starting import _training_data
from dgjax.streams import MoreLabels, Passes, check_beside, check_of_all, facts_of, is_large_map, named, stream
from dgjax.structures import Sequences
from dgjax.tables import Table, Tabular

F = TypeVar("F", bound=Callable[..., Any])
MOST_ROWS, MOST_CELLS, FEWEST_ROWS = 1 << 16, 1 << 23, 1 << 11
"""Rows that a sample has at most, and cells; but so many rows whatever their cells."""
SAMPLED = 0xFFFFFFFE  # of the key of a start: none of what the start itself draws


def started_from_streams(starter: F) -> F:
    """Decorator of a starter of rows `x`: of a stream it starts at a sample of the rows, with the labels of the sample.

    How many classes and categories there are is known of all rows.
    """
    return _decorated(starter, _started)


def in_closed_form_of_streams(starter: F) -> F:
    """Decorator of a starter that fits in closed form: a stream is passed over once, by a model of its first rows."""
    return _decorated(starter, _in_closed_form)


def _decorated(starter, start):
    signature = inspect.signature(starter)
    place = list(signature.parameters).index("x")

    @functools.wraps(starter)
    def call(*arguments: Any, **options: Any) -> Any:
        x = arguments[place] if len(arguments) > place else options.get("x")
        if not (isinstance(x, Passes) or is_large_map(x)):
            return starter(*arguments, **options)
        given = dict(signature.bind_partial(*arguments, **options).arguments)
        if not isinstance(x, Passes):
            given["x"] = x = stream(x, given.pop("y", None), given.pop("weights", None))
        check_of_all(x)
        check_beside(given)
        for name in ("y", "weights", "lengths"):
            given.pop(name, None)
        with named(x):
            return start(starter, signature.parameters, given)

    return cast(Any, call)


def _started(starter, parameters, given):
    passes = given["x"]
    key = as_key(given["key"]) if "key" in given else jax.random.key(0)
    steps = 1 if not getattr(passes, "sequential", False) else passes.shape.steps
    n = max(FEWEST_ROWS, min(MOST_ROWS, MOST_CELLS // (passes.num_features * steps)))
    sample = passes.sample(jax.random.fold_in(key, np.uint32(SAMPLED)), n)
    return starter(**_of_sample(parameters, given, sample, passes.facts, passes.schema))


def _of_sample(parameters, given, sample, facts, schema):
    """Arguments of a starter about a sample of rows, and what facts of all of them say."""
    own, given = sample, dict(given)
    labelled = "y" in parameters and facts.num_classes > 0
    if "y" in parameters and not labelled and parameters["y"].default is inspect.Parameter.empty:
        raise ValueError(
            "x must be a stream with labels; got one without a label that is known. Type dgjax.stream(source, "
            "label=...), with the name of their column or an array, or give blocks (x, y). "
            f"{_advice.WITHOUT_LABELS}"
        )
    if schema is not None:
        given["x"] = Table(None, schema, np.asarray(own.x), np.asarray(own.y) if labelled else None)
        return given
    if isinstance(own.x, Sequences):
        given["lengths"] = np.asarray(own.x.lengths)
    given["x"] = _of_this_process(own.x.x if isinstance(own.x, Sequences) else own.x)
    if labelled:
        given["y"] = np.asarray(own.y)
        if "num_classes" in parameters and given.get("num_classes") is None:
            given["num_classes"] = max(2, facts.num_classes)
    kinds = given.get("kinds", given.get("emissions"))
    if "num_categories" in parameters and given.get("num_categories") is None and kinds is not None:
        given["num_categories"] = _categories(kinds, facts)
    return given


def _of_this_process(x):
    """A sample, which of several processes each has: on a device, for NumPy's rows are taken for a part of all."""
    x = np.asarray(x)
    return x if jax.process_count() == 1 else jax.device_put(x, jax.local_devices()[0])


def _categories(kinds, facts):
    """Number of categories of each column of such, one more than the highest of all rows; None without any."""
    if not _has_categories(kinds):
        return None
    named_kinds = _training_data.named_kinds(kinds, facts.num_features)
    own = [j for j, kind in enumerate(named_kinds) if kind == "categorical"]
    return {j: int(facts.high[j]) + 1 for j in own}


def _has_categories(kinds):
    if isinstance(kinds, str):
        return kinds == "categorical"
    return "categorical" in list(kinds.values() if isinstance(kinds, Mapping) else kinds)


def _in_closed_form(starter, parameters, given):
    """Closed form by one pass: about a start of the first block, or where that tells too little, of a sample."""
    passes, counted = given["x"], given.get("num_classes") is not None or _has_levels(given["x"])
    data = None if _needs_facts(given) else _first_rows(passes)
    if data is not None:
        try:
            return _passed_over(starter, parameters, given, *data)
        except MoreLabels:
            if counted:
                raise
    sample = passes.sample(jax.random.key(0), MOST_ROWS)
    return _passed_over(starter, parameters, given, sample, passes.facts)


def _has_levels(passes):
    return passes.schema is not None and passes.schema.label is not None


def _needs_facts(given):
    """Whether a start must have seen all rows: the number of categories of columns without names of levels."""
    kinds = given.get("kinds", "gaussian")
    return given["x"].schema is None and _has_categories(kinds) and not given.get("num_categories")


def _first_rows(passes):
    """Data and facts of the first block of a stream on the host, if two classes are in it and every column."""
    if type(passes).blocks is Passes.blocks:  # of which none is the first
        return None
    blocks = passes.blocks()
    block = next(blocks)
    blocks.close()
    n = min(block.num_rows, MOST_ROWS)
    x, y, weights = (np.asarray(own)[:n] for own in (block.data.x, block.data.y, block.data.weights))
    if len(np.unique(y[(y >= 0) & (weights > 0)])) < 2 or np.isnan(x).all(0).any():
        return None
    seen = facts_of(x, y, weights)  # of these rows alone: the block's may be those of all, of a pass before
    return block.data.replace(x=x, y=y, weights=weights), seen


def _passed_over(starter, parameters, given, data, facts):
    passes = given["x"]
    label_weight, prior = given.get("label_weight", 1.0), given.get("prior")
    own = {name: value for name, value in given.items() if name not in ("prior", "label_weight")}
    counted = given.get("num_classes") is not None or _has_levels(passes)
    start = starter(**_of_sample(parameters, own, data, facts, passes.schema), prior="weak")
    model = start.model if type(start) is Tabular else start
    found = closed_form(model, Data(passes), prior, label_weight)
    if not counted and not (passes.facts.labels[1:] > 0).all():
        _refuse(passes.facts.labels[1:])
    return Tabular(found, start.schema) if type(start) is Tabular else found


def _refuse(seen):
    there = np.flatnonzero(seen).tolist()
    raise ValueError(
        f"y must hold each of the labels 0 to k - 1, or -1 where unknown; got {there}. Type num_classes={len(seen)} if "
        "classes may have no row."
    )
