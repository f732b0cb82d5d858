"""Running a state dict by PyTorch's own layers, to prove a conversion from or to PyTorch.

The file is read here as PyTorch reads it, and not as `flat` does: modules are made by the names and shapes that are in
it, and have to take all of the state dict, `strict=True`. So a layer that one of the two overlooks is seen.
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.convert import files
from gatewright.convert.naming import in_order
from gatewright.errors import ConversionError

Arrays = dict[str, NDArray[Any]]
_CLASSES: Mapping[int, str] = {1: "RNN", 3: "GRU", 4: "LSTM"}  # by the number of matrices in weight_ih
_NAME = re.compile(
    r"(?P<module>(?:.*\.)?)(?:parametrizations\.)?(?P<array>(?:weight|bias)_(?:ih|hh|hr)(?:_l(?P<layer>\d{1,4}))?"
    r"(?P<reverse>_reverse)?)(?P<part>_g|_v|_orig|_mask|\.original[01])?"
)


def run(path: Path, inputs: NDArray[Any], overrides: Mapping[str, Any]) -> NDArray[Any]:
    """Outputs of `torch.nn.RNN`, `GRU`, `LSTM` and their cells in a row, for inputs (time, batch, features).

    Raises ImportError without PyTorch, and ConversionError or RuntimeError where a state dict is not the whole of a
    layer.
    """
    import torch

    arrays = _without_weight_drop(files.read_arrays(path))
    value = torch.from_numpy(inputs)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older weight_norm is deprecated, and files of it are not
        for prefix in _prefixes(arrays, overrides.get("prefix")):
            module = _module(_state(arrays, prefix), str(overrides.get("activation") or "tanh"))
            value = value.to(next(module.parameters()).dtype)
            value = module(value)[0] if hasattr(module, "num_layers") else torch.stack(list(_steps(module, value)))
    return value.numpy()


def _without_weight_drop(arrays: Arrays) -> Arrays:
    """The arrays with raw weights in the place of those that dropout draws from them."""
    renamed = {name: value for name, value in arrays.items() if not name.endswith("_raw")}
    for name in arrays.keys() - renamed.keys():
        module, _, array = name.removesuffix("_raw").rpartition(".")
        inside = f"{module}.module.".removeprefix(".")
        wrapped = any(other.startswith(inside) for other in arrays)
        renamed[f"{inside if wrapped else f'{module}.'.removeprefix('.')}{array}"] = arrays[name]
    return renamed


def _prefixes(arrays: Arrays, wanted: str | Sequence[str] | None) -> list[str]:
    modules = sorted({_module_of(match) for match in map(_NAME.fullmatch, arrays) if match}, key=in_order)
    if wanted is None:
        return modules
    chosen: list[str] = []
    for name in [wanted] if isinstance(wanted, str) else wanted:
        stem = name.rstrip(".")
        chosen += [module for module in modules if module.rstrip(".") == stem] or [
            module for module in modules if module.startswith(f"{stem}.")
        ]
    return chosen


def _state(arrays: Arrays, prefix: str) -> Arrays:
    """All of a module's own arrays; where the module is the whole model, those that are in no other module."""
    own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    if prefix:
        return own
    matches = {name: _NAME.fullmatch(name) for name in own}
    return {name: own[name] for name, match in matches.items() if "." not in name or (match and not _module_of(match))}


def _module_of(match: re.Match[str]) -> str:
    return match["module"].removesuffix("parametrizations.")


def _module(state: Arrays, activation: str) -> Any:
    """A layer or cell of the shapes of a state dict, with all that is in it and nothing else."""
    import torch

    shapes = {match["array"]: array.shape for match, array in _matched(state) if match["part"] in _WHOLE}
    numbers = [int(match["layer"]) for match, _ in _matched(state) if match["layer"] is not None]
    first = "_l0" if numbers else ""
    if f"weight_hh{first}" not in shapes or f"weight_ih{first}" not in shapes:
        raise ConversionError("PyTorch has no layer that reads backwards alone", got=", ".join(state))
    rows, inputs = shapes[f"weight_ih{first}"]
    projection = shapes.get(f"weight_hr{first}")
    hidden = projection[1] if projection else shapes[f"weight_hh{first}"][1]
    name = _CLASSES.get(rows // hidden)
    if name is None:
        raise ConversionError(f"PyTorch has no layer of {rows} rows for {hidden} units")
    dtype = np.result_type(np.float32, *(array.dtype for array in state.values()))
    options: dict[str, Any] = {"dtype": torch.from_numpy(np.empty(0, dtype)).dtype, "bias": f"bias_ih{first}" in shapes}
    options |= {"nonlinearity": activation} if name == "RNN" else {}
    if numbers:
        options |= {
            "num_layers": max(numbers) + 1,
            "bidirectional": any(shape.endswith("_reverse") for shape in shapes),
        }
        options |= {"proj_size": projection[0]} if projection else {}
    module = getattr(torch.nn, name if numbers else f"{name}Cell")(inputs, hidden, **options)
    for match, array in _matched(state):
        _parametrize(module, match["array"], match["part"], array.shape)
    module.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()}, strict=True)
    return module.eval()


_WHOLE = (None, "_v", "_orig", ".original1")  # the parts that have the shape of the weight


def _matched(state: Arrays) -> Iterator[tuple[re.Match[str], NDArray[Any]]]:
    return ((match, array) for name, array in state.items() if (match := _NAME.fullmatch(name)))


def _parametrize(module: Any, array: str, part: str | None, shape: tuple[int, ...]) -> None:
    """Have PyTorch keep a weight in parts, as the file has them."""
    from torch.nn.utils import parametrizations, prune, weight_norm

    kept = [axis for axis, size in enumerate(shape) if size > 1]
    axis = (kept[0] if kept else 0) if shape else None
    if part == "_g":
        weight_norm(module, array, axis)  # pyright: ignore[reportArgumentType]
    elif part == ".original0":
        parametrizations.weight_norm(module, array, axis)  # pyright: ignore[reportArgumentType]
    elif part == "_mask":
        prune.identity(module, array)


def _steps(cell: Any, inputs: Any) -> Iterator[Any]:
    state = None
    for step in inputs:
        state = cell(step, state)
        yield state[0] if isinstance(state, tuple) else state
