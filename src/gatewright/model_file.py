"""A saved model: one `.safetensors` file that carries its weights, its equations and what it is for.

The file's metadata holds one JSON text: format, version, task, settings, vocabulary, seed, and for each recurrent
layer its Trace as text, its sizes and its packing. Loading reads numbers and text; it runs nobody's code, and nothing
is unpickled.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as write_tensors

from gatewright.axes import INPUT, bind
from gatewright.errors import GatewrightError, ModelFileError
from gatewright.packing import Packed, packed_shape, tensor_name
from gatewright.trace import Trace
from gatewright.trace.parse import parse
from gatewright.trace.text import to_text

FORMAT = "gatewright-model"
FORMAT_VERSION = 1
KEY = "gatewright"


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """One recurrent layer: what is needed to run it, in any framework or in none."""

    name: str  # the module's name in the model; its tensors are called `{name}.{packed}_l0`
    trace: Trace
    sizes: Mapping[str, int]
    layout: tuple[Packed, ...]
    num_layers: int = 1
    bidirectional: bool = False
    batch_first: bool = False
    dropout: float = 0.0

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape that each of the layer's tensors must have, by its name in the file."""
        directions = (False, True) if self.bidirectional else (False,)
        below = bind(self.trace.states[0].shape, self.sizes)[0] * len(directions)
        prefix = f"{self.name}." if self.name else ""
        return {
            prefix + tensor_name(packed, layer, reverse): packed_shape(
                packed, self.trace, {**self.sizes, INPUT: below} if layer else self.sizes
            )
            for layer in range(self.num_layers)
            for reverse in directions
            for packed in self.layout
        }


@dataclass(frozen=True, slots=True)
class ModelFile:
    """Everything that a model file holds."""

    tensors: Mapping[str, NDArray[Any]]
    layers: tuple[LayerRecord, ...]
    task: str
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])  # anything that JSON can hold
    vocabulary: tuple[str, ...] | None = None
    seed: int | None = None
    version: str = ""  # of the gatewright that wrote it


def save(path: str | os.PathLike[str], model: ModelFile) -> Path:
    """Write a model file. A file that was there is replaced in one step, or left as it was if writing fails.

    Raises ModelFileError where the tensors do not fit the layers.
    """
    path = Path(path)
    _check_shapes(path, model)
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "version": model.version,
        "task": model.task,
        "settings": dict(model.settings),
        "vocabulary": model.vocabulary,
        "seed": model.seed,
        "layers": [_layer_to_json(layer) for layer in model.layers],
    }
    tensors = {name: np.ascontiguousarray(array) for name, array in model.tensors.items()}
    _write_atomically(path, write_tensors(tensors, {KEY: json.dumps(header, ensure_ascii=False, allow_nan=False)}))
    return path


def load(path: str | os.PathLike[str]) -> ModelFile:
    """Read a model file.

    Raises ModelFileError where the file is missing, cut short, not ours, of a later format, or where a tensor has not
    the shape that the equations ask for.
    """
    path = Path(path)
    data = _read(path)
    try:
        tensors = read_tensors(data)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise ModelFileError(
            f"{path} cannot be read as a model file: {error}",
            expected="a complete .safetensors file",
            got=f"{len(data)} bytes",
            do="copy or download the file again; it may have been cut short",
        ) from error
    header = _header(path, data)
    try:
        model = ModelFile(
            tensors=tensors,
            layers=tuple(_layer_from_json(layer) for layer in header["layers"]),
            task=str(header["task"]),
            settings=dict(header["settings"]),
            vocabulary=None if header["vocabulary"] is None else tuple(map(str, header["vocabulary"])),
            seed=None if header["seed"] is None else int(header["seed"]),
            version=str(header["version"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = str(error) if isinstance(error, GatewrightError) else f"{type(error).__name__}: {error}"
        raise ModelFileError(
            f"the description in {path} is damaged: {reason}",
            expected="what gatewright.model_file.save writes",
            do="save the model again from where it was trained",
        ) from error
    _check_shapes(path, model)
    return model


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelFileError(
            f"there is no model file {path}",
            do="give the path of a model.safetensors, as `gatewright train` leaves it in its output folder",
        ) from None
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}", expected="a model file") from error


def _header(path: Path, data: bytes) -> dict[str, Any]:
    """The description in the file's metadata, once it is known to be ours and of a format that we know."""
    # safetensors has checked the length of the JSON text in front, and that it is one
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__") or {}
    try:
        header = json.loads(metadata[KEY])
        known = isinstance(header, dict) and header.get("format") == FORMAT  # pyright: ignore[reportUnknownMemberType]
    except (KeyError, ValueError, RecursionError):
        header, known = {}, False
    if not known:
        raise ModelFileError(
            f"{path} is a .safetensors file, but not a model that Gatewright saved",
            expected=f"metadata with a description under {KEY!r}",
            got=", ".join(map(repr, metadata)) or "no metadata",
            do="give a file that `gatewright train` or gatewright.model_file.save wrote",
        )
    if header.get("format_version") != FORMAT_VERSION:
        raise ModelFileError(
            f"{path} has a format that this version does not know",
            expected=f"format {FORMAT_VERSION}",
            got=f"format {header.get('format_version')!r}, written by gatewright {header.get('version')}",
            do="install a newer gatewright: pip install --upgrade gatewright",
        )
    return header


def _check_shapes(path: Path, model: ModelFile) -> None:
    for layer in model.layers:
        for name, shape in layer.tensor_shapes().items():
            array = model.tensors.get(name)
            if array is None or array.shape != shape:
                raise ModelFileError(
                    f"{path}: tensor {name!r} does not fit the equations of layer {layer.name!r} ({layer.trace.name})",
                    expected=f"shape {shape}",
                    got="no such tensor" if array is None else f"shape {array.shape}",
                    do="save the model again from where it was trained",
                )


def _layer_to_json(layer: LayerRecord) -> dict[str, Any]:
    return {
        "name": layer.name,
        "trace": to_text(layer.trace),
        "sizes": dict(layer.sizes),
        "layout": [[packed.name, list(packed.slots)] for packed in layer.layout],
        "num_layers": layer.num_layers,
        "bidirectional": layer.bidirectional,
        "batch_first": layer.batch_first,
        "dropout": layer.dropout,
    }


def _layer_from_json(layer: Mapping[str, Any]) -> LayerRecord:
    trace = parse(str(layer["trace"]))
    layout = tuple(Packed(str(name), tuple(map(str, slots))) for name, slots in layer["layout"])
    if sorted({slot for packed in layout for slot in packed.slots}) != sorted(param.name for param in trace.params):
        raise ValueError(f"the packing of layer {layer['name']!r} does not name the parameters of its equations")
    return LayerRecord(
        name=str(layer["name"]),
        trace=trace,
        sizes={str(axis): int(size) for axis, size in layer["sizes"].items()},
        layout=layout,
        num_layers=int(layer["num_layers"]),
        bidirectional=bool(layer["bidirectional"]),
        batch_first=bool(layer["batch_first"]),
        dropout=float(layer["dropout"]),
    )


def _write_atomically(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
