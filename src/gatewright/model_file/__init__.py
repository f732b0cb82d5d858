"""A saved model: one `.safetensors` file that carries its weights, its equations and what it is for.

The file's metadata holds one JSON text: format, version, task, settings, vocabulary, seed, and for each recurrent
layer its Trace as text, its sizes and its packing; and a SHA-256 of that text and of all tensors. Loading reads numbers
and text; it runs nobody's code, and nothing is unpickled.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as write_tensors

from gatewright.errors import ModelFileError
from gatewright.files import write_atomically, writing
from gatewright.model_file import description, narrow
from gatewright.model_file.description import FORMAT, FORMAT_VERSION, NARROW_VERSION
from gatewright.model_file.record import ENCODERS, LayerRecord, ModelFile
from gatewright.untrusted.json_text import parse_json

__all__ = ["ENCODERS", "FILE_NAME", "FORMAT", "FORMAT_VERSION", "LayerRecord", "ModelFile", "in_folder", "load", "save"]

FILE_NAME = "model.safetensors"
"""The model file in the folder of a run."""

KEY, CHECKSUM_KEY = "gatewright", "gatewright-sha256"
LENGTH = 8  # bytes in front of a .safetensors file: how long its JSON is
NUMBERS = {"bool", "float16", "float32", "float64"} | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
AGAIN = "save the model again from where it was trained"


def save(path: str | os.PathLike[str], model: ModelFile) -> Path:
    """Write a model file. A file that was there is replaced in one step, or left as it was if writing fails.

    Raises ModelFileError where the tensors do not fit the layers, or something cannot be kept, and WriteError where the
    file cannot be written.
    """
    path = Path(path)
    tensors = {name: _plain(path, name, array) for name, array in model.tensors.items()}
    _check_shapes(path, model)
    tensors = _stored(path, tensors, model.narrow)
    try:
        text = description.write(model)
        metadata = {KEY: text, CHECKSUM_KEY: checksum(text, tensors)}
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelFileError(
            f"{path}: the settings cannot be kept: {error}",
            expected="texts, finite numbers, truth values, lists, and mappings by texts",
            do="leave out what the model does not need to be loaded again",
        ) from error
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, _in_order(write_tensors(tensors, metadata)))
    return path


def in_folder(path: Path) -> Path:
    """The model file of a run, where the path is that of a run's folder; otherwise the path."""
    return path / FILE_NAME if (path / FILE_NAME).is_file() else path


def load(path: str | os.PathLike[str]) -> ModelFile:
    """Read a model file, or that in the folder of a run.

    Raises ModelFileError where the file is missing, cut short, changed, not ours, of a later format, or where a tensor
    has not the shape that the equations ask for.
    """
    path = in_folder(Path(path))
    data = _read(path)
    try:
        tensors = {name: np.array(array) for name, array in read_tensors(data).items()}
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ModelFileError(
            f"{path} cannot be read as a model file",
            expected="a complete .safetensors file",
            got=f"{len(data)} bytes that are none",
            do="copy or download the file again; it may have been cut short",
        ) from error
    # safetensors has checked the length of the JSON in front, and that it is one
    front = json.loads(data[LENGTH : LENGTH + int.from_bytes(data[:LENGTH], "little")])
    metadata: dict[str, str] = front.get("__metadata__") or {}
    header = _header(path, metadata)
    if metadata.get(CHECKSUM_KEY) != checksum(metadata[KEY], tensors):
        raise ModelFileError(
            f"{path} is damaged: it is not as it was saved",
            expected=f"contents of SHA-256 {metadata.get(CHECKSUM_KEY)}",
            got=checksum(metadata[KEY], tensors),
            do="copy or download the file again",
        )
    try:
        model = description.read(header, tensors)
    except ValueError as error:
        raise ModelFileError(
            f"the description in {path} makes no sense: {error}",
            expected="a description as it was saved",
            do=AGAIN,
        ) from error
    _check_shapes(path, model)
    return model


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # it may have no end
            raise ModelFileError(f"{path} is no file", expected="a model file", got="a device or pipe")
        return path.read_bytes()
    except ModelFileError:  # a ValueError too
        raise
    except FileNotFoundError:
        raise ModelFileError(
            f"there is no model file {path}",
            do=f"give the path of a {FILE_NAME}, as `gatewright train` leaves it in its output folder",
        ) from None
    except (OSError, ValueError) as error:  # a path with a NUL is a ValueError
        reason = error.strerror if isinstance(error, OSError) else None
        raise ModelFileError(f"{path} cannot be read: {reason or error}", expected="a model file") from error


def _header(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The description in the file's metadata, once it is known to be ours and of a format that we know."""
    try:
        header = parse_json(metadata[KEY])
        known = isinstance(header, dict) and header.get("format") == FORMAT  # pyright: ignore[reportUnknownMemberType]
    except (KeyError, ValueError):
        header, known = {}, False
    if not known:
        raise ModelFileError(
            f"{path} is a .safetensors file, but not a model that Gatewright saved",
            expected=f"metadata with a description under {KEY!r}",
            got=", ".join(map(repr, metadata)) or "no metadata",
            do="give a file that `gatewright train` or gatewright.model_file.save wrote",
            shell="give a file that `gatewright train` or `gatewright convert` wrote",
        )
    if header.get("format_version") not in (FORMAT_VERSION, NARROW_VERSION):
        raise ModelFileError(
            f"{path} has a format that this version does not know",
            expected=f"format {FORMAT_VERSION} or {NARROW_VERSION}",
            got=f"format {header.get('format_version')!r}, written by gatewright {header.get('version')}",
            do="install a newer gatewright: pip install --upgrade gatewright",
        )
    return header


def _stored(path: Path, plain: Mapping[str, NDArray[Any]], kinds: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """The tensors as the file has them: some matrices in fewer bits."""
    tensors = dict(plain)
    for name, kind in kinds.items():
        try:
            parts = narrow.stored(name, tensors.pop(name), kind)
        except (ValueError, KeyError) as error:
            raise ModelFileError(
                f"{path}: {f'there is no tensor {error}' if isinstance(error, KeyError) else error}",
                expected=f"kinds {' and '.join(narrow.KINDS)}, for matrices of finite float32 numbers",
                do="leave it out of `narrow`, or convert it to float32",
            ) from error
        if taken := tensors.keys() & parts.keys():
            raise ModelFileError(f"{path}: the name {min(taken)!r} is needed for the scales of {name!r}")
        tensors |= parts
    return tensors


def _plain(path: Path, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """An array as it lies in the file: contiguous, the least byte first."""
    dtype = getattr(array, "dtype", None)
    if getattr(dtype, "name", "") not in NUMBERS:
        raise ModelFileError(
            f"{path}: tensor {name!r} cannot be kept",
            expected="a NumPy array of numbers",
            got=type(array).__name__ if dtype is None else f"an array of {dtype}",
        )
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def checksum(text: str, tensors: Mapping[str, NDArray[Any]]) -> str:
    """The SHA-256 of everything that a file says."""
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = tensors[name]
        total.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def _in_order(content: bytes) -> bytes:
    """The same file with its metadata in one order, so that equal models are equal files."""
    end = 8 + int.from_bytes(content[:8], "little")
    front = json.loads(content[8:end])
    front["__metadata__"] = dict(sorted(front["__metadata__"].items()))
    text = json.dumps(front, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the numbers begin at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text + content[end:]


def _check_shapes(path: Path, model: ModelFile) -> None:
    for layer in model.layers:
        for name, shape in layer.tensor_shapes().items():
            array = model.tensors.get(name)
            if array is None or array.shape != shape:
                raise ModelFileError(
                    f"{path}: tensor {name!r} does not fit the equations of layer {layer.name!r} ({layer.trace.name})",
                    expected=f"shape {shape}",
                    got="no such tensor" if array is None else f"shape {array.shape}",
                    do=AGAIN,
                )
