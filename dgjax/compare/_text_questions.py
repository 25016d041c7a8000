"""Questions on texts; those that rows have too are measured by the functions for rows."""

from dataclasses import replace

import numpy as np

from dgjax.compare import _questions
from dgjax.compare._bench import Bench
from dgjax.compare._plan import Plan
from dgjax.compare._questions import Task, each
from dgjax.compare._results import Answer, Record
from dgjax.compare._run import Comparison, Question, asking
from dgjax.compare._splits import spaced
from dgjax.compare._text_contestants import NEURAL, contestants, pairs
from dgjax.compare._text_data import TextDataset
from dgjax.compare._vocabulary import letters, words

# Words known, words and letters of a text that are read: of --quick, and of a full run.
VOCABULARY, MOST_WORDS, MOST_LETTERS = {True: 512, False: 1024}, {True: 48, False: 96}, {True: 256, False: 512}
LONG_ENOUGH = 0.98  # share of texts that are read to their end where the most allow
DRAWN, SHOWN = 40, 3  # texts of each class that are drawn, and those that are shown
JUDGE = "tfidf_letters"
REAL = "real rows"


def make_plan(dataset: TextDataset, quick: bool) -> Plan:
    """Plan for texts, smaller if `quick`."""
    count, classes = len(dataset.labelled), len(dataset.classes)
    test = min(200 if quick else 400, count // 3)
    train = min(240 if quick else 600, count - test)
    sizes = spaced(min(max(4 * classes, 10), train), train, 3 if quick else 4)
    return Plan(
        quick=quick,
        repeats=3 if quick else 5,
        train_rows=train,
        test_rows=test,
        sizes=sizes,
        missing_repeats=0,
        missing_test_rows=test,
        missing_shares=(),
        labelled_shares=tuple(size / train for size in sizes),
        label_repeats=3 if quick else 5,
        held_out_runs=3 if quick else 6,
        mixture_steps=10 if quick else 30,
        network_steps=150 if quick else 300,
        longest=_longest(dataset, words, MOST_WORDS[quick]),
        letters=_longest(dataset, letters, MOST_LETTERS[quick]),
        vocabulary=VOCABULARY[quick],
        unit="texts",
    )


def _longest(dataset: TextDataset, split, most: int) -> int:
    """Number of pieces of a text that are read, its end among them: those of nearly all texts, in steps of eight."""
    enough = np.quantile([len(split(text)) + 1 for text in dataset.x], LONG_ENOUGH)
    return min(most, int(8 * np.ceil(enough / 8)))


def begin(dataset: TextDataset, quick: bool, plan: Plan | None = None) -> Comparison:
    """Comparison on texts before anything is measured."""
    plan = plan or make_plan(dataset, quick)
    return asking(QUESTIONS, Bench(dataset, plan, contestants(plan), pairs(plan)))


def labelled_texts(bench: Bench, answer: Answer) -> list[Task]:
    """Tasks that measure accuracy against the share of labelled texts, alone and with those that have none.

    With --quick not of networks, which sum over the classes of each unlabelled text in every step.
    """
    if bench.plan.quick:
        kept = {key: one for key, one in bench.contestants.items() if key not in NEURAL}
        bench = replace(bench, contestants=kept, pairs=[p for p in bench.pairs if p.discriminative in kept])
    return _questions.labelled_rows(bench, answer)


def sounds(bench: Bench, answer: Answer) -> list[Task]:
    """Tasks that draw texts of each class, and measure how often a classifier takes them for that class.

    And how many are, word for word, training texts.
    """
    dataset = bench.dataset

    def measure(repeat: int, key: str) -> list[Record]:
        judge, split = bench.full(JUDGE, repeat), bench.split(repeat)
        draw = bench.full(key, repeat).draw
        assert draw is not None
        drawn = [draw(label, DRAWN, repeat) for label in range(len(dataset.classes))]
        right = [(_told(judge, texts) == label).mean() for label, texts in enumerate(drawn)]
        known = {_plain(text) for text in dataset.x[split.train]}
        copies = [_plain(text) in known for texts in drawn for text in texts]
        records = [
            Record("samples recognised", key, repeat, float(np.mean(right))),
            Record("samples copied", key, repeat, float(np.mean(copies))),
        ]
        if repeat == 0:
            answer.extra.setdefault("samples", {})[key] = [texts[:SHOWN] for texts in drawn]
        if key == bench.generative[0]:
            x, y = bench.test(repeat)
            real = [(_told(judge, x[y == label]) == label).mean() for label in np.unique(y)]
            records.append(Record("samples recognised", REAL, repeat, float(np.mean(real))))
        return records

    return each(bench, bench.plan.repeats, bench.generative, measure)


def _told(judge, texts) -> np.ndarray:
    return judge.log_proba(np.array(list(texts), object)).argmax(1)


def _plain(text: str) -> str:
    """Words of a text alone, by which two texts are compared."""
    return " ".join(words(text))


def real_texts(bench: Bench) -> list[list[str]]:
    """The first test texts of each class, to show beside those that are drawn."""
    x, y = bench.test(0)
    return [list(x[y == label][:SHOWN]) for label in range(len(bench.dataset.classes))]


QUESTIONS = (
    Question(
        "training_rows",
        "How many labelled texts does each side need?",
        "labelled texts",
        _questions.training_rows,
        "Every model learns from the same first texts of each split, its words and letters too, and is tested on the "
        "same test texts.",
    ),
    Question(
        "calibration",
        "Can its probabilities be believed?",
        "calibration",
        _questions.calibration,
        "Models trained on all training texts; the share that is right in ten bins of the largest class probability, "
        "bins of fewer than ten texts left out, bars one binomial standard error. Naive Bayes and n-grams count each "
        "piece of a text as evidence of its own, which it is not.",
    ),
    Question(
        "held_out",
        "Does it notice a class it has never seen?",
        "unseen class",
        _questions.held_out,
        "One class is left out of training at a time; its texts are to be told from test texts of the others, by low "
        "log p(x) for each word or letter or by a low largest class probability.",
    ),
    Question(
        "labelled_rows",
        "Do texts without a label help?",
        "unlabelled texts",
        labelled_texts,
        "The labels of a part of the training texts are kept. Generative models learn from the labelled texts only, "
        "and from all of them; the discriminative ones cannot use a text without a label.",
    ),
    Question(
        "sounds",
        "What does each class sound like?",
        "drawn texts",
        sounds,
        "Texts drawn of each class, by models trained on all training texts. Naive Bayes draws words without an order. "
        "They are judged by logistic regression of tf-idf of letters, trained on the same texts: means over classes. "
        "Copies are texts whose words are those of a training text, in order.",
    ),
    Question(
        "cost",
        "What does it cost?",
        "cost",
        _questions.cost,
        "On all training texts, compiled beforehand, best read as ratios.",
        workers=1,
    ),
)
