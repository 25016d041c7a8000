"""`dgjax fit`, `predict` and `score` on files that are read in blocks: the answers of the same rows in memory."""

import numpy as np
import pytest

import dgjax as dg
from dgjax.compare import _cli, _fitting, _large

pandas = pytest.importorskip("pandas")
pytestmark = [pytest.mark.usefixtures("without_the_type_checker"), pytest.mark.xdist_group("large files")]
N = 300


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    kind = rng.choice(["no", "yes"], N)
    height = rng.normal(size=N) + 2 * (kind == "yes")
    height[::7] = np.nan
    return pandas.DataFrame({"height": height, "town": rng.choice(["x", "y", "z"], N), "kind": kind})


@pytest.fixture(scope="module")
def folder(frame, tmp_path_factory):
    """Folder with the frame in two Parquet files, as CSV, and a model of it."""
    own = tmp_path_factory.mktemp("large")
    (own / "parts").mkdir()
    frame[:170].to_parquet(own / "parts" / "0.parquet")
    frame[170:].to_parquet(own / "parts" / "1.parquet")
    frame.to_csv(own / "rows.csv", index=False)
    arguments = ["fit", str(own / "parts"), "--target", "kind"]  # naive Bayes, for a column is text
    assert _cli.run([*arguments, "--out", str(own / "model.safetensors")]) == 0
    return own


def test_a_fit_of_a_folder_is_that_of_its_rows(folder, frame):
    model = dg.load(folder / "model.safetensors")
    whole = dg.naive_bayes(frame, "kind", prior="weak")
    assert model.schema.names == whole.schema.names
    proba = np.exp(dg.predict_log_proba(model.model, whole.schema.rows(frame)))
    expected = np.exp(dg.predict_log_proba(whole.model, whole.schema.rows(frame)))
    np.testing.assert_allclose(proba, expected, atol=2e-3)  # both by EM, for cells are missing


@pytest.mark.parametrize("out", ["labels.parquet", "labels.csv"])
def test_predictions_in_blocks_are_those_in_memory(folder, frame, out, tmp_path, capsys):
    assert (
        _cli.run(["predict", str(folder / "model.safetensors"), str(folder / "parts"), "--out", str(tmp_path / out)])
        == 0
    )
    read = pandas.read_parquet if out.endswith("parquet") else pandas.read_csv
    found = read(tmp_path / out)
    assert f"{N} predictions" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [tmp_path / out]
    model = dg.load(folder / "model.safetensors")
    assert list(found["kind"]) == list(dg.predict(model, frame))
    np.testing.assert_allclose(found["log p(x)"], dg.log_prob(model, frame), rtol=1e-5)
    np.testing.assert_allclose(found["p(no)"] + found["p(yes)"], 1, atol=1e-5)


def test_the_model_that_is_fitted_by_default_is_one_of_the_columns(folder):
    source = _large.dataset(str(folder / "parts"))
    chosen = {
        columns: _fitting.default_model(dg.stream(source, label="kind", columns=list(columns)))
        for columns in (("height", "town"), ("height",))
    }
    assert chosen == {("height", "town"): "naive-bayes", ("height",): "lda"}


def test_scores_are_means_of_all_rows(folder, frame):
    model = dg.load(folder / "model.safetensors")
    scores = _large.score(model, str(folder / "parts"))
    assert scores["rows"] == N
    assert scores["log p(x)"] == pytest.approx(np.mean(dg.log_prob(model, frame)), rel=1e-5)
    assert scores["accuracy"] == pytest.approx(np.mean(np.asarray(dg.predict(model, frame)) == frame["kind"]))
    assert scores["log-loss"] == pytest.approx(-np.mean(dg.log_conditional(model, frame, "kind")), rel=1e-5)
    lines = _large.told_scores(scores).splitlines()
    assert [line.split("  ")[0].strip() for line in lines] == ["rows", "log p(x)", "accuracy", "log-loss"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit", "{parts}", "--target", "knd"], "--target knd: expected a column"),
        (["fit", "{parts}"], "type: --target COLUMN"),
        (["fit", "{parts}", "--model", "tree"], "type: --model lda"),
        (["fit", "{parts}", "--target", "kind", "--model", "lda"], "--drop 'town'"),
        (["fit", "{parts}", "--model", "clusters", "--target", "kind"], "--drop 'kind'"),
        (["fit", "{parts}.csv", "--target", "kind"], "check the path"),
        (["predict", "{model}", "{parts}"], "type: --out labels.parquet"),
        (["predict", "{model}", "{parts}", "--out", "labels.xls"], "ends with .csv or .parquet"),
        (["score", "{model}", "{parts}.csv"], "check the path"),
    ],
)
def test_what_cannot_be_done_is_one_line(folder, arguments, words, capsys):
    names = {"parts": folder / "parts", "model": folder / "model.safetensors"}
    assert _cli.run([own.format(**names) for own in arguments]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told


def test_a_column_that_is_absent_is_named_and_no_file_is_left(folder, frame, tmp_path, capsys):
    frame[["height"]].to_parquet(tmp_path / "less.parquet")
    command = ["predict", str(folder / "model.safetensors"), str(tmp_path / "less.parquet")]
    assert _cli.run([*command, "--out", str(tmp_path / "labels.parquet")]) == 2
    assert "expected the column 'town'" in capsys.readouterr().err
    assert not (tmp_path / "labels.parquet").exists()
