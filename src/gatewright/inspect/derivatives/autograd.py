"""Derivatives by torch's autograd over the eager backend, in float64."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from gatewright.backends import torch_eager
from gatewright.derive import adjoint
from gatewright.inspect.derivatives.point import Arrays, Point, every, last, through
from gatewright.trace.ir import Trace

Tensors = dict[str, Tensor]


def gradient(trace: Trace, point: Point) -> Arrays:
    """The gradient of the loss by inputs, parameters and initial states."""
    loss, values, _ = _loss(trace, point)
    return _arrays(_gradients(loss, values))


def second(trace: Trace, point: Point) -> Arrays:
    """The gradient of sum(direction * gradient), by double backward; named as in `derived.second`."""
    loss, values, weights = _loss(trace, point)
    first = _gradients(loss, values, again=True)
    along = {name: torch.from_numpy(array) for name, array in point.direction.items()}
    total = torch.stack([(first[name] * direction).sum() for name, direction in along.items()]).sum()
    return _arrays(_gradients(total, values | {adjoint(name): weight for name, weight in weights.items()}))


def forward(trace: Trace, point: Point) -> Arrays:
    """The change of each output when one leaf alone moves along its direction; named as in `derived.forward`.

    The gradient of sum(weight * output) is linear in the weights; its gradient by them is what forward mode gives.
    """
    loss, values, weights = _loss(trace, point)
    first = _gradients(loss, values, again=True)
    result: Tensors = {}
    for leaf, along in point.direction.items():
        moved = _gradients((first[leaf] * torch.from_numpy(along)).sum(), weights, again=True)
        result |= {through(leaf, output): tensor for output, tensor in moved.items()}
    return _arrays(result)


def _outputs(trace: Trace, point: Point, values: Mapping[str, Tensor]) -> Tensors:
    """All outputs, named as the weights. The backend returns the first state alone at every step, so it runs once for
    each state, which then is the first."""
    active = torch.from_numpy(point.active)
    noises = {name: torch.tensor(array) for name, array in point.noises.items()}
    inputs, params, states = ({n: values[n] for n in group} for group in (point.inputs, point.params, point.states))
    outputs: Tensors = {}
    for index, state in enumerate(trace.states):
        rotated = replace(
            trace,
            states=trace.states[index:] + trace.states[:index],
            next_states=trace.next_states[index:] + trace.next_states[:index],
        )
        ran = torch_eager.run(rotated, inputs, params, states, sizes=point.sizes, noises=noises or None, active=active)
        outputs[every(state.name)] = ran.output * active[(..., *(None,) * len(state.shape))]
        outputs[last(state.name)] = ran.finals[state.name]
    return outputs


def _tensors(arrays: Arrays) -> Tensors:
    return {name: torch.tensor(array, requires_grad=True) for name, array in arrays.items()}


def _loss(trace: Trace, point: Point) -> tuple[Tensor, Tensors, Tensors]:
    """The loss, the values that it depends on, and the weights of the outputs in it."""
    values, weights = _tensors(point.values), _tensors(point.weights)
    outputs = _outputs(trace, point, values)
    return torch.stack([(outputs[name] * weight).sum() for name, weight in weights.items()]).sum(), values, weights


def _gradients(total: Tensor, values: Tensors, *, again: bool = False) -> Tensors:
    if not total.requires_grad:  # no value reaches it
        return {name: torch.zeros_like(tensor) for name, tensor in values.items()}
    gradients = torch.autograd.grad(
        total, list(values.values()), create_graph=again, allow_unused=True, materialize_grads=True
    )
    return dict(zip(values, gradients, strict=True))


def _arrays(tensors: Tensors) -> Arrays:
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}
