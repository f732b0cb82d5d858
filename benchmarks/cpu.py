"""Measures Gatewright beside other software on this processor.

    python -m benchmarks.cpu [--quick] [--threads N] [--shapes T,B,I,H ...] [--only SECTION,...]
                             [--keep] [--least] [--out FOLDER]

What comes out: FOLDER/benchmarks.json, and from it benchmarks.md with its picture; the tables are printed too.
"""

import argparse
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import command
from benchmarks.shapes import QUICK, SHAPES, Shape

SECTIONS = {
    "forward": "layers",
    "training": "layers",
    "cells": "layers",
    "step": "step",
    "single_row": "single_row",
    "narrow_weights": "narrow_weights",
    "single_cells": "single_cells",
    "threads": "scaling",
    "two_threads": "two_threads",
    "compile": "compiling",
    "linear": "long_sequences",
    "recurrent_part": "recurrent_part",
    "serial": "long_sequences",
}
"""The sections and the modules that measure them. They are imported when the threads are limited."""


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write down what came out."""
    options = _parser().parse_args(arguments)
    command.limit(options)
    _measure(options)


def _measure(options: argparse.Namespace) -> None:
    from benchmarks import files, goals, report, timing
    from benchmarks.setup import Setup, tell
    from benchmarks.summary import by_least, tables

    method = timing.QUICK if options.quick else timing.Method()
    shapes = tuple(options.shapes or (QUICK if options.quick else SHAPES))
    began = time.perf_counter()
    setup, machine = Setup(options.threads, options.quick, shapes, method).on_machine()
    result = {
        "command": _command(options),
        "threads": options.threads,
        "quick": options.quick,
        "machine": machine,
        "sections": _kept(options, machine) if options.keep else {},
    }
    for name in options.only:
        result["sections"][name] = getattr(import_module(f"benchmarks.{SECTIONS[name]}"), name)(setup)
        files.save(options.out / report.RESULT, result)  # what is there is kept, should a later section fail
    report.write(options.out, result, pictures=("svg", "png"))
    tell(f"{time.perf_counter() - began:.0f} s; {options.out / report.PAGE}")
    shown = by_least(result) if options.least else result
    printed = [*(table for made in tables(shown).values() for table in made), goals.table(shown)]
    print(*(table.text() for table in printed), sep="\n\n")


def _kept(options: argparse.Namespace, machine: dict[str, Any]) -> dict[str, Any]:
    """The sections of an earlier result of the same kind, which stay as they are unless they are measured now."""
    from benchmarks import files, report

    earlier = files.load(options.out / report.RESULT)
    same = {name: machine[name] for name in ("processor", "cores", "system", "python", "versions")}
    kind = {"threads": options.threads, "quick": options.quick, "machine": same}
    found = {**earlier, "machine": {name: earlier["machine"].get(name) for name in same}}
    differ = [name for name, value in kind.items() if found.get(name) != value]
    if differ:
        raise SystemExit(f"{options.out / report.RESULT} differs in {', '.join(differ)}: measure all sections again")
    return earlier["sections"]


def _command(options: argparse.Namespace) -> str:
    """What measures the same again, wherever its results go."""
    shapes = ["--shapes", *map(str, options.shapes)] if options.shapes else []
    only = ["--only", ",".join(options.only)] if options.only != list(SECTIONS) and not options.keep else []
    quick = ["--quick"] if options.quick else []
    return " ".join(["python -m benchmarks.cpu", *quick, f"--threads {options.threads}", *shapes, *only])


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("cpu", __doc__, "shapes and rounds")
    parser.add_argument("--shapes", type=_shape, nargs="+", metavar="T,B,I,H", help="steps, rows, input, hidden units")
    parser.add_argument(
        "--only", type=_sections, default=list(SECTIONS), metavar="SECTION,...", help=f"of {', '.join(SECTIONS)}"
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="with --only: keep the other sections of the result that is in FOLDER, of this machine and software",
    )
    parser.add_argument(
        "--least",
        action="store_true",
        help="print the least of the rounds, not the median: where others use the machine",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/benchmarks"), metavar="FOLDER", help="for the result (%(default)s)"
    )
    return parser


def _shape(text: str) -> Shape:
    try:
        return Shape.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _sections(text: str) -> list[str]:
    return command.sections(text, SECTIONS)


if __name__ == "__main__":
    main()
