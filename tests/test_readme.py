from markdown_examples import ROOT, examples, run

README = ROOT / "README.md"


def test_examples_run_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert examples(README)
    run(README)


def test_commands_are_targets_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    for command in ("demo", "test"):
        assert f"make {command}" in README.read_text()
        assert f"\n{command}:" in makefile
