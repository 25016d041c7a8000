"""Autoregressive densities: the cells of a row one after another, each given those before it, by one network.

    log p(x_observed | y) along an order = sum over observed cells j of log p(x_j | the observed cells before j, y)

Observed cells come first in every order, so that missing ones have no part in it. The network has a token for each
cell, which is told that cell, the one before it in the order and the value there, and sees the tokens before it:

    token of cell j ─▶ network, under the mask of the order ─▶ outputs of j ─▶ likelihood ─▶ log p(x_j | before, y)

So one pass gives the conditional of every observed cell given those before it, and of every missing cell given all that
are observed.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, Num

import dgjax_kernels as kernels
from dgjax._pytree import dataclass, static
from dgjax._twins import NetworkLogDensity
from dgjax._types import Capabilities, LabelIndex, Support
from dgjax.densities import _shared
from dgjax.densities._learned import Draws, Learned
from dgjax.densities._likelihoods import supports_of
from dgjax.densities._marginal import Marginal


@dataclass
class Autoregressive(Learned):
    """Autoregressive density of rows: p(x | y) = prod_j p(x_j | cells before j, y), along one order or several.

    `network` is one of tokens, such as `dgjax.Transformer`, of d tokens with `inputs` of the `likelihood` plus 2 d
    numbers each; its outputs are the parameters of the `likelihood` of each cell. With `order` "any" it learns from a
    new random order for each row and step, and a score is the log of the mean density along `num_orders` fixed orders,
    drawn by `seed`: that of a mixture, normalised like each of its parts. With "given" it is the order of the columns.

    In each order observed cells come first, so that log p(x_observed | y) needs no integral, and depends on which cells
    are observed. That p(a) p(b | a) = p(b) p(a | b) is learnt, not guaranteed: `dgjax.log_prob_error` says how far
    orders disagree.

    Raises ValueError for another `order`, several of a given one, or a network of other outputs.
    Source: Uria, Murray and Larochelle (2014), A deep and tractable density estimator; as a transformer Yang et al.
    (2019), XLNet.
    """

    network: Any
    likelihood: Any
    num_columns: int = static()
    num_classes: int = static(default=1)
    order: str = static(default="any")
    num_orders: int | None = static(default=None)
    seed: int = static(default=0)

    by_draws = True

    def __post_init__(self) -> None:
        if self.order not in ("any", "given"):
            raise ValueError(f'order must be "any" or "given"; got {self.order!r}.')
        if self.order == "given" and self.num_orders not in (None, 1):
            raise ValueError(f'num_orders is for order="any"; got {self.num_orders} and order="given". Leave it out.')
        if self.num_orders is None:
            object.__setattr__(self, "num_orders", 4 if self.order == "any" else 1)
        x = jax.ShapeDtypeStruct((2, self.num_columns), jnp.result_type(float, *jax.tree.leaves(self)))
        try:
            shape = jax.eval_shape(lambda x: self._conditionals(x, self._priority(0)), x).shape
        except (TypeError, ValueError) as error:
            raise ValueError(f"network cannot take tokens of rows {x.shape[1:]}: {error}") from None
        expected = (2, self.num_classes, self.num_columns * self.likelihood.size)
        if shape != expected:
            raise ValueError(
                f"network must give {self.likelihood.size} numbers for each of {self.num_columns} tokens; of 2 rows "
                f"and {self.num_classes} label(s) it gave {shape}, not {expected}."
            )

    @property
    def num_features(self) -> int:
        return self.num_columns

    @property
    def label_shape(self) -> tuple[int, ...]:
        return (self.num_classes,)

    @property
    def row_cost(self) -> int:
        """Memory for one row along one order, in floats: the widest layer of all tokens, for every label."""
        widest = max(max(leaf.shape, default=1) for leaf in jax.tree.leaves(self.network))
        return self.num_classes * self.num_columns * max(widest, self.likelihood.size, 2 * self.num_columns)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(missing="learnt", impute="learnt")

    @property
    def num_parameters(self) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(self.network))

    @property
    def supports(self) -> tuple[Support, ...]:
        return supports_of(self.likelihood, self.num_columns)

    def scores(self, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
        return self._mean_over_orders(x, self.scores_by_draw(x))

    def scores_at(self, x: Float[Array, "n d"], y: Int[Array, " n"]) -> Float[Array, " n"]:
        by_order = self._by_order(lambda priority: self.score(x, priority, y))
        return self._mean_over_orders(x, by_order)[:, 0]

    def scores_by_draw(self, x: Float[Array, "n d"]) -> Float[Array, "s n k"]:
        """Log-densities log p(x_observed | label) along each of the orders: (s, n, k)."""
        return self._by_order(lambda priority: self.score(x, priority))

    def error(self, logs: Float[Array, "s n"]) -> Float[Array, " n"]:
        """Standard deviation between orders of log p(x_observed), from those along each order (s, n), in nats.

        Raises ValueError for a single order in place of several.
        """
        if self.order == "given":
            return jnp.zeros_like(logs[0])
        if len(logs) == 1:
            raise ValueError("log_prob_error needs several orders to compare, num_orders=4; the model has 1.")
        return jnp.std(logs, axis=0, ddof=1)

    def score(
        self,
        x: Float[Array, "n d"],
        priority: Num[Array, "*s d"],
        y: Int[Array, " n"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "n _"]:
        """Log-density log p(x_observed | label) along one order, for all labels (n, k), or for that of y, (n, 1).

        Observed cells are in the order of their `priority`, in [0, d), which is that of all rows (d,), or of each. With
        a `key`, dropout.
        """
        outputs = self._conditionals(x, priority, y, key)
        return self.likelihood.log_prob(x[:, None], outputs)

    def learning_scores(self, x: Float[Array, "n d"], y: Int[Array, " n"] | None, draws: Draws) -> Float[Array, "n _"]:
        """Score along a random order for each row, drawn by the key of one step, with dropout."""
        key_order, key_dropout = jax.random.split(draws.key)  # type: ignore
        given = self.order == "given"
        priority = self._priority(0) if given else jax.random.uniform(key_order, x.shape, x.dtype)
        return self.score(x, priority, y, key_dropout)

    def sample(self, key: Key[Array, ""], at: LabelIndex) -> Float[Array, "*n d"]:
        labels = at[0].reshape(-1)

        def block(rows, y):
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, rows)
            nothing = jnp.full((len(y), self.num_columns), jnp.nan, jnp.result_type(*jax.tree.leaves(self)))
            return self.sample_missing(keys, nothing, (y,))

        rows = kernels.map_rows(block, jnp.arange(labels.size), labels, row_cost=self.row_cost)
        return rows.reshape(*at[0].shape, self.num_columns)

    def sample_missing(self, keys: Key[Array, " n"], x: Float[Array, "n d"], at: LabelIndex) -> Float[Array, "n d"]:
        """Missing cells drawn one after another, each given all before it, along one order drawn by its p(x_observed).

        `x` (n, d) with a key and a label for each row. Exact draws of the mixture over orders.
        """
        keys_order, keys_x = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        logs = self._by_order(lambda priority: self.score(x, priority, at[0])[:, 0])
        chosen = jax.vmap(kernels.categorical)(keys_order, logs.T)
        rank, known = self._rank(x, self._by_order(lambda priority: priority)[chosen])

        def step(t, filled):
            outputs = self._networked(filled, rank, jnp.full_like(known, t), at[0])[:, 0]
            drawn = jax.vmap(self.likelihood.sample)(jax.vmap(jax.random.fold_in, (0, None))(keys_x, t), outputs)
            return jnp.where((rank == t) & (t >= known), drawn, filled)

        return jax.lax.fori_loop(known.min(initial=self.num_columns), self.num_columns, step, x)

    def impute(self, x: Float[Array, "n d"], posterior: Float[Array, "n k"]) -> Float[Array, "n d"]:
        """Imputation (n, d): of each missing cell E[x_j | x_observed], or the mode if discrete, in a pass an order.

        Orders and labels are averaged over by their posterior.
        """

        def along(priority):
            outputs = self._conditionals(x, priority)
            return self.likelihood.log_prob(x[:, None], outputs), self.likelihood.mean(outputs)

        logs, means = self._by_order(along)
        shares = jax.nn.softmax(logs, axis=0) * (posterior / posterior.sum(-1, keepdims=True))
        return _shared.fill(x, self.likelihood.value(jnp.einsum("snk,snkf->nf", shares, means)))

    def marginal(self, columns: tuple[int, ...]) -> Marginal:
        return Marginal(self, columns)

    def discriminative(self) -> tuple[Float[Array, " k"], NetworkLogDensity]:
        """Discriminative twin: a bias (k,) of 0 and a scorer of log p(x | y), which has exactly the same posterior."""
        return jnp.zeros(self.num_classes, jnp.result_type(*jax.tree.leaves(self))), NetworkLogDensity(self)

    def _priority(self, order: Int[Array, ""] | int) -> Array:
        """Place (d,) of each cell in one of the orders, if no cell is missing."""
        if self.order == "given":
            return jnp.arange(self.num_columns)
        return jax.random.permutation(jax.random.fold_in(jax.random.key(self.seed), order), self.num_columns)

    def _by_order(self, fn: Any) -> Any:
        """Results of `fn(priority)` for all orders, one after another, along a first axis."""
        if self.num_orders == 1:
            return jax.tree.map(lambda leaf: leaf[None], fn(self._priority(0)))
        return jax.lax.map(lambda order: fn(self._priority(order)), jnp.arange(self.num_orders))

    def _mean_over_orders(self, x, by_order):
        value = kernels.logsumexp(jnp.moveaxis(by_order, 0, -1)) - jnp.log(jnp.asarray(len(by_order), x.dtype))
        return jnp.where(_shared.no_cells(x, self.complete)[:, None], 0, value)

    def _rank(self, x, priority):
        """Place (n, d) of each cell in the order of `priority`, observed ones first, and their number (n, 1)."""
        priority = jnp.broadcast_to(priority, x.shape)
        if not self.complete:
            priority = priority + self.num_columns * jnp.isnan(x)
        one, other, cell = priority[..., None], priority[:, None], jnp.arange(self.num_columns)
        rank = ((other < one) | ((other == one) & (cell < cell[:, None]))).sum(-1)
        observed = jnp.full(x.shape, True) if self.complete else ~jnp.isnan(x)
        return rank, observed.sum(-1, keepdims=True)

    def _conditionals(self, x, priority, y=None, key=None):
        """Parameters of the likelihood (n, k or 1, d size) of each cell, given what comes before it.

        Before an observed cell are the observed cells before it in the order, before a missing one all of them.
        """
        return self._networked(x, *self._rank(x, priority), y, key)

    def _networked(self, x, rank, known, y=None, key=None):
        """Outputs of the network (n, k or 1, d size) where `known` (n, 1) cells, the first by `rank`, are known."""
        d, labels = self.num_columns, jnp.arange(self.num_classes) if y is None else y[:, None]
        last = jnp.minimum(rank, known)[..., None] - 1  # place of the cell before, -1 for none
        previous = (rank[:, None] == last).astype(x.dtype)
        value = previous @ self.likelihood.seen(x).reshape(len(x), d, self.likelihood.inputs)
        tokens = jnp.concatenate([value, previous, jnp.broadcast_to(jnp.eye(d, dtype=x.dtype), previous.shape)], -1)
        # A token sees itself and the tokens of the cells before it, which hold the values but that of the last.
        mask = (rank[:, None] <= last) | jnp.eye(d, dtype=bool)
        classes = jax.nn.one_hot(labels, self.num_classes, dtype=x.dtype)[..., None, :]
        more = {} if key is None or not getattr(self.network, "dropout", 0) else {"key": key}
        outputs = self.network(tokens[:, None], None if self.num_classes == 1 else classes, mask[:, None], **more)
        return outputs.reshape(*outputs.shape[:2], d * outputs.shape[-1])
