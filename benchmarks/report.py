"""Turns a run of pytest-benchmark into results/<machine>.json, and into docs/reference/benchmarks.md and its charts.

python benchmarks/report.py raw.json [--quick | --calls]: a quick run, or one of public calls alone, is printed and
kept nowhere.
"""

import json
import math
import pathlib
import sys

import calls_report
import jax
import matplotlib as mpl
from calls_report import is_call, label, table, times

mpl.use("Agg")
import matplotlib.pyplot as plt

HERE = pathlib.Path(__file__).parent
DOCS = HERE.parent / "docs"
BLUE, GREY = "#2f6db3", "#9aa3ad"


def read(raw: dict) -> dict:
    """What is kept: the machine, its limits, and a record for each case."""
    info = raw["machine_info"]
    cpu = info["cpu"]
    device = jax.devices()[0]
    name = device.device_kind if device.platform != "cpu" else cpu.get("brand_raw") or info["machine"]
    return {
        "machine": f"{name}, {cpu.get('count', '?')} cores",
        "python": info["python_version"],
        "jax": jax.__version__,
        "limits": raw["limits"],
        "cases": [b["extra_info"] for b in raw["benchmarks"] if b["extra_info"]],
    }


def milliseconds(case: dict) -> str:
    return f"{1e3 * case['median_s']:,.1f}"


def beside_peers(cases: list[dict]) -> str:
    """Every case that has a peer other than itself without missing cells."""
    rows = []
    for case in cases:
        ratios = ", ".join(f"{name} {times(peer['ratio'])}" for name, peer in case["peers"].items())
        share = case.get("share_of_matrix_product")
        rows.append(
            [
                case["family"],
                case["dtype"],
                label(case),
                milliseconds(case),
                f"{case['first_call_s']:.1f}",
                "" if share is None else f"{100 * share:.0f}%",
                ratios,
            ]
        )
    header = ["case", "precision", "size", "ms", "first call, s", "of the matrix product rate", "times as fast as"]
    return table(header, rows)


def geometric_means(cases: list[dict]) -> str:
    """For each family and precision against each peer."""
    groups: dict = {}
    for case in cases:
        for name, peer in case["peers"].items():
            groups.setdefault((case["family"], case["dtype"], name), []).append(peer["ratio"])
    rows = [
        [*key, times(math.exp(sum(map(math.log, ratios)) / len(ratios))), times(min(ratios)), str(len(ratios))]
        for key, ratios in groups.items()
    ]
    return table(["family", "precision", "peer", "geometric mean", "least", "cases"], rows)


def missing(cases: list[dict]) -> str:
    """Cost relative to the same rows without a missing cell."""
    families = [*dict.fromkeys(case["family"] for case in cases)]
    cases = sorted(cases, key=lambda case: (families.index(case["family"]), case.get("patterns", 0), case["missing"]))
    rows = [
        [
            case["family"],
            f"{100 * case['missing']:.0f}%",
            str(case.get("patterns", "at random")),
            milliseconds(case),
            f"{1 / case['peers']['complete']['ratio']:.2f}x",
        ]
        for case in cases
    ]
    return table(["mixture", "cells missing", "patterns", "ms", "of the cost of complete rows"], rows)


def first_calls(cases: list[dict]) -> str:
    """The longest first."""
    ordered = sorted(cases, key=lambda case: -case["median_s"])
    return table(["function", "s"], [[case["function"], f"{case['median_s']:.2f}"] for case in ordered])


def draw_ratios(cases: list[dict], path: pathlib.Path) -> None:
    """A bar for each case against scikit-learn."""
    shown = [c for c in cases if "scikit-learn" in c["peers"] and c["dtype"] == "float64"]
    figure, axes = plt.subplots(figsize=(8, 0.26 * len(shown) + 1))
    bars = axes.barh(
        [f"{c['family']}, {label(c)}" for c in shown], [c["peers"]["scikit-learn"]["ratio"] for c in shown], color=BLUE
    )
    axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
    axes.axvline(1, color=GREY, lw=1)
    axes.set(xlabel="times as fast as scikit-learn (the line), float64")
    axes.margins(x=0.08, y=0.01)
    axes.invert_yaxis()
    save(figure, path)


def draw_scaling(cases: list[dict], path: pathlib.Path) -> None:
    """Time against rows, columns and components."""
    figure, panels = plt.subplots(1, 3, figsize=(9, 2.8), sharey=True)
    for axes, (name, size) in zip(panels, {"rows": "n", "columns": "d", "components": "k"}.items(), strict=True):
        series = [c for c in cases if c["family"] == f"scaling in {name}"]
        axes.loglog([c[size] for c in series], [c["median_s"] for c in series], "o-", color=BLUE, ms=4)
        axes.set(xlabel=name, ylabel="seconds" if name == "rows" else "")
    figure.tight_layout()
    save(figure, path)


def save(figure, path: pathlib.Path) -> None:
    """Without frames, and without a date, so that the same figures are the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


def page(results: dict) -> str:
    """docs/reference/benchmarks.md."""
    calls, cases = results["cases"], [c for c in results["cases"] if not is_call(c)]
    beside = [c for c in cases if c["peers"] and "complete" not in c["peers"]]
    hidden = [c for c in cases if "complete" in c["peers"]]
    scaled = [c for c in cases if c["family"].startswith("scaling")]
    draw_ratios(beside, DOCS / "_static/benchmarks/ratios.svg")
    draw_scaling(scaled, DOCS / "_static/benchmarks/scaling.svg")
    limits = table(["limit", "1e9 a second"], [[name, f"{value:.1f}"] for name, value in results["limits"].items()])
    scaling = table(
        ["series", "size", "ms", "rows a second", "peak memory, MB"],
        [
            [
                c["family"],
                label(c),
                milliseconds(c),
                f"{c['rows_per_s']:,.0f}",
                "" if c["peak_memory_mb"] is None else f"{c['peak_memory_mb']:.0f}",
            ]
            for c in scaled
        ],
    )
    return (
        (HERE / "page.md")
        .read_text()
        .format(
            machine=results["machine"],
            python=results["python"],
            jax=results["jax"],
            means=geometric_means(beside),
            beside=beside_peers(beside),
            missing=missing(hidden),
            scaling=scaling,
            behind=calls_report.behind(calls),
            groups=calls_report.groups(calls),
            missing_calls=calls_report.missing(calls),
            calls=calls_report.every(calls),
            alone=calls_report.alone(calls),
            small_first=calls_report.small_first_calls(calls),
            processes=calls_report.processes(calls),
            first=first_calls([c for c in cases if c["family"] == "first call"]),
            limits=limits,
        )
    )


def main(path: str, *options: str) -> None:
    results = read(json.loads(pathlib.Path(path).read_text()))
    cases = [c for c in results["cases"] if c["peers"] and "complete" not in c["peers"] and not is_call(c)]
    if cases:
        print(geometric_means(cases))
    print(calls_report.printed(results["cases"]))
    if options:
        return
    name = "-".join("".join(c if c.isalnum() else " " for c in results["machine"].lower()).split())
    (HERE / "results" / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    (DOCS / "reference" / "benchmarks.md").write_text(page(results))
    print(f"The results are in benchmarks/results/{name}.json and docs/reference/benchmarks.md")


if __name__ == "__main__":
    main(*sys.argv[1:])
