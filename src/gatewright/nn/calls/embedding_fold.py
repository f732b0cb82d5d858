"""Calls of a layer with the vectors of an embedding: whether the table is multiplied in place of every vector."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gatewright.nn.embedding import are_rows, rows_of
from gatewright.nn.engine.folded_embedding import FoldedOperation, TableRows, run_folded
from gatewright.nn.engine.operation import SequenceOperation
from gatewright.nn.layer_interface import LayerInterface
from gatewright.nn.sequence import RaggedRows

MIN_FEATURES = {"training": 24, "inference": 64}
"""With narrower vectors, to take the products of each line costs as much as to compute them. A gradient saves two
further products."""
MIN_PRODUCTS = 1 << 22
"""With fewer multiplications saved, the additional operations of torch take longer."""


class EmbeddingFold:
    """The rows of a table that the input of a layer consists of, with the folded operations of its first level."""

    def __init__(self, vectors: Tensor, rows: TableRows, operations: Sequence[FoldedOperation]) -> None:
        self._vectors, self._rows, self._operations = vectors, rows, operations

    @classmethod
    def of(
        cls, layer: LayerInterface, vectors: Tensor, operations: Sequence[SequenceOperation]
    ) -> "EmbeddingFold | None":
        """None where the vectors are not known to consist of rows, or to fold them would not save time."""
        rows = rows_of(vectors)
        if rows is None or rows.table.dtype is not vectors.dtype:
            return None
        if operations[0].spec.products == "int8":
            return None
        first = operations[: 2 if layer.bidirectional else 1]
        lines, count = rows.symbols.numel(), len(rows.table)
        outputs = max(operation.numbering.shapes[0][0] for operation in first)
        saved = (lines - count) * layer.input_size * outputs
        mode = "training" if torch.is_grad_enabled() else "inference"
        if layer.input_size < MIN_FEATURES[mode] or 2 * count > lines or saved < MIN_PRODUCTS:
            return None
        cells = layer.packed_cells
        folded = [cells[number].folded(operation) for number, operation in enumerate(first)]
        if rows.symbols.dim() != 2 or not all(folded) or not are_rows(vectors, rows):
            return None
        # kernels read float32 where layer and vectors are in bfloat16 or float16; autograd follows the conversion
        table = rows.table.to(operations[0].spec.dtype)
        rows = TableRows(table, rows.symbols.T if layer.batch_first else rows.symbols, rows.padding)
        return cls(vectors, rows, [operation for operation in folded if operation is not None])

    def run(
        self, index: int, x: Tensor, operands: Sequence[Tensor | None], ragged: RaggedRows | None
    ) -> tuple[Tensor, ...]:
        """The results of a direction of the first level."""
        return run_folded(self._operations[index], self._rows, (self._vectors, x), operands, ragged)

    def __len__(self) -> int:
        """How many directions it serves."""
        return len(self._operations)
