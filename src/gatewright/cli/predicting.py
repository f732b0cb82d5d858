"""`gatewright predict`: what a saved model answers for new data."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gatewright.cli.models import read_model
from gatewright.cli.options import AnyScale, ModelPath, Reading
from gatewright.cli.results import print_line
from gatewright.cli.shell import Command, given, messages
from gatewright.errors import OptionError
from gatewright.files import write_atomically
from gatewright.tasks.answers.files import FORMATS, table_of
from gatewright.tasks.formatting import csv_text, spell
from gatewright.untrusted.printable import print_text, printable_json

if TYPE_CHECKING:
    from gatewright.tasks.answers.predictor import Predictor

STANDARD_INPUT = "-"


def predict(
    model: ModelPath,
    *,
    data: Annotated[
        str | None, typer.Option(help="A file or folder; - reads lines, or sound, from standard input.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--out", help="File for the predictions: .csv, .tsv, .jsonl or .parquet; series: .png, .svg; tags: .conll."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines instead of CSV.")] = False,
    top: Annotated[int | None, typer.Option(min=1, help="Classes: the K most probable ones.", metavar="K")] = None,
    rolling: Annotated[
        bool, typer.Option("--rolling", help="Series: forecasts from each step of the test part.")
    ] = False,
    horizon: Annotated[int | None, typer.Option(min=1, help="Series: how many steps to forecast.")] = None,
    reading: Reading = None,
    any_scale: AnyScale = False,
) -> None:
    """Predict for new data with a saved model: the class of each text, the next values of a series, and so on.

    Predictions go to standard output as CSV with a header, or into the file that --out names. With --data - each line
    is answered at once; a model of sounds reads a WAV file or 16-bit PCM, and answers for each window.
    """
    options = given(top=top, rolling=rolling or None, horizon=horizon, any_scale=any_scale or None)
    if as_json and output is not None:
        raise OptionError(
            "--json prints answers, and --out writes them to a file", do="leave out --json, or write --out FILE.jsonl"
        )
    with messages().status("loading"):
        loaded = read_model(model, reading)
        predictor = loaded.recipe.predictor(loaded)
    predictor.check_options(options)
    if output is not None:
        suffixes = (*FORMATS, *predictor.suffixes)
        if output.suffix.lower() not in suffixes:
            raise OptionError(
                f"--out {output} has a suffix for which there is no kind of file",
                expected=f"one of {', '.join(suffixes)}",
                got=output.suffix or "no suffix",
            )
        if data not in (None, STANDARD_INPUT) and output.exists() and Path(data).exists() and output.samefile(data):
            raise OptionError(f"--out {output} is the file that --data names", do="write the answers to another file")
    if data == STANDARD_INPUT:
        _answer_lines(predictor, options, output, as_json=as_json)
    else:
        _answer(predictor, data, options, output, as_json=as_json)


def _answer(
    predictor: "Predictor", data: str | None, options: Mapping[str, Any], output: Path | None, *, as_json: bool
) -> None:
    with messages().status("predicting"):
        answers = predictor.predict(data, **options)
    for remark in predictor.remarks:
        print_line(messages(), remark)
    whole = answers.attrs
    if output is not None:
        _write(predictor, answers, output, data)
    else:
        text = FORMATS[".jsonl" if as_json else ".csv"](predictor.written(answers)).decode()
        print_text(printable_json(text) if as_json else text, end="")
    if whole and as_json:  # not among the answers, whose lines all have the same entries
        print_line(messages(), printable_json(json.dumps(whole, ensure_ascii=False)))
    elif whole:
        shown = (f"{str(name).replace('_', ' ')} {_shown(value)}" for name, value in whole.items() if value is not None)
        print_line(messages(), ", ".join(shown))


def _shown(value: object) -> str:
    return spell(value) if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _answer_lines(predictor: "Predictor", options: Mapping[str, Any], output: Path | None, *, as_json: bool) -> None:
    """Answer each line, or each window of sound, as soon as it is there."""
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] (closed by the shell: <&-)
        raise OptionError("standard input is closed", do="give a file with --data, or send lines: < FILE")
    rows = predictor.predict_stream(sys.stdin.buffer, **options)
    if output is not None:
        _write(predictor, table_of(rows), output, STANDARD_INPUT)
        return
    for number, row in enumerate(rows):
        if number == 0 and predictor.stream_remark:
            print_line(messages(), predictor.stream_remark)
        if as_json:
            print_text(printable_json(json.dumps(row, ensure_ascii=False)))
        else:
            cells = {name: _cell(value) for name, value in row.items()}
            print_text(csv_text([cells], list(cells), header=number == 0), end="")


def _cell(value: object) -> object:
    """A value of a row of CSV: a list of texts with spaces between, any other list as JSON."""
    if isinstance(value, list):
        words: list[Any] = value
        is_text = all(isinstance(word, str) for word in words)
        return " ".join(words) if is_text else json.dumps(words, ensure_ascii=False)
    return f"{value:.9g}" if isinstance(value, float) else value


def _write(predictor: "Predictor", answers: Any, output: Path, source: str | None) -> None:
    suffix = output.suffix.lower()
    if suffix in FORMATS:
        content = FORMATS[suffix](answers if suffix == ".parquet" else predictor.written(answers))
    else:
        content = predictor.encode(answers, suffix, source)
    write_atomically(output, content)
    print_line(messages(), f"{output}: {len(answers):,} answers")


COMMANDS = (
    Command(
        predict,
        (
            "gatewright predict runs/texts --data mails.csv",
            "gatewright predict runs/texts --data mails.csv --top 3 --out answers.csv",
            "echo 'what a film' | gatewright predict runs/texts --data -",
        ),
    ),
)
