"""The page's part on public calls: where dgjax is behind, groups of calls beside their aims, and every call."""

import math

AIMS = {
    "200,000 rows": (6, 1.5),
    "chains": (6, 1.5),
    "chains, one short sequence": (6, 1),
    "fits of mixtures": (20, 15),
    "fits of logistic regression": (5, 2),
    "300 rows and 1 row": (1.5, 1),
    "samples": (4, None),
    "explanations": (100, 100),
    "10,000 rows": (None, None),
    "fits in closed form": (None, None),
    "fits, 300 rows": (None, None),
    "CRF": (None, None),
}
"""Of a geometric mean and of the worst call: times as fast as the fastest peer, at least."""
MISSING_AIMS = {"log_prob": 2.5, "predict": 2.5, "impute": 5}
"""Times the cost of complete rows, at most; for `impute` of their `log_prob`."""
FIRST_AIMS = {"nothing compiled": 0.7, "disk warm": 0.25}
GRID_AIM, IMPORT_AIM = 15, 0.15


def table(header: list[str], rows: list[list[str]]) -> str:
    """In Markdown."""
    if not rows:
        return "Nothing was measured."
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def times(ratio: float) -> str:
    """Two digits where it is below one."""
    return f"{ratio:.1f}x" if ratio >= 0.95 else f"{ratio:.2g}x"


def label(case: dict) -> str:
    """n, t, d and k in one string."""
    sizes = [f"n={case['n']:,}", *(f"{name}={case[name]:,}" for name in ("t", "d", "k") if name in case)]
    return " ".join(sizes)


def ratio(case: dict) -> float:
    """Times as fast as the fastest peer."""
    return min(peer["ratio"] for peer in case["peers"].values())


def milliseconds(case: dict) -> str:
    value = 1e3 * case["median_s"]
    return f"{value:,.1f}" if value >= 1 else f"{value:.2f}"


def is_call(case: dict) -> bool:
    return "groups" in case


def compared(cases: list[dict]) -> list[dict]:
    """Public calls that have a peer."""
    return [case for case in cases if is_call(case) and case["peers"] and "missing" not in case["groups"]]


def behind(cases: list[dict]) -> str:
    """Calls that a peer answers faster, the worst first."""
    slower = sorted((case for case in compared(cases) if ratio(case) < 1), key=ratio)
    rows = []
    for case in slower:
        peer = min(case["peers"], key=lambda name: case["peers"][name]["ratio"])
        rows.append(
            [case["family"], case["call"], case["dtype"], label(case), milliseconds(case), peer, times(ratio(case))]
        )
    if not rows and compared(cases):
        return "No call was slower than a peer's."
    return table(["family", "call", "precision", "size", "ms", "peer", "times as fast as"], rows)


def groups(cases: list[dict]) -> str:
    """Geometric mean and worst of each group, beside what is aimed at for both precisions."""
    rows = []
    for name, (mean_aim, worst_aim) in AIMS.items():
        for dtype in ("float64", "float32"):
            own = [case for case in compared(cases) if name in case["groups"] and case["dtype"] == dtype]
            if own:
                mean, worst = math.exp(sum(math.log(ratio(c)) for c in own) / len(own)), min(own, key=ratio)
                rows.append(
                    [
                        name,
                        dtype,
                        str(len(own)),
                        times(mean),
                        "" if mean_aim is None else f"{mean_aim}x",
                        times(ratio(worst)),
                        "" if worst_aim is None else f"{worst_aim}x",
                        f"{worst['family']}, {worst['call']}, {label(worst)}",
                    ]
                )
    return table(["calls", "precision", "cases", "geometric mean", "aim", "worst", "aim", "which"], rows)


def missing(cases: list[dict]) -> str:
    """The cost of a call on rows with missing cells relative to complete ones."""
    own = [case for case in cases if is_call(case) and "missing" in case["groups"]]
    rows = [
        [c["call"], c["dtype"], milliseconds(c), f"{1 / ratio(c):.1f}x", f"{MISSING_AIMS[c['call']]}x"] for c in own
    ]
    return table(["call", "precision", "ms", "of the cost of complete rows", "aim, at most"], rows)


def every(cases: list[dict]) -> str:
    """All calls with a peer: a line for each call and precision, its time and ratio at each size."""
    lines: dict = {}
    for case in compared(cases):
        lines.setdefault((case["family"], case["call"], case["dtype"]), []).append(case)
    rows = [
        [*key, "; ".join(f"{label(c)}: {milliseconds(c)} ms, {times(ratio(c))}" for c in own)]
        for key, own in lines.items()
    ]
    return table(["family", "call", "precision", "size: time, times as fast as the fastest peer"], rows)


def alone(cases: list[dict]) -> str:
    """Calls that no peer has."""
    lines: dict = {}
    for case in cases:
        if is_call(case) and not case["peers"]:
            lines.setdefault((case["family"], case["call"]), []).append(case)
    rows = [[*key, "; ".join(f"{label(c)}: {milliseconds(c)} ms" for c in own)] for key, own in lines.items()]
    return table(["family", "call", "size: time"], rows)


def small_first_calls(cases: list[dict]) -> str:
    """First calls on 150 rows, the longest first, with what another n of the class compiles."""
    own = sorted((c for c in cases if "programs_of_another_n" in c), key=lambda c: -c["median_s"])
    rows = [
        [c["function"], f"{c['median_s']:.2f}", f"{c['warm_s']:.2f}", str(c["programs_of_another_n"] or "none")]
        for c in own
    ]
    if rows:
        cold, warm = max(c["median_s"] for c in own), max(c["warm_s"] for c in own)
        programs = max(c["programs_of_another_n"] for c in own)
        rows.insert(0, ["**the longest, the most**", f"{cold:.2f}", f"{warm:.2f}", str(programs or "none")])
        rows.insert(1, ["**aim**", *(f"{aim}" for aim in FIRST_AIMS.values()), "none"])
    header = ["function", "nothing compiled, s", "disk warm, s", "traced or compiled for 147 rows"]
    return table(header, rows)


def processes(cases: list[dict]) -> str:
    """What a whole process shows: the import, a grid of mixtures, memory."""
    rows = []
    for case in cases:
        name = case.get("function", "")
        if "scikit_learn_s" in case:
            found = f"{case['warm_s']:.1f} s, disk warm; {case['median_s']:.1f} s, nothing compiled"
            rows.append([name, f"{found}; scikit-learn {case['scikit_learn_s']:.1f} s", f"{GRID_AIM} s, disk warm"])
        elif "memory_mb" in case:
            rows.append([name, f"{case['memory_mb']:.0f} MB more", "bounded"])
        elif name.startswith("import"):
            rows.append([name, f"{case['median_s']:.2f} s", f"{IMPORT_AIM} s"])
    return table(["process", "measured", "aim"], rows)


def printed(cases: list[dict]) -> str:
    """What `make bench-calls` prints."""
    parts = {
        "Behind a peer": behind(cases),
        "Groups": groups(cases),
        "A fifth of the cells missing": missing(cases),
        "First calls, 150 rows": small_first_calls(cases),
        "Processes": processes(cases),
    }
    return "\n\n".join(f"{title}\n\n{part}" for title, part in parts.items())
