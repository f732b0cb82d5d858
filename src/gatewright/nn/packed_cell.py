"""One direction of a layer: a cell with its sizes, the packing of its parameters, and its direction in time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Self

import torch
from torch import Tensor

from gatewright.axes import bind
from gatewright.backends.triton.newton import Newton
from gatewright.errors import OptionError
from gatewright.nn.engine.autograd import widened
from gatewright.nn.engine.differentiable import Differentiable, EngineName, OperandDtype, differentiable
from gatewright.nn.engine.folded_embedding import FoldedOperation
from gatewright.nn.engine.integer_operation import IntegerOperation
from gatewright.nn.engine.integer_weights import IntegerWeights
from gatewright.nn.engine.operation import SequenceOperation
from gatewright.nn.engine.operation_of_trace import device_operation
from gatewright.nn.engine.step_operation import StepOperation
from gatewright.nn.engine.trace_operation import TraceOperation
from gatewright.packing import Layout, unpacked
from gatewright.trace import Trace
from gatewright.trace.mask import masked_trace
from gatewright.trace.reset import reset_trace
from gatewright.trace.simplify import without_chance

RunMode = tuple[bool, bool, bool, bool]
"""How a cell is run: random values as their means, with a mask, with gates, with resets. (A plain tuple is a constant
to torch.compile.)"""


@dataclass(frozen=True, eq=False)
class PackedCell:
    """A cell with its sizes, the packing of its parameters, and its direction in time.

    `made` caches everything that is made from it. Copies share the cache, and a pickle leaves it out.
    """

    trace: Trace
    layout: Layout
    sizes: Mapping[str, int]
    backwards: bool = False
    made: dict[Any, Any] = field(default_factory=dict[Any, Any], repr=False)
    # Separate, because torch.compile reads it: a dict that has grown since makes it compile again.
    made_for_graphs: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "made": {}, "made_for_graphs": {}}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    @property
    def holds_weights(self) -> bool:
        """Whether operations hold their matrices themselves, in eight bits, and run on the engine alone."""
        return False

    def unpack(self, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        """Every parameter of the equations by name; autograd follows."""
        return unpacked(self.layout, tensors, self.trace, self.sizes)

    def spec(
        self,
        mode: RunMode,
        dtype: torch.dtype,
        products: OperandDtype = None,
        engine: EngineName = "llvm",
        newton: Newton | None = None,
    ) -> Differentiable:
        """The trace that an engine runs in a mode, with what is made from it."""
        key = (mode, dtype, products, engine, newton)
        if key not in self.made:
            trace = _prepared(self.trace, mode)
            self.made[key] = differentiable(
                trace, self.sizes, dtype, backwards=self.backwards, products=products, engine=engine, newton=newton
            )
        return self.made[key]

    def named_gates(self, emits: Sequence[Tensor]) -> dict[str, Tensor]:
        """Emitted gates by name, (time, batch, ...): a gate gets the axes along which it is the same."""
        named: dict[str, Tensor] = {}
        for (name, gate), emitted in zip(self.trace.gates, emits, strict=True):
            named[name] = emitted
            if emitted.dim() < 2 + len(gate.shape):
                named[name] = widened(emitted, (*emitted.shape[:2], *bind(gate.shape, self.sizes)))
        return named

    def device_operation(
        self, mode: RunMode, dtype: torch.dtype, products: OperandDtype = None, newton: Newton | None = None
    ) -> TraceOperation:
        """The operation that Triton's kernels run on packed parameters: a loop, or Newton's iterations.

        Raises TraceError where the cell or its gradient has no schedule.
        """
        key = ("device operation", mode, dtype, products, newton)
        if key not in self.made:
            self.made[key] = device_operation(self.spec(mode, dtype, products, "triton", newton), self.layout)
        return self.made[key]

    def operation(self, mode: RunMode, dtype: torch.dtype, products: OperandDtype = None) -> SequenceOperation:
        """The operation that the CPU engine runs on packed parameters.

        Raises TraceError where the cell or its gradient has no schedule.
        """
        key = ("operation", mode, dtype, products)
        if key not in self.made:
            self.made[key] = SequenceOperation(self.spec(mode, dtype, products), self.layout)
        return self.made[key]

    def folded(self, operation: SequenceOperation) -> FoldedOperation | None:
        """The operation on the products of its input with a matrix; None where the step has no such form."""
        key = ("folded", operation)
        if key not in self.made:
            self.made[key] = FoldedOperation.of(operation)
        return self.made[key]

    def one_step(self, dtype: torch.dtype, *, of_layer: bool = False) -> StepOperation:
        """The operation that runs a single step on packed parameters, of a cell or of a layer.

        Raises TraceError where the cell or its gradient has no schedule.
        """
        key = ("one step", dtype, of_layer)
        if key not in self.made:
            spec = self.spec((True, False, False, False), dtype)
            self.made[key] = StepOperation(spec, self.layout, of_layer=of_layer)
        return self.made[key]


@dataclass(frozen=True, eq=False, kw_only=True)
class QuantizedCell(PackedCell):
    """A cell with its matrices in eight bits; the packed parameters of a call are the others. A copy has its own."""

    weights: IntegerWeights

    @property
    def holds_weights(self) -> bool:
        return True

    def unpack(self, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        """Every parameter of the equations by name, with the rounded matrices."""
        packed = list(tensors)
        for place in self.weights.places:
            numbers, scales = self.weights.matrix(place)
            packed[place] = (scales[:, None] * numbers).to(packed[place].dtype)
        return super().unpack(packed)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return replace(self, weights=self.weights.copied(), made={}, made_for_graphs={})

    def spec(
        self,
        mode: RunMode,
        dtype: torch.dtype,
        products: OperandDtype = None,
        engine: EngineName = "llvm",
        newton: Newton | None = None,
    ) -> Differentiable:
        """As for any cell.

        Raises OptionError for other products than those of eight bits in float32.
        """
        if products != "int8" or dtype != torch.float32:
            raise OptionError(
                f"the quantised layer of {self.trace.name!r} cannot compute in this dtype",
                expected="float32, with products in int8",
                got=f"{str(dtype).removeprefix('torch.')}, with products in {products or 'the same dtype'}",
            )
        return super().spec(mode, dtype, products, engine, newton)

    def operation(self, mode: RunMode, dtype: torch.dtype, products: OperandDtype = None) -> SequenceOperation:
        """The operation that the engine runs on the matrices that it holds, and on packed parameters."""
        key = ("operation", mode, dtype, products)
        if key not in self.made:
            self.made[key] = IntegerOperation(self.spec(mode, dtype, products), self.layout, self.weights)
        return self.made[key]

    def one_step(self, dtype: torch.dtype, *, of_layer: bool = False) -> StepOperation:
        """The operation that runs a single step."""
        key = ("one step", dtype, of_layer)
        if key not in self.made:
            spec = self.spec((True, False, False, False), dtype, "int8")
            self.made[key] = StepOperation(spec, self.layout, of_layer=of_layer, weights=self.weights)
        return self.made[key]


def gate_name(name: str) -> str:
    """The name under which a gate is emitted."""
    return f"gate({name})"


@lru_cache(maxsize=256)
def _prepared(trace: Trace, mode: RunMode) -> Trace:
    """The trace that the engine runs in a mode."""
    expected, masked, gates, resets = mode
    if gates:
        trace = replace(trace, emits=tuple((gate_name(name), value) for name, value in trace.gates))
    if expected and trace.noises:
        trace = without_chance(trace)
    if masked:
        trace = masked_trace(trace)
    return reset_trace(trace) if resets else trace
