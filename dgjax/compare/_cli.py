"""The command `dgjax`."""

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

try:
    import typer
except ImportError:
    sys.exit("dgjax: expected the packages of the command line, got none; type: pip install 'dgjax[compare]'")

if TYPE_CHECKING:
    from dgjax.compare._dataset import Dataset
    from dgjax.compare._reading import Reading
    from dgjax.compare._run import Comparison

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
FEWEST = 20  # training rows of a split
HELP = "Discriminative and generative models in pairs."

app = typer.Typer(add_completion=False, help=HELP, rich_markup_mode=None)
# BadParameter is a UsageError, which is what this is: the error of any command line that is wrong.
CommandLineError: Any = typer.BadParameter.__mro__[2]


def _tell_version(wanted: bool) -> bool:
    if wanted:
        from dgjax._version import installed_version

        print(f"dgjax {installed_version()}")
        raise typer.Exit
    return wanted


@app.callback()
def dgjax(
    _: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Which version this is.")
    ] = False,
) -> None:
    """Discriminative and generative models in pairs."""


def _words(help: str, metavar: str | None = None, *names: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=help)


DATA = "A CSV or Parquet file, or digits, breast-cancer, wine, iris, activity or messages."
Data = Annotated[str, typer.Argument(metavar="[DATA]", help=DATA)]
Target = Annotated[str | None, _words("The column of the labels.", "COLUMN")]
Sequence = Annotated[str | None, _words("The column that says which sequence a row belongs to.", "COLUMN")]
Text = Annotated[str | None, _words("The column of texts to compare on, by them alone.", "COLUMN")]
Out = Annotated[Path, _words("Where report.html and results.json go.", "DIR")]
Quick = Annotated[bool, _words("Fewer splits and rows: some 2 to 4 minutes of processor time.", None, "--quick")]
Drop = Annotated[list[str] | None, _words("A column to leave out; may be repeated.", "COLUMN")]
Keep = Annotated[list[str] | None, _words("A column to keep though it identifies the rows; may be repeated.", "COLUMN")]
Separator = Annotated[str | None, _words("Between cells: a character, comma, semicolon, tab, pipe or space.", "MARK")]
Decimal = Annotated[str | None, _words("Before decimals, as ','.", "MARK")]
Thousands = Annotated[str | None, _words("Between thousands, as '.' or ' '.", "MARK")]
Encoding = Annotated[str | None, _words("Of the file, as cp1252 or utf-16.", "NAME")]
Comment = Annotated[str | None, _words("What follows it on a line is left out.", "MARK")]
Missing = Annotated[list[str] | None, _words("A missing cell, as -999; may be repeated.", "TEXT")]
Metric = Annotated[
    str,
    _words(
        "What the winner is chosen by: brier, log-loss, accuracy, balanced-accuracy, auroc or average-precision.",
        "NAME",
    ),
]
MaxRows = Annotated[
    int | None,
    _words("Training rows of a split at most, 1600 if not given (512 with --quick); the more, the slower.", "N"),
]
Bins = Annotated[int | None, _words("Makes so many classes, of as many rows each, of a target of numbers.", "N")]
NoHeader = Annotated[bool, _words("The first line is a row: columns are called c0, c1 and so on.", None, "--no-header")]


@app.command()
def compare(
    data: Data = "digits",
    target: Target = None,
    sequence: Sequence = None,
    text: Text = None,
    out: Out = Path("dgjax-report"),
    quick: Quick = False,
    metric: Metric = "brier",
    max_rows: MaxRows = None,
    bins: Bins = None,
    drop: Drop = None,
    keep: Keep = None,
    separator: Separator = None,
    decimal: Decimal = None,
    thousands: Thousands = None,
    encoding: Encoding = None,
    comment: Comment = None,
    missing: Missing = None,
    no_header: NoHeader = False,
) -> None:
    """Which model for my data? Fits pairs of models, measures them, and writes a report."""
    from dgjax.compare import _compiling
    from dgjax.compare._reading import Reading

    reading = Reading(separator, decimal, thousands, encoding, comment, tuple(missing or ()), no_header)
    # What is wrong with the input is said before JAX is imported.
    _check_metric(metric)
    dataset = _load(data, target, sequence, text, tuple(drop or ()), reading, bins, tuple(keep or ()))
    _check_rows(dataset, max_rows)
    _check_folder(out)
    _compiling.compile_quickly()
    raise typer.Exit(_compare(_begin(dataset, quick, max_rows), out, metric))


Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model.safetensors of dgjax compare, or of dgjax.save.")]
NewData = Annotated[
    str, typer.Argument(metavar="DATA", help="A CSV or Parquet file with the columns that it has learnt.")
]
To = Annotated[Path | None, _words("The CSV file to write; the terminal if not given.", "FILE")]


LargeData = Annotated[
    str, typer.Argument(metavar="DATA", help="A Parquet, Arrow or CSV file, or a folder of Parquet files.")
]
ModelName = Annotated[
    str | None,
    _words("naive-bayes, lda, qda, logistic, clusters or gaussian; naive-bayes if a column is text, else lda.", "NAME"),
]
Weight = Annotated[str | None, _words("The column of the rows' weights.", "COLUMN")]
Components = Annotated[int, _words("Clusters.", "N")]
MaxSteps = Annotated[int, _words("Passes over the file at most.", "N")]
ModelOut = Annotated[Path, _words("The file that the model is saved to.", "FILE")]


@app.command()
def predict(
    model: Model,
    data: NewData,
    out: To = None,
    separator: Separator = None,
    decimal: Decimal = None,
    thousands: Thousands = None,
    encoding: Encoding = None,
    comment: Comment = None,
    missing: Missing = None,
    no_header: NoHeader = False,
) -> None:
    """Labels of new rows, each label's probability, and log p(x), by a saved model of a table."""
    from dgjax.compare import _large, _predict
    from dgjax.compare._errors import InputError
    from dgjax.compare._reading import Reading

    if _large.is_large(data, out):
        if out is None:
            raise InputError(
                f"DATA {data}: expected --out with what is read in blocks, got none; type: --out labels.parquet"
            )
        print(f"{_large.predict(_predict.load(model), data, out):,} predictions: {out}")
        return
    reading = Reading(separator, decimal, thousands, encoding, comment, tuple(missing or ()), no_header)
    text = _predict.text_of(_predict.predictions(_predict.load(model), data, reading))
    if out is None:
        print(text, end="")
        return
    try:
        out.write_text(text, "utf-8")
    except OSError as error:
        raise InputError(
            f"--out {out}: expected a file that can be written, got '{error.strerror}'; name another"
        ) from None
    print(f"{text.count(chr(10)) - 1} predictions: {out}")


@app.command()
def fit(
    data: LargeData,
    model: ModelName = None,
    target: Target = None,
    weight: Weight = None,
    drop: Drop = None,
    components: Components = 8,
    max_steps: MaxSteps = 200,
    out: ModelOut = Path("model.safetensors"),
) -> None:
    """Fits a model of a table that may be larger than memory, in passes over its file, and saves it."""
    import dgjax as dg
    from dgjax.compare import _fitting

    asked = _fitting.Asked(model, target, weight, tuple(drop or ()), components, max_steps)
    found, ended = _fitting.fit(data, asked)
    dg.save(out, found)
    print(found)
    print(f"{ended}. The model: {out}. Of new rows type: dgjax predict {out} new.parquet --out labels.parquet")


@app.command()
def score(model: Model, data: NewData) -> None:
    """Mean log p(x) of the rows of a file and, where it has labels, accuracy and log-loss, by a saved model."""
    from dgjax.compare import _large, _predict

    print(_large.told_scores(_large.score(_predict.load(model), data)))


def _check_metric(metric: str) -> None:
    from dgjax.compare._errors import InputError
    from dgjax.compare._metrics import CHOICES

    if metric not in CHOICES:
        raise InputError(f"--metric {metric}: expected one of {', '.join(CHOICES)}, got another; type: --metric brier")


def _check_rows(dataset: "Dataset", max_rows: int | None) -> None:
    """Raises InputError for --max-rows below 20, or with sequences or texts, which have sizes of their own."""
    from dgjax.compare._dataset import Dataset
    from dgjax.compare._errors import InputError

    if max_rows is None:
        return
    if type(dataset) is not Dataset:
        raise InputError(f"--max-rows {max_rows}: expected with a table of rows, got sequences or texts; leave it out")
    if max_rows < FEWEST:
        raise InputError(f"--max-rows {max_rows}: expected {FEWEST} or more, got fewer; type: --max-rows 5000")


def _load(
    data: str,
    target: str | None,
    sequence: str | None,
    text: str | None,
    drop: tuple[str, ...],
    reading: "Reading",
    bins: int | None = None,
    keep: tuple[str, ...] = (),
) -> "Dataset":
    """Data set of rows, of sequences or of texts, which are told by the options, its name, or its columns."""
    from dgjax.compare import _dataset, _sequence_data, _text_data
    from dgjax.compare._errors import FreeTextError, InputError

    if bins is not None and (text is not None or sequence is not None):
        raise InputError(f"--bins {bins}: expected without --text and --sequence, got both; leave one out")
    if keep and (
        text is not None or sequence is not None or _dataset.is_embedded(data, (_dataset.TEXTS, _dataset.SIMULATED))
    ):
        raise InputError(f"--keep {keep[0]}: expected with a table of rows, got sequences or texts; leave it out")
    if text is not None and sequence is not None:
        raise InputError("--text: expected without --sequence, got both; leave out one of the two")
    if text is not None or _dataset.is_embedded(data, (_dataset.TEXTS,), {"--sequence": sequence}):
        return _text_data.load(data, target, text, drop, reading)
    if sequence is not None or _dataset.is_embedded(data, (_dataset.SIMULATED,)):
        return _sequence_data.load(data, target, sequence, drop, reading)
    try:
        return _dataset.load(data, target, drop, reading, bins, keep)
    except FreeTextError as error:
        if len(error.columns) > 1 or bins is not None:
            raise
        return _text_data.load(data, target, error.columns[0], drop, reading, found=True)


def _begin(dataset: "Dataset", quick: bool, max_rows: int | None) -> "Comparison":
    from dgjax.compare import _run, _sequence_questions, _text_questions
    from dgjax.compare._sequence_data import SequenceDataset
    from dgjax.compare._text_data import TextDataset

    if isinstance(dataset, TextDataset):
        return _text_questions.begin(dataset, quick)
    if isinstance(dataset, SequenceDataset):
        return _sequence_questions.begin(dataset, quick)
    return _run.begin(dataset, quick, max_rows=max_rows)


def _compare(comparison: "Comparison", out: Path, metric: str) -> int:
    from dgjax.compare import _progress, _report, _run, _winner
    from dgjax.compare._metrics import CHOICES

    comparison.metric = CHOICES[metric]
    _progress.introduce(comparison)
    with _progress.watching(comparison) as watcher:
        _run.ask(comparison, watcher)
        _winner.take(comparison)
    status = INTERRUPTED if comparison.interrupted else FAILED if comparison.failed else 0
    try:
        paths = _report.write(comparison, out)
    except OSError as error:
        # What took minutes to measure is not lost to a folder that was there when it began.
        elsewhere = Path(tempfile.mkdtemp(prefix="dgjax-report-"))
        print(f"dgjax: --out {out}: '{error.strerror}'; what was measured goes to {elsewhere}", file=sys.stderr)
        paths, status = _report.write(comparison, elsewhere), BAD_INPUT
    _progress.conclude(comparison, paths)
    return status


def _check_folder(out: Path) -> None:
    from dgjax.compare._errors import InputError

    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".dgjax-writable"
        probe.touch()
        probe.unlink()
        for name in ("report.html", "results.json"):
            if (out / name).exists():
                (out / name).open("a").close()
    except OSError as error:
        raise InputError(
            f"--out {out}: expected a folder that can be written to, got '{error.strerror}'; "
            "name another, as --out report"
        ) from None


def main(arguments: list[str] | None = None) -> None:
    """Run the command; what is wrong with the input is one line, never a traceback."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """The exit status of the command with those arguments."""
    from dgjax.compare._errors import InputError

    command = typer.main.get_command(app)
    arguments = arguments or ["--help"]
    try:
        return command.main(arguments, prog_name="dgjax", standalone_mode=False) or 0
    except (InputError, CommandLineError) as error:
        text = str(error) if isinstance(error, InputError) else error.format_message()
        print(f"dgjax: {' '.join(text.split())}", file=sys.stderr)
        return BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        print("dgjax: stopped before anything was measured.", file=sys.stderr)
        return INTERRUPTED
