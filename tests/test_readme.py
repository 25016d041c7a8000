import jax
import numpy as np
from markdown_examples import ROOT, examples, run

README = ROOT / "README.md"


def test_examples_run_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert examples(README)
    run(README)


def test_settings_are_after_examples_what_they_were_before(monkeypatch):
    """Or all tests after them would be compiled as users compile, in one and a half times the time."""
    page, code = ROOT / "page.md", "import numpy\nnumpy.set_printoptions(2)"
    monkeypatch.setattr("markdown_examples.examples", lambda page: [(0, code, None)])
    printed, setting = np.get_printoptions(), "jax_disable_most_optimizations"
    given = jax.config.values[setting]
    try:
        for value in (True, False):
            jax.config.update(setting, value)
            run(page)
            assert (jax.config.values[setting], np.get_printoptions()) == (value, printed)
    finally:
        jax.config.update(setting, given)


def test_commands_are_targets_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    for command in ("demo", "test"):
        assert f"make {command}" in README.read_text()
        assert f"\n{command}:" in makefile
