import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from dgjax.compare import _dataset
from dgjax.compare._errors import InputError


def rows(count=30):
    return [f"{i % 7}.5,{'red' if i % 3 else 'blue'},{'ab'[i % 2]}" for i in range(count)]


def write(folder, lines, name="data.csv", header="height,colour,label"):
    path = folder / name
    path.write_text("\n".join([header, *lines]) + "\n", "utf-8")
    return path


def load(path, **options):
    return _dataset.load(str(path), **options)


def test_a_header_text_as_categories_and_numbers(tmp_path):
    dataset = load(write(tmp_path, rows()))
    assert dataset.columns == ("height", "colour")
    assert dataset.levels == ((), ("blue", "red"))
    assert dataset.classes == ("a", "b")
    assert dataset.target == "label"
    assert dataset.x[:3, 0].tolist() == [0.5, 1.5, 2.5]
    assert dataset.x[:3, 1].tolist() == [0.0, 1.0, 1.0]


@pytest.mark.parametrize("empty", ["", "NA", "nan", "?", " n/a "])
def test_empty_cells_and_their_usual_names_are_missing(tmp_path, empty):
    dataset = load(write(tmp_path, [*rows(), f"{empty},{empty},a"]))
    assert np.isnan(dataset.x[-1]).all()
    assert not np.isnan(dataset.x[:-1]).any()


def test_a_row_without_a_label_counts_as_unlabelled(tmp_path):
    dataset = load(write(tmp_path, [*rows(), "1.5,red,"]))
    assert dataset.y[-1] == -1
    assert len(dataset.labelled) == 30
    assert any("unlabelled" in note for note in dataset.notes)


def test_semicolons_and_decimal_commas(tmp_path):
    lines = [row.replace(",", ";").replace(".", ",") for row in rows()]
    dataset = load(write(tmp_path, lines, header="height;colour;label"))
    assert dataset.x[:2, 0].tolist() == [0.5, 1.5]


def test_the_target_is_the_one_named(tmp_path):
    dataset = load(write(tmp_path, rows()), target="colour", drop=("label",))
    assert (dataset.target, dataset.classes, dataset.columns) == ("colour", ("blue", "red"), ("height",))


def test_a_column_that_numbers_the_rows_is_pointed_out(tmp_path):
    lines = [f"{i + 1},{row}" for i, row in enumerate(rows())]
    named = load(write(tmp_path, lines, header="day,height,colour,label"))
    assert any("'day' numbers the rows" in note for note in named.notes)
    nameless = load(write(tmp_path, lines, header=",height,colour,label"))
    assert nameless.columns == ("height", "colour")


def test_a_column_that_identifies_the_rows_is_left_out_unless_it_is_to_be_kept(tmp_path):
    lines = [f"{7 * i % 101 + 5000},{row}" for i, row in enumerate(rows())]
    path = write(tmp_path, lines, header="customerId,height,colour,label")
    found = load(path)
    assert found.columns == ("height", "colour")
    assert "Column 'customerId' identifies the rows: left out (--keep 'customerId' takes it in)." in found.notes
    assert load(path, keep=("customerId",)).columns == ("customerId", "height", "colour")
    with pytest.raises(InputError, match="--keep id: expected a column of the data, got none; it has customerId"):
        load(path, keep=("id",))


def test_parquet_reads_as_csv_does(tmp_path):
    text = load(write(tmp_path, rows()))
    cells = [row.split(",") for row in rows()]
    table = pa.table(
        {
            "height": [float(row[0]) for row in cells],
            "colour": [row[1] for row in cells],
            "label": [row[2] for row in cells],
        }
    )
    parquet.write_table(table, tmp_path / "data.parquet")
    stored = load(tmp_path / "data.parquet")
    assert np.array_equal(stored.x, text.x)
    assert np.array_equal(stored.y, text.y)


def test_the_digits_keep_their_constant_pixels_for_drawing():
    digits = load("digits")
    assert digits.x.shape == (1797, 61)
    assert digits.image is not None
    assert digits.image.pixels(digits.x[:2]).shape == (2, 8, 8)


FLAT = [f"{i % 5},1,{'ab'[i % 2]}" for i in range(30)]
BAD = {
    "a date": (["2024-01-02,red,a"] * 30, {}, "column 'height': expected numbers or categories, got dates"),
    "one class": ([f"{i % 5}.0,red{i % 2},a" for i in range(30)], {}, "expected at least two classes, got one"),
    "a constant column": (FLAT, {}, "column 'colour': expected at least two different values"),
    "a ragged row": ([*rows(), "1,2"], {}, "line 32: expected 3 cells as in the header, got 2"),
    "no such column": (rows(), {"target": "price"}, "--target price: expected a column of the data"),
    "no such column to drop": (rows(), {"drop": ("price",)}, "--drop price: expected a column of data.csv"),
    "a target of many numbers": ([f"{i % 5},red{i % 2},{i / 7}" for i in range(90)], {}, "a quantity"),
    "a class of few rows": ([*rows(), "1.5,red,c"], {}, "expected at least 8 rows in each class, got 1 of 'c'"),
    "free text": (
        [f"{i},word{i},{'ab'[i % 2]}" for i in range(90)],
        {},
        "column 'colour': expected numbers, or text of",
    ),
    "a stray word": (
        [*(f"{i},red{i % 2},{'ab'[i % 2]}" for i in range(60)), "twelve,red0,a"],
        {},
        "column 'height', line 62: expected a number",
    ),
    "an infinite number": ([*rows(), "inf,red,a"], {}, "column 'height', line 32: expected a finite number"),
    "no rows": ([], {}, "expected rows below the header"),
    "only text": (
        [f"red{i % 2},blue{i % 3},{'ab'[i % 2]}" for i in range(30)],
        {},
        "expected at least one column of numbers",
    ),
    "no labels": ([f"{i % 5},red{i % 2}," for i in range(30)], {}, "expected class labels, got only empty cells"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_refused_with_the_reason(tmp_path, name):
    lines, options, message = BAD[name]
    with pytest.raises(InputError) as error:
        load(write(tmp_path, lines), **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.csv", "", "got an empty file"),
        ("data.csv", "\n\n", "got only blank lines"),
        ("data.csv", "1,2,0\n3,4,1\n", "expected column names in the first line"),
        ("data.csv", "a,a,label\n1,2,0\n", "expected column names that differ"),
        ("data.xlsx", "a,b\n1,2\n", "expected a CSV"),
        ("data.parquet", "a,b\n1,2\n", "expected a Parquet file"),
    ],
)
def test_bad_files_are_refused_with_the_reason(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        load(tmp_path / name)


def test_an_unknown_name_is_told_the_names_there_are(tmp_path):
    with pytest.raises(InputError, match="digits, breast-cancer, wine, iris"):
        load("breastcancer")
    with pytest.raises(InputError, match="got a folder"):
        load(tmp_path)
