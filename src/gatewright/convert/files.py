"""Files of arrays by name, read without running code from them. No size that a file states is trusted.

An .npz is read array by array, and none may say that it is larger than its file can hold; objects are refused.
"""

import io
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from gatewright.convert import mxnet_params, tables
from gatewright.convert.refusals import read_whole
from gatewright.errors import ConversionError
from gatewright.files import write_atomically
from gatewright.untrusted.npy import read_npy
from gatewright.untrusted.unpacking import WEIGHTS_LIMIT, too_large_zip

if TYPE_CHECKING:
    import torch

Arrays = dict[str, NDArray[Any]]
_SAFETENSORS = {
    "BOOL": "?",
    **{f"{kind.upper()}{8 * size}": f"<{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}
"""NumPy's types by their names in .safetensors files."""
DEPTH = 2  # of nested mappings that are searched: {"checkpoint": {"model": state_dict}}
SAVED = "torch.save(model.state_dict(), path)"
MOST_SHARED = 16  # tensors of one file may share their numbers, as tied weights do


def kind_of(path: Path) -> str:
    """The suffix that selects the reader of a file, or the kind of a folder or archive of tables."""
    return tables.kind_of(path) or path.suffix


def exists(path: Path) -> bool:
    """Whether there is something to read."""
    return path.is_file() or tables.exists(path)


def read_arrays(path: str | os.PathLike[str]) -> Arrays:
    """The arrays of a file, by name. Half precision becomes float32, as sums of biases would be rounded in it.

    Raises ConversionError for a file that is missing, cut short, of another kind, or holds what are no numbers.
    """
    path = Path(path)
    kind = kind_of(path)
    reader = _READERS.get(kind)
    if reader is None:
        raise ConversionError(
            f"{path}: files of this kind hold no arrays", expected=", ".join(_READERS), got=kind or "no suffix"
        )
    if not exists(path):
        raise ConversionError(f"there is no file {path}", do="give the path of a file of weights")
    advice = "copy or download the file again; what was pickled must be saved anew as plain arrays"
    with read_whole(path, f"a complete {kind} file of numbers", advice):
        arrays = {
            name: array.astype(np.float32) if array.dtype == np.float16 else array
            for name, array in reader(path).items()
        }
    for name, array in arrays.items():
        check_finite(path, name, array)
    return arrays


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name; a file that was there is replaced in one step."""
    path = Path(path)
    writer = _WRITERS.get(path.suffix)
    if writer is None:
        raise ConversionError(
            f"{path}: files of this kind hold no arrays", expected=", ".join(_WRITERS), got=path.suffix or "no suffix"
        )
    write_atomically(path, writer({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def check_finite(path: Path, name: str, array: NDArray[Any]) -> None:
    """Refuse arrays that are not numbers, or not finite: no conversion could be checked with them."""
    if array.dtype.kind not in "fiub":
        raise ConversionError(f"{path}: array {name!r} holds no numbers", expected="numbers", got=f"{array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ConversionError(
            f"{path}: array {name!r} is not finite at {where}",
            got=str(array[where]),
            do="save the weights of a model that works",
        )


def _read_npz(path: Path) -> Arrays:
    arrays: Arrays = {}
    _refuse_bomb(path)
    with zipfile.ZipFile(path) as opened:
        for member in opened.infolist():
            with opened.open(member) as content:
                arrays[member.filename.removesuffix(".npy")] = read_npy(path, content, member.file_size)
    return arrays


def _refuse_bomb(path: Path) -> None:
    """Refuse a .zip that unpacks to far more than its length, before anything of it is unpacked."""
    total = too_large_zip(path, WEIGHTS_LIMIT)
    if total is not None:
        packed = path.stat().st_size
        raise ConversionError(
            f"{path} says that it holds more than it can",
            expected=f"at most {WEIGHTS_LIMIT.of(packed):,} bytes in all, from a file of {packed:,}",
            got=f"{total:,} bytes",
            do="save the weights again without compression",
        )


def _read_safetensors(path: Path) -> Arrays:
    from safetensors import deserialize

    return {name: _of_safetensors(path, name, **entry) for name, entry in deserialize(path.read_bytes())}


def _of_safetensors(path: Path, name: str, dtype: str, shape: list[int], data: bytes) -> NDArray[Any]:
    if dtype == "BF16":  # NumPy has none: the upper half of a number of float32
        upper = np.frombuffer(data, "<u2").astype(np.uint32)
        return (upper << 16).view(np.float32).reshape(shape)
    if dtype not in _SAFETENSORS:
        raise ConversionError(f"{path}: array {name!r} holds numbers of a kind that is not read", got=dtype)
    return np.frombuffer(data, _SAFETENSORS[dtype]).reshape(shape).copy()


def _read_torch(path: Path) -> Arrays:
    import torch

    if zipfile.is_zipfile(path):
        _refuse_bomb(path)
    tensors = _torch_tensors(path)
    _refuse_repeated(path, {name: tensor.numel() * tensor.element_size() for name, tensor in tensors.items()})
    return {  # NumPy itself has no bfloat16
        name: (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy() for name, tensor in tensors.items()
    }


def _torch_tensors(path: Path) -> "dict[str, torch.Tensor]":
    """The tensors of a file by name.

    A state dict may lie in another mapping, as checkpoints keep it: under whatever name where it is the only one
    (`state_dict`, `model_state_dict`, `model`, ...). Of several, or with tensors beside it, the names begin with where
    they lie: `encoder.weight`.

    Raises ConversionError for a file that holds a program or other objects, and what torch raises for a damaged one.
    """
    import torch

    if _is_program(path):
        raise ConversionError(
            f"{path} is a TorchScript archive, which holds a program",
            expected=SAVED,
            do=f'save its weights alone: torch.save(torch.jit.load("{path.name}").state_dict(), "weights.pt")',
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle's, which is not imported here: its text says what torch.load refused
        other = re.search(r"Unsupported (?:global|class|type): (?:GLOBAL )?([\w.]+)", str(error))
        if other is None:
            raise
        raise ConversionError(
            f"{path} holds objects other than tensors and plain values, which would have to be unpickled",
            expected=SAVED,
            got=other[1][:100],
            do='load it where it was made, and save the weights alone: torch.save(model.state_dict(), "weights.pt")',
        ) from error
    if not isinstance(content, Mapping):
        raise ConversionError(f"{path} holds no state dict", expected=SAVED, got=type(content).__name__)
    return _tensors(content, DEPTH)  # pyright: ignore[reportUnknownArgumentType]


def _is_program(path: Path) -> bool:
    """Whether a file is an archive of TorchScript: one of torch.save has no constants of a program."""
    try:
        with zipfile.ZipFile(path) as opened:
            return any(name.count("/") == 1 and name.endswith("/constants.pkl") for name in opened.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):  # torch says what is wrong with it
        return False


def _tensors(content: Mapping[Any, Any], depth: int) -> "dict[str, torch.Tensor]":
    import torch

    own = {str(name): value.detach() for name, value in content.items() if isinstance(value, torch.Tensor)}
    inner = {
        str(name): _tensors(value, depth - 1)  # pyright: ignore[reportUnknownArgumentType]
        for name, value in content.items()
        if depth and isinstance(value, Mapping)
    }
    inner = {name: tensors for name, tensors in inner.items() if tensors}
    if len(inner) == 1 and not own:
        return next(iter(inner.values()))
    return own | {f"{where}.{name}": tensor for where, tensors in inner.items() for name, tensor in tensors.items()}


def _refuse_repeated(path: Path, sizes: Mapping[str, int]) -> None:
    """Refuse tensors that take the same numbers of their file again and again: a number may stand for millions."""
    file_size = path.stat().st_size
    for name, size in sizes.items():
        if size > file_size:
            raise ConversionError(
                f"{path}: array {name!r} is larger than its file", got=f"{size:,} bytes of {file_size:,}"
            )
    if sum(sizes.values()) > MOST_SHARED * file_size:
        raise ConversionError(f"{path} says that it holds more than it can")


def _write_npz(arrays: Arrays) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as opened:  # numpy.savez has no place for an array that is called "file"
        for name, array in arrays.items():
            with opened.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                npy.write_array(member, array, allow_pickle=False)
    return content.getvalue()


def _write_safetensors(arrays: Arrays) -> bytes:
    from safetensors.numpy import save

    return save(arrays)


def _write_torch(arrays: Arrays) -> bytes:
    import torch

    content = io.BytesIO()
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, content)
    return content.getvalue()


_READERS: Mapping[str, Callable[[Path], Arrays]] = {
    tables.FOLDER: tables.read,
    tables.ARCHIVE: tables.read,
    ".params": mxnet_params.read,
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
    ".pt": _read_torch,
    ".pth": _read_torch,
    ".ckpt": _read_torch,
}
_WRITERS: Mapping[str, Callable[[Arrays], bytes]] = {
    ".params": mxnet_params.write,
    ".npz": _write_npz,
    ".safetensors": _write_safetensors,
    ".pt": _write_torch,
    ".pth": _write_torch,
}
