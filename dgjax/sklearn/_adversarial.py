"""Classifier by the discriminator of an adversarial network, which learns from rows without a label too."""

from typing import Any

import jax
import optax

import dgjax as dg
from dgjax.sklearn._base import Classifier, Drawn, key_of


class AdversarialClassifier(Classifier, Drawn):
    """Classifier by the discriminator of a generative adversarial network, by `dgjax.adversarial`: semi-supervised.

    Rows have every cell; labels may be missing. It draws rows, and has no density, so no `score_samples`. `options` are
    arguments of `dgjax.adversarial`, in a dict. Both networks are learnt by minibatches of Adam, b1 = 0.5, with a rate
    each, `learning_rate_init` and `generator_learning_rate_init`, for `max_iter` epochs.
    """

    def __init__(
        self,
        *,
        options: Any = None,
        learning_rate_init: float = 4e-4,
        generator_learning_rate_init: float = 1e-4,
        batch_size: int = 64,
        max_iter: int = 200,
        random_state: Any = None,
    ) -> None:
        self.options = options
        self.learning_rate_init = learning_rate_init
        self.generator_learning_rate_init = generator_learning_rate_init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = False
        return tags

    def _learnt(self, x, labels, weights):
        key, size = key_of(self.random_state), min(self.batch_size, len(x))
        start = dg.adversarial(key, x, labels, len(self.classes_), **(self.options or {}))
        rates = self.learning_rate_init, self.generator_learning_rate_init
        own, other = (optax.adam(rate, b1=0.5) for rate in rates)
        method = dg.Optax(own, size, jax.random.fold_in(key, 1), generator=other)
        steps = self.max_iter * -(-len(x) // size)
        return self._fitted(start, x, labels, weights=weights, method=method, max_steps=steps)
