"""The benchmark for accelerators, on a CPU at its smallest size, and what it makes of cases that go wrong."""

import json
import os
import pathlib
import subprocess
import sys

import accelerator
import accelerator_kernels
import accelerator_page
import jax.numpy as jnp
import numpy as np
import pytest
from accelerator_case import SMALLEST, Case, difference, jitted

import dgjax_kernels as kernels

ROOT = pathlib.Path(__file__).parents[1]
# As on a machine that has no numba, which no case may need.
PROGRAM = """
import runpy, sys
sys.modules["numba"] = None
sys.path.insert(0, "benchmarks")
sys.argv[:] = ["accelerator.py", *sys.argv[1:]]
runpy.run_path("benchmarks/accelerator.py", run_name="__main__")
"""
FEW = "kernel weighted_sums", "fit naive Bayes, gaussian", "form log_partition"


@pytest.fixture(scope="module")
def smallest(tmp_path_factory):
    """What a run on a CPU prints, and the folder with what it writes."""
    out = tmp_path_factory.mktemp("accelerator")
    command = [sys.executable, "-c", PROGRAM, "--no-peers", "--out", str(out), "--only", *FEW]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    quickly = {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    environment = {**os.environ, "PYTHONPATH": paths, **quickly}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout, out


def test_the_smallest_size_runs_on_a_cpu(smallest):
    told, out = smallest
    results = json.loads((out / "cpu-accelerator.json").read_text())
    assert results["platform"] == "cpu"
    assert results["left_out"] == []
    names = {(case["name"], case["dtype"]) for case in results["cases"]}
    forms = [f"log_partition, {form} (3 x 4 x 2)" for form in ("steps one by one", "all steps at once", "Pallas")]
    assert names == {(n, p) for n in ("weighted_sums", "naive Bayes, gaussian", *forms) for p in ("float32", "float64")}
    assert all(case["agrees"] and case["median_s"] > 0 for case in results["cases"])
    assert results["limits"]["memory_gb_per_s"] > 0
    assert "There is no accelerator here" in told
    assert "wins" in told


def test_a_cpus_results_are_on_no_page(smallest):
    """Nor are those of a run of some cases."""
    _, out = smallest
    assert (out / "accelerators.md").read_text() == accelerator_page.page(out)
    assert accelerator_page.NONE in accelerator_page.page(out)


def test_a_whole_run_on_an_accelerator_has_a_section(smallest, tmp_path):
    results = json.loads((smallest[1] / "cpu-accelerator.json").read_text())
    results |= {"device": "A chip", "platform": "gpu", "recorded": True}
    results["cases"][0] |= {"agrees": False, "peers": {"dynamax": {"ratio": 2.5}}}
    results["cases"].append({"kind": "kernel", "name": "broken", "dtype": "float32", "failed": "out of memory"})
    (tmp_path / "a-chip-accelerator.json").write_text(json.dumps(results))
    page = accelerator_page.page(tmp_path)
    assert accelerator_page.NONE not in page
    for part in ("## A chip", "**differs**", "dynamax 2.5x", "out of memory", "| log_partition | 3 x 4 x 2 |"):
        assert part in page


def test_the_page_is_of_what_is_recorded():
    assert accelerator_page.PAGE.read_text() == accelerator_page.page(ROOT / "benchmarks" / "results")


def test_every_kernel_is_a_case():
    table = {name for name, op in vars(kernels).items() if isinstance(op, kernels.Op)}
    assert table | {"chain_partition"} == {case.name for case in accelerator_kernels.cases(SMALLEST)}


def case(name, prepare, truth=None):
    return Case("kernel", name, {"n": 3}, lambda: (np.arange(3.0),), prepare, truth)


def raising(x):
    raise RuntimeError("no such instruction")


def test_a_case_that_goes_wrong_is_told_and_ends_nothing(monkeypatch, tmp_path, capsys):
    cases = [case("broken", raising), case("wrong", jitted(jnp.sin), jitted(jnp.cos)), case("right", jitted(jnp.sin))]
    monkeypatch.setattr(accelerator, "ordered", lambda size: [(one, "float32") for one in cases])
    monkeypatch.setattr(accelerator, "limits", lambda *sizes: {"memory_gb_per_s": 1.0})
    assert accelerator.main("--size", "smallest", "--no-peers", "--out", str(tmp_path)) == 1
    broken, wrong, right = json.loads((tmp_path / "cpu-accelerator.json").read_text())["cases"]
    assert broken["failed"] == "RuntimeError: no such instruction"
    assert not wrong["agrees"]
    assert right["agrees"]
    assert "DIFFERS" in capsys.readouterr().out


def test_without_time_everything_is_left_out_and_written(tmp_path):
    forms = {name: dict(op.fast) for name, op in vars(kernels).items() if isinstance(op, kernels.Op)}
    assert accelerator.main("--size", "smallest", "--seconds", "0", "--out", str(tmp_path)) == 0
    results = json.loads((tmp_path / "cpu-accelerator.json").read_text())
    assert results["cases"] == []
    assert len(results["left_out"]) == len(accelerator.ordered("smallest"))
    assert forms == {name: dict(op.fast) for name, op in vars(kernels).items() if isinstance(op, kernels.Op)}


def test_differences_are_relative_to_the_largest_and_infinite_where_numbers_are_not():
    wanted = np.array([0.0, 4.0, -np.inf, np.nan])
    assert difference((wanted,), (wanted,)) == 0
    assert difference(wanted + np.array([1, 0, 0, 0]), wanted) == 0.25
    assert difference(np.zeros(4), wanted) == np.inf
    assert difference(np.full(4, np.nan), np.arange(4.0)) == np.inf
    assert difference(np.zeros(2), np.zeros(3)) == np.inf
    assert difference(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 5])) == 0.25
