"""docs/reference/accelerators.md of the results that were recorded on accelerators."""

import json
import pathlib
from typing import Any

import accelerator_forms
from calls_report import label, table, times

HERE = pathlib.Path(__file__).parent
PAGE = HERE.parent / "docs" / "reference" / "accelerators.md"
NONE = (
    "**No run on an accelerator has been recorded yet.** What other pages say of GPUs and TPUs is reckoned, or seen\n"
    "in interpreters and in programs that were lowered for them."
)


def milliseconds(value: float | None) -> str:
    return "" if value is None else f"{1e3 * value:,.3g}"


def page(folder: pathlib.Path) -> str:
    """The page, with a section for each device whose whole run is recorded in a folder."""
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("*-accelerator.json"))]
    runs = [section(own) for own in results if own["recorded"]]
    return (HERE / "accelerators.md").read_text().format(runs="\n\n".join(runs) or NONE)


def section(results: dict[str, Any]) -> str:
    """What was measured on one device."""
    cases = [case for case in results["cases"] if "failed" not in case]
    failed = [case for case in results["cases"] if "failed" in case]
    differ, peers = sum(not case["agrees"] for case in cases), ", ".join(results["libraries"]) or "none"
    told = (
        f"Python {results['python']}, jax {results['jax']}: {len(results['cases'])} cases in {results['seconds']} s, "
        f"of which {differ} differ from the CPU and {len(failed)} failed; {len(results['left_out'])} more were left "
        f"out for want of time. Peers: {peers}."
    )
    parts = [
        f"## {results['device']}",
        told,
        table(["limit", "measured"], [[name, f"{value:,.3g}"] for name, value in results["limits"].items()]),
        "### Fits",
        of_cases([case for case in cases if case["kind"] == "fit"]),
        "### Forms of chains",
        of_forms(accelerator_forms.verdicts(cases)),
        "### Kernels",
        of_cases([case for case in cases if case["kind"] == "kernel"]),
    ]
    if failed:
        errors = [[case["kind"], case["name"], case["dtype"], case["failed"].replace("|", "/")] for case in failed]
        parts += ["### Failed", table(["kind", "case", "precision", "error"], errors)]
    return "\n\n".join(parts)


def of_cases(cases: list[dict[str, Any]]) -> str:
    """A line for each case."""
    header = ["case", "precision", "size", "ms", "queued", "off by", "of memory bandwidth", "of products"]
    header = [*header, "times as fast as"]
    return table(header, [_line(case) for case in cases])


def _line(case):
    share = case.get("share_of_matrix_product")
    return [
        case["name"],
        case["dtype"],
        label(case),
        milliseconds(case["median_s"]),
        milliseconds(case["queued_s"]),
        f"{case['error']:.0e}" + ("" if case["agrees"] else " **differs**"),
        f"{100 * case['share_of_memory']:.0f}%",
        "" if share is None else f"{100 * share:.0f}%",
        ", ".join(f"{name} {times(peer['ratio'])}" for name, peer in case["peers"].items()),
    ]


def of_forms(verdicts: list[dict[str, Any]]) -> str:
    """A line for each operation, shape and precision: what each form takes, and which dgjax takes by itself."""
    names = accelerator_forms.STEPS, accelerator_forms.PARALLEL, accelerator_forms.PALLAS
    header = ["operation", "n x t x k", "precision", *(f"{name}, ms" for name in names), "fastest", "taken"]
    rows = [
        [
            verdict["operation"],
            f"{verdict['n']:,} x {verdict['t']:,} x {verdict['k']}",
            verdict["dtype"],
            *(milliseconds(verdict["seconds"].get(name)) for name in names),
            verdict["fastest"],
            verdict["taken"],
        ]
        for verdict in verdicts
    ]
    return table(header, rows)


def told(verdict: dict[str, Any]) -> str:
    """Which form of a chain wins, in one line."""
    shape = f"{verdict['n']} x {verdict['t']} x {verdict['k']}"
    figures = ", ".join(f"{name} {milliseconds(own)} ms" for name, own in verdict["seconds"].items())
    right = "as dgjax takes it" if verdict["fastest"] == verdict["taken"] else f"dgjax takes {verdict['taken']}"
    return f"{verdict['operation']} {shape} {verdict['dtype']}: {verdict['fastest']} wins ({figures}); {right}"


if __name__ == "__main__":
    PAGE.write_text(page(HERE / "results"))
