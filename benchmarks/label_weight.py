"""Wines right by six labels and 118 rows without one, by `label_weight`: `python benchmarks/label_weight.py`.

The splits are those of docs/how_to/few_labels.md, of LDA and of QDA; the test rows choose nothing.
"""

import warnings

import numpy as np
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

import dgjax as dg

SPLITS, LABELS, WEIGHTS = 10, 6, (1.0, 10.0, 100.0)


def right(covariance):
    """Shares right (splits, 1 + weights): of the labelled rows alone, then of all rows by each weight."""
    x, y = load_wine(return_X_y=True)
    x = ((x - x.mean(0)) / x.std(0)).astype("float32")
    found = []
    for seed in range(SPLITS):
        train, test, y_train, y_test = train_test_split(x, y, test_size=0.3, stratify=y, random_state=seed)
        known, _ = train_test_split(np.arange(len(train)), train_size=LABELS, stratify=y_train, random_state=seed)
        some = np.full(len(train), -1)
        some[known] = y_train[known]
        options = {"covariance": covariance, "prior": "weak"}
        models = [dg.discriminant_analysis(train[known], some[known], **options)]
        models += [dg.discriminant_analysis(train, some, label_weight=own, **options) for own in WEIGHTS]
        found.append([np.mean(dg.predict(own, test) == y_test) for own in models])
    return np.array(found)


def main():
    warnings.simplefilter("ignore", dg.ConvergenceWarning)
    heads = ["labelled rows alone", *(f"weight {own:.0f}" for own in WEIGHTS)]
    for name, covariance in (("LDA", "tied"), ("QDA", "full")):
        shares = right(covariance)
        means, errors = shares.mean(0), shares.std(0, ddof=1) / np.sqrt(SPLITS)
        told = zip(heads, means, errors, strict=True)
        less = [shares[:, i] - shares[:, 1] for i in (2, 3)]  # paired by split
        gaps = ", ".join(f"{100 * d.mean():+.1f} ± {100 * d.std(ddof=1) / np.sqrt(SPLITS):.1f}" for d in less)
        print(f"{name}: " + ", ".join(f"{head} {mean:.1%} ± {100 * error:.1f}" for head, mean, error in told))
        print(f"  points of weights 10 and 100 less 1, paired: {gaps}")


if __name__ == "__main__":
    main()
