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
Quick = Annotated[bool, typer.Option("--quick", help="Small sizes: a whole run in seconds.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="A model.safetensors file, or the folder of a run.")]
Reading = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Settings of columns or files for this data: one KEY=VALUE or several."
    ),
]
AnyScale = Annotated[
    bool, typer.Option("--any-scale", help="Accept values on another scale than in the training data.")
]
InputSize = Annotated[int, typer.Option("--input", min=1, help="Input size: features of each step.")]
HiddenSize = Annotated[int, typer.Option("--hidden", min=1, help="Hidden size: units of the layer.")]
