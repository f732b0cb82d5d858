"""Opening ONNX files: no array is larger than its bytes, and only files beside the graph are read.

Large models keep their weights in a file in the same folder.
"""

from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gatewright.convert.files import check_finite
from gatewright.convert.refusals import check_exists, read_whole
from gatewright.errors import ConversionError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Array = NDArray[Any]

OLDEST_OPSET = 7
"""Before it, sums of unlike shapes had to be announced."""

# TensorProto.DataType: how elements lie in raw_data, and the field that holds them otherwise
_TYPES: Mapping[int, tuple[str, str]] = {
    1: ("<f4", "float_data"),
    2: ("u1", "int32_data"),
    3: ("i1", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("?", "int32_data"),
    10: ("<f2", ""),
    11: ("<f8", "double_data"),
    16: ("<u2", ""),  # bfloat16: the upper half of a float32
}
BFLOAT16 = 16


def load(path: Path) -> Any:
    """The model in an ONNX file, as the package onnx has it.

    Raises ConversionError where the file is none, or is of an old version; ImportError without the package onnx.
    """
    import onnx

    check_exists(path, "an .onnx file")
    with read_whole(path, "a complete .onnx file"):
        model = onnx.load_model_from_string(path.read_bytes())
    if not all(isinstance(name, str) for name in _names(model)):
        raise ConversionError(f"{path} is damaged: a name in it is no text", do="copy or download the file again")
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), None)
    if opset is None or opset < OLDEST_OPSET:
        raise ConversionError(
            f"{path} is of an old version of ONNX's operators, or no ONNX file",
            expected=f"version {OLDEST_OPSET} or later",
            got="none" if opset is None else str(opset),
            do="convert the file with onnx.version_converter",
        )
    return model


def session_of(path: Path) -> "InferenceSession":
    """A session that runs a file on the CPU. Raises ModuleNotFoundError where onnxruntime is missing."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # only errors are written, which are raised too
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _names(model: Any) -> Iterator[Any]:
    """All names in a model: the package gives bytes for those that are no text."""
    graph = model.graph
    for named in (*graph.input, *graph.output, *graph.initializer):
        yield named.name
    for tensor in graph.initializer:
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))
    for node in graph.node:
        yield from (node.op_type, node.domain, node.name, *node.input, *node.output)
        for attribute in node.attribute:
            yield attribute.name
            yield from (text for entry in attribute.t.external_data for text in (entry.key, entry.value))
    yield from (opset.domain for opset in model.opset_import)


class ExternalFiles:
    """The files of weights beside a graph. The bytes read of each are bounded, as tensors may overlap."""

    OFTEN = 2

    def __init__(self, path: Path) -> None:
        self.path = path
        self.left: dict[Path, int] = {}

    def bytes_of(self, tensor: Any, name: str) -> bytes:
        """The bytes of a tensor that lie in another file."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        file = self.path.parent / location
        if not location or Path(location).name != location or file.is_symlink() or not file.is_file():
            raise ConversionError(
                f"{self.path}: the numbers of array {name!r} lie in another file, which is not beside this one",
                expected="the name of a file in the same folder",
                got=repr(location[:100]),
                do="put the file of weights beside the graph, or save the model with its weights inside",
            )
        size = file.stat().st_size
        offset, length = (
            _count(entries.get(key, default)) for key, default in (("offset", "0"), ("length", str(size)))
        )
        left = self.left.setdefault(file, self.OFTEN * size)
        if offset is None or length is None or offset + length > size or length > left:
            raise ConversionError(
                f"{self.path}: array {name!r} is not in {location} where it should be",
                expected=f"at most {size} bytes",
                got=f"{entries.get('length')} bytes from {entries.get('offset', '0')}",
            )
        self.left[file] = left - length
        with file.open("rb") as opened:
            opened.seek(offset)
            return opened.read(length)


def array_of(path: Path, tensor: Any, name: str = "", files: ExternalFiles | None = None) -> Array:
    """The numbers of a tensor in a file."""
    name = name or str(tensor.name)
    if tensor.data_type not in _TYPES:
        raise ConversionError(
            f"{path}: array {name!r} holds no numbers that can be read",
            expected="floating-point numbers or whole numbers",
            got=f"ONNX's type {tensor.data_type}",
        )
    stored, field = _TYPES[tensor.data_type]
    raw = tensor.raw_data
    if tensor.external_data or tensor.data_location:
        raw = (files or ExternalFiles(path)).bytes_of(tensor, name)
    if len(raw) % np.dtype(stored).itemsize:
        raise ConversionError(f"{path}: array {name!r} ends within a number", got=f"{len(raw)} bytes of {stored}")
    flat = np.frombuffer(raw, stored) if raw or not field else _listed(tensor, stored, field)
    shape = tuple(int(size) for size in tensor.dims)
    if min(shape, default=0) < 0 or prod(shape) != flat.size:
        raise ConversionError(
            f"{path}: array {name!r} does not hold what its shape says",
            expected=f"{shape}",
            got=f"{flat.size} numbers",
            do="copy or download the file again",
        )
    if tensor.data_type == BFLOAT16:
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    array = flat.reshape(shape)
    check_finite(path, name, array)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _listed(tensor: Any, stored: str, field: str) -> Array:
    return np.array(getattr(tensor, field), dtype=np.int64 if stored in ("u1", "i1", "?") else stored).astype(stored)


def attributes_of(path: Path, node: Any) -> dict[str, Any]:
    """The attributes of a node by name, as numbers, texts, tuples and arrays; graphs as None."""
    readers: Mapping[int, Callable[[Any], Any]] = {  # by AttributeProto.AttributeType
        1: lambda attribute: float(attribute.f),
        2: lambda attribute: int(attribute.i),
        3: lambda attribute: attribute.s.decode(errors="replace"),
        4: lambda attribute: array_of(path, attribute.t, f"{attribute.name} of a constant"),
        6: lambda attribute: tuple(float(number) for number in attribute.floats),
        7: lambda attribute: tuple(int(number) for number in attribute.ints),
        8: lambda attribute: tuple(string.decode(errors="replace") for string in attribute.strings),
    }
    return {item.name: readers[item.type](item) if item.type in readers else None for item in node.attribute}


def title(node: Any) -> str:
    """How errors name a node: its name, or that of its first result."""
    name = node.name or next((value for value in node.output if value), "")
    return f"node {name!r} ({node.op_type})"
