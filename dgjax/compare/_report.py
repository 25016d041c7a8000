"""Report of a comparison: one self-contained page, and the numbers as JSON."""

import json
import math
import shlex
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

import dgjax as dg
from dgjax._version import installed_version
from dgjax.compare import _summary, _words as words
from dgjax.compare._bench import Bench
from dgjax.compare._plots import plots
from dgjax.compare._results import Answer
from dgjax.compare._run import Comparison
from dgjax.compare._say import Verdict, say
from dgjax.compare._style import Picture
from dgjax.compare._text_contestants import PSEUDO_COUNT, PSEUDO_LETTERS
from dgjax.compare._text_questions import real_texts
from dgjax.compare._verdicts import verdict

REPORT, RESULTS, MODEL = "report.html", "results.json", "model.safetensors"
MOST_SHOWN = 240  # characters of a text
HOW = (
    "± is one standard error over repeated splits. One model is said to be better than another only where their "
    "difference, paired by split, exceeds two standard errors over three splits or more; for log-losses, times and "
    "sizes the logarithm of their ratio. Splits share rows, so standard errors are somewhat too small: read a narrow "
    "win as a hint."
)


@dataclass(frozen=True)
class Section:
    """Section of the report, for one question."""

    key: str
    title: str
    verdict: Verdict
    pictures: list[Picture]
    measured: str
    table: tuple[list[str], list[list[str]]]
    samples: tuple[list[str], list[tuple[str, list[list[str]]]]] | None = None


def write(comparison: Comparison, folder: Path) -> tuple[Path, Path]:
    """Writes the page and the numbers into the folder, made again if it has gone; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    results, report = folder / RESULTS, folder / REPORT
    results.write_text(json.dumps(as_json(comparison), indent=1, allow_nan=False, ensure_ascii=False) + "\n", "utf-8")
    report.write_text(page(comparison, folder), "utf-8")
    if comparison.winner is not None:
        dg.save(folder / MODEL, comparison.winner.model)
    return report, results


def page(comparison: Comparison, folder: Path = Path()) -> str:
    """Page of the report, as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dgjax.compare"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    dataset = comparison.bench.dataset
    return environment.get_template("report.html.jinja").render(
        dataset=dataset,
        headline=_summary.headline(comparison),
        situations=_summary.situations(comparison),
        columns=_summary.columns(comparison),
        models=_summary.models(comparison),
        sections=[_section(comparison, question) for question in comparison.asked],
        interrupted=comparison.interrupted,
        failed=[question.title for question in comparison.failed],
        facts=_facts(comparison),
        taken=taken(comparison, folder),
        notes=[*dataset.notes, *comparison.bench.plan.describe(), _regularisation(comparison), HOW],
    )


def taken(comparison: Comparison, folder: Path) -> str:
    """Sentence on the model to take away, and where it is, or why there is none."""
    found, bench = comparison.winner, comparison.bench
    if found is None:
        return comparison.no_winner
    labelled = len(bench.dataset.labelled)
    of = "" if labelled == found.rows else f"of {words.count(labelled)} "  # dgjax fit takes them all
    metric, file = found.metric.replace("brier", "Brier score"), shlex.quote(str(folder / MODEL))
    return (
        f"To take away: {bench.contestants[found.key].short}, the best model of dgjax by {metric} "
        f"({words.number(found.value)}), fitted to {words.count(found.rows)} {of}labelled rows, is saved. For labels "
        f"and probabilities of new rows with the same columns type: dgjax predict {file} new.csv"
    )


def _regularisation(comparison: Comparison) -> str:
    """Sentences on the strength of regularisation of each model, and how it was chosen."""
    bench, unit = comparison.bench, comparison.bench.plan.unit
    prior = {
        "rows": "so many rows in each class with the columns' means and variances, its prior",
        "sequences": "so many steps in each class with the columns' means and variances, its prior",
        "texts": f"{PSEUDO_COUNT:g} times as many pseudo-counts of each word, or {PSEUDO_LETTERS:g} times as many "
        "after any letters, spread as letters follow in all classes",
    }
    chosen = ", ".join(f"{bench.contestants[key].short} {value:g}" for key, value in bench.strengths.items())
    return (
        "How much a model is held back is chosen on both sides alike, once, of three values by the Brier score on a "
        f"quarter of the first split's training {unit}. For a generative model: {prior[unit]}; for a discriminative "
        f"one: its ridge{', on standardised columns' if unit != 'texts' else ''}. "
        f"Chosen: {chosen or 'nothing yet'}. The references are as scikit-learn has them, or close to it."
    )


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    dataset = comparison.bench.dataset
    missing = float(np.isnan(dataset.table(dataset.x)).mean())
    cells = (
        []
        if comparison.bench.plan.unit == "texts"
        else [("Missing cells", words.share(missing) if missing else "none")]
    )
    return [
        *((name, words.count(size)) for name, size in dataset.sizes),
        ("Classes", f"{len(dataset.classes)} of “{dataset.target}”"),
        *cells,
        ("Measured in", words.seconds(comparison.seconds)),
    ]


def _section(comparison: Comparison, question) -> Section:
    answer = comparison.answers[question.key]
    return Section(
        question.key,
        question.title,
        verdict(comparison, question.key),
        plots(comparison, question.key),
        question.measured,
        _numbers(answer, comparison),
        _samples(answer, comparison.bench) if "samples" in answer.extra else None,
    )


def _samples(answer: Answer, bench: Bench) -> tuple[list[str], list[tuple[str, list[list[str]]]]]:
    """Table of texts: a column for real ones and for each model that draws, a row for each class."""
    drawn = {key: answer.extra["samples"][key] for key in bench.generative if key in answer.extra["samples"]}
    columns = [real_texts(bench), *drawn.values()]
    head = ["", "Real test texts", *(words.capital(bench.contestants[key].short) for key in drawn)]
    body = [
        (name, [[text[:MOST_SHOWN] for text in column[label]] for column in columns])
        for label, name in enumerate(bench.dataset.classes)
    ]
    return head, body


def _numbers(answer: Answer, comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Table of everything measured: a row for each model and way, a column for each metric and setting."""
    columns = list(dict.fromkeys((r.metric, r.setting) for r in answer.records))
    lines = list(dict.fromkeys((r.model, r.method) for r in answer.records))
    head = ["", *(f"{metric}{_at(answer.key, setting, comparison.bench)}" for metric, setting in columns)]
    body = []
    for model, method in lines:
        cells = (answer.estimate(metric, model, setting, method) for metric, setting in columns)
        name = words.capital(say(comparison.bench, (model, method)))
        body.append([name, *(_short(cell.mean, cell.error) for cell in cells)])
    return head, body


def _at(key: str, setting: float, bench: Bench) -> str:
    if key in ("training_rows", "drawn_rows"):
        return f", {words.count(setting)} {bench.plan.unit}"
    if key == "columns":
        return f", {bench.dataset.columns[int(setting)]}"
    return f", {words.share(setting)}" if key == "labelled_rows" or key.startswith("missing") else ""


def _short(mean: float, error: float) -> str:
    if math.isnan(mean):
        return "–"
    if abs(mean) >= 1000:
        return words.count(mean)
    return f"{mean:.3g}" if math.isnan(error) else f"{mean:.3f} ± {error:.3f}"


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Values of everything measured, and what was said of it, for JSON, without NaN."""
    bench, dataset = comparison.bench, comparison.bench.dataset
    return _plain(
        {
            "dgjax": installed_version(),
            "data": {
                "name": dataset.name,
                **{name.lower(): size for name, size in dataset.sizes},
                f"labelled_{bench.plan.unit}": len(dataset.labelled),
                "columns": dataset.columns,
                "target": dataset.target,
                "classes": dataset.classes,
                "notes": dataset.notes,
            },
            "plan": asdict(bench.plan),
            "strengths": bench.strengths,
            "seconds": comparison.seconds,
            "interrupted": comparison.interrupted,
            "summary": {
                "headline": _summary.headline(comparison),
                "situations": [asdict(row) for row in _summary.situations(comparison)],
            },
            "winner": None if comparison.winner is None else {"model": comparison.winner.key, "file": MODEL},
            "models": {c.key: {"name": c.name, "side": c.side} for c in bench.contestants.values()},
            "pairs": {p.key: {"generative": p.generative, "discriminative": p.discriminative} for p in bench.pairs},
            "questions": {
                question.key: {
                    "title": question.title,
                    "verdict": asdict(verdict(comparison, question.key)),
                    **comparison.answers[question.key].as_json(),
                }
                for question in comparison.asked
            },
        }
    )


def _plain(value: Any) -> Any:
    """Value as lists, dictionaries, text and finite numbers; None for anything else."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(item) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
