"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

RecipeName = Annotated[str, typer.Argument(help="A recipe; `gatewright recipes` lists them.")]
CellText = Annotated[str | None, typer.Option("--cell", help="A cell: lstm, 'gru(reset=after)', my_cells.py:my_cell.")]
DataSource = Annotated[str | None, typer.Option("--data", help="A data set by name, or a file or folder.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change settings: one KEY=VALUE or several.")
]
Quick = Annotated[bool, typer.Option("--quick", help="A small size: the whole way in seconds.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="A model.safetensors, or a run's folder.")]
Reading = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Settings of columns or files for this data: one KEY=VALUE or several."
    ),
]
AnyScale = Annotated[
    bool, typer.Option("--any-scale", help="Accept numbers of another scale than the training data's.")
]
InputSize = Annotated[int, typer.Option("--input", min=1, help="Features of the input.")]
HiddenSize = Annotated[int, typer.Option("--hidden", min=1, help="Units.")]
