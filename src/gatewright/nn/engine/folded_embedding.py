"""A sequence whose inputs are rows of a table, such as an embedding: the table is multiplied, and not each input.

The products W @ x of a step depend on the row alone. So they are computed once for every row of the table, and each
line of the sequence takes those of its row. The gradients by these products are first added up by rows, and multiplied
after that. Both save work where the table has fewer rows than the sequence has lines.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from gatewright.nn.engine.autograd import ChangeMarks
from gatewright.nn.engine.block_pool import BlockPool
from gatewright.nn.engine.differentiable import differentiable
from gatewright.nn.engine.operation import SequenceOperation
from gatewright.nn.engine.row_kernels import LinearKernels, linear_kernels
from gatewright.nn.engine.sequence_function import derived_gradients, is_first_order
from gatewright.nn.engine.trace_operation import AskedGradient
from gatewright.nn.sequence import RaggedRows
from gatewright.trace.projected import projected_trace

MIN_PRODUCTS = 1 << 23
"""With fewer multiplications of the table with the matrix, torch's operator is faster: it needs less Python."""


@dataclass(frozen=True, slots=True)
class TableRows:
    """Rows of a table by their numbers `symbols` (time, batch). The gradient of the row `padding` stays 0."""

    table: Tensor
    symbols: Tensor
    padding: int | None = None


class FoldedOperation:
    """The operation of a layer, and the same on the products of its input with one packed matrix."""

    def __init__(self, whole: SequenceOperation, steps: SequenceOperation, matrix: int) -> None:
        self.whole, self.steps, self.matrix = whole, steps, matrix  # the number of the matrix in the layout
        self.gates = len(whole.layout[matrix].slots)
        self._projections, self._gradients = BlockPool(), BlockPool()

    @classmethod
    def of(cls, whole: SequenceOperation) -> "FoldedOperation | None":
        """None where the step does not read its input by the products with one packed matrix alone."""
        spec = whole.spec
        projected = projected_trace(spec.trace)
        slots = [packed.slots for packed in whole.layout]
        if projected is None or projected.matrices not in slots:
            return None
        matrix = slots.index(projected.matrices)
        layout = tuple(packed for number, packed in enumerate(whole.layout) if number != matrix)
        own = differentiable(projected.trace, spec.sizes, spec.dtype, backwards=spec.backwards, products=spec.products)
        return cls(whole, SequenceOperation(own, layout), matrix)

    def split(self, operands: Sequence[Tensor | None]) -> tuple[Tensor, list[Tensor | None]]:
        """The matrix, and what the folded steps read besides, out of the operands without the input."""
        place = self.whole.parameters.start - 1 + self.matrix
        matrix = operands[place]
        assert matrix is not None
        return matrix, [*operands[:place], *operands[place + 1 :]]

    def projections(self, table: Tensor, symbols: Tensor, matrix: Tensor) -> list[Tensor]:
        """The products of the matrix with the row of every line: (time, batch, size) for each gate."""
        lines = self._room(self._projections, symbols, matrix)
        by_row = self.kernels(table, matrix).outputs(table, matrix)
        for gate, room in zip(by_row.view(len(table), self.gates, -1).unbind(1), lines, strict=True):
            torch.index_select(gate.contiguous(), 0, symbols.reshape(-1), out=room.view(-1, room.shape[-1]))
        return lines

    def kernels(self, table: Tensor, matrix: Tensor) -> "_TableProducts":
        """What multiplies the table with the matrix."""
        is_large = table.numel() * len(matrix) >= MIN_PRODUCTS
        out_features, in_features = matrix.shape
        products = self.whole.spec.products
        kernels = linear_kernels(in_features, out_features, matrix.dtype, products, bias=False) if is_large else None
        return _TableProducts(kernels)

    def unwritten_projections(self, symbols: Tensor, matrix: Tensor) -> list[Tensor]:
        """Room of their shapes, for a gradient that does not read them."""
        return self._room(self._projections, symbols, matrix)

    def room_for_gradients(self, symbols: Tensor, matrix: Tensor) -> list[Tensor]:
        """Room for the gradients by the projections."""
        return self._room(self._gradients, symbols, matrix)

    def _room(self, pool: BlockPool, symbols: Tensor, matrix: Tensor) -> list[Tensor]:
        steps, batch = symbols.shape
        size = len(matrix) // self.gates
        memory = pool.take(symbols.numel() * len(matrix) * matrix.element_size())
        return list(memory.view(matrix.dtype).view(self.gates, steps, batch, size).unbind())

    def reads_projections(self, grads: Sequence[Tensor | None], needed: Sequence[bool]) -> bool:
        """Whether the gradient reads the projections, and not only what was computed from them."""
        gradient = self.steps.numbering.gradient(self.steps.seeded(grads), needed)
        names = {value.name for value in gradient.engine.program.trace.inputs}
        return not names.isdisjoint(self.steps.inputs[: self.gates])


def run_folded(
    folded: FoldedOperation,
    rows: TableRows,
    inputs: tuple[Tensor, Tensor],
    operands: Sequence[Tensor | None],
    ragged: RaggedRows | None = None,
) -> tuple[Tensor, ...]:
    """The results of `folded.whole` on the input and `operands`, where the input (time, batch, features) is `rows`.

    `inputs` are the vectors as they were looked up, and the input: the same, or a view of them in another order.
    """
    vectors, input = inputs
    symbols = rows.symbols.contiguous()
    tensors = [input, rows.table, *(x for x in operands if x is not None)]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        marker = torch.empty(0, requires_grad=True)
        call = _FoldedCall(folded, ragged, rows.padding, vectors, torch.autograd.graph.get_gradient_edge(marker).node)
        # What was looked up without a gradient, or is no row of the table for autograd, leads to no gradient of it.
        table = rows.table if vectors.grad_fn is not None else rows.table.detach()
        return _apply(call, marker, input, symbols, table, *operands)
    matrix, others = folded.split(operands)
    steps = folded.steps
    outputs = steps.forward([*folded.projections(rows.table, symbols, matrix), *others], ragged, saves=False)
    return steps.results(outputs, ragged)


@dataclass(eq=False, slots=True)
class _FoldedCall:
    """A folded call. `marker` is the node of a leaf that belongs to this call alone."""

    folded: FoldedOperation
    ragged: RaggedRows | None
    padding: int | None
    vectors: Tensor
    marker: Any

    @property
    def skips_vectors(self) -> bool:
        """Whether nobody asks for the gradient by the vectors themselves, so that the table may get it directly.

        Somebody does who has a hook on them or retains their gradient, and perhaps somebody who calls
        `torch.autograd.grad`, or `backward` with some inputs: then the marker's node is not executed.
        """
        if self.vectors.retains_grad or self.vectors._backward_hooks:  # pyright: ignore[reportPrivateUsage]
            return False
        try:
            return torch._C._will_engine_execute_node(self.marker)  # pyright: ignore[reportPrivateUsage]
        except RuntimeError:
            return False


class _FoldedFunction(Function):
    """A sequence of rows of a table, and its gradient by the table."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, call: _FoldedCall, marker: Tensor, input: Tensor, symbols: Tensor, table: Tensor, *operands: Tensor
    ) -> tuple[Tensor, ...]:
        """Run the kernels; save what the gradient needs."""
        folded, steps = call.folded, call.folded.steps
        matrix, others = folded.split(operands)
        outputs = steps.forward([*folded.projections(table, symbols, matrix), *others], call.ragged, saves=True)
        results = tuple(result.new_empty(0).set_(result) for result in steps.results(outputs, call.ragged))  # pyright: ignore[reportArgumentType]
        ctx.set_materialize_grads(False)
        ctx.call, ctx.marks = call, ChangeMarks(results)
        # A copy of the table, since a lookup does not forbid that the table is changed before the gradient is taken.
        ctx.save_for_backward(input, symbols, table.detach().clone(), *operands, *outputs.for_gradient)
        return results

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run the kernels of the gradient; or take that of the whole operation, where it is differentiated itself."""
        call: _FoldedCall = ctx.call
        folded = call.folded
        whole, steps = folded.whole, folded.steps
        input, symbols, table, *tensors = ctx.saved_tensors
        count = whole.count + len(whole.numbering.states) - 1
        operands, kept = tensors[:count], tensors[count:]
        _, _, by_input, _, by_table, *needed = ctx.needs_input_grad
        if not is_first_order(grads) or not steps.can_use_saved(grads):
            by = derived_gradients(whole, (input, *operands), (by_input, *needed), grads, call.ragged)
            return (None, None, by[0], None, None, *by[1:])
        matrix, others = folded.split(operands)
        place = whole.parameters.start - 1 + folded.matrix
        by_matrix = needed.pop(place)
        projected = (by_input or by_matrix,) * folded.gates
        wanted = (*projected, *needed)
        if ctx.marks.changed:  # the output is the first state: what is kept was changed with it
            again = [*folded.projections(table, symbols, matrix), *others]
            kept = steps.forward(again, call.ragged, saves=True).for_gradient
        if folded.reads_projections(grads, wanted):
            projections = folded.projections(table, symbols, matrix)
        else:
            projections = folded.unwritten_projections(symbols, matrix)
        room = folded.room_for_gradients(symbols, matrix) if projected[0] else []
        gradients = steps.backward(AskedGradient([*projections, *others], kept, grads, wanted, call.ragged, room))
        flows, rest = gradients[: folded.gates], gradients[folded.gates :]
        if not projected[0]:
            rest.insert(place, None)
            return (None, None, None, None, None, *rest)
        own = _RowGradients.of(flows, symbols, len(table), matrix)
        goes_to_table = by_input and by_table and call.skips_vectors
        of_table, of_matrix = folded.kernels(table, matrix).gradients(
            own.sums, table, matrix, by_table=goes_to_table, by_matrix=by_matrix
        )
        rest.insert(place, of_matrix)
        if of_table is not None and call.padding is not None:
            of_table[call.padding] = 0
        of_input = own.by_input() if by_input and not goes_to_table else None
        return (None, None, of_input, None, of_table, *rest)


# `Function.apply` inspects the signature of `forward` at every call, which takes longer than a small kernel
_apply: Callable[..., tuple[Tensor, ...]] = getattr(super(Function, _FoldedFunction), "apply")  # noqa: B009 (unknown to the checker)


@dataclass(frozen=True, slots=True)
class _TableProducts:
    """The products of a table with a matrix, and their gradients: by the engine, or by torch without `kernels`.

    Torch's autocast has no effect on them.
    """

    kernels: LinearKernels | None

    def outputs(self, table: Tensor, matrix: Tensor) -> Tensor:
        """The products: table @ matrix.T."""
        if self.kernels is None:
            with torch.autocast("cpu", enabled=False):
                return functional.linear(table, matrix)
        outputs = table.new_empty(len(table), len(matrix))
        self.kernels.outputs({"x": table.contiguous(), "W": matrix.contiguous()}, outputs)
        return outputs

    def gradients(
        self, sums: Tensor, table: Tensor, matrix: Tensor, *, by_table: bool, by_matrix: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """The gradients by the table and by the matrix that are wanted; `sums` are those by the products."""
        if self.kernels is None:
            with torch.autocast("cpu", enabled=False):
                return sums @ matrix if by_table else None, sums.T @ table if by_matrix else None
        values = {"x": table.contiguous(), "W": matrix.contiguous()}
        room = {name: torch.empty_like(values[name]) for name, need in (("x", by_table), ("W", by_matrix)) if need}
        if room:
            self.kernels.gradients(values, sums, room)
        return room.get("x"), room.get("W")


@dataclass(frozen=True, slots=True)
class _RowGradients:
    """The gradients by the projections of every line, and their sums for every row of the table."""

    lines: list[Tensor]
    sums: Tensor  # (rows, gates * size)
    matrix: Tensor

    @classmethod
    def of(cls, flows: Sequence[Tensor | None], symbols: Tensor, rows: int, matrix: Tensor) -> "_RowGradients":
        """`rows` is how many the table has."""
        numbers = symbols.reshape(-1)
        # A bag holds the lines of one row, in their order: the fastest of torch's sums by rows, and always the same.
        lines, order = [flow for flow in flows if flow is not None], numbers.argsort(stable=True)
        counts = numbers.bincount(minlength=rows)
        starts = counts.cumsum(0) - counts
        sums = [functional.embedding_bag(order, x.reshape(len(order), -1), starts, mode="sum") for x in lines]
        return cls(lines, torch.cat(sums, 1), matrix)

    def by_input(self) -> Tensor:
        """The gradient by the input, line by line."""
        parts = self.matrix.chunk(len(self.lines))
        with torch.autocast("cpu", enabled=False):
            first, *others = (x @ part for x, part in zip(self.lines, parts, strict=True))
        for other in others:
            first += other
        return first
