"""`gw.export.safetensors`: a model file whose matrices take a quarter or half of the size."""

import os
from dataclasses import dataclass
from pathlib import Path

from gatewright import model_file
from gatewright.errors import ModelFileError, OptionError
from gatewright.export.network import read_network
from gatewright.export.random_inputs import loss_of
from gatewright.export.sources import as_model_file
from gatewright.int8 import Loss
from gatewright.model_file import ModelFile
from gatewright.model_file.narrow import stored
from gatewright.network.narrow import KINDS, narrowed


@dataclass(frozen=True, slots=True)
class SafetensorsFile:
    """What was written."""

    path: Path
    size: int  # in bytes
    full_size: int  # of the same file with float32 matrices
    matrices: tuple[str, ...]  # the names of those in fewer bits
    weights: str
    loss: Loss | None  # of accuracy; None where the file does not say how all is connected
    unmeasured: str = ""  # why there is no loss


def safetensors(model: object, path: str | os.PathLike[str], *, weights: str) -> SafetensorsFile:
    """Write a model file with its matrices in fewer bits. Everything else in it stays as it is.

    - `model`: what `gw.export.onnx` takes.
    - `path`: of a .safetensors file.
    - `weights`: "int8", whole numbers with a scale for each row of a matrix; or "bfloat16".

    These are the matrices of recurrent layers, of linear layers and of embeddings. Whatever reads a model file reads
    this one, and computes in float32 with the rounded numbers; only `gw.stream.open(path, weights="int8")` computes
    with the whole numbers, which are the same as in the file. Gatewright before this format refuses the file.

    Raises OptionError for what cannot be kept so, ModelFileError for a file that cannot be read or written.
    """
    if weights not in KINDS:
        raise OptionError(
            "a model file cannot be written with these weights", expected=" or ".join(KINDS), got=repr(weights)
        )
    target = Path(os.fspath(path))
    if target.suffix != ".safetensors":
        raise OptionError("the path is that of no model file", expected="NAME.safetensors", got=str(target))
    exact = as_model_file(model)
    coarse = narrowed(exact, weights)
    loss, unmeasured = _loss(exact, coarse, weights)
    model_file.save(target, coarse)
    names = tuple(name for name, kind in coarse.narrow.items() if kind == weights)
    size = target.stat().st_size
    parts = [part for name in names for part in stored(name, coarse.tensors[name], weights).values()]
    saved = sum(coarse.tensors[name].nbytes for name in names) - sum(part.nbytes for part in parts)
    return SafetensorsFile(target, size, size + saved, names, weights, loss, unmeasured)


def _loss(exact: ModelFile, coarse: ModelFile, weights: str) -> tuple[Loss | None, str]:
    try:
        return loss_of(read_network(exact), read_network(coarse), weights), ""
    except (OptionError, ModelFileError) as error:
        return None, error.problem
