"""Training steps in torch: with torch.nn's layers, with Gatewright's, and under torch.compile."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gatewright as gw
from benchmarks.network_step.cases import NetworkCase
from benchmarks.network_step.job import NetworkJob


class Network(nn.Module):
    """The network of a case, as a user of torch.nn writes it; called with a batch it returns the loss."""

    def __init__(self, case: NetworkCase) -> None:
        super().__init__()
        self.case = case
        if case.vocabulary:
            self.embedding = nn.Embedding(case.vocabulary, case.inputs)
        self.recurrent: nn.Module = getattr(nn, case.layer)(case.inputs, case.hidden)
        self.head = nn.Linear(case.hidden, case.outputs)
        self.load_state_dict({name: torch.tensor(value) for name, value in case.weights.items()})

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """The loss."""
        values = self.embedding(inputs) if self.case.vocabulary else inputs
        output: Tensor = self.recurrent(values)[0]
        return self.loss(output if self.case.every_step else output[-1], targets)

    def loss(self, states: Tensor, targets: Tensor) -> Tensor:
        """The loss of the linear layer's scores."""
        scores = self.head(states)
        if self.case.loss == "cross entropy":
            return F.cross_entropy(scores.flatten(0, -2), targets.flatten())
        return F.mse_loss(scores, targets)


class OurNetwork(Network):
    """The same with Gatewright's linear layer and loss. Where these do not run on the engine, they are torch's."""

    def __init__(self, case: NetworkCase) -> None:
        super().__init__(case)
        head = self.head
        self.head = gw.nn.Linear(case.hidden, case.outputs)
        self.head.load_state_dict(head.state_dict())
        gw.nn.accelerate(self)

    def loss(self, states: Tensor, targets: Tensor) -> Tensor:
        """The loss, without the scores of all rows where they are for classes."""
        if self.case.loss == "cross entropy":
            return gw.nn.linear_cross_entropy(states, self.head.weight, self.head.bias, targets)
        return super().loss(states, targets)


def torch_nn(case: NetworkCase, dtype: str) -> NetworkJob:
    """torch.nn alone."""
    network = Network(case)
    return _job(network, network, dtype, _dtype_of_output)


def torch_compile(case: NetworkCase, dtype: str) -> NetworkJob:
    """The same under torch.compile. It does not trace torch.nn's recurrent layers: they run as they are."""
    network = Network(case)
    return _job(network, torch.compile(network), dtype, _dtype_of_output)


def gatewright(case: NetworkCase, dtype: str) -> NetworkJob:
    """The same after `gw.nn.accelerate`, with Gatewright's linear layer and loss."""
    network = OurNetwork(case)
    return _job(network, network, dtype, _plan)


def reference_losses(case: NetworkCase) -> list[float]:
    """The losses of torch.nn in float64."""
    network = Network(case).double()
    return _job(network, network, "float64", _dtype_of_output).losses()


def _job(network: Any, run: Callable[..., Tensor], dtype: str, describe: Callable[[Any, Tensor], str]) -> NetworkJob:
    """A job; `run` is the network, or what was compiled of it."""
    case: NetworkCase = network.case
    inputs, targets = torch.tensor(case.inputs_of_batch), torch.tensor(case.targets)
    if dtype == "float64":
        inputs, targets = (x.double() if x.is_floating_point() else x for x in (inputs, targets))
    optimiser = torch.optim.Adam(network.parameters(), fused=True)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16")

    def step() -> Tensor:
        optimiser.zero_grad()
        with autocast:
            loss = run(inputs, targets)
        loss.backward()
        optimiser.step()
        return loss.detach()

    like = torch.zeros(1, case.batch, case.inputs, dtype=network.head.weight.dtype)
    with autocast, torch.no_grad():
        return NetworkJob(step, describe(network.recurrent, like))


def _dtype_of_output(layer: Any, like: Tensor) -> str:
    """What a layer of torch.nn gives: under autocast some of them stay in float32."""
    return f"layer in {str(layer(like)[0].dtype).removeprefix('torch.')}"


def _plan(layer: Any, like: Tensor) -> str:
    """The backend that runs Gatewright's layer here, its reason, and the dtype of its output."""
    plan = layer.plan()
    reason = plan.reason if plan.backend == "llvm" else plan.reason.partition(";")[0]
    return f"{plan.backend} ({reason}), {_dtype_of_output(layer, like)}"
