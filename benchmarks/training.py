"""Iterations of a recipe's training, on Gatewright's layers or on torch.nn's, without anything around them."""

import copy
import math
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from gatewright.nn import Recurrent
from gatewright.tasks.cell_spec import read_cell
from gatewright.tasks.network import RecipeNetwork, State, map_state
from gatewright.tasks.recipe import Recipe
from gatewright.tasks.run_data import Data
from gatewright.tasks.training.tensor_batches import tensor_batch
from gatewright.tasks.training.training_module import OPTIMISERS

LAYERS = {"gru(reset=after)": nn.GRU, "lstm": nn.LSTM}
"""The layers of torch.nn by the cells that they are."""
_RECURRENT = "recurrent."


class OfTorch(nn.Module):
    """A layer of torch.nn with the weights of one of ours, and called like it."""

    def __init__(self, ours: Recurrent, kind: type[nn.GRU] | type[nn.LSTM]) -> None:
        super().__init__()
        self.layer = kind(ours.input_size, ours.hidden_size, ours.num_layers)
        gates = len(self.layer.bias_ih_l0)
        with torch.no_grad():
            for level in range(ours.num_layers):
                bias = getattr(ours, f"b_l{level}")
                own: dict[str, Tensor] = {"weight_ih": getattr(ours, f"W_l{level}")}
                own |= {"weight_hh": getattr(ours, f"U_l{level}"), "bias_ih": bias[:gates]}
                for name, value in own.items():
                    getattr(self.layer, f"{name}_l{level}").copy_(value)
                recurrent = getattr(self.layer, f"bias_hh_l{level}").zero_()
                recurrent[gates - len(bias[gates:]) :] = bias[gates:]

    def forward(self, inputs: Tensor, state: State = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """The outputs, and the state after the last step."""
        if lengths is not None:
            raise NotImplementedError("rows of one length are compared")
        return self.layer(inputs, state)

    def gradients(self) -> dict[str, Tensor]:
        """Under the names of ours: torch's second bias counts only where it acts inside of the reset."""
        inner = self.layer.hidden_size if isinstance(self.layer, nn.GRU) else 0
        found: dict[str, Tensor] = {}
        for level in range(self.layer.num_layers):
            names = (f"{name}_l{level}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            w, u, bias, second = (gradient(getattr(self.layer, name)) for name in names)
            found |= {f"W_l{level}": w, f"U_l{level}": u}
            found[f"b_l{level}"] = torch.cat([bias, second[len(second) - inner :]])
        return found


@dataclass
class Training:
    """A recipe's network, its data and its optimiser, and how far it has come."""

    recipe: Recipe
    data: Data
    network: RecipeNetwork
    place: int = 0
    state: State = None
    optimiser: Any = field(init=False)

    def __post_init__(self) -> None:
        make: Any = OPTIMISERS[self.recipe.optimiser]
        self.optimiser = make(self.network.parameters(), lr=self.recipe.rate, weight_decay=self.recipe.weight_decay)

    @classmethod
    def of(cls, recipe: Recipe, data: Data) -> Self:
        """At its beginning."""
        torch.manual_seed(recipe.seed)
        network = recipe.network(data.sizes, read_cell(recipe.cell))
        if not isinstance(network, RecipeNetwork):
            raise TypeError(f"the network of {recipe.name!r} is one of its own")
        return cls(recipe, data, network)

    def loss(self) -> Tensor:
        """The mean loss of the next batch, which it takes out of the data."""
        batches = self.data.parts["train"]
        batch = tensor_batch(batches, 0, self.place)
        before, objective = self.state if batch.continues else None, self.recipe.objective()
        if isinstance(self.network.recurrent, OfTorch):
            outputs, state = self.network(batch.inputs, before, batch.lengths)
            loss = objective.losses(outputs, batch).mean()
        else:
            total, count, state = objective.total_loss(self.network, batch, before)
            loss = total / count
        self.state = map_state(Tensor.detach, state) if batches.carries_state else None
        self.place = (self.place + 1) % len(batches)
        return loss

    def derive(self) -> float:
        """The loss; its gradients are left in the parameters."""
        self.optimiser.zero_grad()
        loss = self.loss()
        loss.backward()
        return loss.item()

    def iterate(self) -> None:
        """One iteration."""
        self.derive()
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimiser.step()

    def items_of_a_batch(self) -> int:
        """What is counted in a batch."""
        return tensor_batch(self.data.parts["train"], 0, 0).targets.numel()

    def on_torch(self) -> Self:
        """The same at its beginning, with torch.nn's layers in place of ours."""
        network = copy.deepcopy(self.network)
        network.recurrent = OfTorch(network.recurrent, LAYERS[self.recipe.cell])
        output: Any = nn.Linear(network.output.in_features, network.output.out_features)
        output.weight, output.bias = network.output.weight, network.output.bias
        network.output = output
        return replace(self, network=network, place=0, state=None)

    def gradients(self) -> dict[str, Tensor]:
        """Of all parameters, under the names of ours."""
        own = {name: gradient(one) for name, one in self.network.named_parameters() if not name.startswith(_RECURRENT)}
        layer: Any = self.network.recurrent
        inner = layer.gradients() if isinstance(layer, OfTorch) else _of_parameters(layer)
        return own | {_RECURRENT + name: one for name, one in inner.items()}


def _of_parameters(module: nn.Module) -> dict[str, Tensor]:
    return {name: gradient(one) for name, one in module.named_parameters()}


def gradient(parameter: Tensor) -> Tensor:
    """The gradient, which has to be there."""
    if parameter.grad is None:
        raise ValueError("a parameter has no gradient")
    return parameter.grad


def difference(ours: Training, theirs: Training) -> tuple[float, str]:
    """The largest difference of the first batch's loss and gradients, as a share of the largest number, and where."""
    losses = [torch.tensor(one.derive(), dtype=torch.float64) for one in (ours, theirs)]
    pairs = {"the loss": losses}
    got, wanted = ours.gradients(), theirs.gradients()
    if got.keys() != wanted.keys():
        raise ValueError(f"gradients {sorted(got)} where {sorted(wanted)} are wanted")
    pairs |= {f"the gradient of {name}": [one, wanted[name]] for name, one in got.items()}
    found = {name: float((one - other).abs().max() / other.abs().max()) for name, (one, other) in pairs.items()}
    worst = max(found, key=lambda name: (math.isnan(found[name]), found[name]))
    return found[worst], worst
