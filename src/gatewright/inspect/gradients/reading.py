"""A model and a batch that it reads: rows of it, windows of it, the same row many times."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gatewright.errors import DataError, OptionError
from gatewright.inspect.activity.names import check_names
from gatewright.inspect.activity.observe import Source, network_batches
from gatewright.inspect.activity.record import as_read_by, recurrent_layers


@dataclass(frozen=True, eq=False)
class Reading:
    """A model and one batch.

    - `values`: what the model reads, symbols (time, batch) or numbers (time, batch, features); with `batch_first` the
      first two axes are the other way round.
    - `lengths` (batch,): the steps of each row.
    - `symbols`, `labels`: the names of the steps of each row, and of the outputs, where they have names.
    - `reads_lengths`: whether the model takes lengths, as the networks of recipes do.
    """

    model: nn.Module
    values: Tensor
    lengths: Tensor
    batch_first: bool = False
    symbols: Sequence[Sequence[str]] | None = None
    labels: Sequence[str] | None = None
    reads_lengths: bool = False

    @property
    def time_major(self) -> Tensor:
        """The values with time first."""
        return self.values.transpose(0, 1) if self.batch_first else self.values

    @property
    def steps(self) -> int:
        """The steps of the longest row."""
        return int(self.lengths.max()) if len(self.lengths) else 0

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What the model is called with."""
        return (self.values, None, self.lengths.to(self.values.device)) if self.reads_lengths else (self.values,)

    def rows(self, rows: Tensor) -> "Reading":
        """Some rows, in any order; a row may come several times."""
        taken = self.time_major[:, rows.to(self.values.device)]
        return replace(self, values=self._as_read(taken), lengths=self.lengths[rows])

    def windows(self, rows: Tensor, starts: Tensor, width: int) -> "Reading":
        """Windows of `width` steps as rows, each from a row and a step on; the last step is repeated after the end."""
        places = (torch.arange(width)[:, None] + starts).clamp(max=len(self.time_major) - 1)
        taken = self.time_major[places.to(self.values.device), rows.to(self.values.device)]
        lengths = torch.full((len(rows),), width)
        return replace(self, values=self._as_read(taken), lengths=lengths, reads_lengths=False)

    def _as_read(self, time_major: Tensor) -> Tensor:
        return time_major.transpose(0, 1) if self.batch_first else time_major


ModelSource = nn.Module | Source | Reading
"""A torch module, a run (its folder, a model file, or a `Run`), or a batch that was read already."""


def readings(
    source: ModelSource,
    data: Any = None,
    *,
    text: str | None = None,
    lengths: Sequence[int] | Tensor | None = None,
    batch_first: bool | None = None,
    symbols: Sequence[Sequence[str]] | None = None,
    labels: Sequence[str] | None = None,
    limit: int | None = None,
    **columns: Any,
) -> Iterator[Reading]:
    """The batches of data for a model.

    - A torch module reads one tensor or array; `lengths` are the steps of its rows. `batch_first` says which axis is
      time; by default that of its first recurrent layer. `symbols` name the steps of each row, `labels` the outputs.
    - A run reads what its `predict` takes, or a text.
    - A `Reading` is the only batch: several measures of one batch read the data once.

    Raises OptionError for arguments that do not go together.
    """
    if isinstance(source, Reading):
        yield source
        return
    if isinstance(source, nn.Module):
        if text is not None or columns:
            raise OptionError(f"a {type(source).__name__} reads tensors", do="give data, or the folder of a run")
        reading = _module_reading(source, data, lengths, batch_first)
        check_names(reading.lengths, symbols, None, None)
        yield replace(reading, symbols=symbols, labels=labels)
        return
    if any(option is not None for option in (lengths, batch_first, symbols, labels)):
        raise OptionError(
            "a run knows the lengths, axes and names of its data", do="leave out lengths, batch_first, symbols, labels"
        )
    for network, inputs in network_batches(_run_source(source), data, text=text, limit=limit, **columns):
        values = torch.as_tensor(inputs.values).to(next(network.parameters()).device)
        yield Reading(
            network,
            values,
            torch.as_tensor(inputs.lengths),
            symbols=inputs.symbols,
            labels=inputs.labels,
            reads_lengths=inputs.reads_lengths,
        )


def first_reading(source: ModelSource, data: Any = None, **options: Any) -> Reading:
    """The first batch. Raises DataError where there is none."""
    reading = next(readings(source, data, limit=1, **options), None)
    if reading is None or not reading.steps:
        raise DataError("there is nothing to look at: the data has no rows")
    return reading


def _run_source(source: Any) -> Source:
    return os.fspath(source) if isinstance(source, os.PathLike) else source


def _module_reading(
    model: nn.Module, data: Any, lengths: Sequence[int] | Tensor | None, batch_first: bool | None
) -> Reading:
    if data is None:
        raise OptionError("there is nothing to read", expected="a tensor or array (time, batch[, features])")
    layers = list(recurrent_layers(model).values())
    if not layers:
        raise OptionError(
            f"the {type(model).__name__} has no recurrent layer",
            expected="a model with torch.nn's or gatewright.nn's RNN, GRU, LSTM or Recurrent",
        )
    first = layers[0].batch_first if batch_first is None else batch_first
    values = as_read_by(model, data.detach() if isinstance(data, Tensor) else np.asarray(data))
    if values.dim() == (2 if values.is_floating_point() else 1):
        values = values.unsqueeze(0 if first else 1)
    batch, steps = (values.shape[0], values.shape[1]) if first else (values.shape[1], values.shape[0])
    ends = torch.full((batch,), steps) if lengths is None else torch.as_tensor(lengths).cpu().long()
    if len(ends) != batch or bool((ends > steps).any()) or bool((ends < 0).any()):
        raise OptionError(
            "the lengths do not fit the data", expected=f"{batch} numbers from 0 to {steps}", got=str(ends.tolist())
        )
    return Reading(model, _with_finite_padding(values, ends, batch_first=first), ends, first)


def _with_finite_padding(values: Tensor, lengths: Tensor, *, batch_first: bool) -> Tensor:
    """Values with 0 where they are not finite after the end of a row: in a gradient, 0 times NaN is NaN."""
    if not values.is_floating_point():
        return values
    time_major = values.transpose(0, 1) if batch_first else values
    outside = torch.arange(len(time_major))[:, None] >= lengths
    outside = (outside.T if batch_first else outside).to(values.device)
    return torch.where(outside[..., None] & ~values.isfinite(), torch.zeros_like(values), values)
