"""The interface of a layer that the functions of a call use: `Recurrent` and its subclasses have it."""

from collections.abc import Iterator
from typing import Any, Protocol

from torch import Tensor

from gatewright.backends.triton.newton import Newton, NewtonReport
from gatewright.nn.engine.differentiable import OperandDtype
from gatewright.nn.packed_cell import PackedCell
from gatewright.trace import Trace


class LayerInterface(Protocol):
    """The attributes of a recurrent layer; see `Recurrent`."""

    trace: Trace
    input_size: int
    num_layers: int
    batch_first: bool
    bidirectional: bool
    dropout: float
    dropout_per: str
    training: bool
    backend: str
    packed_cells: list[PackedCell]  # of every direction of every level
    state_shapes: tuple[tuple[int, ...], ...]  # of each state of one row
    newton_reports: tuple[NewtonReport, ...]  # of every direction of every level, in the last call
    _products: OperandDtype
    _newton: Newton | None
    _parameters: Any
    _forward_hooks: Any
    _forward_pre_hooks: Any

    @property
    def products(self) -> OperandDtype:
        """The dtype that operands of products are rounded to; None for that of the layer."""
        ...

    @property
    def checkpoint(self) -> bool | int | None:
        """Whether, or for how many steps at a time, saved values are computed again."""
        ...

    @property
    def newton(self) -> Newton | None:
        """How Newton's iterations solve all steps at once; None where a loop takes them."""
        ...

    def sizes(self, layer: int = 0) -> dict[str, int]:
        """The size of every axis of the cell in one level."""
        ...

    def directions(self) -> list[tuple[int, str]]:
        """The level and the suffix of every direction, in the order of the states."""
        ...

    def parameters(self) -> Iterator[Tensor]:
        """All parameters."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """All parameters with their names."""
        ...

    def packed_parameters(self, index: int) -> list[Tensor]:
        """The parameters of one direction of one level, as they are now."""
        ...

    def run_generic(self, input: Any, hx: Any, lengths: Any, mask: Any, return_gates: Any, resets: Any) -> Any:
        """Run the layer by the generic path."""
        ...
