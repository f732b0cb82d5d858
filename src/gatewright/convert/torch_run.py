"""PyTorch's own layers, run with the arrays of a state dict: what a conversion from or to PyTorch is held to."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.convert import files, flat
from gatewright.convert.equations import GATES, Family
from gatewright.convert.naming import Place
from gatewright.errors import ConversionError

Arrays = Mapping[str, NDArray[Any]]
_CLASSES: Mapping[Family, str] = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}


def run(path: Path, inputs: NDArray[Any], facts: Mapping[str, Any]) -> NDArray[Any]:
    """What `torch.nn.RNN`, `GRU` and `LSTM` compute, one after the other, for inputs (time, batch, features).

    Raises ImportError without PyTorch, and ConversionError or RuntimeError where a state dict is not the whole of a
    layer.
    """
    import torch

    arrays = files.read_arrays(path)
    found, places = flat.located(arrays, "torch", facts)
    value = torch.from_numpy(inputs)
    with torch.no_grad():
        for _, group in groupby(places, key=lambda one: one.prefix):
            of_one = list(group)
            row = found.layers[of_one[0]][0]
            module = _module(row.family, _state(of_one, found, arrays), str(facts.get("activation") or "tanh"))
            value = module(value.to(next(module.parameters()).dtype))[0]
    return value.numpy()


def _state(places: Sequence[Place], found: flat.Reading, arrays: Arrays) -> dict[str, NDArray[Any]]:
    """The arrays of one prefix as a state dict has them; those of a single cell are those of one layer."""
    numbers = {layer: index for index, layer in enumerate(sorted({place.layer for place in places}))}
    return {
        f"{array}_l{numbers[place.layer]}{'_reverse' if place.backwards else ''}": arrays[name]
        for place in places
        for array, name in found.layers[place][1].items()
    }


def _module(family: Family, state: Arrays, activation: str) -> Any:
    """A layer of the shapes of a state dict, with all that is in it and nothing else."""
    import torch

    if "weight_hh_l0" not in state:
        raise ConversionError("PyTorch has no layer that reads backwards alone", got=", ".join(state))
    recurrent = state["weight_hh_l0"]
    options: dict[str, Any] = {"nonlinearity": activation} if family == "rnn" else {}
    if "weight_hr_l0" in state:
        options["proj_size"] = len(state["weight_hr_l0"])
    dtype = np.result_type(np.float32, *(array.dtype for array in state.values()))
    module = getattr(torch.nn, _CLASSES[family])(
        state["weight_ih_l0"].shape[1],
        len(recurrent) // len(GATES[family]),
        num_layers=sum(name.startswith("weight_ih_") and not name.endswith("_reverse") for name in state),
        bias="bias_ih_l0" in state,
        bidirectional=any(name.endswith("_reverse") for name in state),
        dtype=torch.from_numpy(np.empty(0, dtype)).dtype,
        **options,
    )
    module.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()}, strict=True)
    return module.eval()
