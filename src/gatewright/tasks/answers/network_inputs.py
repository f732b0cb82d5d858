"""What a network reads of data, with a name for each of its steps: for whoever looks inside the network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data.ragged import Ragged

OutputKind = Literal["", "next", "label", "class", "keys", "bit", "forecast"]
"""What the outputs of a network are, see `NetworkInputs.output_kind`."""

MANY = 64
"""Rows of a batch."""


@dataclass(frozen=True, eq=False)
class NetworkInputs:
    """A batch as a network reads it.

    - `values` (time, batch[, features]): symbols or numbers. After the end of a shorter row they are 0.
    - `lengths` (batch,): the steps of each row.
    - `rows`: what identifies each row, such as its line or its file.
    - `symbols`: for each row the names of its steps, such as characters or words; None where steps have no names.
    - `variables`: the names of the features, where these are numbers with names.
    - `labels`: the names of the outputs, such as classes or symbols.
    - `output_kind`: what the outputs are. "next": scores of the symbol that comes next; "label": scores of each step's
      label; "class": scores of the row's class; "keys": a logit of each key in the next frame; "bit": a number
      for each step's bit, which is 1 above 0.5; "forecast": the ends and the middle of an interval; "": something else.
    - `measured` (time, batch, variables): the values in the units of the data, NaN where there are none yet, with
      their names `measured_names`, where the network reads them on another scale.
    - `output_scale`: mean and deviation (batch, variables) that take outputs to the units of the data.
    - `reads_lengths`: whether the network takes lengths; otherwise all rows are equally long.
    """

    values: NDArray[Any]
    lengths: NDArray[np.int64]
    rows: Sequence[str]
    symbols: Sequence[Sequence[str]] | None = None
    variables: Sequence[str] | None = None
    labels: Sequence[str] | None = None
    reads_lengths: bool = False
    output_kind: OutputKind = ""
    measured: NDArray[Any] | None = None
    measured_names: Sequence[str] | None = None
    output_scale: tuple[NDArray[Any], NDArray[Any]] | None = None


def padded(sequences: Ragged, first: int, stop: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Some sequences as one array (time, rows, ...), 0 after their ends, and their lengths."""
    rows = [sequences[row] for row in range(first, stop)]
    lengths = np.array([len(row) for row in rows], np.int64)
    is_symbols = np.issubdtype(sequences.values.dtype, np.integer)
    dtype = np.int64 if is_symbols else np.float32  # data sets hold symbols in as few bytes as they fit in
    values = np.zeros((int(lengths.max(initial=0)), len(rows), *sequences.values.shape[1:]), dtype)
    for place, row in enumerate(rows):
        values[: len(row), place] = row
    return values, lengths
