"""A loop over the steps in torch, written by hand."""

from typing import Any

import torch
from torch.nn import functional as F

from benchmarks.cells import Arrays
from benchmarks.problem import Job, Problem, Results


class Functions:
    """What the equations of a step are written in, by torch."""

    sigmoid = staticmethod(torch.sigmoid)
    tanh = staticmethod(torch.tanh)

    @staticmethod
    def split(values: torch.Tensor, gates: int) -> Arrays:
        """The part of each gate."""
        return values.chunk(gates, -1)

    @staticmethod
    def normalised(values: torch.Tensor) -> torch.Tensor:
        """Mean 0 and variance 1 over the units."""
        return F.layer_norm(values, values.shape[-1:], eps=1e-5)


class Tensors:
    """The numbers of a problem as torch has them, and the loop over them."""

    def __init__(self, problem: Problem, dtype: torch.dtype) -> None:
        self.problem = problem
        self.x = torch.tensor(problem.x, dtype=dtype)
        self.weight = torch.tensor(problem.weight, dtype=dtype)
        self.params = {name: torch.tensor(value, dtype=dtype) for name, value in problem.params.items()}

    def run(self) -> torch.Tensor:
        """The output at every step."""
        cell, params = self.problem.cell, self.params
        recurrent, bias = params[cell.recurrent_weight], params.get(cell.recurrent_bias or "")
        vectors = {name: params[name].chunk(gates) for name, gates in cell.vectors.items()}
        products = F.linear(self.x, params[cell.input_weight], params.get(cell.input_bias or ""))
        zero = self.x.new_zeros(self.problem.shape.batch, self.problem.shape.hidden)
        states: Arrays = (zero,) * cell.states
        output: list[torch.Tensor] = []
        for product in products:
            states = cell.step(Functions, product, F.linear(states[0], recurrent, bias), states, vectors)
            output.append(states[0])
        return torch.stack(output)

    def train(self) -> torch.Tensor:
        """The output, and all gradients in `grad`."""
        for tensor in (self.x, *self.params.values()):
            tensor.requires_grad_()
            tensor.grad = None
        output = self.run()
        output.backward(self.weight)
        return output

    def results(self, output: torch.Tensor) -> Results:
        """The output and all gradients."""
        return gradients(output, self.x, self.params)


def gradients(output: torch.Tensor, x: torch.Tensor, params: Any) -> Results:
    """The output of a layer, and the gradients that a backward run has left, by name."""
    results = {"output": output.detach().numpy(), "d(x)": _gradient(x)}
    return results | {f"d({name})": _gradient(param) for name, param in params.items()}


def _gradient(tensor: torch.Tensor) -> Any:
    if tensor.grad is None:
        raise ValueError("a gradient is missing")
    return tensor.grad.numpy()


def forward(problem: Problem, threads: int, dtype: torch.dtype = torch.float32) -> Job:
    """The output."""
    tensors = Tensors(problem, dtype)

    @torch.inference_mode()
    def call() -> torch.Tensor:
        return tensors.run()

    return Job(call, lambda output: {"output": output.numpy()})


def training(problem: Problem, threads: int, dtype: torch.dtype = torch.float32) -> Job:
    """The output and all gradients."""
    tensors = Tensors(problem, dtype)
    return Job(tensors.train, tensors.results)
