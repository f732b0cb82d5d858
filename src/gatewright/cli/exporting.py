"""`gatewright export`: a saved model as a file for other runtimes."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from gatewright.cli.options import AsJson, ModelPath
from gatewright.cli.shell import Command, given, messages, out, print_json
from gatewright.errors import OptionError


@dataclass(frozen=True)
class ExportOutcome:
    """What became of it: facts for JSON, lines for a person, and whether the file computes what the model does."""

    facts: Mapping[str, Any]
    lines: tuple[str, ...]
    right: bool = True


@dataclass(frozen=True)
class ExportFormat:
    """A kind of file, told by its suffix: what writes it, and which options it knows.

    `write` takes the model, the file, the name of a layer or None, and those of the options that were given.
    """

    write: Callable[..., ExportOutcome]
    options: frozenset[str]


def export(
    model: ModelPath,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write: .onnx, .c or .safetensors.")],
    *,
    layer: Annotated[str | None, typer.Option(help="Export only this recurrent layer, by its name.")] = None,
    states: Annotated[
        bool, typer.Option("--states", help="ONNX: states as inputs and outputs, for chunks of a stream.")
    ] = False,
    lengths: Annotated[bool, typer.Option("--lengths", help="ONNX: an input with the length of each row.")] = False,
    opset: Annotated[int | None, typer.Option(help="ONNX: the version of the operators.", show_default="13")] = None,
    name: Annotated[
        str | None, typer.Option(help="C: prefix of all names in the files.", show_default="the file's name")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32 or float64.", show_default="ONNX: the model's; C: float32")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="float32 or int8; .safetensors: bfloat16 too.", show_default="float32"),
    ] = None,
    math: Annotated[
        str | None, typer.Option(help="C: own has exp and tanh in the file, libm calls math.h.", show_default="own")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a saved model as a file for other runtimes, and compare it with the model.

    FILE.onnx holds the whole model of a recipe: as the operator GRU, LSTM or RNN where the equations allow it,
    otherwise as the equations in a Scan. FILE.c and FILE.h hold it as C code without dependencies that runs step by
    step. FILE.safetensors is a model file of a quarter or half of the size (--weights int8 or bfloat16). If onnxruntime
    or a C compiler is installed, an .onnx or .c file is run on random inputs and compared with the NumPy reference; the
    exit code is 1 if they differ by more than rounding.
    """
    format_ = FORMATS.get(file.suffix.lower())
    if format_ is None:
        raise OptionError(
            f"the suffix of {str(file)!r} says nothing of a kind of file that can be written",
            expected=" or ".join(FORMATS),
            got=file.suffix or "no suffix",
            do=f"name the file {file.stem}{next(iter(FORMATS))}",
        )
    chosen = given(states=states or None, lengths=lengths or None, opset=opset)
    chosen |= given(name=name, dtype=dtype, weights=weights, math=math)
    unknown = sorted(set(chosen) - format_.options)
    if unknown:
        raise OptionError(f"a {file.suffix} file has no option --{unknown[0]}", got=str(file), do="leave it out")
    with messages(quiet=as_json).status("exporting"):
        report = format_.write(model, file, layer, **chosen)
    if as_json:
        print_json(report.facts)
    else:
        out().print(*report.lines, sep="\n")
    if not report.right:
        messages(quiet=as_json).print(f"{file} does not compute what the model does", soft_wrap=True)
        raise typer.Exit(1)


def _onnx(model: Path, file: Path, layer: str | None, **options: Any) -> ExportOutcome:
    from gatewright.export import onnx

    written = onnx(model, file, name=layer, **options)
    lines = [
        f"{written.path}  {written.size:,} bytes, opset {written.opset}",
        f"computed by: {written.operator or 'no loop, all steps at once'}",
        *(f"{name}: {doc}" for name, doc in {**written.inputs, **written.outputs}.items()),
        *([str(written.loss)] if written.loss else []),
    ]
    facts: dict[str, Any] = {**asdict(written), "path": str(written.path)}
    try:
        from gatewright.export.onnx_check import differences

        runs = differences(model, file, name=layer, weights=options.get("weights", "float32"))
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        advice = "not compared with the model: pip install onnxruntime, and it will be"
        return ExportOutcome({**facts, "differences": None}, (*lines, advice))
    rounded = " with the rounded weights" if written.loss else ""
    lines.append(f"beside the NumPy reference{rounded}, the worst difference as a share of the largest number:")
    lines += [f"{run.steps:>4} steps, {run.batch} rows: {run.worst:.1e}" for run in runs]
    right = all(run.fits for run in runs)
    return ExportOutcome({**facts, "differences": [asdict(run) for run in runs], "right": right}, tuple(lines), right)


def _c99(model: Path, file: Path, layer: str | None, **options: Any) -> ExportOutcome:
    from gatewright.export import c99
    from gatewright.export.c_check import difference

    written = c99(model, file, layer=layer, **options)
    input_name = "symbol" if written.stack.symbols else "x"
    sizes = f"{written.constant_bytes:,} bytes of constants, {written.state_bytes:,} a state"
    lines = [
        f"{written.source} and {written.header.name}  {sizes}",
        f"{input_name}: {written.input}",
        f"y: {written.output}",
        *([str(written.loss)] if written.loss else []),
    ]
    facts: dict[str, Any] = {
        "name": written.name,
        "header": str(written.header),
        "source": str(written.source),
        "state_bytes": written.state_bytes,
        "constant_bytes": written.constant_bytes,
        "loss": written.loss and asdict(written.loss),
    }
    run = difference(written.stack, written.source)
    if run is None:
        return ExportOutcome(
            {**facts, "difference": None}, (*lines, "not compared with the model: there is no C compiler here")
        )
    lines.append(
        f"compiled by {run.compiler} and run beside the NumPy reference, {run.steps} steps: "
        f"the worst difference as a share of the largest number is {run.worst:.1e}"
    )
    return ExportOutcome({**facts, "difference": asdict(run), "right": run.fits}, tuple(lines), run.fits)


def _safetensors(model: Path, file: Path, layer: str | None, *, weights: str = "float32") -> ExportOutcome:
    from gatewright.export import safetensors

    if layer is not None:
        raise OptionError(
            "a .safetensors file has no option --layer", got=layer, do="leave it out: it holds all layers"
        )
    if weights == "float32":
        raise OptionError(
            f"{model} holds its weights in float32 already",
            expected="--weights int8 or --weights bfloat16",
            do="add one of them, or copy the file",
        )
    written = safetensors(model, file, weights=weights)
    lines = (
        f"{written.path}  {written.size:,} bytes, of {written.full_size:,} in float32",
        f"in {weights}: {', '.join(written.matrices)}",
        str(written.loss) if written.loss else f"not compared with the model: {written.unmeasured}",
    )
    return ExportOutcome({**asdict(written), "path": str(written.path)}, lines)


_C99 = ExportFormat(_c99, frozenset({"name", "dtype", "weights", "math"}))
FORMATS: Mapping[str, ExportFormat] = {
    ".onnx": ExportFormat(_onnx, frozenset({"states", "lengths", "opset", "dtype", "weights"})),
    ".c": _C99,
    ".h": _C99,
    ".safetensors": ExportFormat(_safetensors, frozenset({"weights"})),
}

COMMANDS = (
    Command(
        export,
        (
            "gatewright export runs/text text.onnx --states",
            "gatewright export runs/texts words.onnx --lengths",
            "gatewright export runs/series sales.onnx",
            "gatewright export runs/text text.onnx --weights int8",
            "gatewright export runs/text small.safetensors --weights int8",
            "gatewright export runs/text text.c --weights int8",
        ),
    ),
)
