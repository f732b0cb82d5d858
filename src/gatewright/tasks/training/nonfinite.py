"""Finds where a non-finite loss began: the layer, gate and step, or the parameter.

Only the failed batch is run again, and only after a failure, so that training costs nothing extra.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gatewright.errors import NonFiniteError
from gatewright.nn import Recurrent
from gatewright.tasks.network import State
from gatewright.tasks.training.random_numbers import random_numbers, set_random_numbers
from gatewright.tasks.training.tensor_batches import TensorBatch

_KEPT = "or look at the data; a checkpoint from before this iteration is kept, where there is one"
_ADVICE = {
    "do": f"lower the rate, clip the gradients with clip=1, {_KEPT}",
    "shell": f"lower the rate (--set rate=...), clip the gradients (--set clip=1), {_KEPT}",
}


class ModuleCall(NamedTuple):
    """One call of a module in a forward pass."""

    name: str
    module: nn.Module
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    drawn: list[Tensor]  # the state of the random numbers before it ran
    output: Any


@dataclass(frozen=True)
class NonFinitePlace:
    """Where a value is not finite: the text names it, `step` is None where there is no time axis."""

    what: str
    step: int | None = None
    value: float = float("nan")

    def __str__(self) -> str:
        at = "" if self.step is None else f", at step {self.step} of the batch"
        return f"{self.what}{at} ({self.value:g})"


def of_loss(
    network: nn.Module, batch: TensorBatch, state: State, *, value: float, iteration: int, is_own: bool = True
) -> NonFiniteError:
    """The error for a non-finite loss, with the place where the forward pass first was not finite.

    `is_own` is False where the loss of this process's own rows is finite.
    """
    origin: object = "the rows of another process, which says where"
    if is_own:
        origin = _in_parameters(network) or _in_inputs(batch, state) or _in_pass(network, batch, state)
    return NonFiniteError(
        f"the loss is {value:g} at iteration {iteration}",
        expected="a finite loss",
        got=f"it began in {origin}" if origin else "every layer's output is finite; the loss of them is not",
        **_ADVICE,
    )


def of_gradient(network: nn.Module, *, iteration: int) -> NonFiniteError:
    """The error for a non-finite gradient norm after a finite loss."""
    gradients = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    wrong = [name for name, gradient in gradients.items() if not gradient.isfinite().all()]
    names = ", ".join(wrong) if wrong else "none alone, only the norm of all of them together"
    return NonFiniteError(
        f"the gradient is not finite at iteration {iteration}, although the loss is",
        expected="finite gradients of all parameters",
        got=f"not finite: {names}",
        **_ADVICE,
    )


def _in_parameters(network: nn.Module) -> NonFinitePlace | None:
    """A parameter that an earlier update made non-finite; in a recurrent layer, the matrix or bias of one gate."""
    for name, module in network.named_modules():
        if isinstance(module, Recurrent):
            for gate, tensor in module.gate_parameters().items():
                if (value := _worst(tensor)) is not None:
                    return NonFinitePlace(f"parameter {gate} of {name}, which an earlier update broke", None, value)
    for name, tensor in network.named_parameters():
        if (value := _worst(tensor)) is not None:
            return NonFinitePlace(f"parameter {name}, which an earlier update broke", None, value)
    return None


def _in_inputs(batch: TensorBatch, state: State) -> NonFinitePlace | None:
    for what, tensor in (("the inputs", batch.inputs), ("the targets", batch.targets)):
        if (step := _first_step(tensor)) is not None:
            return NonFinitePlace(what, step, _worst(tensor) or 0.0)
    states = [state] if isinstance(state, Tensor) else state or ()
    values = [value for tensor in states if (value := _worst(tensor)) is not None]
    return NonFinitePlace("the state carried from the batch before", None, values[0]) if values else None


def _in_pass(network: nn.Module, batch: TensorBatch, state: State) -> NonFinitePlace | None:
    """The first module in execution order with a non-finite output, and the first such gate in it."""
    with torch.no_grad():
        for call in _calls(network, batch, state):
            if isinstance(call.module, Recurrent) and (place := _in_gates(call)) is not None:
                return place
            output = call.output[0] if isinstance(call.output, tuple) else call.output
            if (step := _first_step(output)) is not None:
                return NonFinitePlace(f"what {call.name} gives out", step, _worst(output) or 0.0)
    return None


def _calls(network: nn.Module, batch: TensorBatch, state: State) -> list[ModuleCall]:
    """Run the batch; the calls of recurrent layers and of modules without children, in the order of execution."""
    names = {m: n for n, m in network.named_modules() if isinstance(m, Recurrent) or not list(m.children())}
    calls: list[ModuleCall] = []
    drawn: dict[nn.Module, list[Tensor]] = {}

    def before(module: nn.Module, _: Any) -> None:
        drawn[module] = random_numbers()

    def after(module: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any], output: Any) -> None:
        calls.append(ModuleCall(names[module], module, arguments, options, drawn[module], output))

    handles = [module.register_forward_pre_hook(before) for module in names]
    handles += [module.register_forward_hook(after, with_kwargs=True) for module in names]
    try:
        network(batch.inputs, state, batch.lengths)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _in_gates(call: ModuleCall) -> NonFinitePlace | None:
    """The first gate that is not finite: at the earliest step, there in the lowest layer, there in equation order.

    A gate depends only on earlier steps, lower layers and gates before it, so the first is the origin. Where layers
    run in both directions, a layer depends on every step of the one below: then the lowest layer comes first.
    """
    set_random_numbers(call.drawn)
    _, _, gates = call.module(*call.arguments, **{**call.options, "return_gates": True})
    both = any("_reverse" in name for name in gates)
    places: list[tuple[tuple[str, int, int], NonFinitePlace]] = []
    for place, (name, values) in enumerate(gates.items()):
        layer, _, gate = name.rpartition(".")
        backwards = layer.endswith("_reverse")
        if (step := _first_step(values.flip(0) if backwards else values)) is not None:
            order = (layer if both else "", step, place)
            at = len(values) - 1 - step if backwards else step
            where = f"layer {layer.removeprefix('l') or 0} of {call.name}, gate {gate}"
            places.append((order, NonFinitePlace(where, at, _worst(values[at]) or 0.0)))
    return min(places, key=lambda candidate: candidate[0])[1] if places else None


def _first_step(values: Tensor) -> int | None:
    """The first index of the leading axis, which is time, at which a value is not finite."""
    if not values.is_floating_point() or values.dim() == 0:
        return None
    wrong = (~values.isfinite()).flatten(1).any(1) if values.dim() > 1 else ~values.isfinite()
    return int(wrong.nonzero()[0]) if bool(wrong.any()) else None


def _worst(values: Tensor) -> float | None:
    """A value that is not finite; None if all are."""
    wrong = values[~values.isfinite()]
    return wrong[0].item() if len(wrong) else None
