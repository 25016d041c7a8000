"""What densities of texts by a network of tokens share: the causal language model and the masked one."""

from abc import abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dgjax._pytree import dataclass, static
from dgjax.densities._learned import Learned
from dgjax.densities._sequence import SequenceDensity
from dgjax.structures import Sequences


@dataclass
class TokenNetwork(Learned, SequenceDensity):
    """Density of sequences of tokens x (n, t, 1), 0 to c - 1, by a network of token numbers, for k classes.

    The network has c + 1 inputs, of which the last is a token of the density's own, and c outputs. It has to take any
    number of tokens: `rotary` positions do.

    Raises ValueError if the network has other outputs, or positions for so many tokens only.
    """

    network: Any
    num_categories: int = static()
    num_classes: int = static(default=1)

    by_draws = True

    def __post_init__(self) -> None:
        if getattr(self.network, "positions", None) is not None:
            raise ValueError(
                f"network has positions for {len(self.network.positions)} tokens only, and texts may be longer. Type "
                "dgjax.Transformer.start(..., num_positions=None, rotary=True)."
            )
        try:
            shape = jax.eval_shape(self._logits, jax.ShapeDtypeStruct((3, 2), int)).shape
        except (TypeError, ValueError) as error:
            raise ValueError(f"network cannot take sequences of tokens (3, 2): {error}") from None
        expected = (3, self.num_classes, 2, self.num_categories)
        if shape != expected:
            raise ValueError(
                f"network must give {self.num_categories} logits for each token; of 3 sequences of 2 tokens and "
                f"{self.num_classes} label(s) it gave {shape}, not {expected}."
            )

    @property
    def label_shape(self) -> tuple[int, ...]:
        return (self.num_classes,)

    @property
    def num_features(self) -> int:
        return 1

    @property
    def row_cost(self) -> int:
        """Memory for one token, in floats: the widest layer, for every label."""
        widest = max(max(leaf.shape, default=1) for leaf in jax.tree.leaves(self.network))
        return self.num_classes * max(widest, self.num_categories)

    @property
    def num_parameters(self) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(self.network))

    def marginal(self, columns: tuple[int, ...]) -> Any:
        """The model itself: it has a single column."""
        return self

    @abstractmethod
    def _logits(self, tokens: Any) -> Float[Array, "n k t c"]:
        """Logits (n, k, t, c) of each of the tokens (n, t), under every label."""

    def _tokens(self, x: Sequences) -> tuple[Int[Array, "n t"], Float[Array, "n t"]]:
        """Tokens (n, t), those that are missing any; and log p of what is none, minus infinity, or NaN where missing.

        Inside jit cells are not checked.
        """
        cells = x.x[..., 0]
        tokens = jnp.nan_to_num(cells).astype(int).clip(0, self.num_categories - 1)
        return tokens, jnp.where(jnp.isnan(cells), jnp.nan, jnp.where(cells == tokens, 0, -jnp.inf))

    def _networked(self, tokens, y, mask, key):
        """Outputs (n, k or 1, t, c) of the network under all labels, or those of y (n,). With a `key`, dropout."""
        labels = jnp.arange(self.num_classes) if y is None else y[:, None]
        more = {} if key is None or not getattr(self.network, "dropout", 0) else {"key": key}
        return self.network(tokens[:, None], self._classes(labels), mask, **more)

    def _classes(self, labels):
        """One-hot labels (..., 1, k); None where there are none."""
        if self.num_classes == 1:
            return None
        dtype = jnp.result_type(float, *jax.tree.leaves(self.network))
        return jax.nn.one_hot(labels, self.num_classes, dtype=dtype)[..., None, :]
