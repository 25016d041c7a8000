"""scikit-learn's own checks of every estimator: how many pass, and which do not apply, each with the reason.

    PYTHONPATH=tests python benchmarks/sklearn_checks.py [NAME ...]

Each estimator is checked in a process of its own, those whose text holds a NAME if some are given. Programs are
compiled as quick tests have them, for nearly all run once. The last line says how many failed that should not have; the
table of docs/how_to/scikit_learn.md is this one, and `tests/test_sklearn_checks.py` holds it to the same list.
"""

import collections
import os
import subprocess
import sys
import time
import warnings


def checked(estimator):
    """Counts of checks by their status, and messages of those that failed or were not expected to."""
    from sklearn.utils.estimator_checks import check_estimator
    from sklearn_cases import expected

    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, on_fail=None, on_skip=None, expected_failed_checks=expected(estimator))
    count = collections.Counter(one["status"] for one in results)
    seconds = time.perf_counter() - start
    told = ", ".join(f"{n} {status}" for status, n in sorted(count.items()))
    print(f"{estimator!r:.60}".replace("\n", " "), f"| {told} | {seconds:.0f} s", flush=True)
    for one in results:
        if one["status"] in ("xfail", "failed", "skipped"):
            reason = one["expected_to_fail_reason"] or str(one["exception"]).split("\n")[0][:200]
            print(f"    {one['status']}: {one['check_name']}: {reason}", flush=True)
    return count["failed"]


def main(names):
    """Runs the checks of all estimators, or of those whose text holds one of `names`."""
    from sklearn_cases import CLASSICAL, LEARNED, SEQUENCES

    from dgjax.compare import _compiling

    every = [*CLASSICAL, *LEARNED, *SEQUENCES]
    if names[:1] == ["--one"]:
        return checked(every[int(names[1])])
    picked = [i for i, own in enumerate(every) if not names or any(name in repr(own) for name in names)]
    quick = {"XLA_FLAGS": _compiling.quick_flag(), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "NUMBA_OPT": "1"}
    command = [sys.executable, __file__, "--one"]
    failed = [subprocess.run([*command, str(i)], check=False, env=os.environ | quick).returncode for i in picked]
    print(f"{sum(map(abs, failed))} checks failed that should not have")
    return int(any(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
