"""Which corpus do 100 characters come from? Accuracy by p(text given class), and of discriminative rivals.

    python benchmarks/text_classes.py --counts 50 200 2000
    python benchmarks/text_classes.py --quick

Four corpora (`text_corpora.py`), 2,000 test excerpts of other files. Of each class so many excerpts have a label; the
pool is excerpts of the training files, the labelled ones among them, whose labels nobody sees. Strengths of smoothing
and of penalties are chosen on a fifth of the labelled excerpts, then all are learnt from. Those of EM were chosen, of
nine, by `--held-out`, a cut of the training files alone.
"""

import argparse
import collections
import dataclasses
import functools
import hashlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from text_corpora import CORPORA, PLACE, Corpora, load

import dgjax as dg

K, REPEATS, POOL = len(CORPORA), {50: 3, 200: 3}, 4000
ORDER, ALPHABET = 2, 64
# Pseudo-counts that an n-gram takes from the shorter one; of EM, what an excerpt without a label weighs.
STRENGTHS, EM_STRENGTH, UNLABELLED, EM_STEPS = (10.0, 30.0, 100.0), 30.0, 0.3, 5
RIDGES, TWIN_STEPS = (1.0, 10.0, 100.0), 30
WIDTH, LAYERS, BATCH, RATE = 128, 2, 32, 2e-3
ANSWERS = [name[0] for name in CORPORA]  # of one length, so that none is preferred
OWN_SHARE = 0.2  # of the labelled excerpts, by which settings are chosen


@dataclasses.dataclass(frozen=True)
class Task:
    """Labelled excerpts, the pool, and excerpts whose class is asked for."""

    texts: list[str]
    y: np.ndarray
    pool: list[str]
    asked: list[str]
    steps: int

    def inner(self) -> tuple["Task", np.ndarray]:
        """The task of telling a fifth of the labelled excerpts by the others, and the labels to find."""
        order = np.random.default_rng(0).permutation(len(self.y))
        cut = round(OWN_SHARE * len(order))
        held, kept = order[:cut], order[cut:]
        texts, asked = ([self.texts[i] for i in own] for own in (kept, held))
        return dataclasses.replace(self, texts=texts, y=self.y[kept], asked=asked), self.y[held]


def chosen(task: Task, settings: tuple, predict: Callable[[Task, Any], np.ndarray]) -> np.ndarray:
    """Predictions by the setting that tells a fifth of the labelled excerpts best."""
    inner, labels = task.inner()
    right = [(predict(inner, setting) == labels).mean() for setting in settings]
    return predict(task, settings[int(np.argmax(right))])


def naive_bayes(task: Task) -> np.ndarray:
    """Multinomial naive Bayes of scikit-learn, on characters' 1- to 4-grams."""

    def predict(own: Task, alpha: float) -> np.ndarray:
        counts = CountVectorizer(analyzer="char", ngram_range=(1, 4), lowercase=False)
        return make_pipeline(counts, MultinomialNB(alpha=alpha)).fit(own.texts, own.y).predict(own.asked)

    return chosen(task, (0.3, 0.1, 0.03), predict)


def tf_idf(task: Task) -> np.ndarray:
    """Logistic regression of scikit-learn, on tf-idf of characters' 1- to 4-grams."""

    def predict(own: Task, c: float) -> np.ndarray:
        weights = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), lowercase=False, sublinear_tf=True)
        return make_pipeline(weights, LogisticRegression(C=c, max_iter=200)).fit(own.texts, own.y).predict(own.asked)

    return chosen(task, (3.0, 30.0), predict)


@functools.cache
def numbers(pool: tuple[str, ...], c: int) -> dict[str, int]:
    """Numbers of the characters most frequent in the pool."""
    return {letter: i for i, (letter, _) in enumerate(collections.Counter("".join(pool)).most_common(c - 1))}


def coded(texts: list[str], pool: list[str], c: int) -> np.ndarray:
    """Tokens (n, t, 1) of texts: the characters most frequent in the pool, and one for all others."""
    number = numbers(tuple(pool), c)
    return np.array([[[number.get(letter, c - 1)] for letter in text] for text in texts], np.float32)


def n_grams(task: Task, unlabelled: bool = False) -> np.ndarray:
    """Class n-grams, with the (n - 1)-grams of each class as their prior; by EM of texts without a label as well.

    Source: MacKay and Peto (1995); for EM of texts Nigam, McCallum, Thrun and Mitchell (2000).
    """

    def predict(own: Task, strength: float) -> np.ndarray:
        x, pool, asked = (coded(texts, task.pool, ALPHABET) for texts in (own.texts, own.pool, own.asked))
        model, prior = backed_off(x, own.y, strength)
        if unlabelled:
            x, y = np.concatenate([x, pool]), np.concatenate([own.y, np.full(len(pool), -1)])
            weights = np.where(y < 0, UNLABELLED, 1.0)
            model = dg.fit(model, x, y, dg.EM(0.0), weights=weights, prior=prior, max_steps=EM_STEPS).model
        return np.asarray(dg.predict(model, asked))

    return predict(task, EM_STRENGTH) if unlabelled else chosen(task, STRENGTHS, predict)


def backed_off(x: np.ndarray, y: np.ndarray, strength: float) -> tuple[dg.Mixture, Any]:
    """Mixture of chains, one of each class, and its prior, pseudo-counts in proportion to a chain shorter by one."""
    likely, prior = jnp.full((1, ALPHABET), 1 / ALPHABET), None
    model: Any = None
    for order in range(ORDER + 1):
        shape = K, *[ALPHABET + 1] * order, ALPHABET
        start = dg.Mixture(jnp.zeros(K), dg.MarkovChain(jnp.zeros(shape, jnp.float32), order))
        counts = dg.priors.Dirichlet(1 + strength * likely)
        prior = dg.priors.MixturePrior(dg.priors.Dirichlet(jnp.float32(2.0)), counts)
        model = dg.fit(start, x, y, prior=prior).model
        likely = jax.nn.softmax(model.density.log_transition, axis=-1)[:, None]
    return model, prior


def taught(pool: list[str], steps: int) -> dg.LanguageModel:
    """Language model of the pool, without classes; learnt once, and kept."""
    start = dg.language_model(jax.random.key(0), ALPHABET, width=WIDTH, num_layers=LAYERS)
    digest = hashlib.sha1("".join(pool).encode()).hexdigest()[:8]
    kept = PLACE / f"language_model-{WIDTH}-{LAYERS}-{steps}-{digest}"
    rate = optax.warmup_cosine_decay_schedule(0.0, RATE, min(100, steps // 10), steps, RATE / 50)
    method = dg.Optax(optax.adam(rate, b2=0.99), batch_size=BATCH, key=jax.random.key(1))
    model: Any = dg.fit(start, coded(pool, pool, ALPHABET), method=method, max_steps=steps, checkpoint=kept).model
    return model


def twin(task: Task) -> np.ndarray:
    """The exact discriminative twin of the n-grams, which begins at them, and learns p(class given text)."""

    def predict(own: Task, strength: float) -> np.ndarray:
        x, asked = (coded(texts, task.pool, ALPHABET) for texts in (own.texts, own.asked))
        start = dg.discriminative(backed_off(x, own.y, EM_STRENGTH)[0])
        model = dg.fit(start, x, own.y, prior=dg.priors.Ridge(jnp.float32(strength)), max_steps=TWIN_STEPS).model
        return np.asarray(dg.predict(model, asked))

    return chosen(task, RIDGES, predict)


class Letters:
    """Tokenizer of characters, by their numbers."""

    def __init__(self, pool: list[str]) -> None:
        self.pool = pool

    def encode(self, text: str) -> list[int]:
        return coded([text], self.pool, ALPHABET).ravel().astype(int).tolist()

    def decode(self, numbers: list[int]) -> str:
        raise NotImplementedError("Nothing is drawn here.")


def few_shot(task: Task, num_examples: int) -> np.ndarray:
    """Choice of the answer that follows an excerpt, by the language model of the pool, which has learnt no answers."""
    model, tokenizer = taught(task.pool, task.steps), Letters(task.pool)
    random = np.random.default_rng(0).permutation(len(task.y))
    examples = [i for shift in range(num_examples) for i in random[task.y[random] == shift % K][shift // K :][:1]]
    begun = "".join(f"{task.texts[i]} = {ANSWERS[task.y[i]]}. " for i in examples)
    values = [dg.choose(model, f"{begun}{text} = ", ANSWERS, tokenizer) for text in task.asked]
    return np.argmax(np.array(values), 1)


CONTESTANTS: dict[str, Callable[[Task], np.ndarray]] = {
    "naive Bayes": naive_bayes,
    "tf-idf logistic": tf_idf,
    "n-grams": n_grams,
    "n-grams, pool": functools.partial(n_grams, unlabelled=True),
    "n-grams' twin": twin,
    "zero-shot, pool": functools.partial(few_shot, num_examples=0),
    "4-shot, pool": functools.partial(few_shot, num_examples=4),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[50, 200, 2000])
    parser.add_argument("--only", nargs="+", choices=[*CONTESTANTS], default=[*CONTESTANTS])
    parser.add_argument("--steps", type=int, default=2500, help="of teaching a language model the pool")
    parser.add_argument("--repeats", type=int, help="draws of labelled excerpts")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--held-out", action="store_true", help="test on files of the training corpora")
    own = parser.parse_args()
    if own.quick:
        own.counts, own.steps, own.repeats = [50], 20, 1
    corpora = load(100 if own.quick else 500, own.held_out)
    sizes = ", ".join(f"{name} {len(texts):,}" for name, texts in zip(CORPORA, corpora.train, strict=True))
    print(f"{sizes} to learn from; {len(corpora.test):,} to test", flush=True)
    pool = corpora.pool(100 if own.quick else POOL)
    for count in own.counts:
        for name in own.only:
            measured(corpora, pool, count, name, own)


def measured(corpora: Corpora, pool: list[str], count: int, name: str, own: argparse.Namespace) -> None:
    """Prints the accuracy of a contestant."""
    repeats = 1 if "shot" in name else own.repeats or REPEATS.get(count, 1)
    used, right = time.process_time(), []
    for repeat in range(repeats):
        texts, y = corpora.labelled(count, repeat)
        found = CONTESTANTS[name](Task(texts, y, pool, corpora.test, own.steps))
        right.append((found == corpora.labels).mean())
    spent = (time.process_time() - used) / repeats
    print(f"{count:5} {name:22} {np.mean(right):.3f}  draws {repeats}, CPU {spent:.0f} s each", flush=True)


if __name__ == "__main__":
    main()
