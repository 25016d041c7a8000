"""Programs of little data are kept on disk: a later process neither traces nor compiles them, and has the same bits."""

import concurrent.futures
import gc
import os
import pickle
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_size_classes import programs

import dgjax as dg
import dgjax_kernels as kernels
from dgjax_kernels import _disk, _program_key, _programs

N, D, K = 40, 20, 2  # so many columns that factors of covariances are LAPACK's
X = np.random.default_rng(0).normal(size=(N, D)).astype("float32")
PROGRAM = f"""
import jax, numpy as np
key, seen = jax.random.key(0), []
jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: seen.append(event))
import dgjax as dg
x = np.random.default_rng(0).normal(size=({N}, {D})).astype("float32")
model = dg.Mixture(np.zeros({K}), dg.Gaussian(x[:{K}], np.stack([np.eye({D}), 2 * np.eye({D})])))
found = np.asarray(dg.log_joint(model, x, np.zeros({N}, int)))
pair = dg.Mixture(np.zeros(1), dg.DiagonalGaussian(np.zeros((1, 2)), np.zeros((1, 2))))
filled = np.asarray(dg.sample_missing(pair, key, np.array([[0, np.nan]], "float32")))
compiled = sum("backend_compile" in event for event in seen)
# The user's own programs find what JAX remembers, of keys too.
drawn = np.asarray(jax.vmap(lambda own: jax.random.poisson(own, 2.0))(jax.random.split(key, 3)))
print("".join(part.tobytes().hex() for part in (found, filled, drawn)), compiled)
"""


WITH_CACHE_OF_JAX = """
import jax
jax.config.update("jax_compilation_cache_dir", {!r})
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
"""


def model(dtype="float32", k=K):
    return dg.Mixture(np.zeros(k, dtype), dg.DiagonalGaussian(X[:k].astype(dtype), np.zeros((k, D), dtype)))


def log_joint(model, x):
    """By a program, for rows of any number."""
    return dg.log_joint(model, x, np.zeros(len(x), int))


def forget():
    """As in a process that begins now. What JAX held is gone at once or with the next search for cycles."""
    jax.clear_caches()
    _programs._programs.clear()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of programs, in a process that has none."""
    monkeypatch.setenv("DGJAX_CACHE_DIR", str(tmp_path / "programs"))
    forget()
    yield tmp_path / "programs"
    forget()


def files(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def asked_again(x=X, dtype="float32"):
    """Log-probabilities as a process has them that begins now, and what it traces and compiles for them."""
    forget()
    with programs() as seen:
        result = np.asarray(log_joint(model(dtype), x.astype(dtype)))
    return result, [name for _, facts in seen if (name := facts.get("fun_name")) != "_Mark"]


def test_what_is_on_disk_is_neither_traced_nor_compiled_and_has_the_same_bits(folder):
    before, compiled = asked_again()
    after, again = asked_again()
    assert "log_joint" in compiled
    assert again == []
    assert after.tobytes() == before.tobytes()
    np.testing.assert_allclose(before, log_joint(model(), jnp.asarray(X)), rtol=1e-6)


def test_what_takes_long_to_compile_says_so_once(folder, monkeypatch, caplog):
    monkeypatch.setattr(_programs, "PATIENCE", 0.0)
    asked_again()
    assert [line for line in caplog.messages if "answers.log_joint" in line] != []
    caplog.clear()
    asked_again()
    assert caplog.messages == []


def test_another_process_has_the_same_bits(tmp_path):
    """LAPACK's are among them, which a process has to have been told of before it runs a program."""
    called = {"env": {**os.environ, "DGJAX_CACHE_DIR": str(tmp_path)}, "capture_output": True, "text": True}
    told = [subprocess.run([sys.executable, "-c", PROGRAM], **called) for _ in range(2)]
    assert all(line.startswith("dgjax: compiling") for line in told[0].stderr.splitlines())  # where that takes long
    assert told[1].stderr == ""
    (cold, compiled), (warm, again) = (one.stdout.split() for one in told)
    assert cold == warm
    assert int(compiled) > 0 == int(again)
    assert any(b"lapack_" in pickle.loads(_disk_content(path))[0] for path in tmp_path.iterdir())


def _disk_content(path):
    os.environ["DGJAX_CACHE_DIR"] = str(path.parent)
    content = _disk.read(path.name)
    os.environ["DGJAX_CACHE_DIR"] = ""
    assert content is not None
    return content


def test_what_the_cache_of_jax_has_compiled_is_not_kept_without_its_code(tmp_path):
    """XLA writes a program that it has read itself without what is to run, which is found out only where it runs."""
    program = WITH_CACHE_OF_JAX.format(str(tmp_path / "jax")) + PROGRAM
    results = set()
    for folder, text in (("", program), ("own", program), ("own", PROGRAM), ("own", program)):
        place = {**os.environ, "DGJAX_CACHE_DIR": folder and str(tmp_path / folder)}
        done = subprocess.run([sys.executable, "-c", text], env=place, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        results.add(done.stdout.split()[0])
    assert len(results) == 1


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-100])


def emptied(path):
    path.write_bytes(b"")


def with_a_bit_turned(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def with_something_else(path):
    _disk.write(path.name, pickle.dumps((b"no program", [0])))


def with_no_pickle(path):
    _disk.write(path.name, b"no pickle")


@pytest.mark.parametrize("damaged", [cut_short, emptied, with_a_bit_turned, with_something_else, with_no_pickle])
def test_a_damaged_file_is_compiled_and_written_again(folder, damaged):
    before, _ = asked_again()
    (name,) = files(folder)
    damaged(folder / name)
    after, compiled = asked_again()
    assert "log_joint" in compiled
    assert after.tobytes() == before.tobytes()
    assert files(folder) == [name]
    assert asked_again()[1] == []  # its length depends on how many programs the process compiled before: their ids


def test_other_versions_and_processors_have_their_own(folder, monkeypatch):
    asked_again()
    monkeypatch.setattr(_program_key, "_machine", lambda: "another processor")
    assert "log_joint" in asked_again()[1]
    monkeypatch.setattr(_program_key, "_sources", lambda package: "other sources")
    assert "log_joint" in asked_again()[1]
    assert len(files(folder)) == 3


def test_sources_that_are_changed_while_a_process_runs_are_nobody_s(folder, monkeypatch):
    """What was imported may be what they were before, and a later process would take it for what they are."""
    monkeypatch.setattr(_program_key, "BEGUN", 0)
    monkeypatch.setattr(_program_key, "_sources", _program_key._sources.__wrapped__)
    assert "log_joint" in asked_again()[1]
    assert files(folder) == []


def test_each_precision_has_its_own(folder):
    low, _ = asked_again()
    with jax.enable_x64(True):
        high, compiled = asked_again(dtype="float64")
        assert "log_joint" in compiled
        again, compiled = asked_again(dtype="float64")
        assert compiled == []
    assert (low.dtype, high.dtype) == ("float32", "float64")
    assert again.tobytes() == high.tobytes()
    np.testing.assert_allclose(low, high, rtol=1e-5)
    assert asked_again()[0].tobytes() == low.tobytes()


def test_settings_that_are_changed_are_heeded(folder, without_the_type_checker):
    """A program that was compiled without is not run where JAX is to find NaN, or to compile nothing."""
    asked_again()
    with jax.debug_nans(True):
        assert "log_joint" in asked_again()[1]
    with jax.disable_jit():
        assert "log_joint" not in asked_again()[1]


def test_nothing_is_kept_where_there_is_no_folder(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for named in ("", str(tmp_path / "file" / "below")):
        monkeypatch.setenv("DGJAX_CACHE_DIR", named)
        assert "log_joint" in asked_again()[1]
    monkeypatch.delenv("DGJAX_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked_again()
    assert len(files(tmp_path / "cache" / "dgjax" / "programs")) == 1


def test_a_folder_that_others_may_write_to_is_not_read(folder):
    asked_again()
    folder.chmod(0o777)
    assert "log_joint" in asked_again()[1]
    folder.chmod(0o700)
    assert asked_again()[1] == []


def test_a_folder_that_cannot_be_written_to_stops_nothing(folder, monkeypatch):
    def refused(**_):
        raise PermissionError

    monkeypatch.setattr(_disk.tempfile, "mkstemp", refused)
    assert "log_joint" in asked_again()[1]
    assert files(folder) == []


def test_processes_that_write_at_once_leave_whole_files(folder):
    contents = [bytes([i]) * 100_000 for i in range(8)]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        written = [pool.submit(_disk.write, "key", content) for content in contents * 4]
        read = [pool.submit(_disk.read, "key") for _ in range(64)]
        assert {one.result() for one in written} == {None}
        assert {one.result() for one in read} <= {None, *contents}
    assert files(folder) == ["key"]
    assert _disk.read("key") in contents


def test_the_longest_unread_are_deleted(folder, monkeypatch):
    for i in range(4):
        _disk.write(str(i), os.urandom(1000))
        os.utime(folder / str(i), (i, i))
    assert _disk.read("0") is not None
    monkeypatch.setattr(_disk, "MOST_BYTES", 2500)
    _disk._prune(folder)
    assert files(folder) == ["0", "3"]


@pytest.mark.parametrize("rows", [X, np.zeros((1 << 14, D), "float32")], ids=["little data", "large"])
def test_of_many_programs_a_process_has_those_used_last(monkeypatch, rows):
    """Neither XLA nor JAX holds another: what both take in memory is bounded."""
    monkeypatch.setenv("DGJAX_CACHE_DIR", "")
    forget()
    monkeypatch.setattr(_programs, "MOST_PROGRAMS", 3)
    double = kernels.compiled(lambda x, y: 2 * x.sum() + y.sum())

    def compiled(k):
        with programs() as seen:
            double(rows, X[:k])
        return sum("backend_compile" in event for event, _ in seen)

    before = len(executables())
    assert [compiled(k) for k in (1, 2, 3, 1, 4, 5)] == [1, 1, 1, 0, 1, 1]
    assert len(_programs._programs) == len(executables()) - before == 3
    assert [compiled(k) for k in (1, 5, 2)] == [0, 0, 1]


def executables():
    """Programs that XLA holds."""
    gc.collect()
    return jax.devices()[0].client.live_executables()


@dg.dataclass
class Own(dg.DiagonalGaussian):
    """A density of a user's, who may change it at any time."""


def test_what_is_not_of_dgjax_is_not_kept(folder):
    density = Own(X[:K], np.zeros((K, D)))
    expected = log_joint(model(), jnp.asarray(X))
    np.testing.assert_allclose(log_joint(dg.Mixture(np.zeros(K), density), X), expected, rtol=1e-6)
    assert len(files(folder)) == 1  # that of `expected`


def test_the_first_call_of_a_process_may_be_within_a_program(folder):
    """The class of known arrays was that of tracers ever after, which were given to programs compiled for numbers."""
    _program_key._array.cache_clear()
    within = jax.jit(lambda x: log_joint(model(), x))(X)
    np.testing.assert_allclose(within, log_joint(model(), X), rtol=1e-5)


def test_what_calls_python_or_a_handler_is_not_kept(folder):
    A = jnp.eye(32)
    asks_python = jax.jit(lambda A: jax.pure_callback(lambda a: a, jax.ShapeDtypeStruct(A.shape, A.dtype), A))
    for name, fn in {"plain": jnp.sin, "python": asks_python, "handler": kernels.whitener}.items():
        program = jax.jit(fn).lower(A).compile()
        _programs._keep(name, program, ((A,), {}), program(A))
    assert files(folder) == ["plain"]


def key_of(*given, static=(), options=""):
    return _program_key.digest(dg.log_prob, options, static, (given, {}))


def test_a_digest_tells_all_that_a_program_depends_on():
    x, y = jnp.zeros((3, 2)), np.zeros(3, "int32")
    rows = dg.data.Data(x, y)
    given = [
        (),
        (x,),
        (x, y),
        ((x, y),),
        ([x, y],),
        ({"x": x},),
        ({"y": x},),
        (x.T,),
        (x.astype("float16"),),
        (1,),
        (1.0,),
        (True,),
        (None,),
        (np.float32(1),),
        (rows,),
        (rows.replace(complete=True),),
        (model(),),
        (model(k=3),),
        (dg.Logistic(jnp.zeros(2), dg.Linear(x.T)),),
        (jax.random.key(0),),
        (jax.random.key(0, impl="rbg"),),
    ]
    keys = [key_of(*one) for one in given]
    keys += [key_of(static=1), key_of(static=1.0), key_of(static="1"), key_of(static=(1,)), key_of(options="other")]
    with kernels.repeats(2):
        keys.append(key_of())
    with jax.default_matmul_precision("highest"):
        keys.append(key_of())
    assert None not in keys
    assert len(set(keys)) == len(keys)
    assert key_of(np.zeros((3, 2), "float32")) == key_of(x) == key_of(x + 1)


def test_there_is_no_digest_of_what_nobody_knows():
    assert key_of(static=lambda: 0) is None
    assert key_of(static=object()) is None
    assert _program_key.digest(lambda: 0, "", (), ()) is None
    assert _program_key.digest(textwrap.dedent, "", (), ()) is None  # of a module that is no package
