"""Shared by the readers of all layers: the state between two layers, functions by name, refusals."""

from dataclasses import dataclass, field
from typing import Any

from gatewright.cell_config.activations import ACTIVATIONS
from gatewright.convert.keras_files import functions
from gatewright.convert.keras_files.architecture import KerasLayer, KerasVersion
from gatewright.convert.keras_files.functional import MaskSource
from gatewright.errors import ConversionError
from gatewright.network.functions import FUNCTIONS, known

FAMILIES = {"SimpleRNN": "rnn", "GRU": "gru", "LSTM": "lstm", "CuDNNGRU": "gru", "CuDNNLSTM": "lstm"}
CELLS = {"SimpleRNNCell": "SimpleRNN", "GRUCell": "GRU", "LSTMCell": "LSTM"}
"""Cells by the class of the layer that runs one."""


@dataclass
class ChainState:
    """What is known of the values between two layers, while a model is read from its input to its output."""

    version: KerasVersion
    shape: tuple[int | None, ...] | None = None  # of one row of the batch
    mask: MaskSource | None = None  # which steps are padding
    notes: list[str] = field(default_factory=list[str])

    @property
    def masked(self) -> bool:
        """Whether some steps may be padding."""
        return self.mask is not None


def function(layer: KerasLayer, chain: ChainState, which: str, default: str = "identity") -> str:
    """A function by its name in the settings."""
    setting = layer.config.get(which)
    if setting is None:
        return default
    if setting == "hard_sigmoid" and chain.version.major < 3:
        chain.notes.append(
            "hard_sigmoid is that of Keras 1 and 2, max(0, min(1, x/5 + 1/2)); Keras 3 would open the file with x/6"
        )
    name = functions.named(setting, chain.version)
    if name is None or not (name in ACTIVATIONS if layer.kind in FAMILIES else known(name)):
        raise unlike(layer, chain, which, ", ".join(ACTIVATIONS if layer.kind in FAMILIES else FUNCTIONS), setting)
    return name


def unlike(layer: KerasLayer, chain: ChainState, what: str, expected: str, got: Any) -> ConversionError:
    return ConversionError(
        f"the {what} of layer {layer.name!r} ({layer.kind}) has no counterpart",
        expected=expected,
        got=str(got),
    )
