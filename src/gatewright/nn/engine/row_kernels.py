"""Kernels on the rows of a matrix: the products of a linear layer, with its gradients, and exponentials for a softmax.

Each is a Trace without a state, so the engine computes all rows at once, as it computes the products of a recurrent
layer with its inputs.
"""

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from gatewright.axes import INPUT
from gatewright.backends.llvm.emit.vector_type import Products
from gatewright.backends.llvm.runtime.binding import bind_by_name
from gatewright.backends.llvm.runtime.executor import Executor
from gatewright.derive import adjoint, seed
from gatewright.nn.engine.block_pool import BlockPool
from gatewright.nn.engine.differentiable import Differentiable, differentiable
from gatewright.nn.engine.torch_arrays import TorchArrays
from gatewright.trace import parse

_OUTPUT = "output"
_LINEAR = """gatewright-trace 1
cell "linear"
input x(input)
param W(output, input)
param b(output)
  %0(output) = matmul W x
  y(output) = add %0 b
emit y = y
end
"""
_LINEAR_WITHOUT_BIAS = """gatewright-trace 1
cell "linear"
input x(input)
param W(output, input)
  y(output) = matmul W x
emit y = y
end
"""
_EXPONENTIALS = """gatewright-trace 1
cell "exponentials"
input x(output)
input largest()
  %0(output) = sub x largest
  y(output) = exp %0
emit y = y
end
"""
_MOST_EXECUTORS = 64  # remembered, one for each number of rows
_MOST_KEPT_BYTES = 64 * 1024 * 1024
"""Larger memory is returned to the system after each call."""


class PackedMatrix:
    """The matrix of one call in blocks of rows: the first block packs it, the others find it packed."""

    def __init__(self, pool: BlockPool) -> None:
        self._pool = pool
        self._packed: dict[str, Tensor] = {}

    def of(self, executor: Executor) -> tuple[Tensor, bool]:
        """Memory for what an executor packs, and whether it is packed there already."""
        is_packed = executor.packing in self._packed
        if not is_packed:
            self._packed[executor.packing] = take_memory(self._pool, executor.packed_bytes)
        return self._packed[executor.packing], is_packed


class RowKernels:
    """The kernels of a Trace without a state, on contiguous matrices (rows, features) of its dtype, by name."""

    def __init__(self, spec: Differentiable) -> None:
        self._spec = spec
        self._executors: dict[tuple[frozenset[str], int], tuple[tuple[str, ...], Executor]] = {}

    def run(
        self,
        values: Mapping[str, Tensor],
        rows: int,
        wanted: frozenset[str] = frozenset(),
        packed: PackedMatrix | None = None,
        *,
        adds: bool = False,
    ) -> None:
        """Run the Trace over one row or more; or its gradient, of which those results are `wanted`.

        With `adds`, sums over rows are added to what is there. A matrix that is `packed` need not be packed again.
        """
        if (wanted, rows) not in self._executors:
            self._executors[wanted, rows] = self._made(wanted, rows)
        names, executor = self._executors[wanted, rows]
        executor.run([values[name] for name in names], None, packed and packed.of(executor), adds=adds)

    def _made(self, wanted: frozenset[str], rows: int) -> tuple[tuple[str, ...], Executor]:
        """The names of the arrays of a run in order, and what runs it."""
        if len(self._executors) >= _MOST_EXECUTORS:
            self._executors.clear()
        engine = self._spec.gradient(frozenset(), wanted) if wanted else self._spec.inference
        trace = engine.program.trace
        leaves = [leaf.name for leaf in (*trace.inputs, *trace.params)]
        names = (*leaves, *(name for name, _ in trace.emits), *(name for name, _ in trace.sums))
        return names, Executor(bind_by_name(engine), TorchArrays(self._spec.dtype), 1, rows)


class LinearKernels:
    """The kernels of all linear layers of one size and dtype: y = x @ W.T + b.

    `products` is the dtype that operands of products are rounded to, those of the gradients too; see Engine.
    """

    def __init__(
        self, in_features: int, out_features: int, dtype: torch.dtype, products: Products = None, *, bias: bool
    ) -> None:
        sizes = {INPUT: in_features, _OUTPUT: out_features}
        trace = parse(_LINEAR if bias else _LINEAR_WITHOUT_BIAS)
        self._kernels = RowKernels(differentiable(trace, sizes, dtype, products=products))

    def outputs(self, values: Mapping[str, Tensor], outputs: Tensor, packed: PackedMatrix | None = None) -> None:
        """Compute the outputs; `values` are x, W and b."""
        self._kernels.run({**values, "y": outputs}, len(outputs), packed=packed)

    def gradients(
        self,
        values: Mapping[str, Tensor],
        flow: Tensor,
        by: Mapping[str, Tensor],
        packed: PackedMatrix | None = None,
        *,
        adds: bool = False,
    ) -> None:
        """Compute the gradients by those of x, W and b that `by` has room for; `flow` is that by the outputs.

        With `adds` those by W and b are added to what is there.
        """
        wanted = {adjoint(name, 1): room for name, room in by.items()}
        flows = {**values, seed("y", 1): flow, **wanted}
        self._kernels.run(flows, len(flow), frozenset(wanted), packed, adds=adds)


@lru_cache(maxsize=64)
def linear_kernels(
    in_features: int, out_features: int, dtype: torch.dtype, products: Products = None, *, bias: bool
) -> LinearKernels:
    """The kernels for these sizes."""
    return LinearKernels(in_features, out_features, dtype, products, bias=bias)


def exponentials(x: Tensor, largest: Tensor, y: Tensor) -> None:
    """Write exp(x - largest) to y; `largest` has a number for each row."""
    _exponentials(x.shape[1], x.dtype).run({"x": x, "largest": largest, "y": y}, len(x))


@lru_cache(maxsize=64)
def _exponentials(features: int, dtype: torch.dtype) -> RowKernels:
    return RowKernels(differentiable(parse(_EXPONENTIALS), {_OUTPUT: features}, dtype))


def take_memory(pool: BlockPool, size: int) -> Tensor:
    """Memory of so many bytes; the pool keeps it for the next call, unless it is very large."""
    return torch.empty(size, dtype=torch.uint8) if size > _MOST_KEPT_BYTES else pool.take(size)
