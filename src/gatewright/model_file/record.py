"""What a model file holds: the record of each recurrent layer, and everything around it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from gatewright.axes import INPUT, bind
from gatewright.packing import Packed, packed_shape, tensor_name
from gatewright.trace import Trace

ENCODERS: Mapping[str, tuple[str, ...]] = {
    "values": (),
    "standardised": ("mean", "deviation"),
    "one-hot": (),
    "embedding": ("weight",),
    "embedding-sum": ("weight",),
}
"""The tensors `encode.NAME` of each way to encode what a network reads, by what settings call it."""


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """One recurrent layer: what is needed to run it, in any framework or in none."""

    name: str  # the module's name in the model; its tensors are called `{name}.{packed}_l0`
    trace: Trace
    sizes: Mapping[str, int]
    layout: tuple[Packed, ...]
    num_layers: int = 1
    bidirectional: bool = False
    batch_first: bool = False
    dropout: float = 0.0
    dropout_per: str = "step"  # or "sequence": which steps share a mask
    starts: Mapping[str, float] = field(default_factory=dict[str, float])  # parameters that are drawn as one number

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape that each of the layer's tensors must have, by its name in the file."""
        directions = (False, True) if self.bidirectional else (False,)
        below = bind(self.trace.states[0].shape, self.sizes)[0] * len(directions)
        prefix = f"{self.name}." if self.name else ""
        return {
            prefix + tensor_name(packed, layer, reverse): packed_shape(
                packed, self.trace, {**self.sizes, INPUT: below} if layer else self.sizes
            )
            for layer in range(self.num_layers)
            for reverse in directions
            for packed in self.layout
        }


@dataclass(frozen=True, slots=True)
class ModelFile:
    """Everything that a model file holds."""

    tensors: Mapping[str, NDArray[Any]]
    layers: tuple[LayerRecord, ...]
    task: str
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])  # anything that JSON can hold
    vocabulary: tuple[str, ...] | None = None
    seed: int | None = None
    version: str = ""  # of the gatewright that wrote it
