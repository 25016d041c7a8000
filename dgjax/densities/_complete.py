"""Learned densities of complete rows: they cannot sum a cell out, and say what can."""

from typing import NoReturn

from jaxtyping import Array, Float, Key

from dgjax._types import LabelIndex, Support
from dgjax.densities._learned import Learned

FILLED = "dgjax.impute(dgjax.fit(dgjax.gaussian_mixture(key, x, 5), x).model, x)"
REMEDY = "type dgjax.autoregressive(key, x), which can, or fill cells first, x = {}"


class CompleteRows(Learned):
    """Learned density of rows of which no cell may be missing: verbs raise ValueError, which names what to take."""

    def sample_missing(self, keys: Key[Array, " n"], x: Float[Array, "n d"], at: LabelIndex) -> Float[Array, "n d"]:
        """Rows as they are, of which no cell may be missing."""
        del keys, at
        return x

    def impute(self, x: Float[Array, "n d"], posterior: Float[Array, "n k"]) -> Float[Array, "n d"]:
        """Rows as they are, of which no cell may be missing."""
        del posterior
        return x

    def marginal(self, columns: tuple[int, ...]) -> NoReturn:
        """Raises ValueError: columns cannot be integrated out."""
        why = self.supports[0].words.partition(". ")[2]
        raise ValueError(f"marginal is for models that integrate columns out. {why}.")


def complete_support(support: Support, subject: str) -> Support:
    """Support of a column whose cells must be there, with words that say what to take where some are not.

    `subject` names the density, as "A flow".
    """
    filled = f"jnp.round({FILLED})" if support.whole else FILLED
    words = f"{support.words.partition('. ')[0]}. {subject} cannot sum a cell out: {REMEDY.format(filled)}"
    return support._replace(words=words, missing=False)
