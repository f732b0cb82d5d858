"""`train --watch`: gradient norms by layer, gate and step, measured now and then, kept in the run's folder."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gatewright.errors import OptionError
from gatewright.files import write_atomically, writing
from gatewright.nn import Recurrent
from gatewright.nn.records import direction_parameters
from gatewright.tasks.training.gradient_records import (
    GradientTrouble,
    WatchedGradients,
    gradient_troubles,
    read_gradients,
)
from gatewright.tasks.training.gradient_sweep import LayerNorms, StepNorms, SweptLayerCall, named_states, step_norms
from gatewright.tasks.training.random_numbers import random_numbers, set_random_numbers
from gatewright.tasks.training.run_folder import RunFolder
from gatewright.tasks.training.tensor_batches import TensorBatch
from gatewright.tasks.training.training_module import TrainingModule

MEASUREMENTS = 100
"""How often a run is measured where no interval is given."""
_ROWS = 16  # of a batch: NumPy goes back through these alone
_PLACES = 64  # steps and lags that are kept of a longer sequence


def watch_interval(watch: bool | int, iterations: int) -> int:
    """The iterations from one measurement to the next; 0 for none. True stands for 100 measurements in a run."""
    if watch is True:
        return max(1, iterations // MEASUREMENTS)
    if watch < 0:
        raise OptionError("watch is no number of iterations", expected="0 or more, or True", got=str(watch))
    return int(watch)


@dataclass(eq=False)
class _WatchedCall:
    """What went into and came out of one call of a recurrent layer."""

    name: str
    layer: Recurrent
    inputs: Tensor
    states: Any
    lengths: Any
    output: Tensor
    finals: tuple[Tensor, ...]


class GradientWatch(pl.Callback):
    """Every `interval` iterations, before the training step: runs the batch once more and measures its gradients.

    It runs in evaluation mode, so without dropout, and in float32. Gradients and random numbers of the training are
    not touched: a run has the same bits with and without it. NumPy goes back through the first 16 rows of the batch.
    A measurement depends on the weights and the batch alone, so a resumed run measures again what came after its
    checkpoint, and ends with the same file.
    """

    def __init__(self, module: TrainingModule, folder: RunFolder, interval: int) -> None:
        self.measurements: list[WatchedGradients] = []
        self.interval = interval  # iterations from one measurement to the next
        self._module, self._folder = module, folder

    @property
    def troubles(self) -> list[GradientTrouble]:
        """Where gradients vanish or explode."""
        return gradient_troubles(self.measurements)

    def on_train_start(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        """Read what earlier sessions measured up to the checkpoint, and write it without what came after."""
        if trainer.is_global_zero:
            self.measurements = read_gradients(self._folder.gradients, before=self._module.global_step)
            lines = b"".join(measurement.line() for measurement in self.measurements)
            write_atomically(self._folder.gradients, lines)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: TensorBatch, batch_idx: int
    ) -> None:
        """Measure where it is due."""
        iteration = self._module.global_step
        if iteration % self.interval or not trainer.is_global_zero:
            return
        measurement = measured_gradients(self._module, batch, iteration)
        if measurement is not None:
            self.measurements.append(measurement)
            with writing(self._folder.gradients), self._folder.gradients.open("ab") as opened:
                opened.write(measurement.line())


def measured_gradients(module: TrainingModule, batch: TensorBatch, iteration: int) -> WatchedGradients | None:
    """The gradient norms of a batch; None where no row has a step that the loss sees."""
    network = module.network
    with _undisturbed(network), torch.enable_grad():
        with _watched(network) as calls:
            total, count, _ = module.objective.total_loss(network, batch, batch.begins_with(module.carried_state))
        outputs = [tensor for call in calls for tensor in (call.output, *call.finals)]
        if not count or not total.requires_grad or not outputs:
            return None
        gradients = iter(torch.autograd.grad(total / count, outputs, allow_unused=True))
        by_call = [(call, next(gradients), [next(gradients) for _ in call.finals]) for call in calls]
    layers: dict[str, LayerNorms] = {}
    for call, d_output, d_finals in by_call:
        for direction, norms in step_norms(_swept_call(call, d_output, d_finals)).items():
            layers[f"{call.name}.{direction}"] = norms
    return _thinned(iteration, layers)


@contextmanager
def _undisturbed(network: nn.Module) -> Generator[None]:
    """Evaluation mode; afterwards modes and random numbers are as before."""
    modes, drawn = {part: part.training for part in network.modules()}, random_numbers()
    try:
        network.eval()
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
        set_random_numbers(drawn)


@contextmanager
def _watched(network: nn.Module) -> Generator[list[_WatchedCall]]:
    """Hooks that keep the calls of all recurrent layers."""
    calls: list[_WatchedCall] = []
    names = {part: name for name, part in network.named_modules() if isinstance(part, Recurrent)}

    def keep(layer: Recurrent, args: tuple[Any, ...], options: dict[str, Any], result: Any) -> None:
        read, *others = args
        states = others[0] if others else options.get("hx")
        output, finals = result[0], result[1] if isinstance(result[1], tuple) else (result[1],)
        call = _WatchedCall(names[layer], layer, read, states, options.get("lengths"), output, finals)
        if output.requires_grad:
            calls.append(call)

    handles = [layer.register_forward_hook(keep, with_kwargs=True) for layer in names]  # pyright: ignore[reportArgumentType]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _swept_call(call: _WatchedCall, d_output: Tensor | None, d_finals: Sequence[Tensor | None]) -> SweptLayerCall:
    """The call as float64 arrays, time first, with so many rows as are measured."""
    layer = call.layer
    first = (lambda tensor: tensor.transpose(0, 1)) if layer.batch_first else (lambda tensor: tensor)
    inputs, output = first(call.inputs)[:, :_ROWS], first(call.output)[:, :_ROWS]
    d_output = torch.zeros_like(output) if d_output is None else first(d_output)[:, :_ROWS]
    given = [
        torch.zeros_like(final) if gradient is None else gradient
        for final, gradient in zip(call.finals, d_finals, strict=True)
    ]
    steps, rows = inputs.shape[:2]
    lengths = np.full(rows, steps) if call.lengths is None else torch.as_tensor(call.lengths)[:_ROWS].cpu().numpy()
    # Steps that only rows beyond the measured ones have: the gradient is 0 there, and has not vanished.
    longest = max(1, int(lengths.max(initial=1)))
    inputs, d_output = inputs[:longest], d_output[:longest]
    return SweptLayerCall(
        layer=layer,
        inputs=_float64(inputs),
        states=_first_rows(named_states(layer, call.states)),
        lengths=lengths.astype(np.int64),
        d_output=_float64(d_output),
        d_finals=_first_rows(named_states(layer, tuple(given))),
        params=[direction_parameters(layer, index) for index in range(len(layer.packed_cells))],
    )


def _float64(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().cpu().double().numpy()


def _first_rows(states: list[dict[str, NDArray[np.float64]]]) -> list[dict[str, NDArray[np.float64]]]:
    return [{name: array[:_ROWS] for name, array in own.items()} for own in states]


def _thinned(iteration: int, layers: dict[str, LayerNorms]) -> WatchedGradients | None:
    """The norms at up to 64 steps, evenly spaced, and lags, which are denser near 0."""
    norms = next((norms for layer in layers.values() for norms in layer.states.values()), None)
    if norms is None:
        return None
    count = len(norms.by_step)
    steps, lags = (
        _places(np.linspace(0, count - 1, _PLACES), count),
        _places(np.geomspace(1, count, _PLACES) - 1, count),
    )

    def thin(values: Any) -> dict[str, StepNorms]:
        return {name: StepNorms(own.by_step[steps], own.by_lag[lags]) for name, own in values.items()}

    thinned = {name: LayerNorms(thin(layer.states), thin(layer.gates)) for name, layer in layers.items()}
    return WatchedGradients(iteration, steps, lags, thinned)


def _places(chosen: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """All places where there are few, else the chosen ones."""
    return np.arange(count) if count <= _PLACES else np.unique(np.round(chosen).astype(np.int64))
