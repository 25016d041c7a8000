"""Masked language models: each token given any others, by one network that looks both ways.

    some of the tokens x, the others hidden ─▶ network, which sees all of them ─▶ log p(x_s | tokens seen, y)

One pass gives the distribution of every hidden token given those that are seen. A text's log-probability is that along
an order of its places, a pass for each token; what is learnt is one pass for the mean over all orders.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

import dgjax_kernels as kernels
from dgjax._neural import Neural, TokenCells
from dgjax._pytree import dataclass, static
from dgjax._types import Capabilities, LabelIndex, Support, category
from dgjax.densities._learned import Draws
from dgjax.densities._token_network import TokenNetwork
from dgjax.structures import Sequences


@dataclass
class MaskedLanguageModel(TokenNetwork):
    """Masked language model: the network of BERT, of sequences of c categories of tokens, any given any others.

    `network` is one of token numbers, such as `dgjax.Transformer`: of c + 1 inputs, of which c is the mask, and c
    outputs, the logits of each token. Sequences x (n, t, 1) hold tokens 0 to c - 1, as floats, NaN where missing: these
    are masked, and counted for nothing. With `num_classes` k > 1 it has labels, which share all parameters but what a
    label adds to each token. The network has to take any number of tokens: `rotary` positions do.

    It learns by the any-order objective, the mean of log p(x) over all orders, of which one pass with a random number
    of tokens hidden at random places is an unbiased estimate: (t / m) sum of log p(x_s | tokens seen) over m hidden
    ones, m uniform in 1 to t. Where labels are unknown they are summed out of such estimates.

    log p(x | y) is exact and normalised: along one order of places, drawn by `seed`, observed ones first, at a pass for
    each token. So it depends on which are observed: that p(a) p(b | a) = p(b) p(a | b) is learnt, not guaranteed.
    `dgjax.pseudo_log_likelihood` is another number, and no log-probability.

    Raises ValueError if the network has other outputs, or positions for so many tokens only.
    Source: Devlin et al. (2019), BERT; Uria, Murray and Larochelle (2014), A deep and tractable density estimator;
    Hoogeboom et al. (2022), Autoregressive diffusion models, eq. 4.
    """

    seed: int = static(default=0)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(missing="learnt", impute="learnt", twin="none")

    @property
    def supports(self) -> tuple[Support, ...]:
        return (category(self.num_categories),)

    def scores(self, x: Sequences) -> Float[Array, "n k"]:
        return self._summed(x, self._before(x.x.shape[1]), None)

    def scores_at(self, x: Sequences, y: Int[Array, " n"]) -> Float[Array, " n"]:
        return self._summed(x, self._before(x.x.shape[1]), y)[:, 0]

    def pseudo_log_likelihood(self, x: Sequences) -> Float[Array, "n k"]:
        """Sum over observed tokens of log p(x_s | all other observed tokens, label), a pass for each."""
        return self._summed(x, ~jnp.eye(x.x.shape[1], dtype=bool), None)

    def _summed(self, x, given, y):
        """Sum over observed tokens s of log p(x_s | those observed tokens u where given[s, u], label) (n, k or 1)."""
        tokens, unlike = self._tokens(x)
        (n, t), observed = tokens.shape, x.inside & ~jnp.isnan(unlike)

        def passes(number):
            row, s = number // t, number % t
            seen = observed[row] & given[s]
            logits = self._logits(self._hiding(tokens[row], ~seen), x.inside[row], None if y is None else y[row])
            own = jnp.take_along_axis(logits, s[:, None, None, None], 2)[:, :, 0]
            return jnp.take_along_axis(jax.nn.log_softmax(own), tokens[row, s][:, None, None], -1)[..., 0]

        # What a pass keeps for its derivative is made again: of all passes it would be t times that of one.
        logs = kernels.map_rows(jax.checkpoint(passes), jnp.arange(n * t), row_cost=self.row_cost * t)
        return jnp.where(observed[..., None], logs.reshape(n, t, logs.shape[-1]) + unlike[..., None], 0).sum(1)

    def learning_scores(self, x: Sequences, y: Int[Array, " n"] | None, draws: Draws) -> Float[Array, "n _"]:
        """Estimate of the mean over all orders of log p(x_observed | label), by tokens hidden at random, in one pass.

        The numbers m of hidden tokens are spread evenly over the rows, so that their mean varies less.
        """
        key_number, key_places, key_dropout = jax.random.split(draws.key, 3)  # type: ignore
        tokens, unlike = self._tokens(x)
        n, observed = len(tokens), x.inside & ~jnp.isnan(unlike)
        count = observed.sum(-1)
        share = (jax.random.uniform(key_number, dtype="float32") + jnp.arange(n, dtype="float32") / n) % 1
        m = jnp.minimum(1 + (share * count).astype(int), count)
        places = jnp.where(observed, jax.random.uniform(key_places, observed.shape, "float32"), jnp.inf)
        hidden = observed & (places.argsort(-1).argsort(-1) < m[:, None])
        logits = self._logits(self._hiding(tokens, hidden | ~observed), x.inside, y, key_dropout)
        logs = jnp.take_along_axis(logits, tokens[:, None, :, None], -1)[..., 0] - jax.nn.logsumexp(logits, axis=-1)
        total = jnp.where(hidden[:, None], logs + unlike[:, None], 0).sum(-1)
        return total * (count / jnp.maximum(m, 1)).astype(total.dtype)[:, None]

    def _logits(self, tokens, inside=None, y=None, key=None):
        """Logits (n, k or 1, t, c) of each of the tokens (n, t), given those that are not the mask, c."""
        if inside is not None:
            inside = jnp.broadcast_to(inside[:, None, None], (len(inside), 1, *tokens.shape[1:] * 2))
        return self._networked(tokens, y, inside, key)

    def _hiding(self, tokens, hidden):
        return jnp.where(hidden, self.num_categories, tokens)

    def _before(self, t: int) -> Bool[Array, "t t"]:
        """True at [s, u] where place u comes before place s in the order of all places, which is that of any t."""
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(self.seed), jnp.arange(t))
        drawn, place = jax.vmap(lambda key: jax.random.bits(key, dtype="uint32"))(keys), jnp.arange(t)
        return (drawn < drawn[:, None]) | ((drawn == drawn[:, None]) & (place < place[:, None]))

    def sample(self, key: Key[Array, ""], at: LabelIndex, steps: int = 1) -> Float[Array, "*n t 1"]:
        """Samples of sequences (*n, t, 1) of so many `steps`, one for each label in the index `at`: a pass a token."""
        labels = at[0].reshape(-1)

        def block(rows, y):
            nothing = jnp.full((len(y), steps, 1), jnp.nan, jnp.result_type(float, *jax.tree.leaves(self)))
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, rows)
            return self.sample_missing(keys, Sequences(nothing, jnp.full(len(y), steps), True), (y,))

        rows = kernels.map_rows(block, jnp.arange(labels.size), labels, row_cost=self.row_cost * steps)
        return rows.reshape(*at[0].shape, steps, 1)

    def sample_missing(self, keys: Key[Array, " n"], x: Sequences, at: LabelIndex) -> Float[Array, "n t 1"]:
        """Missing tokens drawn one after another in the order of places, each given all before it: exact draws.

        `x` (n, t, 1) with a key and a label for each row; as many passes as the row with most of them misses.
        """
        tokens, unlike = self._tokens(x)
        missing = x.inside & jnp.isnan(unlike)
        turn = (missing[:, None] & self._before(tokens.shape[1])).sum(-1)

        def step(r, filled):
            now = missing & (turn == r)
            logits = self._logits(self._hiding(filled, missing & (turn >= r)), x.inside, at[0])[:, 0]
            own = jnp.take_along_axis(logits, now.argmax(-1)[:, None, None], 1)[:, 0]
            drawn = jax.vmap(kernels.categorical)(jax.vmap(jax.random.fold_in, (0, None))(keys, r), own)
            return jnp.where(now, drawn[:, None], filled)

        filled = jax.lax.fori_loop(0, missing.sum(-1).max(initial=0), step, tokens)
        return jnp.where(missing, filled, x.x[..., 0])[..., None]

    def impute(self, x: Sequences, posterior: Float[Array, "n k"]) -> Float[Array, "n t 1"]:
        """Imputation (n, t, 1): the most probable token at each missing place given all observed ones, in one pass.

        Each by itself: tokens beside each other need not go together, as those of `sample_missing` do.
        """
        tokens, unlike = self._tokens(x)
        missing = x.inside & jnp.isnan(unlike)
        p = jax.nn.softmax(self._logits(self._hiding(tokens, missing), x.inside))
        likeliest = jnp.einsum("nktc,nk->ntc", p, posterior).argmax(-1)
        return jnp.where(missing, likeliest, x.x[..., 0])[..., None]

    def discriminative(self) -> tuple[Float[Array, " k"], Neural]:
        """Classifier on the mean of a text's features: bias (k,) of 0, and a neural scorer, trunk frozen, head 0.

        The head is left to `fit`. It is not the posterior of log p(x | y).
        """
        dtype = jnp.result_type(float, *jax.tree.leaves(self))
        cells, k = TokenCells(self.num_categories), self.num_classes
        return jnp.zeros(k, dtype), Neural.start(self.network, cells, 1, k, dtype, frozen=True)
