"""`gatewright convert`: weights from one framework's file to another's, or how their layouts map."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from gatewright.cli.options import AsJson
from gatewright.cli.shell import Command, given, messages, out, print_json
from gatewright.errors import OptionError

if TYPE_CHECKING:
    from gatewright.convert import Report


def _fact(what: str) -> typer.models.OptionInfo:
    return typer.Option(help=f"{what}, if IN does not say.")


def convert(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="A file of weights, or a run's folder; with --explain, a layout.")
    ],
    target: Annotated[str, typer.Argument(metavar="OUT", help="The file to write; with --explain, a layout.")],
    *,
    source_layout: Annotated[
        str | None, typer.Option("--from", help="Layout of IN; default: inferred from the file.")
    ] = None,
    target_layout: Annotated[str | None, typer.Option("--to", help="Layout of OUT; default: by its suffix.")] = None,
    gate: Annotated[str | None, _fact("The gates' activation")] = None,
    activation: Annotated[str | None, _fact("The candidate's activation")] = None,
    output: Annotated[str | None, _fact("The activation of an LSTM's cell state")] = None,
    forget_bias: Annotated[
        float | None, typer.Option(help="Constant that the LSTM of IN adds to the forget gate.")
    ] = None,
    cell_clip: Annotated[float | None, typer.Option(help="Bound at which the LSTM of IN clips its cell state.")] = None,
    proj_clip: Annotated[float | None, typer.Option(help="Bound at which it clips its projection.")] = None,
    reset: Annotated[
        str | None, typer.Option(help="Whether a GRU resets before or after the product, if IN does not say.")
    ] = None,
    family: Annotated[str | None, typer.Option(help="rnn, gru or lstm, if IN does not say.")] = None,
    prefix: Annotated[
        list[str] | None,
        typer.Option(help="Prefix of the names of the layer to convert; once for each layer of a stack."),
    ] = None,
    dequantise: Annotated[bool, typer.Option("--dequantise", help="Dequantise ONNX Runtime's 8-bit weights.")] = False,
    dtype: Annotated[
        str | None, typer.Option(help="Round all numbers to float32 or float64.", show_default="as they are in IN")
    ] = None,
    weights: Annotated[str, typer.Option(help="Of a .safetensors OUT: int8 or bfloat16 too.")] = "float32",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT where it exists.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Print how two layouts map to each other.")] = False,
    as_json: AsJson = False,
) -> None:
    """Convert weights exactly and check the result, or say why that is impossible.

    Both files are run on the same random input, and the largest difference is printed. Activations are named relu,
    tanh, sigmoid, identity, hard_sigmoid_theano (slope 0.2: Keras 1 and 2, Theano) or hard_sigmoid_keras3 (1/6).
    """
    overrides = given(gate=gate, activation=activation, output=output, forget_bias=forget_bias, cell_clip=cell_clip)
    overrides |= given(proj_clip=proj_clip, reset=reset, family=family, dequantise=dequantise or None)
    overrides |= {"prefix": tuple(prefix)} if prefix else {}
    if explain:
        _explain(source, target, as_json=as_json)
        return
    if Path(target).exists() and not overwrite:
        raise OptionError(f"{target} exists already", do="give another path, or --overwrite")
    with messages(quiet=as_json).status("converting"):
        from gatewright import convert as conversion

        report = conversion.convert(
            source,
            target,
            source_layout=source_layout,
            target_layout=target_layout,
            overrides=overrides,
            dtype=dtype,
            weights=weights,
        )
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        _show(report, target)


def _show(report: "Report", target: str) -> None:
    console = out()
    console.print(f"{report.source} -> {report.target}")
    for layer in report.layers:
        console.print(f"  {layer}")
    for note in report.notes:
        console.print(f"  {note}")
    for what, difference in report.differences.items():
        console.print(f"{what}: differ by {difference:.2g} at most, in outputs up to {report.scale:.2g}")
    if report.loss is not None:
        console.print(str(report.loss))
    console.print(f"written: {target}")


def _explain(source: str, target: str, *, as_json: bool) -> None:
    from gatewright.convert.explain import explain

    mappings = explain(source, target)
    if as_json:
        plain = [
            {
                "source": mapping.source.key,
                "target": mapping.target.key,
                "refused": mapping.refused or None,
                "conditions": list(mapping.conditions),
                "parameters": {moved.parameter: [moved.source, moved.target] for moved in mapping.moved},
            }
            for mapping in mappings
        ]
        print_json({"mappings": plain})
        return
    console = out()
    for mapping in mappings:
        console.print(Text.assemble((mapping.source.title, "bold"), "  ->  ", (mapping.target.title, "bold")))
        if mapping.refused:
            console.print(f"  cannot be converted: {mapping.refused}\n")
            continue
        for condition in mapping.conditions:
            console.print(f"  {condition}")
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="")
        for title in ("", mapping.source.key, mapping.target.key):
            table.add_column(title, overflow="fold")
        for moved in mapping.moved:
            table.add_row(moved.parameter, moved.source, moved.target)
        console.print(table)
        console.print(
            "  H: hidden units, I: input features; slices as in NumPy; matrices are (hidden, input)\n", style="dim"
        )


COMMANDS = (
    Command(
        convert,
        (
            "gatewright convert model.keras model.pt",
            "gatewright convert runs/text text.keras",
            "gatewright convert lstm.npz model.safetensors --from theano --to gatewright",
            "gatewright convert model.pt small.safetensors --weights int8",
            "gatewright convert tagger.pt encoder.onnx --prefix encoder.",
            "gatewright convert --explain keras torch",
        ),
    ),
)
