"""Rows on the workers of a Dask cluster: each partition's statistics are summed where it lies, and the sums sent.

    passes = dgjax.dask.stream(frame, label="outcome")      a dataframe, or an array (n, d) of Dask
    fitted = dgjax.fit(dgjax.gaussian_mixture(key, passes, 8), passes)

One step of EM is one task for each partition and a tree of sums, eight to one; the model goes to the workers with the
tasks. Dask runs what a lost worker had again, in the same tree, so that the result has the same bits.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

try:
    from dask.base import compute
    from dask.delayed import delayed
except ImportError:
    raise ImportError("dgjax.dask needs Dask; type: pip install 'dgjax[dask]'") from None

from dgjax import streams

AT_ONCE = 8  # results that are added together, and partitions whose rows' results are on their way at a time


class Partitions(streams.Partitioned):
    """Passes over the partitions of a Dask array or dataframe, by Dask's scheduler. Made by `dgjax.dask.stream`."""

    def __init__(self, partitions: Sequence[Any], like: streams.Stream) -> None:
        super().__init__(like)
        self.partitions = tuple(partitions)

    def __repr__(self) -> str:
        return f"Partitions({len(self.partitions)} of {self.num_features} columns, {self.dtype})"

    def results(self, task: streams.Task, combine: Callable[[list[Any]], Any] | None = None) -> Iterable[Any]:
        run = delayed(task, pure=True)
        done = [run(i, part) for i, part in enumerate(self.partitions)]
        if combine is None:
            return self._in_order(done)
        joined = delayed(combine, pure=True)
        done = [joined(done[at : at + AT_ONCE]) for at in range(0, len(done), AT_ONCE)]
        while len(done) > 1:
            done = [joined(done[at : at + AT_ONCE]) for at in range(0, len(done), AT_ONCE)]
        return compute(*done)

    @staticmethod
    def _in_order(done):
        for at in range(0, len(done), AT_ONCE):
            yield from compute(*done[at : at + AT_ONCE])


def stream(
    source: Any,
    label: Any = None,
    weight: Any = None,
    columns: Sequence[str] | None = None,
    block: int = 65_536,
) -> Partitions:
    """Rows of a Dask dataframe or array (n, d), which stay where they are: `dgjax.fit` and every verb take them.

    Of a dataframe `label` and `weight` are columns, `columns` those of the rows, by default all others; of an array
    they are arrays (n,). A partition is worked off in blocks of `block` rows. With `source.persist()` the partitions
    are read once and stay in the workers' memory.

    Raises ValueError for what is none of Dask's, with what to type.
    """
    kind = type(source).__module__.partition(".")[0]
    if kind not in ("dask", "dask_expr"):
        raise ValueError(
            f"source must be an array or a dataframe of Dask; got a {type(source).__name__}. Type "
            "dgjax.stream(source) for rows on this machine, or dask.array.from_array(x, chunks=(100_000, -1))."
        )
    if hasattr(source, "columns"):
        like = streams.stream(source, label, weight, columns, block, 0)
        assert like.names is not None
        return Partitions(source[list(like.names.all)].to_delayed(), like)
    if source.ndim not in (2, 3):
        raise ValueError(f"source must be rows (n, d) or sequences (n, t, d); got shape {source.shape}.")
    if columns is not None:
        raise ValueError("columns is of dataframes, whose columns have names; type source[:, [0, 2]] of an array.")
    source = source.rechunk(dict.fromkeys(range(1, source.ndim), -1))
    beside = [_beside(source, own, name) for own, name in ((label, "label"), (weight, "weight"))]
    parts = [source.to_delayed().reshape(len(source.chunks[0]), -1)[:, 0].tolist(), *beside]
    partitions = [delayed(tuple)(list(part)) for part in zip(*parts, strict=True)]
    return Partitions(partitions, streams.stream([partitions[0].compute()], block=block, ahead=0))


def _beside(source, own, name):
    """Chunks of labels or weights, cut as the rows are; None for each if there are none."""
    if own is None:
        return [None] * len(source.chunks[0])
    import dask.array

    da: Any = dask.array
    if isinstance(own, str):
        raise ValueError(f"{name} must be an array with a number for each row, beside an array; got {own!r}.")
    whole = own if isinstance(own, da.Array) else da.from_array(own, chunks=-1)
    if whole.shape[:1] != source.shape[:1]:
        raise ValueError(f"{name} must have an entry for each of the {source.shape[0]} rows; got shape {whole.shape}.")
    cut = whole.rechunk({0: source.chunks[0], **dict.fromkeys(range(1, whole.ndim), -1)})
    return cut.to_delayed().reshape(len(source.chunks[0]), -1)[:, 0].tolist()
