"""How good a network is on a part of a data set."""

import torch
from torch import nn

from gatewright.errors import DataError
from gatewright.tasks.data.sources import IN_MEMORY
from gatewright.tasks.feed import tensor_batch
from gatewright.tasks.model import Model
from gatewright.tasks.network import State
from gatewright.tasks.objectives import Objective
from gatewright.tasks.recipe import Batches


class Means:
    """Sums over items, and their means."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[float, int]] = {}  # by name: the sum of the values, and how many they were

    def add(self, name: str, total: float, items: int) -> None:
        """Take `items` values whose sum is `total`."""
        before, seen = self.sums.get(name, (0.0, 0))
        self.sums[name] = (before + total, seen + items)

    def items(self, name: str) -> int:
        """How many values of that name there were."""
        return self.sums.get(name, (0.0, 0))[1]

    def metrics(self, objective: Objective) -> dict[str, float]:
        """The means, and what follows from them."""
        means = {name: total / items for name, (total, items) in self.sums.items() if items}
        return {**means, **objective.derived(means)} if means else {}


def evaluate(model: Model, source: object = None) -> dict[str, dict[str, float]]:
    """The measures of a model, by part: on the data that it was trained for, or on that of a name, path or object.

    Raises DataError where the data does not fit the model, or where it was trained on data in memory and none is given.
    """
    if source is None and model.source == IN_MEMORY:
        raise DataError(
            "the model was trained on data in memory, which a model file does not keep",
            do="give the data to measure it on",
            shell="name the data to measure it on with --data",
        )
    data = model.recipe.evaluation(source, model)
    objective = model.recipe.objective()
    return {
        part: {**measure(model.network, objective, data.parts[part]), **data.measures.get(part, {})}
        for part in data.measured
    }


def measure(network: nn.Module, objective: Objective, batches: Batches) -> dict[str, float]:
    """The loss, the scores and what is derived from them, over every item of the part.

    The network is left in the mode (training or evaluation) in which it was.
    """
    means, was_training, device = Means(), network.training, next(network.parameters()).device
    state: State = None
    network.eval()
    try:
        with torch.no_grad():
            for position in range(len(batches)):
                batch = tensor_batch(batches, 0, position).to(device)
                outputs, state = network(batch.inputs, batch.begins_with(state), batch.lengths)
                values = {"loss": objective.losses(outputs, batch), **objective.scores(outputs, batch)}
                for name, found in values.items():
                    means.add(name, found.double().sum().item(), found.numel())
    finally:
        network.train(was_training)
    return means.metrics(objective)
