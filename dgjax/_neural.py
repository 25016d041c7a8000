"""Neural scorer: a linear, or any other, scorer on the features that a neural network makes of a row or a text."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dgjax import _advice
from dgjax._arguments import as_count, check_number
from dgjax._pytree import dataclass, expect_part, static, tree
from dgjax._types import Rows, Scorer, Support, category
from dgjax.scorers import Linear
from dgjax.structures import Sequences


@dataclass
class TokenCells:
    """Tokens of texts, 0 to `num_categories` - 1, as a transformer takes them: what a `Neural` scorer of texts encodes.

    A missing token is number `num_categories`, which is the mask of a `MaskedLanguageModel`.

    Raises ValueError for fewer than 2 categories.
    """

    num_categories: int = static()

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_categories", as_count(self.num_categories, "num_categories", 2))

    @property
    def support(self) -> Support:
        return category(self.num_categories)

    def seen(self, x: Sequences) -> Int[Array, "n t"]:
        cells = x.x[..., 0]
        return jnp.where(jnp.isnan(cells), self.num_categories, jnp.nan_to_num(cells)).astype(int)


@dataclass
class Neural(Scorer):
    """Neural scorer: s(x, y) = head_y(features(x)), with features (n, h) from the last hidden layer of a network.

    `trunk` is the network, and `head` a scorer of h features. `cells` is a likelihood of `dgjax`, such as
    `GaussianCells`, which encodes `num_columns` raw columns as network inputs. A trunk that takes labels as input gets
    1 / num_classes for each. With `frozen` True the trunk is constant and only the head is learnt.

    With `TokenCells` it scores whole sequences of tokens (n, t, 1): the features are the mean over a text's tokens of
    those of the last layer of a transformer, where each token sees all of the text.

    Raises ValueError if `trunk` is no network with a last hidden layer, or knows fewer tokens than `cells`, `cells` no
    likelihood of cells, or `head` no scorer.
    """

    trunk: Any
    head: Scorer
    cells: Any
    num_columns: int = static()
    frozen: bool = static(default=False)
    decoder: Any = tree(default=None)
    reconstruction: float = static(default=0.0)

    def __post_init__(self) -> None:
        for name, method, kind in (("trunk", "features", "a network"), ("cells", "seen", "a likelihood of cells")):
            expect_part(self, name, method, kind)
        expect_part(self, "head", Scorer, "a scorer")
        self._check_decoder()
        table = getattr(self.trunk, "embedding", None)
        if self.sequential and table is not None and len(table) <= self.cells.num_categories:
            raise ValueError(
                f"trunk must know {self.cells.num_categories} tokens and the mask; it knows {len(table)} numbers. Type "
                f"cells=dgjax.TokenCells({len(table) - 1})."
            )

    def _check_decoder(self):
        check_number(self.reconstruction, "reconstruction", 0)
        if (self.decoder is None) == (self.reconstruction > 0):
            raise ValueError(
                f"reconstruction, the weight of a row's own log-likelihood, goes with a decoder; got "
                f"reconstruction={self.reconstruction} and {_advice.shown(self.decoder)}. Type "
                "dgjax.neural_classifier(key, d, k, reconstruction=0.1), which makes one."
            )
        if self.decoder is None:
            return
        if self.frozen or self.sequential:
            what = "a trunk that is frozen" if self.frozen else "texts"
            raise ValueError(f"reconstruction teaches a trunk of rows; got {what}. Leave the decoder out.")
        x = jax.ShapeDtypeStruct((2, self.num_columns), jnp.result_type(float, *jax.tree.leaves(self)))
        shape, expected = jax.eval_shape(self._decoded, x).shape, (2, self.num_columns * self.cells.size)
        if shape != expected:
            raise ValueError(
                f"decoder must give {expected[1]} numbers for each row, {self.cells.size} a column; got {shape[1:]}."
            )

    @classmethod
    def start(
        cls, trunk: Any, cells: Any, num_features: int, num_classes: int, dtype: Any = float, frozen: bool = False
    ) -> "Neural":
        """A neural scorer with a linear head of zeros, weights (num_classes, h), for the h features of `trunk`.

        `cells` encodes rows of `num_features` columns for the network; with `frozen` True only the head is learnt.
        """
        if not hasattr(type(trunk), "features"):
            own = " Type trunk=model.density.network." if hasattr(getattr(trunk, "density", None), "network") else ""
            own = " Type trunk=model.network." if hasattr(trunk, "network") else own
            raise ValueError(f"trunk must be a network; got a {type(trunk).__name__}.{own}")
        x: Any = jax.ShapeDtypeStruct((1, num_features), jnp.result_type(dtype))
        if isinstance(cells, TokenCells):
            x = Sequences(x.update(shape=(1, 1, num_features)), jax.ShapeDtypeStruct((1,), int), True)  # type: ignore
        features = jax.eval_shape(lambda x: _features(trunk, cells, x, num_classes), x)
        head = Linear(jnp.zeros((num_classes, features.shape[-1]), dtype))
        return cls(trunk, head, cells, num_features, frozen)

    @property
    def untrained(self) -> tuple[str, ...]:
        """Fields that are constant: a frozen trunk."""
        return ("trunk",) * self.frozen

    @property
    def sequential(self) -> bool:
        """Whether it scores sequences: those of `TokenCells`."""
        return isinstance(self.cells, TokenCells)

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.head.label_shape

    @property
    def num_features(self) -> int:
        return self.num_columns

    @property
    def row_cost(self) -> int:
        return max(max(leaf.shape, default=1) for leaf in jax.tree.leaves(self))

    @property
    def num_parameters(self) -> int | Array:
        trunk = 0 if self.frozen else sum(leaf.size for leaf in jax.tree.leaves(self.trunk))
        return trunk + self.head.num_parameters

    def scores(self, x: Rows) -> Float[Array, "n *labels"]:
        trunk = jax.lax.stop_gradient(self.trunk) if self.frozen else self.trunk
        return self.head.scores(_features(trunk, self.cells, x, self.label_shape[-1]))

    def auxiliary(self, x: Rows) -> Float[Array, "..."]:
        """Weighted log-likelihood (n,) of each row's own cells, decoded from its features; 0 without a decoder."""
        if self.decoder is None:
            return jnp.zeros(())
        return self.reconstruction * self.cells.log_prob(x, self._decoded(x))

    def _decoded(self, x):
        return self.decoder(_features(self.trunk, self.cells, x, self.label_shape[-1]))

    def penalty(self) -> Float[Array, ""]:
        """Sum of squared weights of the head and, where these are learnt, of all parameters of trunk and decoder."""
        trunk = [] if self.frozen else jax.tree.leaves((self.trunk, self.decoder))
        return sum(((leaf**2).sum() for leaf in trunk), start=self.head.penalty())

    @property
    def supports(self) -> tuple[Support, ...]:
        return (self.cells.support,) * self.num_features


def _features(trunk, cells, x, num_classes):
    """Features (n, h) of rows (n, d), from the trunk's last hidden layer, with label inputs of 1 / num_classes each."""
    labels = jnp.full((1, num_classes), 1 / num_classes, x.dtype)
    if not isinstance(x, Sequences):
        return trunk.features(cells.seen(x), labels)
    mask = jnp.broadcast_to(x.inside[:, None], (len(x), *x.x.shape[1:2] * 2))
    features = trunk.features(cells.seen(x), labels, mask)
    return jnp.where(x.inside[..., None], features, 0).sum(1) / x.lengths[:, None].astype(features.dtype)
