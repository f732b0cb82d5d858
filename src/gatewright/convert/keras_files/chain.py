"""What the readers of all layers share: what is known between two layers, functions by their names, refusals."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gatewright.convert.activations import ACTIVATIONS
from gatewright.convert.functions import FUNCTIONS
from gatewright.convert.keras_files.architecture import Layer, Version
from gatewright.errors import ConversionError

FAMILIES = {"SimpleRNN": "rnn", "GRU": "gru", "LSTM": "lstm", "CuDNNGRU": "gru", "CuDNNLSTM": "lstm"}


@dataclass
class Chain:
    """What is known of the values between two layers while a model is read from its input to its output."""

    version: Version
    where: str
    shape: tuple[int | None, ...] | None = None  # of one row of the batch
    masked: bool = False
    notes: list[str] = field(default_factory=list[str])


def function(layer: Layer, chain: Chain, which: str, default: str = "identity") -> str:
    """A function by its name in the settings."""
    said = layer.config.get(which)
    if isinstance(said, Mapping):  # as Keras 3 writes functions in some versions
        said = said.get("config") if isinstance(said.get("config"), str) else said.get("class_name")
    if said is None:
        return default
    if said == "hard_sigmoid" and chain.version.major < 3:
        chain.notes.append(
            "hard_sigmoid is that of Keras 1 and 2, max(0, min(1, x/5 + 1/2)); Keras 3 would open the file with x/6"
        )
    name = {"linear": "identity", "hard_sigmoid": chain.version.hard_sigmoid}.get(str(said), str(said))
    known = ACTIVATIONS if layer.kind in FAMILIES else FUNCTIONS
    if name not in known:
        raise unlike(layer, chain, which, ", ".join(known), said)
    return name


def unlike(layer: Layer, chain: Chain, what: str, expected: str, got: Any) -> ConversionError:
    return ConversionError(
        f"{chain.where}: the {what} of layer {layer.name!r} ({layer.kind}) has no counterpart",
        expected=expected,
        got=str(got),
    )
