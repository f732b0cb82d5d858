"""The measures of a page, each within a bound on its work, so that a page of 2,000 symbols takes some seconds."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
from torch import nn

from gatewright.errors import GatewrightError
from gatewright.inspect.activity.activations import Activations, LayerActivations
from gatewright.inspect.activity.observe import observations
from gatewright.inspect.activity.record import recurrent_layers
from gatewright.inspect.dynamics.drift import Drift, drift
from gatewright.inspect.dynamics.fixed_points import eigenvalues, fixed_points
from gatewright.inspect.dynamics.lyapunov import lyapunov_spectrum
from gatewright.inspect.dynamics.state_map import StateMap, state_map
from gatewright.inspect.dynamics.state_space import dead_units, state_rank, whole_state
from gatewright.inspect.dynamics.variables import find_variable
from gatewright.inspect.gradients.reading import Reading
from gatewright.look.contributions import contributions_of, memory_of, work_for
from gatewright.look.extras import Extras, HeldCarry, LayerDynamics, Values
from gatewright.look.joined import joined
from gatewright.tasks.data.synthetic import random_pairs
from gatewright.tasks.run import Run
from gatewright.tasks.training.gradient_records import read_gradients
from gatewright.tasks.training.run_folder import RunFolder

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
    work: int | None = None,
) -> Extras:
    """All measures of a model for the first rows of what it read.

    - `batches`: the same data as that of the activations, in the same order.
    - `steps`: of each row that are shown.
    - `gradients`: whether contributions and the effective memory are measured; these take most of the time. `work`:
      how many steps are run and differentiated for each of the two, at most; by default what takes some seconds.
    """
    network = source.model.network if isinstance(source, Run) else source
    bound, first = work_for(network) if work is None else work, list[Reading]()
    contributions = dict(contributions_of(_noting(batches, first), activations, steps, bound)) if gradients else {}
    return Extras(
        contributions=contributions,
        effective_memory=memory_of(first[0], bound) if first else {},
        dynamics=[_dynamics(path, layer, activations) for path, layer in recurrent_layers(network).items()],
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
