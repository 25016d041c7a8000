"""Contestants on texts: bags of words, chains of letters and language models of words, and references on tf-idf."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dgjax as dg
from dgjax.compare import _references
from dgjax.compare._contestants import Contestant, Pair
from dgjax.compare._plan import Plan
from dgjax.compare._training import Fitted, Training, in_blocks
from dgjax.compare._vocabulary import Vocabulary, learn, letters, words

ALPHABET = 48  # letters, the end of a text and all other letters among them
ORDER = 2  # letters before each that an n-gram model looks at
# For a strength of 1 the pseudo-counts of each word, and those of all letters after any others.
PSEUDO_COUNT, PSEUDO_LETTERS = 0.1, 10.0
EVEN = 0.02  # share of the pseudo-counts of letters that all have equally: none is impossible
WIDTH, LAYERS, DROPOUT, BATCH = 64, 1, 0.1, 16
LEARNING_RATE = 3e-3
# Rate, and steps beside those of learning to read, of learning to tell the classes: from a model that tells them
# already, and from a head that knows nothing. At 240 messages the encoder has 0.90 of them right so, and 0.63 with 1e-3
# and 0.2.
TWIN_RATE, TWIN_SHARE, HEAD_SHARE = 1e-3, 0.2, 0.4
GRADIENT_TOL = 1e-3
NEURAL = ("language", "language_twin", "encoder")


def pairs(plan: Plan) -> list[Pair]:
    """Pairs on texts: the bag of words, the chain of letters, and the language model of words.

    Networks take longest: with --quick the language model has one rival, not two.
    """
    tuned = Pair("language", "Class language model and its tuned twin", ("language",), "language_twin")
    return [
        Pair("counts", "Naive Bayes and logistic regression", ("naive_bayes",), "logistic"),
        Pair("ngrams", "Class n-grams and their twin", ("ngrams",), "ngrams_twin"),
        *([] if plan.quick else [tuned]),
        Pair("encoder", "Class language model and masked encoder", ("language",), "encoder"),
    ]


def contestants(plan: Plan) -> dict[str, Contestant]:
    """Contestants that the pairs name, by key, and the references."""
    named, n = {key for pair in pairs(plan) for key in (*pair.generative, pair.discriminative)}, ORDER + 1
    everyone = (
        Contestant("naive_bayes", "Multinomial naive Bayes of words", "naive Bayes", "generative", _fit_bayes),
        Contestant("ngrams", f"{n}-grams of letters for each class", "class n-grams", "generative", _fit_ngrams),
        Contestant(
            "language",
            "Language model of words for each class",
            "language model",
            "generative",
            _fit_language,
            held_back=False,
        ),
        Contestant("logistic", "Logistic regression of words", "logistic", "discriminative", _fit_logistic),
        Contestant(
            "ngrams_twin", f"Logistic regression of letter {n}-grams", "n-gram logistic", "discriminative", _fit_twin
        ),
        Contestant(
            "language_twin",
            "Language model, tuned to tell the classes",
            "tuned language model",
            "discriminative",
            _fit_tuned,
            held_back=False,
        ),
        Contestant(
            "encoder",
            "Masked encoder of words, fine-tuned",
            "masked encoder",
            "discriminative",
            _fit_encoder,
            held_back=False,
        ),
        Contestant(
            "tfidf_words", "Logistic regression of tf-idf of words", "tf-idf words", "reference", _fit_tfidf_words
        ),
        Contestant(
            "tfidf_letters", "Logistic regression of tf-idf of letters", "tf-idf letters", "reference", _fit_tfidf
        ),
    )
    return {c.key: c for c in everyone if c.key in named or c.side == "reference"}


@dataclass(frozen=True)
class TextView:
    """View of texts as a model takes them: counts of pieces, or sequences of at most `longest`."""

    vocabulary: Vocabulary
    longest: int = 0

    def arrays(self, x: np.ndarray) -> dict[str, Any]:
        """Arguments `x`, and `lengths` of sequences, of the functions of dgjax."""
        if not self.longest:
            return {"x": self.vocabulary.counts(x)}
        steps, lengths = self.vocabulary.sequences(x, self.longest)
        return {"x": steps, "lengths": lengths}

    def sizes(self, x: np.ndarray) -> np.ndarray:
        """Numbers of pieces (n,) that are scored of each text, at least one."""
        arrays = self.arrays(x)
        return np.maximum(arrays.get("lengths", arrays["x"].reshape(len(x), -1).sum(1)), 1)


def of_counts(training: Training, plan: Plan) -> TextView:
    """View of texts as counts of the words of the training texts."""
    return TextView(learn(training.x, words, " ", plan.vocabulary))


def of_words(training: Training, plan: Plan) -> TextView:
    """View of texts as sequences of words, cut to the longest that are learnt from."""
    return TextView(learn(training.x, words, " ", plan.vocabulary), plan.longest)


def of_letters(training: Training, plan: Plan) -> TextView:
    """View of texts as sequences of letters, cut to the longest that are learnt from."""
    return TextView(learn(training.x, letters, "", ALPHABET), plan.letters)


def wrapped(model: Any, view: TextView, training: Training, plan: Plan, seconds: float) -> Fitted:
    """Fitted contestant on texts from a fitted model; its log p(x) is for each piece, so that lengths compare."""

    def ask(verb: Callable, other: Any, x: np.ndarray) -> np.ndarray:
        return np.asarray(verb(other, **view.arrays(x)), float)

    def density(other: Any) -> Callable[[np.ndarray], np.ndarray]:
        return in_blocks(lambda x: ask(dg.log_prob, other, x) / view.sizes(x), (plan.test_rows,))

    predict = in_blocks(lambda x: ask(dg.predict_log_proba, model, x), (plan.test_rows,))
    return Fitted(
        log_proba=predict,
        filled=predict,
        parameters=int(dg.num_parameters(model)),
        seconds=seconds,
        log_prob=density(model) if model.generative else None,
        model=model,
        encoder=training.encoder,
        density=density,
        draw=functools.partial(_draw, model, view, training) if model.generative else None,
    )


def _draw(model: Any, view: TextView, training: Training, label: int, count: int, seed: int) -> list[str]:
    """Texts of one class drawn by a model: word after word, or of counts the words in random order."""
    key = jax.random.fold_in(jax.random.key(seed), label)
    if view.longest:
        y = np.full(count, label)
        return view.vocabulary.texts(np.asarray(dg.complete(model, key, np.zeros((count, 0, 1)), view.longest, y=y)))
    total = int(np.median(view.sizes(training.x)))
    density = dg.Multinomial(model.density.logits[label][None], total)
    rows = np.asarray(dg.sample(density, key, count)[0]).astype(int)
    random = np.random.default_rng((seed, label))
    bags = [random.permutation(np.repeat(np.arange(len(row)), row))[:, None] for row in rows]
    return view.vocabulary.texts(np.stack(bags))


def _mixture(density: Any, num_classes: int) -> dg.Mixture:
    return dg.Mixture(jnp.zeros(num_classes), density)


def _prior(pseudo_counts: Any) -> dg.priors.MixturePrior:
    """Prior of one text more of each class, and so many pseudo-counts of pieces."""
    one, own = (dg.priors.Dirichlet(1 + jnp.asarray(counts, jnp.float32)) for counts in (1.0, pseudo_counts))
    return dg.priors.MixturePrior(one, own)


def _counted(start: dg.Mixture, arrays: dict[str, Any], training: Training, plan: Plan, prior: Any) -> Any:
    """Model that is counted, and from there learnt by EM where labels are missing."""
    y, options = training.labels, {"prior": prior, "max_steps": plan.mixture_steps, "method": dg.EM(1e-3)}
    model = dg.fit(start, y=np.maximum(y, 0), weights=training.weights * (y >= 0), **arrays, **options).model
    if (y < 0).any():
        model = dg.fit(model, y=y, weights=training.weights, **arrays, **options).model
    return jax.block_until_ready(model)


def _fit_bayes(training: Training, plan: Plan) -> Fitted:
    view, k = of_counts(training, plan), training.num_classes
    start, arrays = _mixture(dg.Multinomial(jnp.zeros((k, plan.vocabulary))), k), view.arrays(_texts(training))
    begin = time.perf_counter()
    model = _counted(start, arrays, training, plan, _prior(PSEUDO_COUNT * training.strength))
    return wrapped(model, view, training, plan, time.perf_counter() - begin)


def _texts(training: Training) -> np.ndarray:
    """Training texts, padded to the number that everything is compiled for."""
    return training.padded(training.x)


def _chains(num_classes: int, order: int = ORDER) -> dg.Mixture:
    """Mixture of chains, one for each class, by which all letters are equally likely."""
    shape = num_classes, *[ALPHABET + 1] * order, ALPHABET
    return _mixture(dg.MarkovChain(jnp.full(shape, -np.log(ALPHABET), jnp.float32), order), num_classes)


def _fit_ngrams(training: Training, plan: Plan) -> Fitted:
    """Fit of chains of letters, each held back to that of all classes together, and that to shorter n-grams.

    Source: MacKay and Peto (1995), A hierarchical Dirichlet language model.
    """
    view = of_letters(training, plan)
    arrays, together = view.arrays(_texts(training)), replace(training, y=np.zeros(len(training.x), int))
    begin = time.perf_counter()
    likely, strength = jnp.full((1, ALPHABET), 1 / ALPHABET), PSEUDO_LETTERS * training.strength
    for order in range(ORDER + 1):
        all_classes = _counted(_chains(1, order), arrays, together, plan, _prior(strength * likely))
        likely = (1 - EVEN) * jnp.exp(all_classes.density.log_transition) + EVEN / ALPHABET
        likely = likely if order == ORDER else likely[:, None]
    start = _chains(training.num_classes)
    model = _counted(start, arrays, training, plan, _prior(strength * likely))
    return wrapped(model, view, training, plan, time.perf_counter() - begin)


def _ascended(start: Any, view: TextView, training: Training, plan: Plan) -> Fitted:
    """Fit of a log-linear model by L-BFGS, under a ridge."""
    arrays = view.arrays(_texts(training))
    options = {"prior": training.ridge, "weights": training.weights, "method": dg.LBFGS(GRADIENT_TOL)}
    begin = time.perf_counter()
    model = jax.block_until_ready(dg.fit(start, y=training.labels, **arrays, **options).model)
    return wrapped(model, view, training, plan, time.perf_counter() - begin)


def _fit_logistic(training: Training, plan: Plan) -> Fitted:
    start = dg.logistic_regression(plan.vocabulary, training.num_classes)
    return _ascended(start, of_counts(training, plan), training, plan)


def _fit_twin(training: Training, plan: Plan) -> Fitted:
    return _ascended(dg.discriminative(_chains(training.num_classes)), of_letters(training, plan), training, plan)


def _fit_language(training: Training, plan: Plan) -> Fitted:
    """Fit of a language model that classes share, but for a vector of each; texts without a class count as well."""
    view, k, key = of_words(training, plan), training.num_classes, jax.random.key(training.seed)
    options = {"width": WIDTH, "num_layers": LAYERS, "dropout": DROPOUT}
    start = dg.language_model(key, plan.vocabulary, k if k > 1 else None, **options)
    return learnt(start if k > 1 else _mixture(start, 1), view, training, plan, plan.network_steps, LEARNING_RATE)


def _fit_tuned(training: Training, plan: Plan) -> Fitted:
    """Fit of a language model, and from there of its twin to tell the classes, in fewer steps."""
    first = _fit_language(training, plan)
    start, steps = dg.discriminative(first.model), int(TWIN_SHARE * plan.network_steps)
    tuned = learnt(start, of_words(training, plan), training, plan, steps, TWIN_RATE)
    return replace(tuned, seconds=first.seconds + tuned.seconds)


def _fit_encoder(training: Training, plan: Plan) -> Fitted:
    """Fit of a masked language model to the texts, and from there of a classifier on its features, the network too."""
    view, k, key = of_words(training, plan), training.num_classes, jax.random.key(training.seed)
    start: Any = dg.masked_language_model(key, plan.vocabulary, width=WIDTH, num_layers=LAYERS, dropout=DROPOUT)
    begin = time.perf_counter()
    read = dg.fit(
        start, method=_method(LEARNING_RATE, key), max_steps=plan.network_steps, **view.arrays(_texts(training))
    )
    scorer = dg.Neural.start(read.model.network, dg.TokenCells(plan.vocabulary), 1, k)
    seconds, steps = time.perf_counter() - begin, int(HEAD_SHARE * plan.network_steps)
    tuned = learnt(dg.Logistic(jnp.zeros(k), scorer), view, training, plan, steps, LEARNING_RATE)
    return replace(tuned, seconds=seconds + tuned.seconds)


def learnt(start: Any, view: TextView, training: Training, plan: Plan, steps: int, rate: float) -> Fitted:
    """Fit of a network of tokens by Adam; the padding is texts again, as many times each as there is room."""
    arrays, method = view.arrays(_texts(training)), _method(rate, jax.random.key(training.seed))
    begin = time.perf_counter()
    model = dg.fit(start, y=training.labels, method=method, max_steps=steps, **arrays).model
    jax.block_until_ready(model)
    return wrapped(model, view, training, plan, time.perf_counter() - begin)


def _method(rate: float, key: Any) -> dg.Optax:
    return dg.Optax(_adam(rate), batch_size=BATCH, key=key)


@functools.cache
def _adam(rate: float) -> Any:
    """Optimizer of all fits at a rate: a single object, so that their program is compiled once."""
    import optax

    return optax.adam(rate)


def _fit_tfidf_words(training: Training, plan: Plan) -> Fitted:
    return _references.fit_tfidf(training, analyzer="word", ngram_range=(1, 2))


def _fit_tfidf(training: Training, plan: Plan) -> Fitted:
    return _references.fit_tfidf(training, analyzer="char_wb", ngram_range=(1, 4))
