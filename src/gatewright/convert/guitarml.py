"""What GuitarML's and Automated-GuitarAmpModelling's JSON has beside the state dict: sizes, and a skip connection.

`model_data` describes `SimpleRNN`: a recurrent layer `rec`, a linear one `lin`, and, where `skip` is not 0, that many
features of the input added to the output. Proteus and AIDA-X read such files.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gatewright.errors import ConversionError
from gatewright.lang.param import in_space
from gatewright.network import AddInput, Network
from gatewright.network.part import Flow

_MODEL = "SimpleRNN"


def checked(path: Path, network: Network, model_data: Mapping[str, Any]) -> Network:
    """The network of a state dict, checked against the sizes in the file, with its skip connection.

    Raises ConversionError where the file says something else, or is of another model.
    """
    if model_data.get("model", _MODEL) != _MODEL:
        raise ConversionError(
            f"{path}: its model is another one",
            expected=_MODEL,
            got=str(model_data["model"])[:40],
            do="name another file",
        )
    first, width = network.recurrent[0], network.parts[-1].gives(Flow()).features
    has = {
        "unit_type": first.cell_config.family.upper(),
        "num_layers": len(network.recurrent),
        "hidden_size": first.hidden,
        "input_size": first.inputs,
        "output_size": width,
        "bias_fl": bool(in_space(first.directions[0], "b")),
    }
    wrong = {name: model_data[name] for name, value in has.items() if name in model_data and model_data[name] != value}
    if wrong:
        raise ConversionError(
            f"{path}: its weights are not what its model_data says",
            expected=", ".join(f"{name} {str(value)[:40]}" for name, value in wrong.items()),
            got=", ".join(f"{name} {has[name]}" for name in wrong),
            do="export the model again",
        )
    return replace(with_input(path, network, model_data.get("skip", 0)), notes=())  # its dense layer has no activation


def with_input(path: Path, network: Network, skip: Any) -> Network:
    """The network with that many features of its input added to its output.

    Raises ConversionError where that is no number, or does not fit.
    """
    width, inputs = network.parts[-1].gives(Flow()).features, network.parts[0].width or 0
    if not isinstance(skip, int) or not 0 <= skip <= inputs or skip not in (0, 1, width):
        raise ConversionError(
            f"{path}: the input that skips the layers does not fit",
            expected=f"0, 1 or {width} of {inputs} features",
            got=str(skip)[:40],
        )
    return replace(network, parts=(*network.parts, AddInput(int(skip)))) if skip else network
