"""Measures of a network on the parts of a data set."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gatewright.errors import DataError
from gatewright.tasks.answers.class_report import ClassReport
from gatewright.tasks.data.published.sources import IN_MEMORY, source_name
from gatewright.tasks.data.scaling import check_scales
from gatewright.tasks.forecasting.signature import check_times
from gatewright.tasks.forecasting.windows import ForecastData
from gatewright.tasks.model import Model
from gatewright.tasks.network import State
from gatewright.tasks.objectives import Classes, Objective
from gatewright.tasks.run_data import Batches, Data
from gatewright.tasks.training.tensor_batches import tensor_batch


class RunningMeans:
    """Running means: sums over items and their counts, by name."""

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
        return dict(objective.measures(means)) if means else {}


class Evaluation(dict[str, dict[str, float]]):
    """The measures by part of the data, such as `["test"]["accuracy"]`; for a classifier a report of each part beside.

    `reports` are by part, and none where the data has no classes.
    """

    def __init__(self, metrics: dict[str, dict[str, float]], reports: dict[str, ClassReport]) -> None:
        super().__init__(metrics)
        self.metrics, self.reports = metrics, reports


def evaluate(model: Model, source: object = None, *, any_scale: bool = False) -> Evaluation:
    """Measure a model on the data that it was trained for, or on that of a name, path or object.

    Raises DataError where the data does not fit the model: other classes or variables, numbers of another scale without
    `any_scale`; and where it was trained on data in memory and none is given.
    """
    if source is None and model.source == IN_MEMORY:
        raise DataError(
            "the model was trained on data in memory, which a model file does not keep",
            do="give the data to measure it on",
            shell="name the data to measure it on with --data",
        )
    data = model.recipe.evaluation(source, model)
    if not any_scale:
        scales = (signature.get("variables", {}) for signature in (model.signature, data.signature))
        name = source_name(model.source if source is None else source)
        check_scales(*scales, source=name)
        if isinstance(data, ForecastData) and "series" in model.signature:
            check_times(model.signature, {track.id: track.times for track in data.tracks}, name)
    return measure_parts(model.network, model.recipe.measured_by(model.sizes), data)


def measure_parts(network: nn.Module, objective: Objective, data: Data) -> Evaluation:
    """The measures of every part that a finished network is measured on; of named classes the macro F1 and a report."""
    metrics: dict[str, dict[str, float]] = {}
    reports: dict[str, ClassReport] = {}
    classes = data.sizes.classes
    for part in data.measured:
        if isinstance(objective, Classes) and classes:
            names = objective.reported(classes)
            confusion = np.zeros((len(names), len(names)), np.int64)
            metrics[part] = measure(network, objective, data.parts[part], confusion)
            reports[part] = ClassReport(names, confusion, objective.unscored)
            metrics[part]["macro_f1"] = reports[part].macro["f1"]
        else:
            metrics[part] = measure(network, objective, data.parts[part])
        metrics[part] |= data.measures.get(part, {})
    return Evaluation(metrics, reports)


def measure(
    network: nn.Module, objective: Objective, batches: Batches, confusion: NDArray[np.int64] | None = None
) -> dict[str, float]:
    """The loss, the scores and what is derived from them, over every item of the part.

    The answers are counted in `confusion` (true classes, predicted classes), where it is given. The network is left in
    the mode (training or evaluation) in which it was.
    """
    means, was_training, device = RunningMeans(), network.training, next(network.parameters()).device
    state: State = None
    objective = objective.with_network(network)
    network.eval()
    try:
        with torch.no_grad():
            for position in range(len(batches)):
                batch = tensor_batch(batches, 0, position).to(device)
                outputs, state = network(batch.inputs, batch.begins_with(state), batch.lengths)
                values = {"loss": objective.losses(outputs, batch), **objective.scores(outputs, batch)}
                for name, scores in values.items():
                    means.add(name, scores.double().sum().item(), scores.numel())
                if confusion is not None and isinstance(objective, Classes):
                    confusion += objective.confusion(outputs, batch, len(confusion)).cpu().numpy()
    finally:
        network.train(was_training)
    return means.metrics(objective)
