"""Parameters as a person reads them: a row for each label, a text for each column; by NumPy, without a compilation."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dgjax.densities import (
    Bernoulli,
    Categorical,
    Columns,
    DiagonalGaussian,
    FactorGaussian,
    Gaussian,
    Learned,
    Mixture,
    Multinomial,
    Poisson,
)
from dgjax.models import HiddenMarkov, LinearChainCRF, Logistic, Marginalized
from dgjax.scorers import Linear


class Words(NamedTuple):
    """Names of columns, of the levels of each column, and of labels; None for their numbers."""

    columns: Sequence[str] | None = None
    levels: Sequence[Sequence[Any]] | None = None
    labels: Sequence[Any] | None = None

    def column(self, j: int) -> str:
        """Name of a column."""
        return f"column {j}" if self.columns is None else str(self.columns[j])

    def level(self, j: int, category: int) -> str:
        """Name of a category of a column."""
        levels = () if self.levels is None else self.levels[j]
        return str(levels[category]) if category < len(levels) else str(category)

    def label(self, i: int) -> str:
        """Name of a label."""
        known = self.labels is not None and i < len(self.labels)
        return str(self.labels[i]) if known else str(i)  # type: ignore[index]


class Rows(NamedTuple):
    """Table of parameters: names of its columns, and rows of texts, the first of which is the label's."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def number(value: float) -> str:
    """Text of a number, to four digits."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.4g}"


def kind(density: Any) -> str:
    """What a density is, in words: its family and, of normal ones, the shape of the covariance."""
    match density:
        case Mixture():
            return f"mixtures of {density.num_labels} densities: {kind(density.density)}"
        case HiddenMarkov():
            return f"hidden Markov models of {density.num_labels} states: {kind(density.density)}"
        case Columns():
            parts = [f"{kind(own)} ({own.num_features})" for own in density.blocks]
            return "columns by themselves: " + ", ".join(parts)
        case Gaussian():
            shared = density.scale_tril.ndim - 2 < len(density.label_shape)
            return f'Gaussian, covariance "{"tied" if shared and density.label_shape else "full"}"'
        case DiagonalGaussian():
            one = density.log_scale.shape[-1] < density.num_features
            return f'Gaussian, covariance "{"spherical" if one else "diagonal"}"'
        case FactorGaussian():
            return f"Gaussian of {density.loading.shape[-1]} factors"
    return type(density).__name__


NOTHING = Rows((), ())


def parameter_rows(model: Any, words: Words) -> Rows:
    """Table of the parameters of each label; an empty one for networks, n-grams and models without a table."""
    if isinstance(model, Marginalized):
        return parameter_rows(model.classifier, words)
    if isinstance(model, Logistic | LinearChainCRF):
        return _weights(model, words)
    if not isinstance(model, Mixture | HiddenMarkov):
        return NOTHING
    density, weights = model, []
    while isinstance(density, Mixture | HiddenMarkov):
        weights.append(density)
        density = density.density
    texts = None if isinstance(density, Learned) else _texts(density, words)
    if texts is None:
        return NOTHING
    shape = density.label_shape
    names = [".".join([words.label(i), *map(str, rest)]) for i, *rest in np.ndindex(*shape)]
    shares, share_names = _shares(weights, shape)
    head = ("state" if isinstance(model, HiddenMarkov) else "label", *share_names, *texts[0])
    columns = [*shares, *([row[j] for row in texts[1]] for j in range(len(texts[0])))]
    return Rows(head, tuple(zip(names, *columns, strict=True)))


def _shares(models, shape):
    """Columns of texts: the weight of each component, of a state where a chain begins, and its move to itself."""
    weight, stays, names = np.ones(shape), None, []
    for model in models:
        if isinstance(model, HiddenMarkov):
            initial, moves = (_softmax(own) for own in (model.log_initial, model.log_transition))
            weight, names = weight * _for_all(initial, shape), ["begins"]
            stays = _for_all(np.diagonal(moves, axis1=-2, axis2=-1), shape)
        else:
            weight = weight * _for_all(_softmax(model.log_weights), shape)
    columns = [weight, *([] if stays is None else [stays])]
    names = [*(names or ["weight"]), *([] if stays is None else ["stays"])]
    return [[number(own) for own in column.reshape(-1)] for column in columns], names


def _texts(density, words):
    """Names of columns, and for each label the texts of its columns."""
    parts = _by_column(density, words, range(density.num_features))
    if parts is None:
        return None
    order = sorted(parts)
    k = math.prod(density.label_shape)
    return [words.column(j) for j in order], [[parts[j][i] for j in order] for i in range(k)]


def _by_column(density, words, columns):
    """Texts of each label, by the number of the column among the model's; None for a family that has none."""
    columns = list(columns)
    if isinstance(density, Columns):
        blocks = zip(density.blocks, density.columns or (), strict=True)
        parts = [_by_column(block, words, [columns[j] for j in own]) for block, own in blocks]
        known = [part for part in parts if part is not None]
        return dict(itertools.chain(*(part.items() for part in known))) if len(known) == len(parts) else None
    match density:
        case Gaussian() | DiagonalGaussian() | FactorGaussian():
            own = (_flat(_for_all(own, density.label_shape, density.num_features)) for own in _moments(density))
            texts = [
                [f"{number(m)} ± {number(s)}" for m, s in zip(*row, strict=True)] for row in zip(*own, strict=True)
            ]
        case Bernoulli():
            texts = _numbers(1 / (1 + np.exp(-_float(density.logits))))
        case Poisson():
            texts = _numbers(np.exp(_float(density.log_rate)))
        case Multinomial():
            texts = _numbers(_softmax(density.logits))
        case Categorical():
            p = _softmax(density.logits)
            texts = [
                [f"{words.level(columns[j], int(own.argmax()))}: {own.max():.2f}" for j, own in enumerate(row)]
                for row in p.reshape(-1, *p.shape[-2:])
            ]
        case _:
            return None
    return {column: [row[j] for row in texts] for j, column in enumerate(columns)}


def _moments(density):
    """Means and standard deviations of the columns of normal densities."""
    mean = _float(density.mean)
    match density:
        case Gaussian():
            return mean, np.sqrt(np.square(_float(density.scale_tril)).sum(-1))
        case DiagonalGaussian():
            return mean, np.exp(_float(density.log_scale))
    own = np.exp(2 * _float(density.log_scale))
    return mean, np.sqrt(np.square(_float(density.loading)).sum(-1) + own)


def _weights(model, words):
    """Bias and weights of each class, or initial scores of each state, where scores are linear."""
    if type(model.scorer) is not Linear:
        return NOTHING
    bias = model.bias if isinstance(model, Logistic) else model.initial
    rows, weight = _float(bias), _float(model.scorer.weight)
    binary = isinstance(model, Logistic) and len(rows) == 1
    names = [f"log-odds of {words.label(1)}"] if binary else [words.label(i) for i in range(len(rows))]
    first = ("label", "bias") if isinstance(model, Logistic) else ("state", "initial")
    head = (*first, *(words.column(j) for j in range(weight.shape[-1])))
    texts = [(name, number(own), *map(number, row)) for name, own, row in zip(names, rows, weight, strict=True)]
    return Rows(head, tuple(texts))


def _for_all(values, labels, *columns):
    """Values of the leading ones of some labels, with columns at the end, for all labels."""
    values = np.asarray(values)
    own = values.shape[: values.ndim - len(columns)]
    last = values.shape[values.ndim - len(columns) :]
    return np.broadcast_to(values.reshape(*own, *[1] * (len(labels) - len(own)), *last), (*labels, *columns))


def _numbers(values):
    return [list(map(number, row)) for row in _flat(values)]


def _flat(values):
    return values.reshape(-1, values.shape[-1])


def _float(values):
    return np.asarray(values, float)


def _softmax(logs):
    logs = _float(logs)
    weights = np.exp(logs - logs.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)
