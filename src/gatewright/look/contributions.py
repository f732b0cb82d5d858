"""What each output looked at, and how far back a network remembers: by gradients, within a bound on the work."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import nn

from gatewright.errors import GatewrightError
from gatewright.inspect.activity.activations import Activations
from gatewright.inspect.activity.record import recurrent_layers
from gatewright.inspect.gradients.memory import EffectiveMemory, Of, effective_memory
from gatewright.inspect.gradients.reading import Reading
from gatewright.inspect.gradients.saliency import saliency, saliency_by_lag
from gatewright.look.extras import Contributions, MemoryCurve, Values

LAGS = 32
"""Steps back from each output that contributions are measured over."""
WORK = 70_000
"""Steps that are run and differentiated for contributions, at most, and again for the effective memory."""
_UNITS = 256  # of a layer, for which that takes about two seconds each
_MEMORY_LAGS, _MEMORY_ENDS = 100, 8
_WHOLE_ROW = 64  # steps of a row that is read in both directions: each output differentiates all of it
_POOLED = 2


def contributions_of(
    batches: Iterable[Reading], activations: Activations, steps: int, work: int
) -> Iterator[tuple[int, Contributions]]:
    """Rows with their contributions, until the work is done that there may be, or the rows of the page end."""
    row = 0
    for batch in batches:
        count = min(len(batch.lengths), activations.batch - row)
        if count <= 0:
            return
        try:
            for place, (part, cost) in enumerate(_of_batch(batch, count, activations, steps, work)):
                yield row + place, part
                work -= cost
        except GatewrightError:  # a model whose outputs or inputs have no derivative: the page is shown without
            return
        row += count
        if work <= 0 or row >= activations.batch:
            return


def _of_batch(
    batch: Reading, count: int, activations: Activations, steps: int, work: int
) -> Iterator[tuple[Contributions, int]]:
    """The contributions in the first rows of a batch, and what each row cost."""
    outputs = activations.outputs
    if outputs is None or not batch.steps:
        return
    ahead = len(outputs) if activations.output_kind == "forecast" else 0
    if outputs.ndim == _POOLED or ahead:
        each = batch.steps * max(1, ahead)
        if ahead and each > work:
            return
        rows = batch.rows(torch.arange(min(count, max(1, work // each))))
        norms = [saliency(rows, step=step if ahead else None).norms for step in range(max(1, ahead))]
        table = np.stack([_by_patch(values, activations.patch) for values in norms])  # (outputs, steps, rows)
        for place in range(table.shape[-1]):
            length = int(activations.lengths[place])
            yield Contributions(table[:, :length, place], by_lag=False, first=length - ahead if ahead else 0), each
        return
    is_causal = not any(layer.is_backward for layer in activations)
    for place in range(count):
        length = min(int(batch.lengths[place]), steps)
        if is_causal:
            length = min(length, max(0, work) // (LAGS + 1))
        cost = length * (LAGS + 1) if is_causal else int(batch.lengths[place]) ** 2
        if work <= 0 or not length or (not is_causal and int(batch.lengths[place]) > _WHOLE_ROW):
            return
        work -= cost
        if is_causal:
            yield Contributions(saliency_by_lag(batch, lags=LAGS, row=place, steps=length).values), cost
        else:
            alone = batch.rows(torch.tensor([place]))
            norms = [saliency(alone, step=step).norms[:, 0] for step in range(length)]
            yield Contributions(np.stack(norms)[:, :length], by_lag=False), cost


def _by_patch(norms: Values, patch: int) -> Values:
    """Norms of steps (time, rows) as those of the steps of layers that read `patch` of them as one."""
    if patch == 1:
        return norms
    missing = -len(norms) % patch
    padded = np.concatenate([norms, np.full((missing, norms.shape[1]), np.nan)])
    return np.sqrt(np.nansum(padded.reshape(-1, patch, norms.shape[1]) ** 2, 1))


def memory_of(batch: Reading, work: int) -> dict[str, MemoryCurve]:
    """The effective memory of the last recurrent layer's state; of the output where the layer reads both ways."""
    layers = list(recurrent_layers(batch.model).items())
    if not layers:
        return {}
    path, layer = layers[-1]
    for of in ("state", "output"):
        try:
            measure = _bounded_memory(batch, of, int(layer.hidden_size), work)
        except GatewrightError:
            continue
        if of == "output":
            return {"output": MemoryCurve(measure.norms)}
        level = f"l{layer.num_layers - 1}"
        name = f"{path}.{level}" if path else level
        return {name: MemoryCurve(measure.norms, measure.by_unit, name)}
    return {}


def _bounded_memory(batch: Reading, of: Of, units: int, work: int) -> EffectiveMemory:
    """As many lags and ends as the work allows: at each end, every unit is differentiated by every lag."""
    lags = max(0, min(_MEMORY_LAGS, batch.steps - 1, work // units - 1))
    ends = max(1, min(_MEMORY_ENDS, work // (units * (lags + 1))))
    return effective_memory(batch, lags=lags, ends=ends, of=of)


def work_for(network: nn.Module) -> int:
    """The work for a network: a step of a larger layer costs more."""
    return WORK * _UNITS // max([_UNITS, *(int(layer.hidden_size) for layer in recurrent_layers(network).values())])
