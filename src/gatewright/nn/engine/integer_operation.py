"""The operation of a quantised layer: a sequence whose matrices are packed already, and have no other form."""

from collections.abc import Sequence

from torch import Tensor

from gatewright.backends.llvm.runtime.executor import Executor
from gatewright.nn.engine.differentiable import Differentiable
from gatewright.nn.engine.integer_weights import IntegerWeights
from gatewright.nn.engine.operation import SequenceOperation
from gatewright.nn.engine.trace_operation import Operands
from gatewright.packing import Layout


class IntegerOperation(SequenceOperation):
    """A Trace over a sequence with `weights` in eight bits.

    Its operands have an empty tensor in the place of each such matrix. Kernels never read these, because they are given
    the packed block.
    """

    def __init__(self, spec: Differentiable, layout: Layout, weights: IntegerWeights) -> None:
        super().__init__(spec, layout)
        self.weights = weights
        first = self.numbering.first_packed
        self._floats = [first + place for place in range(len(layout)) if place not in weights.shapes]

    def takes(self, packed: Operands) -> bool:
        """Whether packed parameters fit: a quantised layer holds them itself."""
        return True

    def packed_block(self, executor: Executor, tensors: Operands) -> Tensor:
        """The packed matrices for an executor; `tensors` are those of its call, with inputs and parameters first."""
        return self.weights.block(executor, tensors, self._floats)

    def _take_packed(
        self, executor: Executor, tensors: Sequence[Tensor], *, caches_weights: bool
    ) -> tuple[tuple[Tensor, bool] | None, None]:
        """The packed matrices; an empty batch has none."""
        return (self.packed_block(executor, tensors), True) if executor.packed_bytes else None, None
