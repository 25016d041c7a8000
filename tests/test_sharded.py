"""Rows sharded over devices and processes have the answers of rows on one, and nothing of them is gathered."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys

import pytest

APART = {"quick": 1e-6, "float32": 1e-6, "float64": 1e-12}
MODELS = {"discriminant analysis": 1e-5, "naive Bayes": 1e-5, "weighted naive Bayes": 1e-5}  # parameters, in float32
SAID = {
    "a bad cell": "column 1 holds cells from",
    "a bad weight": "weights must be finite and 0 or more",
    "parameters that are sharded": "jax.device_put(model, jax.NamedSharding(mesh, jax.P()))",
    "a bad label": "y must hold labels from 0 to 2",
    "one class": "at least two classes",
    "a column without a cell": "np.delete(x, [1], axis=-1)",
    "rows of one process": "jax.make_array_from_process_local_data(sharding, x)",
    "a start by rows of one process": "jax.make_array_from_process_local_data(sharding, x)",
    "a shard_map that checks": "jax.shard_map(..., check_vma=False)",
    "no shard_map": "Leave it out",
    "a bad cell of a stream": "x[119, 1] is inf",
    "a stream of one process": "dgjax.streams.Together(x)",
    "minibatches": "Type dgjax.stream(source)",
    "other rows": "checkpoint holds a fit of other x",
}
COUNTED = {"gathers in EM": 0, "reductions in EM": 2, "gathers in log_prob": 0, "reductions in log_prob": 0}
COUNTED["gathers in L-BFGS"] = 0  # of EM's two reductions one is of the weights, before the loop
COUNTED["numbers in EM"] = 1 + 3 + 3 * (3 + 1) * (3 + 2) // 2  # the objective, counts, and moments of k = d = 3


def begun(*options, module="sharded_cases", flags=""):
    """Process of a module beside this one; what NumPy's and JAX's threads do is left as it is."""
    here = pathlib.Path(__file__).parent
    path = os.pathsep.join(map(str, (here, here.parent, here.parent / "kernels")))
    command = [sys.executable, "-W", "ignore", "-m", module, *map(str, options)]
    flags += f" --xla_force_host_platform_device_count={1 if options[:1] in (('process',), ('lost',)) else 4}"
    environment, pipe = {**os.environ, "PYTHONPATH": path, "XLA_FLAGS": flags}, subprocess.PIPE
    return subprocess.Popen(command, env=environment, text=True, stdout=pipe, stderr=pipe)


def check(process, which):
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err[-3000:]
    found = dict(json.loads(line) for line in out.splitlines() if line.startswith('["'))
    for name, value in found.items():
        if name in SAID:
            assert SAID[name] in value, name
        elif name in COUNTED:
            assert value == COUNTED[name], name
        elif not name.startswith(("reductions", "numbers")):
            most = MODELS.get(name, APART[which]) if which != "float64" else 1e-11
            assert value <= most, (name, value)
    return found


def test_shards_answer_as_rows_on_one_device():
    found = check(begun("devices", "Explicit", "quick"), "quick")
    assert {"log_prob", "a bad cell", "gathers in EM"} <= set(found)


@pytest.mark.slow
@pytest.mark.parametrize(("axes", "which"), [("Auto", "float32"), ("Explicit", "float32"), ("Auto", "float64")])
def test_every_answer_of_shards(axes, which):
    assert "inside shard_map" in check(begun("devices", axes, which), which)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "which"), [(2, "float32"), (4, "quick")])
def test_processes_answer_as_one(number, which):
    with together("process", number, which) as processes:
        found = [check(process, which) for process in processes]
    assert all("rows of one process" in own or which == "quick" for own in found)


@pytest.mark.slow
def test_streams_checkpoints_and_ctrl_c_of_processes(tmp_path):
    with together("process", 2, tmp_path, module="sharded_together") as processes:
        found = [check(process, "float32") for process in processes]
    assert all({"arrays", "streams", "other rows"} <= set(own) for own in found)


@contextlib.contextmanager
def together(kind, number, *options, module="sharded_cases"):
    """Several processes that know of each other, none of which is left behind."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    processes = [begun(kind, port, number, index, *options, module=module) for index in range(number)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_process_ends_the_others_with_an_error(sent):
    """One that is killed closes its connections; one that is stopped, as a machine that hangs, says nothing."""
    with together("lost", 2, sent.name) as (left, _):
        out, err = left.communicate(timeout=240)
    (name, (message, seconds)), *others = [json.loads(line) for line in out.splitlines() if line.startswith('["')]
    assert name == "lost", err[-3000:]
    assert not others
    assert left.returncode == 1
    assert "another of the 2 processes has ended, or does not answer" in message
    assert "start all of them again" in message
    assert seconds < 60


@pytest.mark.slow
def test_every_model_of_the_zoo_answers_as_on_one_device():
    """Tilted densities are normalised by draws in float32."""
    process = begun(module="sharded_zoo", flags="--xla_backend_optimization_level=0")  # little is run
    out, err = process.communicate(timeout=1800)
    assert process.returncode == 0, err[-3000:]
    found = dict(json.loads(line) for line in out.splitlines() if line.startswith('["'))
    assert {"flow: log_prob", "language model: minibatches", "CRF: usual", "full: EM"} <= set(found)
    most = {name: 1e-9 if name.startswith("tilted") else 1e-12 for name in found}
    assert {name: far for name, far in found.items() if isinstance(far, str) or not far <= most[name]} == {}
