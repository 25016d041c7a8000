"""Language models: the tokens of a sequence one after another, each given all before it, by one causal network.

    tokens x_1 x_2 x_3 ─▶ network of (begin, x_1, x_2), each sees those before it ─▶ log p(x_s | x_1, ..., x_{s-1}, y)

One pass gives the log-probability of every token. To draw, a network keeps what it made of the tokens before
(`SeenTokens`), and is asked about the newest alone; one that cannot is asked about all of them again.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from dgjax._pytree import dataclass
from dgjax._twins import NetworkLogDensity
from dgjax._types import Capabilities, LabelIndex, Support, category
from dgjax.densities._learned import Draws
from dgjax.densities._token_network import TokenNetwork
from dgjax.densities._tokens import TokenDensity
from dgjax.structures import Sequences


@dataclass
class LanguageModel(TokenNetwork, TokenDensity):
    """Language model: log p(x | y) = sum_s log p(x_s | x_1, ..., x_{s-1}, y), of sequences of c categories of tokens.

    `network` is one of token numbers, such as `dgjax.Transformer`: of c + 1 inputs, of which c stands for the
    beginning, and c outputs, the logits of the next token. Sequences x (n, t, 1) hold tokens 0 to c - 1, as floats,
    none missing. With `num_classes` k > 1 it has labels, which share all parameters but what a label adds to each
    token: one in a `Mixture` is a generative classifier of texts. The length of a text is given, not drawn; for one
    that ends by itself let a token say so. The network has to take any number of tokens: `rotary` positions do.

    Raises ValueError if the network has other outputs, or positions for so many tokens only.
    Source: Bengio et al. (2003), A neural probabilistic language model; Radford et al. (2019).
    """

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(missing="none", impute="none")

    @property
    def supports(self) -> tuple[Support, ...]:
        token = category(self.num_categories)
        return (token._replace(words=f"{token.words}. A language model takes no missing tokens", missing=False),)

    def scores(self, x: Sequences) -> Float[Array, "n k"]:
        return self.score(x)

    def scores_at(self, x: Sequences, y: Int[Array, " n"]) -> Float[Array, " n"]:
        return self.score(x, y)[:, 0]

    def score(
        self, x: Sequences, y: Int[Array, " n"] | None = None, key: Key[Array, ""] | None = None
    ) -> Float[Array, "n _"]:
        """Log-densities of sequences under all labels (n, k), or under those of y (n, 1). With a `key`, dropout."""
        tokens, unlike = self._tokens(x)
        logits = self._logits(tokens, y, key)
        chosen = jnp.take_along_axis(logits, tokens[:, None, :, None], -1)[..., 0]
        logs = chosen - jax.nn.logsumexp(logits, axis=-1) + unlike[:, None]
        return jnp.where(x.inside[:, None], logs, 0).sum(-1)

    def _logits(self, tokens, y=None, key=None):
        """Logits (n, k or 1, t, c) of each of the tokens (n, t) given those before it."""
        before = jnp.pad(tokens, ((0, 0), (1, 0)), constant_values=self.num_categories)[:, :-1]
        return self._networked(before, y, jnp.tril(jnp.ones((tokens.shape[1],) * 2, bool)), key)

    def learning_scores(self, x: Sequences, y: Int[Array, " n"] | None, draws: Draws) -> Float[Array, "n _"]:
        """Score with dropout by the key of one step."""
        return self.score(x, y, draws.key)

    def seen(self, x: Sequences, at: LabelIndex, more: int) -> Any:
        """Logits of the next token, and what the network keeps of the beginning and the tokens x.

        Sequences are moved to end at the same place, where the next token of all of them goes.
        """
        places, start = jnp.arange(x.x.shape[1]), x.x.shape[1] - x.lengths
        tokens = jnp.take_along_axis(x.x[..., 0].astype(int), jnp.maximum(places - start[:, None], 0), 1)
        begun = jnp.where(places < start[:, None], self.num_categories, tokens)
        begun = jnp.pad(begun, ((0, 0), (1, 0)), constant_values=self.num_categories)
        if hasattr(self.network, "prefilled"):
            return self.network.prefilled(begun, self._classes(at[0]), start, begun.shape[1] + more)
        given = jnp.pad(x.x[..., 0].astype(int), ((0, 0), (0, more)))
        return self._asked(AllTokens(given, x.lengths), at)

    def _asked(self, seen, at):
        """Logits of the next token by all tokens so far, and these."""
        logits = self._logits(jnp.pad(seen.tokens, ((0, 0), (0, 1))), at[0])[:, 0]
        return jnp.take_along_axis(logits, seen.lengths[:, None, None], 1)[:, 0], seen

    def next_logits(self, seen: Any, at: LabelIndex) -> Float[Array, "n c"]:
        return seen[0]

    def after(self, seen: Any, token: Int[Array, " n"], at: LabelIndex) -> Any:
        if not isinstance(seen[1], AllTokens):
            return self.network.stepped(seen[1], token, self._classes(at[0]))
        tokens, lengths = seen[1]
        return self._asked(AllTokens(tokens.at[jnp.arange(len(token)), lengths].set(token), lengths + 1), at)

    def sample_missing(self, keys: Key[Array, " n"], x: Sequences, at: LabelIndex) -> Float[Array, "n t 1"]:
        """The sequences x as they are: none of their tokens is missing."""
        return x.x

    def impute(self, x: Sequences, posterior: Float[Array, "n k"]) -> Float[Array, "n t 1"]:
        """The sequences x as they are: none of their tokens is missing."""
        return x.x

    def discriminative(self) -> tuple[Float[Array, " k"], NetworkLogDensity]:
        """Discriminative twin: a bias (k,) of 0 and a scorer of log p(x | y), which has exactly the same posterior."""
        return jnp.zeros(self.num_classes, jnp.result_type(float, *jax.tree.leaves(self))), NetworkLogDensity(self)


class AllTokens(NamedTuple):
    """Tokens (n, size), of which `lengths` (n,) were seen: all that is kept for a network that keeps nothing."""

    tokens: Int[Array, "n size"]
    lengths: Int[Array, " n"]
