"""The matrices of one direction of a quantised layer: whole numbers of eight bits, held once.

Until the first call they are rows of numbers. From then on they are in the order in which the kernels read them, and
`matrix` puts them back into rows where a state dict asks for them. Kernels for few rows and for many may read them in
different orders: each order that calls need takes the same memory again.
"""

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from gatewright.backends.llvm.codegen.panels import Panel
from gatewright.backends.llvm.runtime.digest import digest
from gatewright.backends.llvm.runtime.executor import Executor
from gatewright.backends.llvm.runtime.integer_panels import read_panel, write_panel
from gatewright.int8 import Quantised, quantised
from gatewright.nn.engine.torch_arrays import empty_block
from gatewright.packing import Layout

_MOST_ORDERS = 4


class _Part(NamedTuple):
    """Where a parameter lies among the panels of a block."""

    panel: Panel
    position: int
    offset: int  # of the panel, in bytes


class _PackedOrder(NamedTuple):
    """Packed matrices in one order; the digest is that of the float32 matrices among them, empty if there are none."""

    block: Tensor
    parts: Mapping[str, _Part]
    digest: bytes


class IntegerWeights:
    """The matrices of one direction, by their places in the layout. Threads may share them."""

    def __init__(self, layout: Layout, matrices: Mapping[int, tuple[Tensor, Tensor]]) -> None:
        """`matrices` are the numbers (rows, columns) and the scales (rows,) of those in eight bits."""
        self._layout = layout
        self._rows: dict[int, tuple[Tensor, Tensor]] = dict(matrices)  # empty once an order holds all of them
        self.shapes = {place: numbers.shape for place, (numbers, _) in matrices.items()}
        self._slots = {
            name: (place, slot) for place in matrices for slot, name in enumerate(layout[place].slots)
        }  # of the parameters in eight bits
        self._orders: dict[str, _PackedOrder] = {}
        self._source: _PackedOrder | None = None  # the order that stands for the rows
        self._lock = Lock()

    @property
    def places(self) -> tuple[int, ...]:
        """The places in the layout of the matrices in eight bits."""
        return tuple(self.shapes)

    @property
    def nbytes(self) -> int:
        """The bytes that are held now."""
        with self._lock:
            rows = [tensor for pair in self._rows.values() for tensor in pair]
            return sum(tensor.nbytes for tensor in (*rows, *(order.block for order in self._orders.values())))

    def matrix(self, place: int) -> tuple[Tensor, Tensor]:
        """The numbers and the scales of a matrix: a copy, or what is held."""
        with self._lock:
            if place in self._rows:
                return self._rows[place]
            found = [self._read(name) for name in self._layout[place].slots]
        numbers = np.concatenate([part.numbers for part in found])
        return torch.from_numpy(numbers), torch.from_numpy(np.concatenate([part.scales for part in found]))

    def block(self, executor: Executor, tensors: Sequence[Tensor | None], floats: Sequence[int]) -> Tensor:
        """The packed matrices in the order of an executor; `tensors` are those of its call.

        `floats` are the places among these of parameters that are float32. Matrices among them are packed here too, and
        packed again when they change.
        """
        order = self._orders.get(executor.panel_order)
        if order is None or (order.digest and order.digest != _digest(tensors, floats)):
            with self._lock:
                order = self._pack(executor, tensors, floats)
        return order.block

    def replaced(self, matrices: Mapping[int, tuple[Tensor, Tensor]]) -> None:
        """Take other numbers and scales of the same shapes."""
        with self._lock:
            self._rows, self._source = dict(matrices), None
            self._orders.clear()

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """Replace the tensors by those that a function makes of them, with the same numbers."""
        with self._lock:
            self._rows = {place: (function(n), function(s)) for place, (n, s) in self._rows.items()}
            for name, order in list(self._orders.items()):
                self._orders[name] = order._replace(block=function(order.block))
                if order is self._source:
                    self._source = self._orders[name]

    def copied(self) -> Self:
        """The same in memory of their own, as rows."""
        pairs = {place: self.matrix(place) for place in self.places}
        return type(self)(self._layout, {place: (n.clone(), s.clone()) for place, (n, s) in pairs.items()})

    def __getstate__(self) -> dict[str, Any]:
        return {"layout": self._layout, "matrices": {place: self.matrix(place) for place in self.places}}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        IntegerWeights.__init__(self, state["layout"], state["matrices"])

    def _read(self, name: str) -> Quantised:
        """The part of a matrix that belongs to a parameter, where an order holds it."""
        source = self._source
        assert source is not None
        part = source.parts[name]
        return read_panel(part.panel, part.position, source.block.numpy()[part.offset :])

    def _parameter(self, name: str) -> Quantised:
        place, slot = self._slots[name]
        if place not in self._rows:
            return self._read(name)
        numbers, scales = self._rows[place]
        height = len(numbers) // len(self._layout[place].slots)
        rows = slice(slot * height, (slot + 1) * height)
        return Quantised(numbers[rows].numpy(), scales[rows].numpy())

    def _pack(self, executor: Executor, tensors: Sequence[Tensor | None], floats: Sequence[int]) -> _PackedOrder:
        buffers, parts = executor.buffers, dict[str, _Part]()
        others = {part.matrix for panel in buffers.panels for part in panel.parts} - set(self._slots)
        computed = executor.matrices(tensors, others) if others else {}
        before = _digest(tensors, floats) if others else b""
        block = empty_block(buffers.packed_bytes)
        memory = block.numpy()
        for panel, offset in zip(buffers.panels, buffers.panel_offsets, strict=True):
            matrices: list[Quantised] = []
            for position, part in enumerate(panel.parts):
                if part.matrix in self._slots:
                    matrices.append(self._parameter(part.matrix))
                    parts[part.matrix] = _Part(panel, position, offset)
                else:
                    matrix = computed[part.matrix].detach().numpy()
                    matrices.append(quantised(matrix.T if part.transposed else matrix))
            write_panel(panel, matrices, memory[offset:])
        assert executor.computes_from.isdisjoint(self._slots)  # it would read a tensor that is empty
        order = self._orders[executor.panel_order] = _PackedOrder(block, parts, before)
        if self._source is None and set(parts) == set(self._slots):
            self._source, self._rows = order, {}
        if len(self._orders) > _MOST_ORDERS:  # a call that reads the oldest one holds on to it
            del self._orders[next(name for name, other in self._orders.items() if other is not self._source)]
        return order


def _digest(tensors: Sequence[Tensor | None], places: Sequence[int]) -> bytes:
    chosen = (tensors[place] for place in places)
    return digest((tensor.data_ptr(), tensor.nbytes) for tensor in chosen if tensor is not None)
