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
    from dgjax.compare._run import Comparison

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
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


DATA = "A CSV or Parquet file, or digits, breast-cancer, wine, iris or activity."
Data = Annotated[str, typer.Argument(metavar="[DATA]", help=DATA)]
Target = Annotated[str | None, _words("The column of the labels.", "COLUMN")]
Sequence = Annotated[str | None, _words("The column that says which sequence a row belongs to.", "COLUMN")]
Out = Annotated[Path, _words("Where report.html and results.json go.", "DIR")]
Quick = Annotated[bool, _words("Fewer splits and rows: some 2 to 4 minutes of processor time.", None, "--quick")]
Drop = Annotated[list[str] | None, _words("A column to leave out; may be repeated.", "COLUMN")]
Separator = Annotated[str | None, _words("Between cells: a character, comma, semicolon, tab, pipe or space.", "MARK")]
Decimal = Annotated[str | None, _words("Before decimals, as ','.", "MARK")]
Thousands = Annotated[str | None, _words("Between thousands, as '.' or ' '.", "MARK")]
Encoding = Annotated[str | None, _words("Of the file, as cp1252 or utf-16.", "NAME")]
Comment = Annotated[str | None, _words("What follows it on a line is left out.", "MARK")]
Missing = Annotated[list[str] | None, _words("A missing cell, as -999; may be repeated.", "TEXT")]
NoHeader = Annotated[bool, _words("The first line is a row: columns are called c0, c1 and so on.", None, "--no-header")]


@app.command()
def compare(
    data: Data = "digits",
    target: Target = None,
    sequence: Sequence = None,
    out: Out = Path("dgjax-report"),
    quick: Quick = False,
    drop: Drop = None,
    separator: Separator = None,
    decimal: Decimal = None,
    thousands: Thousands = None,
    encoding: Encoding = None,
    comment: Comment = None,
    missing: Missing = None,
    no_header: NoHeader = False,
) -> None:
    """Which model for my data? Fits pairs of models, measures them, and writes a report."""
    from dgjax.compare import _compiling, _dataset, _sequence_data
    from dgjax.compare._reading import Reading

    reading = Reading(separator, decimal, thousands, encoding, comment, tuple(missing or ()), no_header)
    # What is wrong with the input is said before JAX is imported.
    if sequence is None and not _dataset.is_embedded(data, (_dataset.SIMULATED,)):
        rows = _dataset.load(data, target, tuple(drop or ()), reading)
        _check_folder(out)
        _compiling.compile_quickly()
        from dgjax.compare._run import begin

        raise typer.Exit(_compare(begin(rows, quick), out))
    sequences = _sequence_data.load(data, target, sequence, tuple(drop or ()), reading)
    _check_folder(out)
    _compiling.compile_quickly()
    from dgjax.compare._sequence_questions import begin

    raise typer.Exit(_compare(begin(sequences, quick), out))


def _compare(comparison: "Comparison", out: Path) -> int:
    from dgjax.compare import _progress, _report, _run

    _progress.introduce(comparison)
    with _progress.watching(comparison) as watcher:
        _run.ask(comparison, watcher)
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
