"""`gatewright check`: derivatives held to numbers."""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from gatewright.cli.options import AsJson, HiddenSize, InputSize
from gatewright.cli.shell import Command, messages, out, print_json
from gatewright.errors import OptionError

if TYPE_CHECKING:
    from gatewright.inspect import GradcheckReport

COLUMNS = tuple((derivative, against) for derivative in ("gradient", "second", "forward")
                for against in ("differences", "autograd"))  # fmt: skip
SHOWN = 5


def check(
    cells: Annotated[
        list[str] | None,
        typer.Argument(metavar="CELL", help="Cells: lstm, 'gru(reset=after)', 'layer_norm(gru)', my_cells.py:mine."),
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every cell of the catalogue.")] = False,
    input_size: InputSize = 3,
    hidden_size: HiddenSize = 4,
    steps: Annotated[int, typer.Option(min=1, help="Time steps of the longest row.")] = 5,
    batch: Annotated[int, typer.Option(min=1, help="Rows of the batch, each with its own length.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random numbers.")] = 0,
    autograd: Annotated[bool, typer.Option(help="Also compare with torch's autograd.")] = True,
    as_json: AsJson = False,
) -> None:
    """Compare the derived gradient of a cell with central differences and with torch's autograd.

    In float64, for every input, parameter and initial state; then the gradient of the gradient, and forward mode. The
    exit code is 1 if a relative error is above 1e-6.
    """
    if every == bool(cells):
        raise OptionError(
            "gatewright check needs cells to check",
            expected="cells by name, or --all",
            got="both" if every else "neither",
            do="gatewright check gru, or gatewright check --all",
        )
    from gatewright.cells import CATALOGUE

    names = cells or list(CATALOGUE)
    console = messages(quiet=as_json)
    reports: list[GradcheckReport] = []
    options: dict[str, Any] = {"input_size": input_size, "hidden_size": hidden_size, "steps": steps, "batch": batch}
    options |= {"seed": seed, "autograd": autograd}
    with console.status("starting") as status:
        from gatewright.inspect import gradcheck
        from gatewright.tasks.cell_spec import read_cell

        for name in names:
            status.update(f"checking {name}")
            reports.append(gradcheck(read_cell(name), **options))
    passed = all(report.passed for report in reports)
    if as_json:
        plain = [{"passed": report.passed, **dataclasses.asdict(report)} for report in reports]
        print_json({"passed": passed, "cells": plain})
    else:
        _show(reports)
    if not passed:
        raise typer.Exit(1)


def _show(reports: "list[GradcheckReport]") -> None:
    console = out()
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("worst relative\nerror against", overflow="fold")
    for derivative, against in COLUMNS:
        first = against == COLUMNS[0][1]
        table.add_column(
            f"{derivative if first else ''}\n{'differ.' if first else against}", justify="right", no_wrap=True
        )
    table.add_column("\n", no_wrap=True)
    for report in reports:
        table.add_row(report.cell, *_errors(report), Text("ok") if report.passed else Text("FAIL", "bold red"))
    console.print(table)
    for line in _notes(reports):
        console.print(line, soft_wrap=True)


def _errors(report: "GradcheckReport") -> Iterator[Text]:
    for column in COLUMNS:
        row = report.worst(*column)
        wrong = row is not None and not row.error <= report.threshold
        yield Text("-" if row is None else f"{row.error:.1e}", "bold red" if wrong else "")


def _notes(reports: "list[GradcheckReport]") -> Iterator[str]:
    for report in reports:
        if report.redrawn:
            reasons, times = " or ".join(dict.fromkeys(report.redrawn)), len(report.redrawn)
            drawn = "once" if times == 1 else f"{times} times"
            yield f"{report.cell}: the numbers were drawn anew {drawn}, since {reasons}; this is seed {report.seed}"
    for report in reports:
        yield from (f"{report.cell}: {row}" for row in report.failures[:SHOWN])
        if len(report.failures) > SHOWN:
            yield f"{report.cell}: and {len(report.failures) - SHOWN} more"
    failed = sum(not report.passed for report in reports)
    cells = "1 cell" if len(reports) == 1 else f"{len(reports)} cells"
    yield f"{failed} of {cells} failed" if failed else f"{cells}: every derivative is right to {reports[0].threshold:g}"


COMMANDS = (
    Command(
        check,
        ("gatewright check gru", "gatewright check 'gru(reset=after)' 'layer_norm(lstm)'", "gatewright check --all"),
    ),
)
