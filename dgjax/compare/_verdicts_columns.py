"""Verdict on the columns that decide."""

import numpy as np

from dgjax.compare import _words as words
from dgjax.compare._bench import Bench
from dgjax.compare._explained import LENT, OWN_GAME, SHUFFLED
from dgjax.compare._ranking import certain
from dgjax.compare._results import Answer, Estimate, estimate
from dgjax.compare._say import Verdict

MOST_TOLD = 3  # columns of a pair in which its sides differ


def columns(answer: Answer, bench: Bench) -> Verdict:
    """Verdict on columns: which one each model leans on most, and where the two sides of a pair differ."""
    leaders: dict[int, list[str]] = {}
    level = []
    for key, contestant in bench.contestants.items():
        method = OWN_GAME[contestant.side]
        if contestant.side == "reference" or (key, method) not in answer.lines("share"):
            continue
        first, ahead = _leader(answer, key, method)
        share = words.share(answer.estimate("share", key, float(first), method).mean)
        if ahead:
            leaders.setdefault(first, []).append(f"{contestant.short} ({share})")
        else:
            level.append(contestant.short)
    said = [f"{_name(bench, first)} decides most for {words.listing(names)}" for first, names in leaders.items()]
    if level:
        said.append(f"{'for' if said else 'For'} {words.listing(level)} no single column can be told to lead")
    headline = f"{'; '.join(said)}." if said else "Not measured yet."
    couples = [(key, pair.discriminative) for pair in bench.pairs for key in pair.generative]
    reasons = [
        *(_between(answer, bench, *couple) for couple in couples),
        _references(answer, bench),
        _how(answer, bench),
    ]
    return Verdict(headline, tuple(reason for reason in reasons if reason))


def _name(bench: Bench, column: int) -> str:
    return f"'{bench.dataset.columns[column]}'"


def _means(answer: Answer, key: str, method: str) -> np.ndarray:
    settings = answer.settings("share", key, method)
    return np.array([answer.estimate("share", key, setting, method).mean for setting in settings])


def _leader(answer: Answer, key: str, method: str) -> tuple[int, bool]:
    """The column with the largest share, and whether it is ahead of every other one for certain."""
    means = _means(answer, key, method)
    first = int(means.argmax())
    own = answer.values("share", key, float(first), method)
    gaps = (_gap(own, answer.values("share", key, float(j), method)) for j in range(len(means)) if j != first)
    return first, all(certain(gap) for gap in gaps)


def _gap(one: dict[int, float], other: dict[int, float]) -> Estimate:
    return estimate(one[r] - other[r] for r in sorted(one.keys() & other.keys()))


def _between(answer: Answer, bench: Bench, generative: str, discriminative: str) -> str:
    """Sentence on columns that count for more on one side of a pair, both with cells of other rows; "" if not known."""
    settings = answer.settings("share", generative, LENT)
    gaps = {int(j): answer.difference("share", (generative, LENT), (discriminative, LENT), j) for j in settings}
    known = {j: gap for j, gap in gaps.items() if gap.known}
    if not known:
        return ""
    order = sorted((j for j, gap in known.items() if certain(gap)), key=lambda j: -abs(known[j].mean))
    one, other = (bench.contestants[key].short for key in (generative, discriminative))
    if not order:
        return f"Between {one} and {other}, both with cells of other rows, no column's share can be told to differ."
    parts = []
    for way, up in (("more", True), ("less", False)):
        some = [j for j in order if (known[j].mean > 0) == up][:MOST_TOLD]
        if some:
            parts.append(
                f"{way} on {words.listing([f'{_name(bench, j)} (by {words.points(known[j])})' for j in some])}"
            )
    return f"With cells of other rows for both, {one} leans, compared with {other}, {', '.join(parts)}."


def _references(answer: Answer, bench: Bench) -> str:
    said = []
    for key, contestant in bench.contestants.items():
        if (key, SHUFFLED) in answer.lines("contribution"):
            means = [answer.estimate("contribution", key, j, SHUFFLED) for j in answer.settings("contribution", key)]
            first = int(np.argmax([mean.mean for mean in means]))
            said.append(f"{contestant.short} {_name(bench, first)} ({words.number(means[first])})")
    return f"Shuffled, what costs most of p(y | x): {', '.join(said)}." if said else ""


def _how(answer: Answer, bench: Bench) -> str:
    """Sentence on whether values are exact, or means over random orders, with the largest standard error of one."""
    errors, orders = answer.extra.get("largest_standard_error", {}), bench.plan.explained_orders
    if not errors:
        return "Exact in every row: all sets of columns were gone through."
    if orders:
        return (
            f"Values of a row are means over {orders} random orders of the columns or, of the autoencoder, fewer; the "
            f"standard error of one is {max(errors.values()):.2g} at most."
        )
    names = words.listing([bench.contestants[key].short for key in errors])
    return (
        f"Exact in every row, for all sets of columns were gone through; but for {names}, means over few random orders "
        f"of the columns, with a standard error of {max(errors.values()):.2g} at most."
    )
