"""`FoldedEmbedding`: a drop-in for torch.nn.Embedding whose vectors a recurrent layer knows as rows of a table."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from gatewright.nn.engine.folded_embedding import TableRows
from gatewright.nn.modes import is_plain


class FoldedEmbedding(nn.Embedding):
    """torch.nn.Embedding, with the same arguments, parameters and results.

    A recurrent layer of gatewright.nn that is called with its output knows of which rows of the table it consists.
    Where the table has at most half as many rows as the batch has steps, the layer multiplies the table with its input
    weights, and not every vector of the batch. The results and all gradients are equal within rounding. Nothing is
    different for an output that was changed, by whatever means, dropped out or packed on the way, with `max_norm`,
    `sparse` or `scale_grad_by_freq`, and in graphs and transforms.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Symbols (...) -> vectors (..., embedding_dim)."""
        output = super().forward(input)
        if is_plain(autocast=True) and not (self.max_norm or self.sparse or self.scale_grad_by_freq):
            mark_rows(output, TableRows(self.weight, input, self.padding_idx))
        return output

    def __prepare_scriptable__(self) -> nn.Embedding:
        """The plain embedding with this table, since TorchScript cannot compile what remembers its rows."""
        plain = nn.Embedding(self.num_embeddings, self.embedding_dim, device="meta")
        plain.__dict__.update(self.__dict__)
        return plain


class _Lookup(NamedTuple):
    rows: TableRows
    versions: tuple[int, ...]  # of the vectors, the table and the symbols, when these were looked up


lookups = WeakTensorKeyDictionary()
"""The rows that tensors consist of, for as long as the tensors live."""


def mark_rows(vectors: Tensor, rows: TableRows) -> None:
    """Remember that the vectors are those rows of a table, if nothing of torch's watches or changes operations."""
    if is_plain(autocast=True) and type(vectors) is Tensor and vectors.is_cpu:
        lookups[vectors] = _Lookup(rows, _versions(vectors, rows))


def rows_of(vectors: Tensor) -> TableRows | None:
    """The rows of a table that the vectors still consist of, if that is known."""
    lookup = lookups.get(vectors)
    if lookup is None or lookup.versions != _versions(vectors, lookup.rows):
        return None
    return lookup.rows


def are_rows(vectors: Tensor, rows: TableRows) -> bool:
    """Whether the vectors have the numbers of these rows now.

    Version counters alone do not tell: tensors also change through `.data`, through an array that shares their memory,
    or under torch.inference_mode. Numbers alone do not either: `vectors.mul_(ones)` has a gradient by the ones.
    """
    table, symbols = rows.table.detach(), rows.symbols.reshape(-1)
    return torch.equal(table.index_select(0, symbols), vectors.detach().view(len(symbols), -1))


def _versions(vectors: Tensor, rows: TableRows) -> tuple[int, ...]:
    return tuple([_version(tensor) for tensor in (vectors, rows.table, rows.symbols)])


def _version(tensor: Tensor) -> int:
    """The number of counted changes; tensors of torch.inference_mode do not count them."""
    return 0 if tensor.is_inference() else tensor._version  # pyright: ignore[reportPrivateUsage]
