"""Layers that are called as torch.nn's are: torch.nn itself, Gatewright, and Gatewright operation by operation."""

import torch

from benchmarks.peers.torch_loop import gradients
from benchmarks.problem import Job, Problem


def forward_of(layer: torch.nn.Module, problem: Problem) -> Job:
    """The output of a layer, without gradients."""
    _load(layer, problem)
    x = torch.from_numpy(problem.x)

    @torch.inference_mode()
    def call() -> torch.Tensor:
        return layer(x)[0]

    return Job(call, lambda output: {"output": output.numpy()})


def training_of(layer: torch.nn.Module, problem: Problem) -> Job:
    """A forward and a backward run of a layer, with all gradients."""
    _load(layer, problem)
    x, weight = torch.tensor(problem.x, requires_grad=True), torch.from_numpy(problem.weight)
    learned = [x, *layer.parameters()]

    def call() -> torch.Tensor:
        for tensor in learned:
            tensor.grad = None
        output = layer(x)[0]
        output.backward(weight)
        return output

    return Job(call, lambda output: gradients(output, x, dict(layer.named_parameters())))


def _load(layer: torch.nn.Module, problem: Problem) -> None:
    layer.load_state_dict({name: torch.tensor(value) for name, value in problem.params.items()})
