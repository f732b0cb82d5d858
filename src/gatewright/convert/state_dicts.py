"""Files of torch.save: the tensors of a state dict, wherever a checkpoint has it; nothing is unpickled but these."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatewright.errors import ConversionError

if TYPE_CHECKING:
    import torch

DEPTH = 2  # of nested mappings that are searched: {"checkpoint": {"model": state_dict}}


def load(path: Path) -> "dict[str, torch.Tensor]":
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
            expected="torch.save(model.state_dict(), path)",
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
            expected="torch.save(model.state_dict(), path)",
            got=other[1][:100],
            do='load it where it was made, and save the weights alone: torch.save(model.state_dict(), "weights.pt")',
        ) from error
    if not isinstance(content, Mapping):
        raise ConversionError(
            f"{path} holds no state dict", expected="torch.save(model.state_dict(), path)", got=type(content).__name__
        )
    return _tensors(content, DEPTH)  # pyright: ignore[reportUnknownArgumentType]


def _is_program(path: Path) -> bool:
    """Whether a file is an archive of TorchScript: one of torch.save has no constants of a program."""
    try:
        with zipfile.ZipFile(path) as opened:
            return any(name.count("/") == 1 and name.endswith("/constants.pkl") for name in opened.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):  # torch says what is wrong with it
        return False


def _tensors(content: Mapping[Any, Any], depth: int) -> "dict[str, torch.Tensor]":
    """The tensors of a mapping and of those in it, by name."""
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
