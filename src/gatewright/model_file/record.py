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

    @property
    def prefix(self) -> str:
        """What the names of its tensors begin with."""
        return f"{self.name}." if self.name else ""

    @property
    def directions(self) -> tuple[bool, ...]:
        """Whether each direction reads backwards."""
        return (False, True)[: 1 + self.bidirectional]

    def sizes_of(self, level: int) -> dict[str, int]:
        """The size of every axis in a level: those above the first read what the one below gives."""
        below = bind(self.trace.states[0].shape, self.sizes)[0] * len(self.directions)
        return {**self.sizes, INPUT: below} if level else dict(self.sizes)

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape that each of the layer's tensors must have, by its name in the file."""
        return {
            self.prefix + tensor_name(packed, level, reverse): packed_shape(packed, self.trace, self.sizes_of(level))
            for level in range(self.num_layers)
            for reverse in self.directions
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
    narrow: Mapping[str, str] = field(default_factory=dict[str, str])
    """The matrices that the file keeps in fewer bits, and in which: "int8" or "bfloat16". `tensors` has them in
    float32."""
