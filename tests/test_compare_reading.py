"""Files as people have them: encodings, packers, separators, numbers in all styles; and advice that works."""

import bz2
import gzip
import io
import lzma
import re
import shlex
import zipfile

import numpy as np
import pyarrow as pa
import pytest
import typer
from pyarrow import parquet

from dgjax.compare import _cli, _dataset, _run
from dgjax.compare._errors import InputError
from dgjax.compare._reading import Reading

PLAIN = [f"{i % 7 + 0.5}" for i in range(60)]
WIDTHS = np.array([float(cell) for cell in PLAIN])


def table(cells=PLAIN, separator=",", quote="", header=("width", "count", "label")):
    rows = [(f"{quote}{cell}{quote}", str(i % 5), "ab"[i % 2]) for i, cell in enumerate(cells)]
    return "".join(separator.join(row) + "\n" for row in [header, *rows])


def load(folder, content, name="data.csv", **options):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return _dataset.load(str(path), drop=options.pop("drop", ()), reading=Reading(**options))


def as_typed(line):
    """The options of a command line, as the command itself parses them."""
    command = typer.main.get_command(_cli.app).commands["compare"]
    options = command.make_context("compare", shlex.split(line)).params
    names = ("separator", "decimal", "thousands", "encoding", "comment")
    drop, missing = (tuple(options[name] or ()) for name in ("drop", "missing"))
    return {**{name: options[name] for name in names}, "missing": missing, "drop": drop}


def packed(how):
    text = table().encode()
    if how == "zip":
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("data.csv", text)
        return archive.getvalue()
    if how == "zst":
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(text)
        return sink.getvalue().to_pybytes()
    return {"gz": gzip, "bz2": bz2, "xz": lzma}[how].compress(text)


@pytest.mark.parametrize("how", ["gz", "bz2", "xz", "zip", "zst"])
def test_packed_files_are_read_whatever_their_name(tmp_path, how):
    for name in (f"data.csv.{how}", f"data.{how}", "data.csv"):
        assert np.array_equal(load(tmp_path, packed(how), name).x[:, 0], WIDTHS)
    with pytest.raises(InputError, match="cannot be unpacked"):
        load(tmp_path, packed(how)[:-20])


FOUND = {
    "UTF-8 with its mark": table().encode("utf-8-sig"),
    "UTF-16": table().encode("utf-16"),
    "UTF-32": table().encode("utf-32"),
    "semicolons": table(separator=";"),
    "tabs": table(separator="\t"),
    "pipes": table(separator="|"),
    "old ends of lines": table().replace("\n", "\r"),
    "marks in quotes": table(header=("width", '"a;b;c;d"', "label")),
    "decimal commas": table([cell.replace(".", ",") for cell in PLAIN], ";"),
    "per cent": table([cell + " %" for cell in PLAIN]),
    "per cent with commas": table([cell.replace(".", ",") + "%" for cell in PLAIN], ";"),
    "money": table(["€" + cell for cell in PLAIN]),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_is_found_out(tmp_path, name):
    assert np.array_equal(load(tmp_path, FOUND[name]).x[:, 0], WIDTHS)


def test_what_was_found_out_is_said(tmp_path):
    said = " ".join(load(tmp_path, FOUND["per cent with commas"]).notes)
    assert "separated by ';'" in said
    assert "decimal commas" in said
    assert "'width' is in %" in said


def test_signs_newlines_in_quotes_and_spellings_of_missing(tmp_path):
    dataset = load(tmp_path, table(["\u22121.5", "#N/A", "<NA>", "-NaN", *PLAIN], header=('"wi\ndth"', "n", "label")))
    assert dataset.columns[0] == "wi\ndth"
    assert dataset.x[0, 0] == -1.5
    assert np.isnan(dataset.x[1:4, 0]).all()


def grouped(mark, decimal):
    return [f"{1000 + 37.5 * i:,.2f}".replace(",", "M").replace(".", decimal).replace("M", mark) for i in range(60)]


GROUPED = 1000 + 37.5 * np.arange(60)
THOUSANDS = [f"{1000 + 37 * i:,}" for i in range(60)]
ADVICE = {  # content, what the error says, and what the first column is once its advice is typed
    "CP1252": (table(header=("Höhe", "n", "label")).encode("cp1252"), "0xf6", WIDTHS),
    "Latin-1": (table(header=("H\x81", "n", "label")).encode("latin-1"), "0x81", WIDTHS),
    "UTF-16 without its mark": (table().encode("utf-16-le"), "UTF-16", WIDTHS),
    "the other UTF-16": (table(header=("ширина", "n", "label")).encode("utf-16-be"), "UTF-16", WIDTHS),
    "spaces": (table(separator="  "), "one column 'width  count  label'", WIDTHS),
    "colons": (table(separator=":"), "one column", WIDTHS),
    "decimal commas in quotes": (table([cell.replace(".", ",") for cell in PLAIN], quote='"'), "'0,5'", WIDTHS),
    "few decimal commas": (table(["0,5" if i % 2 else "1,5" for i in range(60)], quote='"'), "column 'width', line 2",
                           np.where(np.arange(60) % 2, 0.5, 1.5)),
    "thousands or decimals": (table(THOUSANDS, quote='"'), "'1,000'", (1000 + 37 * np.arange(60)) / 1000),
    "thousands and points": (table(grouped(",", "."), quote='"'), "'1,000.00'", GROUPED),
    "points and commas": (table(grouped(".", ","), ";"), "'1.000,00'", GROUPED),
    "spaces and commas": (table(grouped("\u202f", ","), ";"), "--thousands ' '", GROUPED),
    "apostrophes": (table(grouped("'", ".")), "1'000.00", GROUPED),
    "commas beside points": (
        "width;n;label\n" + "".join(f"{1 + i % 7}.500;{i % 3},5;{'ab'[i % 2]}\n" for i in range(60)),
        "got 1.500",
        1000 * (np.arange(60) % 7 + 1.5),
    ),
    "a comment above": ("# made by hand\n" + table(), "line 2: expected 1 cells", WIDTHS),
    "a comment above semicolons": ("# made by hand\n" + table(separator=";"), "'# made by hand'", WIDTHS),
    "a comment below": (table() + "# the end\n", "line 62: expected 3 cells", WIDTHS),
    "a word for missing": (table([*map(str, range(59)), "-"]), "--missing '-'", np.array([*range(59), np.nan])),
    "a unit that one cell lacks": (table([*(f"{i}%" for i in range(59)), "low"]), "got 'low'",
                                   np.array([*range(59), np.nan])),
}  # fmt: skip


@pytest.mark.parametrize("name", ADVICE)
def test_what_the_error_says_to_type_works(tmp_path, name):
    content, words, values = ADVICE[name]
    with pytest.raises(InputError) as caught:
        load(tmp_path, content)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    options = re.search(r"type: (--.*?)(?= if that|\)?$|, or leave|;)", message)[1]
    assert np.array_equal(load(tmp_path, content, **as_typed(options)).x[:, 0], values, equal_nan=True)
    if "--drop" in message:
        dropped = as_typed(re.search(r"--drop '.*?'", message)[0])
        assert load(tmp_path, content, **dropped).x.shape == (60, 1)


def test_two_marks_that_may_separate(tmp_path):
    content = "w,cm;n,1;label\n" + "".join(f"{i % 7},5;2,{i % 3};{'ab'[i % 2]}\n" for i in range(60))
    with pytest.raises(InputError, match="type: --separator comma or --separator semicolon"):
        load(tmp_path, content)
    assert np.array_equal(load(tmp_path, content, separator="semicolon").x[:, 0], WIDTHS)


def test_the_other_reading_of_a_number_works_too(tmp_path):
    content = table(THOUSANDS, quote='"')
    with pytest.raises(InputError, match=r"or --decimal \. --thousands , if that is 1000"):
        load(tmp_path, content)
    widths = load(tmp_path, content, **as_typed("--decimal . --thousands ,")).x[:, 0]
    assert np.array_equal(widths, 1000 + 37 * np.arange(60))


def test_numbers_but_for_a_few_are_categories_and_said_to_be(tmp_path):
    content = table([str(i % 8) if i % 6 else "-" for i in range(60)])
    assert any("type: --missing '-'" in note for note in load(tmp_path, content).notes)
    known = load(tmp_path, content, **as_typed("--missing - --missing -999"))
    assert np.isnan(known.x[::6, 0]).all()
    assert known.numeric[0]
    assert np.isnan(load(tmp_path, table(["-999.0", *PLAIN]), missing=("-999",)).x[0, 0])


BAD = {
    "several files in one": ("PK", "expected one file within, got 2"),
    "bytes": (bytes(range(256)) * 8, "bytes that are none"),
    "a quote that stays open": (table() + '1,"2,a\n', "line 62: .*quote is not closed"),
    "one column": ("a\n1\n2\n", "at least one more column"),
    "a header": ("a,b\n", "expected rows below the header"),
    "nothing, packed": (gzip.compress(b""), "empty file"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_no_option_reads(tmp_path, name):
    content, words = BAD[name]
    if content == "PK":
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("a.csv", "a")
            file.writestr("b.csv", "b")
        content = archive.getvalue()
    with pytest.raises(InputError, match=words):
        load(tmp_path, content)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--separator ;;", "--separator ;;: expected one character"),
        ("--decimal 5", "--decimal 5: expected one character"),
        ("--decimal , --thousands ,", "--thousands ,: expected another mark"),
        ("--encoding klingon", "--encoding klingon: expected the name of an encoding"),
        ("--encoding ascii", "type: --encoding utf-8"),
    ],
)
def test_options_that_make_no_sense(tmp_path, line, words):
    with pytest.raises(InputError, match=re.escape(words)):
        load(tmp_path, table(header=("Höhe", "n", "label")), **as_typed(line))


def test_options_are_for_files():
    with pytest.raises(InputError, match="--decimal: expected only with a file"):
        _dataset.load("iris", reading=Reading(decimal=","))
    with pytest.raises(InputError, match="got a device"):
        _dataset.load("/dev/null")


def test_text_in_parquet_is_read_as_text_elsewhere_and_numbers_as_they_are(tmp_path):
    columns = {"a": [f"{1.5 + i % 7:.1f}".replace(".", ",") for i in range(60)], "b": [1.234] * 30 + [2.5] * 30}
    parquet.write_table(pa.table({**columns, "label": ["a", "b"] * 30}), tmp_path / "data.parquet")
    with pytest.raises(InputError, match=r"column 'a', row 1: .*type: --decimal ,"):
        _dataset.load(str(tmp_path / "data.parquet"))
    dataset = _dataset.load(str(tmp_path / "data.parquet"), reading=Reading(decimal=","))
    assert np.array_equal(dataset.x[:, 0], WIDTHS + 1)
    assert np.array_equal(dataset.x[:, 1], columns["b"])


@pytest.fixture
def measured(monkeypatch):
    """A comparison that measures nothing, and then does something to the folder that its report is for."""

    def before_the_end(act):
        monkeypatch.setattr(_run, "ask", lambda comparison, watcher: act())

    return before_the_end


def test_a_folder_that_has_gone_is_made_again(tmp_path, measured):
    out = tmp_path / "report"
    measured(out.rmdir)
    assert _cli.run(["compare", "iris", "--quick", "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "results.json"]


def test_what_was_measured_is_kept_elsewhere(tmp_path, measured, monkeypatch, capsys):
    out = tmp_path / "report"

    def in_the_way():
        out.rmdir()
        out.write_text("a file")

    measured(in_the_way)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))
    assert _cli.run(["compare", "iris", "--quick", "--out", str(out)]) == 2
    said, (folder,) = capsys.readouterr(), (tmp_path / "elsewhere").iterdir()
    assert f"what was measured goes to {folder}" in said.err
    assert str(folder / "report.html") in said.out
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "results.json"]


def test_a_report_that_cannot_be_replaced_is_refused_before(tmp_path, measured, capsys):
    measured(lambda: pytest.fail("measured"))
    (tmp_path / "report.html").mkdir()
    assert _cli.run(["compare", "iris", "--out", str(tmp_path)]) == 2
    assert "expected a folder that can be written to" in capsys.readouterr().err
