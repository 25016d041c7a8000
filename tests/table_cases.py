"""One table as a frame of each library, and a model of it."""

import functools

import numpy as np
import pytest

import dgjax as dg

pandas, pyarrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")

N = 30
RNG = np.random.default_rng(0)
CLASS = np.arange(N) % 3
NAMES = np.array(["Adelie", "Chinstrap", "Gentoo"], object)
COLUMNS = {
    "bill": 40 + 5 * CLASS + RNG.normal(size=N),
    "mass": 4000 + 300 * CLASS + RNG.integers(0, 200, N),
    "island": np.where(RNG.random(N) < 0.3 + 0.2 * CLASS, "Dream", "Biscoe").astype(object),
    "banded": RNG.random(N) < 0.5,
    "species": NAMES[CLASS],
}
FEATURES = [name for name in COLUMNS if name != "species"]
HOLES = {"bill": 2, "mass": 3, "island": 4, "banded": 5}
"""Row in which a column has a missing cell, in frames with holes."""


def lists(holes=False):
    """Columns as lists, with None in the row of a hole."""
    return {
        name: [None if holes and HOLES.get(name) == i else cell for i, cell in enumerate(cells.tolist())]
        for name, cells in COLUMNS.items()
    }


def of_pandas(holes=False):
    types = {"mass": "Int64", "banded": "boolean"} if holes else {}
    return pandas.DataFrame(lists(holes), index=np.arange(N) + 100).astype(types)


def of_pyarrow(holes=False):
    return pyarrow.table(lists(holes))


def of_polars(holes=False):
    return pytest.importorskip("polars").DataFrame(lists(holes))


LIBRARIES = {
    "pandas": of_pandas,
    "pandas, categories": lambda holes=False: of_pandas(holes).astype({"island": "category", "species": "category"}),
    "pandas, Arrow": lambda holes=False: of_pandas(holes).convert_dtypes(dtype_backend="pyarrow"),
    "pandas, objects": lambda holes=False: of_pandas(holes).astype(object).where(lambda x: x.notna(), None),
    "polars": of_polars,
    "pyarrow": of_pyarrow,
    "pyarrow, dictionary": lambda holes=False: of_pyarrow(holes).set_column(
        2, "island", of_pyarrow(holes)["island"].dictionary_encode()
    ),
    "lists": lists,
    "arrays": lambda holes=False: (
        {name: np.array(cells, float if name in ("bill", "mass") else object) for name, cells in lists(True).items()}
        if holes
        else COLUMNS
    ),
}
ENCODED = np.column_stack(
    [COLUMNS["bill"], COLUMNS["mass"], (COLUMNS["island"] == "Dream").astype(float), COLUMNS["banded"]]
)
KINDS = ["gaussian", "gaussian", "categorical", "bernoulli"]


@functools.cache
def plain_model():
    """A model of the arrays that tables are shown as."""
    reals = dg.DiagonalGaussian([[40, 4100], [45, 4400], [50, 4700]], np.log([[1, 70.0]] * 3))
    islands, bands = dg.Categorical(np.log([[[0.7, 0.3]], [[0.4, 0.6]], [[0.3, 0.7]]])), dg.Bernoulli(np.zeros((3, 1)))
    return dg.Mixture(np.log([0.5, 0.3, 0.2]), dg.Columns((reals, islands, bands), ((0, 1), (2,), (3,))))


@functools.cache
def tabular():
    """The same with the schema of a table."""
    return dg.Tabular(plain_model(), dg.Table.of(of_pandas(), "species").schema)


def cells(frame, name):
    """Cells of a column of any library, None where missing."""
    if isinstance(frame, dict):
        column = list(frame[name])
    else:
        column = frame[name].to_pylist() if hasattr(frame[name], "to_pylist") else frame[name].to_list()
    return [None if cell is None or cell is pandas.NA or cell != cell else cell for cell in column]


def series(answer):
    return answer.to_pylist() if hasattr(answer, "to_pylist") else list(answer)
