"""Every kind of file that can be read and written, and which of them a file is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gatewright.cell_config.config import CellConfig
from gatewright.convert import (
    files,
    flat,
    flat_writing,
    keras_files,
    listed,
    onnx_files,
    own_file,
    rtneural,
    tables,
    tensorflow_checkpoint,
    torch_run,
)
from gatewright.convert.naming import NAMINGS
from gatewright.convert.overrides import DEQUANTISE, PREFIX, Overrides, refused_overrides
from gatewright.errors import ConversionError, ModelFileError
from gatewright.network import Network, Part


@dataclass(frozen=True, slots=True)
class Format:
    """A framework's files.

    `run` computes outputs of (time, batch, features) in the framework itself. Its arguments are a path, inputs, the
    overrides that the file was read with, and `lengths` where the network is given such. It may raise anything: the
    first line of that is the reason why there is no proof by that framework.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[Any, Overrides], Network]  # of a path, or of arrays by name where `of_arrays` says so
    write: Callable[[Network, Path], None]
    run: Callable[..., NDArray[Any]] | None = None
    runtime: str = ""  # the program that `run` asks, as reports name it
    fixed_sizes: Callable[[Path], tuple[int | None, int | None]] | None = None
    """The steps and the rows of a batch that `run` demands for a file; None where it takes any number."""
    overrides: frozenset[str] = frozenset()  # those that `read` takes; all others are refused
    of_arrays: bool = False
    named_only: bool = False  # never guessed: another format reads such files too, and is their default
    initial: bool = False  # whether layers may begin with states of their own
    fixed_lengths: bool = False  # whether the lengths of the rows may stand in the file
    second: bool = False  # whether the direction that reads backwards may have equations of its own


class _File:
    """A file whose arrays are read once for all formats that are tried."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def arrays(self) -> files.Arrays:
        return files.read_arrays(self.path)


def _read_flat(framework: str, arrays: files.Arrays, overrides: Overrides) -> Network:
    return flat.read(arrays, framework, overrides)


def _write_flat(framework: str, network: Network, path: Path) -> None:
    files.write_arrays(path, flat_writing.write(network, framework))


def _runnable(name: str, suffixes: tuple[str, ...], module: Any, runtime: str, **options: Any) -> Format:
    """The format of files that their framework can run, from the functions of a module."""
    return Format(name, suffixes, module.read, module.write, module.run, runtime, module.fixed_sizes, **options)


_FLAT_SUFFIXES = (".npz", ".safetensors")
_SUFFIXES = {
    "torch": (".pt", ".pth", ".safetensors", ".ckpt", ".npz"),
    "gluon": (*_FLAT_SUFFIXES, ".params"),
    "tf1": (*_FLAT_SUFFIXES, tables.ARCHIVE, tables.FOLDER),
    "tf1-block": (*_FLAT_SUFFIXES, tables.ARCHIVE, tables.FOLDER),
}
_CONFIG = frozenset(field.name for field in fields(CellConfig))
_LAYERS = _CONFIG | {PREFIX}
_KNOWN = _LAYERS | {DEQUANTISE}
_ONNX = {"initial": True, "fixed_lengths": True, "second": True}
_KERAS = frozenset({"reset", "gate", "activation", "output", PREFIX})
FORMATS: Mapping[str, Format] = {
    entry.name: entry
    for entry in (
        Format("gatewright", (".safetensors",), own_file.read, own_file.write),
        _runnable("onnx", (".onnx",), onnx_files, "ONNX Runtime", overrides=frozenset({DEQUANTISE}), **_ONNX),
        _runnable("keras", (".keras", *keras_files.SUFFIXES), keras_files, "Keras", overrides=_KERAS, second=True),
        Format("keras1", keras_files.SUFFIXES, keras_files.read, keras_files.write_keras1, overrides=_KERAS),
        Format("tf2", (".index",), tensorflow_checkpoint.read, tensorflow_checkpoint.write, overrides=_LAYERS),
        Format("rtneural", (".json",), rtneural.read, rtneural.write, overrides=_CONFIG),
        Format("rtneural-torch", (".json",), rtneural.read, rtneural.write_torch, overrides=_CONFIG, named_only=True),
        *(
            Format(
                name,
                _SUFFIXES.get(name, _FLAT_SUFFIXES),
                partial(_read_flat, name),
                partial(_write_flat, name),
                torch_run.run if name == "torch" else None,
                "PyTorch" if name == "torch" else "",
                overrides=_LAYERS,
                of_arrays=True,
            )
            for name in NAMINGS
        ),
        Format("d2l-list", (".npz",), listed.read, listed.write, overrides=_CONFIG, of_arrays=True),
    )
}


def format_of(path: Path, name: str | None, *, writing: bool = False) -> list[Format]:
    """The formats that a file may have: the one that is named, or those of its suffix."""
    if name is not None and name not in FORMATS:
        raise ConversionError(f"there is no layout {name!r}", expected=", ".join(FORMATS))
    kind = files.kind_of(path)
    fitting = [
        file_format
        for file_format in FORMATS.values()
        if kind in file_format.suffixes and (name == file_format.name or (name is None and not file_format.named_only))
    ]
    if not fitting:
        named = [FORMATS[name]] if name else FORMATS.values()
        suffixes = dict.fromkeys(suffix for file_format in named for suffix in file_format.suffixes)
        expected = ", ".join(suffixes if name else sorted(suffixes))
        what = name or "a file of weights"
        raise ConversionError(f"{path} has no suffix of {what}", expected=expected, got=kind or "none")
    if writing and len(fitting) > 1:
        raise ConversionError(
            f"{path} may be written in several layouts",
            expected="one of " + ", ".join(file_format.name for file_format in fitting),
            do="name it: target_layout of convert, layout of write",
            shell="name it with --to",
        )
    return fitting


def write(network: Network, path: Path, file_format: Format) -> None:
    """Write a network in that format."""
    if not file_format.initial and any(layer.initial for layer in network.recurrent):
        raise ConversionError(
            f"a layer begins with states of its own, and files of {file_format.name} keep none",
            expected="states that are zero in the beginning",
            do="write ONNX, or take the states away and give them to the layer when it runs",
        )
    if not file_format.fixed_lengths and isinstance(network.lengths, tuple):
        raise ConversionError(
            f"the lengths of the rows stand in the file, and files of {file_format.name} keep none",
            expected="lengths that are an input of the graph, or none",
            got=f"rows of {', '.join(map(str, network.lengths))} steps",
            do="write ONNX, or make sequence_lens an input of the graph",
        )
    if not file_format.second and any(layer.second for layer in network.recurrent):
        raise ConversionError(
            "the two directions of a layer have different equations, and files of "
            f"{file_format.name} have the same for both",
            got="; ".join(
                f"{layer.cell_config}, and backwards {layer.second}" for layer in network.recurrent if layer.second
            ),
            do="write ONNX",
        )
    file_format.write(network, path)


def read(path: Path, name: str | None = None, overrides: Overrides | None = None) -> Network:
    """The network in a file, of the layout that is named, or of the one that explains the most of it.

    Raises ConversionError where no layout fits, or several fit and would compute different things.
    """
    if unknown := [name for name in overrides or {} if name not in _KNOWN]:
        raise ConversionError(f"there is no override {' or '.join(unknown)}", expected=", ".join(sorted(_KNOWN)))
    candidates = list({reading.read: reading for reading in format_of(path, name)}.values())
    file = _File(path)
    if len(candidates) == 1:
        return _read_as(candidates[0], file, dict(overrides or {}))
    if not files.exists(path):
        raise ConversionError(f"there is no file {path}", do="give the path of a file of weights")
    readings = _understood(file, candidates, dict(overrides or {}))
    fewest = min(len(match.rest) for match in readings)
    best = [match for match in readings if len(match.rest) == fewest]
    different = [reading for reading in best[1:] if _content(reading.parts) != _content(best[0].parts)]
    if different:
        raise ConversionError(
            f"{path} fits several layouts, which would compute different things",
            expected="one of " + ", ".join(reading.layout for reading in (best[0], *different)),
            do="name it: source_layout of convert, layout of read",
            shell="name it with --from",
        )
    also = [reading.layout for reading in best[1:]]
    guessed = f"the layout was guessed: {best[0].layout}" + (f" (the same as {', '.join(also)})" if also else "")
    return best[0] if best[0].layout == "gatewright" else best[0].noting(guessed)  # a file of ours says so itself


def _read_as(file_format: Format, file: _File, overrides: Overrides) -> Network:
    """The network in a file of that format; overrides that such files state themselves, or do not have, are refused."""
    source = file.arrays if file_format.of_arrays else file.path
    try:
        network = file_format.read(
            source, {name: value for name, value in overrides.items() if name in file_format.overrides}
        )
        if overrides.keys() - file_format.overrides:
            raise refused_overrides(file_format.name, overrides, file_format.overrides)
        _refuse_whole_numbers(network)
    except ConversionError as error:
        if str(file.path) not in error.problem:
            error.locate(str(file.path))
        raise
    return network


def _refuse_whole_numbers(network: Network) -> None:
    """Refuse quantised weights: without their scale, whole numbers compute something else."""
    for place, layer in enumerate(network.recurrent):
        for name, array in ((name, array) for parameters in layer.directions for name, array in parameters.items()):
            if array.dtype.kind != "f":
                raise ConversionError(
                    f"recurrent layer {place} has weights that are whole numbers",
                    expected="floating-point numbers",
                    got=f"{name} of {array.dtype}",
                    do="save the weights of the model as it was before it was quantised, or convert them to float32",
                )


def _understood(file: _File, candidates: Sequence[Format], overrides: Overrides) -> list[Network]:
    """The network in the file by each format that can read it. A file of our own is read as such only."""
    readings: list[Network] = []
    reasons: list[str] = []
    strangers: list[str] = []
    broken: list[flat.NotWholeError] = []
    for candidate in candidates:
        if candidate.of_arrays:
            _ = file.arrays  # a file that cannot be opened says so itself
        try:
            readings.append(_read_as(candidate, file, overrides))
        except flat.NoLayerError:
            strangers.append(candidate.name)
        except (ConversionError, ModelFileError) as error:
            if candidate.name == "gatewright" and isinstance(error, ConversionError):
                raise  # a file of ours, which another layout would only guess at
            broken += [error] if isinstance(error, flat.NotWholeError) else []
            fits = f" (expected {error.expected}, got {error.got})" if error.expected and error.got else ""
            problem = error.problem.removeprefix(f"{file.path}: ")
            reasons.append(f"{candidate.name}: {problem}{fits}")
        else:
            if candidate.name == "gatewright":
                return readings
    counted = file.arrays if any(candidate.of_arrays for candidate in candidates) else ()
    known = max((len(counted) - len(network.rest) for network in readings), default=0)
    worst = max(broken, key=lambda error: error.known, default=None)
    if worst is not None and worst.known > known:
        raise worst
    if readings:
        return readings
    raise ConversionError(
        f"{file.path} has no layout that the table knows",
        got="; ".join(reasons + ([f"no layer of {', '.join(strangers)}"] if strangers else [])),
        do="name it: source_layout of convert, layout of read",
        shell="name it with --from",
    )


def _content(value: Any) -> Any:
    """Parts with all that they hold, so that they can be compared."""
    match value:
        case np.ndarray():
            return value.shape, value.tolist()
        case Mapping():
            return {name: _content(item) for name, item in cast("Mapping[str, Any]", value).items()}
        case tuple():
            return [_content(item) for item in cast("tuple[Any, ...]", value)]
        case Part():
            return value.kind, [_content(getattr(value, field.name)) for field in fields(value)]
        case _:
            return value
