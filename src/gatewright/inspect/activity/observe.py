"""`observe`: gates and states of a trained model on data of its kind, from a run's folder or a model file."""

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn

from gatewright.errors import DataError, OptionError
from gatewright.inspect.activity.activations import Activations, Array
from gatewright.inspect.activity.record import record
from gatewright.tasks.answers.network_inputs import NetworkInputs
from gatewright.tasks.run import Run, open_run

Source = str | os.PathLike[str] | Run


def observe(source: Source, data: object = None, *, text: str | None = None, **reading: Any) -> Activations:
    """The activations of a trained model for the first batch of data, up to 64 rows.

        activations = gw.inspect.observe("runs/text", text="To be, or not to be")
        activations = gw.inspect.observe("runs/sensors", "sensors.csv")

    - `source`: the folder of a run, a model file, or a `Run`.
    - `data`: what the model's `predict` takes: a path, a DataFrame, arrays. Without it a forecaster looks at the end of
      the series that it was trained on, other models at the data that they were measured on. A model of a text needs a
      text.
    - `text`: a text, in place of data, for a model that reads texts.
    - `reading`: the recipe's settings of columns and files.

    Raises OptionError where there is no data, DataError where it cannot be read or has no rows.
    """
    first = next(observations(source, data, text=text, **reading), None)
    if first is None or not first.steps:
        what = "data has no rows" if text is None else "text has nothing that the model reads"
        raise DataError(f"there is nothing to look at: the {what}")
    return first


def observations(
    source: Source, data: object = None, *, text: str | None = None, limit: int | None = None, **reading: Any
) -> Iterator[Activations]:
    """The same for all of the data, a batch after the other; with `limit` for so many batches.

    Only the batch that is being looked at is in memory.
    """
    for network, inputs in network_batches(source, data, text=text, limit=limit, **reading):
        yield activations_of(network, inputs)


def network_batches(
    source: Source, data: object = None, *, text: str | None = None, limit: int | None = None, **reading: Any
) -> Iterator[tuple[nn.Module, NetworkInputs]]:
    """The network of a trained model and what it reads, a batch after the other; see `observations`."""
    run = source if isinstance(source, Run) else open_run(source)
    predictor = run.predictor(**reading)
    if text is not None:
        if data is not None:
            raise OptionError("there is a text and data", do="give one of them")
        data = [text]
    is_own = data is None and predictor.needs_data
    for inputs in islice(predictor.own_inputs() if is_own else predictor.network_inputs(data), limit):
        yield run.model.network, inputs


def activations_of(network: nn.Module, inputs: NetworkInputs, state: Any = None) -> Activations:
    """What a network does with a batch; `state` is what its `forward` takes, the state before the first step."""
    device = next(network.parameters()).device
    values = torch.as_tensor(inputs.values).to(device)
    lengths = torch.as_tensor(inputs.lengths)
    arguments: tuple[Any, ...] = (values,) if state is None else (values, state)
    if inputs.reads_lengths:
        arguments = (values, state, lengths.to(device))
    recorded = record(network, *arguments)
    is_symbols = np.issubdtype(inputs.values.dtype, np.integer)
    patch: Any = getattr(network, "patch", None)
    return replace(
        recorded,
        outputs=_outputs(network, inputs, recorded.outputs),
        symbols=inputs.symbols,
        series=None if is_symbols else inputs.values,
        labels=inputs.labels,
        rows=inputs.rows,
        variables=inputs.variables,
        patch=patch.steps if patch is not None else 1,
        output_kind=inputs.output_kind,
        measured=inputs.measured,
        measured_names=inputs.measured_names,
    )


def _outputs(network: nn.Module, inputs: NetworkInputs, outputs: Array | None) -> Array | None:
    """Outputs in the units of the data; log-probabilities of labels where a random field reads the scores."""
    if outputs is None:
        return None
    if inputs.output_scale is not None:
        mean, deviation = inputs.output_scale
        return outputs * deviation[..., None] + mean[..., None]
    field: Any = getattr(network, "crf", None)
    if field is not None:
        marginals: torch.Tensor = field.log_marginals(
            torch.as_tensor(outputs).double(), torch.as_tensor(inputs.lengths)
        )
        return marginals.numpy()
    return outputs
