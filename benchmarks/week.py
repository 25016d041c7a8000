"""What other libraries make of the tasks of docs/how_to/week.md, on the rows of its pages.

    PYTHONPATH=tests python benchmarks/week.py [PAGE ...]

Each page is run from top to bottom, as its reader would, and its peers take the names that it defines. What is printed
are the rows of the page's table, and `tests/test_week.py` looks for them there. Peers have the settings that their
libraries give them, but for those that are told.
"""

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.covariance import EllipticEnvelope
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, log_loss
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC

PAGES = Path(__file__).resolve().parents[1] / "docs" / "how_to"
Names = dict[str, Any]  # those that a page defines
Rows = list[tuple[str, ...]]  # of its table


def clusters(page: Names) -> Rows:
    """Scikit-learn's mixtures: the same grid, best of as many starts."""
    x, species, best = page["x"], page["species"], page["found"]
    fits = [
        GaussianMixture(k, covariance_type=kind, n_init=5, random_state=0).fit(x)
        for k in range(1, 6)
        for kind in ("full", "tied", "diag", "spherical")
    ]
    own = min(fits, key=lambda fit: fit.bic(x))
    k, covariance = (best.table[0].options[name] for name in ("num_components", "covariance"))
    agree = adjusted_rand_score(species, page["dg"].predict(best.model, x))
    return [
        ("dgjax", str(k), covariance, f"{best.table[0].criterion:.0f}", f"{agree:.2f}"),
        ("GaussianMixture", str(own.n_components), own.covariance_type, f"{own.bic(x):.0f}",
         f"{adjusted_rand_score(species, own.predict(x)):.2f}"),
    ]  # fmt: skip


def missing_cells(page: Names) -> Rows:
    """Imputers of scikit-learn, learnt from the same rows."""
    peers = {
        "IterativeImputer": IterativeImputer(random_state=0),
        "KNNImputer": KNNImputer(),
        "SimpleImputer, the mean": SimpleImputer(),
    }
    apart = {name: own.fit(page["train"]).transform(page["test"]) - page["truth"] for name, own in peers.items()}
    errors = {name: np.sqrt(np.mean(own[page["missing"]] ** 2)) for name, own in apart.items()}
    return [(name, f"{error:.3f}") for name, error in {"dgjax": page["error"], **errors}.items()]


def few_labels(page: Names) -> Rows:
    """Logistic regression of the labelled rows, and scikit-learn's two ways with all of them."""
    peers = {
        "logistic regression, labelled rows": LogisticRegression(),
        "SelfTrainingClassifier of it": SelfTrainingClassifier(LogisticRegression()),
        "LabelSpreading": LabelSpreading(kernel="knn"),
    }
    right = {"dgjax, all rows": np.mean(page["right"], 0)[1], "dgjax, labelled rows": np.mean(page["right"], 0)[0]}
    for name, peer in peers.items():
        scores = []
        for train, some, test, y_test in page["splits"]:
            rows = some >= 0 if isinstance(peer, LogisticRegression) else slice(None)
            scores.append(peer.fit(train[rows], some[rows]).score(test, y_test))
        right[name] = np.mean(scores)
    return [(name, f"{own:.1%}") for name, own in right.items()]


def mixed_table(page: Names) -> Rows:
    """Scikit-learn's pipelines, which learn from the rows with a label."""
    kinds = make_column_selector(dtype_include=["object", "string", "boolean"])
    known = page["told"].notna().to_numpy()
    rows, labels, new = page["members"][known], page["told"][known], page["new"]
    rows, new = (frame.astype({"student": "object"}).replace({None: np.nan}) for frame in (rows, new))
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    names = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(drop="if_binary"))
    of_columns = ColumnTransformer([("names", names, kinds)], remainder=numbers)
    apart = ColumnTransformer([("names", OneHotEncoder(), kinds)], remainder="passthrough")
    peers = {
        "SimpleImputer, OneHotEncoder, LogisticRegression": make_pipeline(of_columns, LogisticRegression()),
        "OneHotEncoder, HistGradientBoosting": make_pipeline(apart, HistGradientBoostingClassifier(random_state=0)),
    }
    right = {name: peer.fit(rows, labels).score(new, page["truth"]) for name, peer in peers.items()}
    return [(name, f"{own:.1%}") for name, own in {"dgjax": page["right"], **right}.items()]


def anomalies(page: Names) -> Rows:
    """Detectors of scikit-learn that are told to flag 5 %, learnt from training and calibration rows together."""
    peers = {
        "IsolationForest": IsolationForest(contamination=0.05, random_state=0),
        "EllipticEnvelope": EllipticEnvelope(contamination=0.05, random_state=0),
        "LocalOutlierFactor": LocalOutlierFactor(contamination=0.05, novelty=True),
    }
    flagged = {"dgjax": np.mean(page["flagged"], 0)}
    for name, peer in peers.items():
        shares = []
        for training, calibration, new in page["splits"][::4]:
            peer.fit(np.concatenate([training, calibration]))
            shares.append([np.mean(peer.predict(rows) < 0) for rows in (new, page["malignant"])])
        flagged[name] = np.mean(shares, 0)
    return [(name, *(f"{share:.1%}" for share in own)) for name, own in flagged.items()]


def time_series(page: Names) -> Rows:
    """hmmlearn, whose rows have no gaps, so that each has the reading before it; and the quantiles of all readings."""
    from hmmlearn.hmm import GaussianHMM

    seen, state, power = page["seen"][..., 0], page["state"], page["power"]
    kept = np.maximum.accumulate(np.where(np.isnan(seen), 0, np.arange(250)), axis=1)
    filled = np.nan_to_num(np.take_along_axis(seen, kept, 1)).reshape(-1, 1)
    lengths = [250] * 20
    fits = [GaussianHMM(3, n_iter=200, random_state=seed).fit(filled, lengths) for seed in range(5)]
    best = max(fits, key=lambda fit: fit.score(filled, lengths))
    rank = np.argsort(np.argsort(best.means_[:, 0]))
    right = np.mean(rank[best.predict(filled, lengths)] == state[:, :250].ravel())
    low, high = np.nanquantile(seen, [0.05, 0.95])
    alike = np.mean((low < power[:, 250:]) & (power[:, 250:] < high))
    width = np.mean(page["high"] - page["low"])
    return [
        ("dgjax", f"{page['right']:.1%}", f"{page['inside'].mean():.0%}", f"{width:.1f} kW"),
        ("hmmlearn", f"{right:.1%}", "no forecast", ""),
        ("5 % and 95 % quantiles of all readings", "", f"{alike:.0%}", f"{high - low:.1f} kW"),
    ]


def tagging(page: Names) -> Rows:
    """crfsuite, the same features and penalty; and the tag that the word has most often."""
    import pycrfsuite

    def right(**pairs: bool) -> float:
        options = {"c1": 0.0, "c2": 0.5} | {f"feature.{name}": on for name, on in pairs.items()}
        trainer = pycrfsuite.Trainer(algorithm="lbfgs", verbose=False, params=options)
        for line in page["train"]:
            trainer.append(page["features"](line), [tag for tag, _ in line])
        with tempfile.TemporaryDirectory() as folder:
            trainer.train(f"{folder}/model")
            tagger = pycrfsuite.Tagger()
            tagger.open(f"{folder}/model")
            found = [tagger.tag(page["features"](line)) for line in page["new"]]
        pairs_of_tags = zip(found, page["new"], strict=True)
        return np.mean([own == tag for tags, line in pairs_of_tags for own, (tag, _) in zip(tags, line, strict=True)])

    seen: dict[str, list[str]] = {}
    for line in page["train"]:
        for tag, word in line:
            seen.setdefault(word, []).append(tag)
    usual = {word: max(set(tags), key=tags.count) for word, tags in seen.items()}
    often = [usual.get(word, "F") == tag for line in page["new"] for tag, word in line]
    return [
        ("dgjax", f"{np.mean(page['right']):.1%}"),
        ("crfsuite", f"{right():.1%}"),
        ("crfsuite, weights for all pairs", f"{right(possible_states=True, possible_transitions=True):.1%}"),
        ("the word's most frequent tag, of unknown words \"food\"", f"{np.mean(often):.1%}"),
    ]  # fmt: skip


def images(page: Names) -> Rows:
    """A support vector machine, whose holes are filled in two ways."""
    x, y, train, test, half = (page[name] for name in ("x", "y", "train", "test", "half"))
    machine = SVC().fit(x[train], y[train])
    filled = {"KNNImputer, SVC": KNNImputer(), "SimpleImputer, SVC": SimpleImputer()}
    filled = {name: imputer.fit(x[train]).transform(half) for name, imputer in filled.items()}
    rows = [("dgjax", *(f"{own:.1%}" for own in page["right"]), f"{page['error']:.2f}")]
    for name, own in filled.items():
        error = np.sqrt(np.mean((own - x[test])[:, 32:] ** 2))
        right = [machine.score(rows, y[test]) for rows in (x[test], own)]
        rows.append((name, *(f"{share:.1%}" for share in right), f"{error:.2f}"))
    return rows


def grid_search(page: Names) -> Rows:
    """Pipelines of scikit-learn, searched in the same folds."""
    filled = make_pipeline(StandardScaler(), IterativeImputer(random_state=0), LogisticRegression(max_iter=1000))
    peers = {
        "IterativeImputer, LogisticRegression": (filled, {"logisticregression__C": [0.01, 0.1, 1.0, 10.0]}),
        "HistGradientBoosting": (
            HistGradientBoostingClassifier(random_state=0, min_samples_leaf=5),
            {"learning_rate": [0.01, 0.03, 0.1, 0.3]},
        ),
    }
    told = {"dgjax": page["search"]}
    for name, (peer, options) in peers.items():
        told[name] = GridSearchCV(peer, options, scoring="neg_log_loss", cv=5).fit(page["train"], page["y_train"])
    test, y_test = page["test"], page["y_test"]
    return [
        (name, f"{own.best_estimator_.score(test, y_test):.1%}", f"{-own.score(test, y_test):.3f}")
        for name, own in told.items()
    ]


def missing_classifier(page: Names) -> Rows:
    """What scikit-learn does with holes: fill them, or split trees on them."""
    peers = {
        "IterativeImputer, LogisticRegression": make_pipeline(IterativeImputer(random_state=0), LogisticRegression()),
        "KNNImputer, LogisticRegression": make_pipeline(KNNImputer(), LogisticRegression()),
        "SimpleImputer, LogisticRegression": make_pipeline(SimpleImputer(), LogisticRegression()),
        "HistGradientBoosting": HistGradientBoostingClassifier(random_state=0),
    }
    told = {
        "dgjax, logistic regression": (page["right"], page["loss"]),
        "dgjax, LDA": (page["right_lda"], page["loss_lda"]),
    }
    for name, peer in peers.items():
        scores = []
        for train, test, y_train, y_test in page["splits"]:
            peer.fit(train, y_train)
            scores.append((peer.score(test, y_test), log_loss(y_test, peer.predict_proba(test))))
        told[name] = tuple(np.mean(scores, 0))
    return [(name, f"{right:.1%}", f"{loss:.3f}") for name, (right, loss) in told.items()]


def serving(page: Names) -> Rows:
    """Milliseconds of a call, the median of 2,000, in turns: one row and 300 of them."""
    x, y, dg = page["x"], page["y"], page["dg"]
    pairs = {
        "linear discriminant analysis": (dg.discriminant_analysis(x, y), LinearDiscriminantAnalysis()),
        "quadratic discriminant analysis": (dg.discriminant_analysis(x, y, "full"), QuadraticDiscriminantAnalysis()),
        "Gaussian naive Bayes": (dg.naive_bayes(x, y), GaussianNB()),
        "logistic regression": (page["dg"].discriminative(dg.discriminant_analysis(x, y)), LogisticRegression()),
    }
    told = []
    for name, (model, peer) in pairs.items():
        peer.fit(x, y)
        calls = []
        for rows in (x[:1], x[:300]):
            shape = page["jax"].ShapeDtypeStruct(rows.shape, "float32")
            program = page["jax"].jit(lambda x, model=model: dg.predict(model, x)).lower(shape).compile()
            calls += [
                lambda rows=rows, model=model: np.asarray(dg.predict(model, rows)),
                lambda rows=rows, program=program: np.asarray(program(rows)),
                lambda rows=rows, peer=peer: peer.predict(rows),
            ]
        told.append((name, *(f"{1000 * own:.{3 if own < 1e-4 else 2}f}" for own in medians(calls))))
    return told


def medians(calls: list[Callable[[], object]], repeats: int = 2000) -> list[float]:
    """Median seconds of each call, all of them by turns."""
    seconds = np.empty((repeats, len(calls)))
    for i in range(-20, repeats):  # the first few compile
        for j, call in enumerate(calls):
            began = time.perf_counter()
            call()
            seconds[i, j] = time.perf_counter() - began
    return [float(own) for own in np.median(seconds, 0)]


PEERS = {
    "clusters": clusters,
    "missing_cells": missing_cells,
    "few_labels": few_labels,
    "mixed_table": mixed_table,
    "anomalies": anomalies,
    "time_series": time_series,
    "tagging": tagging,
    "images": images,
    "grid_search": grid_search,
    "missing_classifier": missing_classifier,
    "serving": serving,
}


def table(name: str) -> list[str]:
    """Lines of the table of a page, as it has them."""
    from markdown_examples import run

    page = run(PAGES / f"{name}.md")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return ["| " + " | ".join(row) + " |" for row in PEERS[name](page)]


def main() -> None:
    """Tables of the pages that are named, or of all."""
    for name in sys.argv[1:] or PEERS:
        print(f"{name}\n", *table(name), sep="\n", end="\n\n", flush=True)


if __name__ == "__main__":
    main()
