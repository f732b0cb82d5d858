"""The measures of a page, each within a bound on its work, so that a page of 2,000 symbols takes some seconds."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn

from gatewright.errors import GatewrightError
from gatewright.inspect.activity.activations import Activations, LayerActivations
from gatewright.inspect.activity.observe import observations
from gatewright.inspect.activity.record import RECURRENT_LAYERS
from gatewright.inspect.dynamics.drift import Drift, drift
from gatewright.inspect.dynamics.fixed_points import eigenvalues, fixed_points
from gatewright.inspect.dynamics.lyapunov import lyapunov_spectrum
from gatewright.inspect.dynamics.state_map import StateMap, state_map
from gatewright.inspect.dynamics.state_space import dead_units, state_rank, whole_state
from gatewright.inspect.dynamics.variables import find_variable
from gatewright.inspect.gradients.memory import EffectiveMemory, Of, effective_memory
from gatewright.inspect.gradients.reading import Reading
from gatewright.inspect.gradients.saliency import saliency, saliency_by_lag
from gatewright.look.extras import Contributions, Extras, HeldCarry, LayerDynamics, MemoryCurve, Values
from gatewright.look.joined import joined
from gatewright.nn import Recurrent
from gatewright.tasks.data.synthetic import random_pairs
from gatewright.tasks.run import Run
from gatewright.tasks.training.gradient_records import read_gradients
from gatewright.tasks.training.run_folder import RunFolder

LAGS = 32
"""Steps back from each output that contributions are measured over."""
WORK = 70_000
"""Steps that are run and differentiated for contributions, at most, and again for the effective memory."""
_MEMORY_LAGS, _MEMORY_ENDS = 100, 8
_WHOLE_ROW = 64  # steps of a row that is read in both directions: each output differentiates all of it
_POOLED = 2
_LARGEST_STATE = 1024  # eigenvalues of larger Jacobians take too long
_SETTLING = 500  # steps with a constant input before Newton's method: a stable point is near then
_STARTS, _ITERATIONS = 3, 40
_EXPONENTS, _SPECTRUM_STEPS, _WARM_UP = 32, 200, 20
_CARRY_PAIRS, _CARRY_BITS = 64, 16


def measured(
    source: Run | nn.Module,
    activations: Activations,
    batches: Iterable[Reading],
    *,
    steps: int,
    gradients: bool = True,
    work: int = WORK,
) -> Extras:
    """All measures of a model for the first rows of what it read.

    - `batches`: the same data as that of the activations, in the same order.
    - `steps`: of each row that are shown.
    - `gradients`: whether contributions and the effective memory are measured; these take most of the time. `work`:
      how many steps are run and differentiated for each of the two, at most.
    """
    network = source.model.network if isinstance(source, Run) else source
    first: list[Reading] = []
    contributions = dict(_contributions(_noting(batches, first), activations, steps, work)) if gradients else {}
    return Extras(
        contributions=contributions,
        effective_memory=_memory(first[0], work) if first else {},
        dynamics=[_dynamics(path, layer, activations) for path, layer in _layers(network).items()],
        ranks=state_rank(activations),
        dead=dead_units(activations),
        drifts=_drifts(source, activations),
        carry=_carry(source, activations),
        training=_training(source),
    )


def _noting(batches: Iterable[Reading], first: list[Reading]) -> Iterator[Reading]:
    """The batches; the first one with a step is kept."""
    for batch in batches:
        if not first and batch.steps:
            first.append(batch)
        yield batch


def _contributions(
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
        cost = length * (LAGS + 1) if is_causal else int(batch.lengths[place]) ** 2
        if work <= 0 or (not is_causal and int(batch.lengths[place]) > _WHOLE_ROW):
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


def _memory(batch: Reading, work: int) -> dict[str, MemoryCurve]:
    """The effective memory of the last recurrent layer's state; of the output where the layer reads both ways."""
    lags = min(_MEMORY_LAGS, batch.steps - 1)
    last = [(path, layer) for path, layer in _layers(batch.model).items() if isinstance(layer, (Recurrent, nn.RNNBase))]
    for of in ("state", "output"):
        try:
            path, layer = last[-1]
            measure = _bounded_memory(batch, lags, of, int(layer.hidden_size), work)
        except (GatewrightError, IndexError):
            continue
        if of == "output":
            return {"output": MemoryCurve(measure.norms)}
        level = f"l{layer.num_layers - 1}"
        name = f"{path}.{level}" if path else level
        return {name: MemoryCurve(measure.norms, measure.by_unit, name)}
    return {}


def _bounded_memory(batch: Reading, lags: int, of: Of, units: int, work: int) -> EffectiveMemory:
    """As many ends as the work allows: at each, every unit is differentiated by every lag."""
    ends = max(1, min(_MEMORY_ENDS, work // (units * (lags + 1))))
    return effective_memory(batch, lags=lags, ends=ends, of=of)


def _layers(network: nn.Module) -> dict[str, Any]:
    return {path: layer for path, layer in network.named_modules() if isinstance(layer, RECURRENT_LAYERS)}


def _dynamics(path: str, layer: nn.Module, activations: Activations) -> LayerDynamics:
    """What a layer does with a constant input and along the first row."""
    name = f"{path}.l0" if path else "l0"
    levels = [own for own in activations if own.name.rpartition(".")[0] == path]
    if name not in activations.layers or not activations.steps:
        return LayerDynamics(path, note="The layer did not run.")
    try:
        system = state_map(layer)
    except GatewrightError as error:
        return LayerDynamics(path, note=f"Not measured: {error.problem}.")
    if system.size > _LARGEST_STATE:
        return LayerDynamics(path, note=f"Not measured: the state has {system.size:,} numbers, too many for a page.")
    lower = activations.layers[name]
    row = int(np.argmax(lower.lengths))
    constant, words = _constant_input(lower, activations)
    length = int(lower.lengths[row])
    last = np.concatenate([whole_state(level, row, length)[-1] for level in levels])
    begin = _settled(system, constant, np.stack([last, np.zeros(system.size)]))
    points = fixed_points(layer, constant, starts=begin, iterations=_ITERATIONS)
    found = points.points[0] if len(points) else begin[0]
    at = eigenvalues(layer, constant, found)
    residual = float(np.linalg.norm(system.step(found[None], constant[None]) - found))
    read = lower.inputs[: min(length, _SPECTRUM_STEPS), row]
    warm_up = min(_WARM_UP, len(read) // 4)
    spectrum = lyapunov_spectrum(layer, read, count=min(system.size, _EXPONENTS), warm_up=warm_up)
    return LayerDynamics(
        path, "", words, residual, bool(len(points)), at.values, spectrum.exponents, len(read) - warm_up
    )


def _constant_input(layer: LayerActivations, activations: Activations) -> tuple[Values, str]:
    """What the layer is to read at every step: the most frequent symbol, or the mean of what it read."""
    if activations.symbols is not None and activations.series is None and activations.has_steps_of(layer):
        counts = Counter(chain.from_iterable(activations.symbols))
        most, _ = counts.most_common(1)[0]
        for row, names in enumerate(activations.symbols):
            if most in names:
                return layer.inputs[list(names).index(most), row].astype(np.float64), most
    values = layer.inputs[: layer.steps][layer.mask()]
    return values.mean(0).astype(np.float64), ""


def _settled(system: StateMap, constant: Values, states: Values) -> Values:
    """Where states are after many steps with a constant input."""
    repeated = np.tile(constant, (len(states), 1))
    for _ in range(_SETTLING):
        after = system.step(states, repeated)
        if np.abs(after - states).max() < 1e-12:
            break
        states = after
    return states


def _drifts(source: Run | nn.Module, activations: Activations) -> list[Drift]:
    """How the state drifts, where the model knows how long the sequences of its training were."""
    trained = getattr(source.model.recipe, "bits", None) if isinstance(source, Run) else None
    if not isinstance(trained, int) or trained >= activations.steps:
        return []
    return drift(activations, trained)


def _carry(source: Run | nn.Module, activations: Activations) -> HeldCarry | None:
    """Where a model that adds holds the carry, found on pairs of its own, and what it says in the rows of the page."""
    if not isinstance(source, Run) or source.model.recipe.name != "adding":
        return None
    seen = joined(list(observations(source, random_pairs(_CARRY_PAIRS, _CARRY_BITS, seed=0))))
    assert seen.series is not None, "a model that adds reads bits"
    assert activations.series is not None, "a model that adds reads bits"
    wanted = np.full((seen.steps, seen.batch), np.nan)
    for row, length in enumerate(seen.lengths):
        wanted[:length, row] = carries(seen.series[:length, row])
    held, bits = find_variable(seen, wanted), activations.series
    states = activations.layer(held.layer).values(held.state)
    return HeldCarry(
        held,
        {row: held.read(states[:length, row]) for row, length in enumerate(activations.lengths)},
        {row: carries(bits[:length, row]) for row, length in enumerate(activations.lengths)},
    )


def carries(bits: Any) -> Any:
    """The carry after each step of an addition of two numbers, whose bits (steps, 2) come lowest first."""
    carry, after = 0, []
    for first, second in np.rint(bits).astype(int):
        carry = int(first + second + carry >= 2)
        after.append(carry)
    return np.array(after, np.int64)


def _training(source: Run | nn.Module) -> Any:
    """What `train --watch` measured; nothing where the run was not watched, or its file is damaged."""
    if not isinstance(source, Run) or source.folder is None:
        return ()
    try:
        return read_gradients(RunFolder(source.folder).gradients)
    except GatewrightError:
        return ()
