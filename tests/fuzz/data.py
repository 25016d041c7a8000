"""What is done to rows: cells go missing, rows come twice, columns are constant, arrays lie in memory in odd ways."""

import numpy as np
import pandas as pd
from oracle import kind as name_of

OUTLIER = 30.0


def spoil(rng, x, discrete):
    """Some rows twice, outliers, a column that is constant: one or none of these."""
    x, n = x.copy(), len(x)
    match rng.integers(8) if n > 1 else 7:
        case 0:
            x[rng.integers(n, size=n // 2)] = x[0]
        case 1:
            at = rng.integers(x.shape[1])
            x[:, at] = x[0, at]
        case 2 if not discrete.any():
            at = rng.integers(n)
            x[at] = x[at] + OUTLIER * (x[at] - x[(at + 1) % n])
    return x


def supports_of(density):
    """The highest value of each column, infinity for counts, NaN for a continuous one."""
    match name_of(density):
        case "Mixture":
            return supports_of(density.density)
        case "Columns":
            tops = np.zeros(density.num_features)
            for block, columns in zip(density.blocks, density.columns, strict=True):
                tops[list(columns)] = supports_of(block)
            return tops
    tops = {"Bernoulli": 1.0, "Poisson": np.inf, "Multinomial": np.inf}
    if name_of(density) == "Categorical":
        return np.full(density.num_features, density.logits.shape[-1] - 1.0)
    return np.full(density.num_features, tops.get(name_of(density), np.nan))


def to_edges(rng, x, tops):
    """Some cells of discrete columns at the ends of their supports; counts far from the others."""
    x = x.copy()
    for i, j in np.argwhere(rng.random(x.shape) < 0.05):
        if not np.isnan(tops[j]):
            x[i, j] = rng.choice([0.0, min(tops[j], float(rng.choice([50, 20_000])))])
    return x


def outside(rng, x, tops):
    """Some cells of discrete columns where they cannot be: negative, between two whole numbers, one too many."""
    x = x.copy()
    for i, j in np.argwhere(rng.random(x.shape) < 0.1):
        if not np.isnan(tops[j]):
            x[i, j] = rng.choice([-1.0, 0.5, tops[j] + 1 if np.isfinite(tops[j]) else -3.0])
    return x


def holes(rng, x, some):
    """Cells that are missing: any, whole rows, a block; none unless `some`, and then always one."""
    x = x.copy()
    if some and x.size:
        share = rng.choice([0.05, 0.3, 0.8])
        x[rng.random(x.shape) < share] = np.nan
        if rng.random() < 0.3:
            x[rng.integers(len(x))] = np.nan
        x[rng.integers(len(x)), rng.integers(x.shape[-1])] = np.nan
    return x


def labels(rng, y, k, known):
    """All as they are; some unknown; none known. Sometimes a class is absent."""
    y = y.copy()
    if known == "all":
        return y
    if known == "none":
        return np.full_like(y, -1)
    y[rng.random(y.shape) < 0.5] = -1
    return y


def weights(rng, n):
    """Of rows: ones, any with zeros, or large."""
    match rng.integers(3):
        case 0:
            return np.ones(n)
        case 1:
            return rng.choice([0.0, 0.5, 1.0, 3.0, 1.7], n)
    return rng.choice([1.0, 1000.0, 20.0], n)


def whole(x):
    return not np.isnan(x).any() and (x == np.round(x)).all() and (np.abs(x) < 1e4).all()


def layouts_of(x):
    """The names of layouts that can hold these cells."""
    names = ["Fortran", "strided", "read-only", "big-endian", "reversed", "float64", "longdouble"]
    names += ["list"] if len(x) else []
    with np.errstate(over="ignore", invalid="ignore"):
        half = x.astype(np.float16).astype(x.dtype)
    names += ["float16"] if np.array_equal(half, x, equal_nan=True) else []
    names += ["masked", "masked rows"][: 1 + bool(len(x))]
    if whole(x):
        names += ["int64", "int32", "int8"] if (np.abs(x) < 128).all() else ["int64", "int32"]
        names += ["uint16"] if (x >= 0).all() else []
        names += ["bool"] if np.isin(x, (0, 1)).all() else []
    if x.ndim == 2:
        names += ["pandas", "nullable"]
    return names


def nullable(x):
    """pandas' own floats, NA where a cell is missing."""
    frame = pd.DataFrame(x.astype(float)).astype("Float64")
    return frame.mask(np.isnan(x))


def labels_laid(rng, y):
    """Labels as something else that holds them."""
    match rng.integers(8):
        case 0:
            return y.tolist() if len(y) else y
        case 1:
            return y.astype(np.int8)
        case 2:
            return y.astype(">i4")
        case 3:
            return y.astype(np.float32)
        case 4:
            return np.ma.masked_less(y, 0)
        case 5 if y.ndim == 1:
            return pd.Series(y)
        case 6 if (y >= 0).all():
            return y.astype(np.uint8)
    return y


def laid(x, name):
    """The cells of `x` as something else that holds them, and the contiguous array that must answer as it does."""
    match name:
        case "Fortran":
            return np.asfortranarray(x), x
        case "strided":
            wide = np.full((*x.shape[:-1], 2 * x.shape[-1]), 9, x.dtype)
            wide[..., ::2] = x
            return wide[..., ::2], x
        case "reversed":
            return np.ascontiguousarray(x[::-1])[::-1], x
        case "read-only":
            held = x.copy()
            held.flags.writeable = False
            return held, x
        case "big-endian":
            return x.astype(x.dtype.newbyteorder(">")), x
        case "list":
            return x.tolist(), x.astype(float)
        case "pandas":
            frame = pd.DataFrame(x.astype(float))
            return (frame.astype({0: int}) if len(x) and whole(x[:, :1]) else frame), x.astype(float)
        case "float16":
            return x.astype(np.float16), x.astype(np.float32)
        case "masked":
            return np.ma.masked_array(np.where(np.isnan(x), 7, x), np.isnan(x)), x
        case "masked rows":
            return [np.ma.masked_invalid(row) for row in x], x
        case "nullable":
            return pd.DataFrame(x.astype(float)).convert_dtypes() if whole(x) else nullable(x), x.astype(float)
    return x.astype(name), x.astype(float)
