"""What a network is trained to make small, and what a person is told of it. torch is imported when it is used."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from torch import Tensor

ForecastKind = Literal["gaussian", "quantiles"]


class Objective(ABC):
    """A loss and the scores beside it: each gives one value an item, and the mean over all items is what counts."""

    items: ClassVar[str] = "examples"
    headline: ClassVar[str] = "loss"  # the measure that says most to a person

    @abstractmethod
    def losses(self, outputs: "Tensor", batch: Any) -> "Tensor":
        """The loss of each item of the batch, in any shape."""

    @abstractmethod
    def scores(self, outputs: "Tensor", batch: Any) -> Mapping[str, "Tensor"]:
        """Further measures of each item, such as 1 where the answer is right."""

    def derived(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """Measures that follow from means, such as the perplexity from the mean loss."""
        del means
        return {}

    def measures(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """What is reported of means: they themselves, and what follows from them."""
        return {**means, **self.derived(means)}


class Classes(Objective):
    """Cross entropy of classes, in nats; targets (batch,) or (time, batch), -100 where there is nothing to learn."""

    headline = "accuracy"
    padding = -100
    unscored: ClassVar[str] = ""  # one of the names that are reported which is no class, but what lies outside of all

    def losses(self, outputs: "Tensor", batch: Any) -> "Tensor":
        """-log p of each target that is not padding."""
        from torch.nn.functional import cross_entropy

        present = batch.targets != self.padding
        return cross_entropy(outputs[present], batch.targets[present], reduction="none")

    def scores(self, outputs: "Tensor", batch: Any) -> Mapping[str, "Tensor"]:
        """Accuracy: 1 where the most probable class is the target."""
        present = batch.targets != self.padding
        return {"accuracy": outputs[present].argmax(-1) == batch.targets[present]}

    def reported(self, classes: tuple[str, ...]) -> tuple[str, ...]:
        """The names of the rows and columns of `confusion`, of data with those classes."""
        return classes

    def confusion(self, outputs: "Tensor", batch: Any, classes: int) -> "Tensor":
        """How often each class (rows) was taken for each (columns): (classes, classes), int64."""
        present = batch.targets != self.padding
        pairs = batch.targets[present] * classes + outputs[present].argmax(-1)
        return pairs.bincount(minlength=classes**2).reshape(classes, classes)


class Symbols(Classes):
    """The next symbol of a text: cross entropy, and the perplexity that follows from it."""

    items = "tokens"
    headline = "perplexity"

    def derived(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """exp(mean loss); infinite where that is beyond a float."""
        loss = means["loss"]
        return {"perplexity": math.exp(loss) if loss < 700 else math.inf}


@dataclass(frozen=True)
class Bits(Objective):
    """A row of bits, (time, batch, 1): right when every bit is, so one wrong bit of 64 counts as a wrong answer.

    "squared" is sum(0.5 * (output - bit) ** 2) of a row, a bit being 1 above 0.5; "cross-entropy" takes the output
    for a log-odds, a bit being 1 above 0.
    """

    headline = "exact"
    loss: Literal["squared", "cross-entropy"]

    def losses(self, outputs: "Tensor", batch: Any) -> "Tensor":
        """The loss of each row, summed over its bits."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        if self.loss == "squared":
            return (0.5 * (outputs - batch.targets) ** 2).sum((0, 2))
        return binary_cross_entropy_with_logits(outputs, batch.targets, reduction="none").sum((0, 2))

    def decide(self, outputs: "Tensor") -> "Tensor":
        """The bits that the outputs mean, as truth values."""
        return outputs > (0.5 if self.loss == "squared" else 0.0)

    def scores(self, outputs: "Tensor", batch: Any) -> Mapping[str, "Tensor"]:
        """Exact: 1 where all bits of a row are right."""
        return {"exact": (self.decide(outputs) == (batch.targets > 0.5)).all(2).all(0)}


@dataclass(frozen=True)
class Forecasts(Objective):
    """Forecasts (horizon, batch, variables, values) of targets (horizon, batch, variables), each with an interval.

    "gaussian" are a mean and a deviation, whose loss is the negative logarithm of the density; "quantiles" are the
    lower end, the middle and the upper end of the interval that should hold the share `interval` of all targets, whose
    loss is the mean of the three quantile losses. The last steps of the inputs are the naive forecast, beside which the
    error is reported: `skill` is 0 where the two are as good, and 1 where there is no error.
    """

    items = "forecasts"
    headline = "mae"
    kind: ForecastKind
    interval: float

    @property
    def levels(self) -> tuple[float, float, float]:
        """The shares of targets below each end of the interval, and below its middle."""
        return (1 - self.interval) / 2, 0.5, (1 + self.interval) / 2

    def losses(self, outputs: "Tensor", batch: Any) -> "Tensor":
        """The loss of each target."""
        import torch

        if self.kind == "gaussian":
            mean, deviation = outputs.unbind(-1)
            away = (batch.targets - mean) / deviation
            return 0.5 * away.square() + deviation.log() + 0.5 * math.log(2 * math.pi)
        above = batch.targets[..., None] - outputs
        levels = outputs.new_tensor(self.levels)
        return torch.maximum(levels * above, (levels - 1) * above).mean(-1)

    def quantiles(self, outputs: "Tensor") -> "tuple[Tensor, Tensor, Tensor]":
        """The lower end, the middle and the upper end."""
        if self.kind == "quantiles":
            low, middle, high = outputs.unbind(-1)
            return low, middle, high
        mean, deviation = outputs.unbind(-1)
        half = NormalDist().inv_cdf(self.levels[2]) * deviation
        return mean - half, mean, mean + half

    def scores(self, outputs: "Tensor", batch: Any) -> Mapping[str, "Tensor"]:
        """The errors of the middle and of the naive forecast, and 1 where the interval holds the target."""
        low, middle, high = self.quantiles(outputs)
        naive = batch.inputs[-len(batch.targets) :]
        return {
            "mae": (batch.targets - middle).abs(),
            "mse": (batch.targets - middle).square(),
            "naive_mae": (batch.targets - naive).abs(),
            "coverage": (low <= batch.targets) & (batch.targets <= high),
        }

    def derived(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """What share of the naive forecast's error is gone."""
        mae, naive = means.get("mae"), means.get("naive_mae")
        if mae is None or naive is None:  # of the training, where nothing but the loss is gathered
            return {}
        return {"skill": 1 - mae / naive if naive else -math.inf}


@dataclass(frozen=True)
class Numbers(Objective):
    """Squared error of numbers, outputs and targets (batch, numbers): the loss is its mean, the MSE.

    A row is right where each of its numbers is within `close` of the target, which the accuracy counts.
    """

    headline = "accuracy"
    close: float

    def losses(self, outputs: "Tensor", batch: Any) -> "Tensor":
        """The squared error of each number."""
        return (outputs - batch.targets) ** 2

    def scores(self, outputs: "Tensor", batch: Any) -> Mapping[str, "Tensor"]:
        """Accuracy: 1 where a row's numbers are all close."""
        return {"accuracy": ((outputs - batch.targets).abs() < self.close).all(-1)}


class Targets(Objective):
    """Squared error of numbers to be told, outputs and targets (rows, targets), in the units of the targets."""

    headline = "rmse"

    def losses(self, outputs: "Tensor", batch: Any) -> "Tensor":
        """The squared error of each number."""
        return (outputs - batch.targets) ** 2

    def scores(self, outputs: "Tensor", batch: Any) -> Mapping[str, "Tensor"]:
        """The absolute error of each number."""
        return {"mae": (outputs - batch.targets).abs()}

    def derived(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """The root of the mean squared error."""
        return {"rmse": math.sqrt(means["loss"])}


class Keys(Objective):
    """Which keys sound, frame by frame: the negative log likelihood of a frame, in nats, summed over its keys.

    Outputs are log-odds and targets 0 or 1, (time, batch, keys), in frames up to a row's length. The loss is the mean
    over the frames of all rows together, so a long piece counts for more than a short one.
    """

    items = "frames"

    def losses(self, outputs: "Tensor", batch: Any) -> "Tensor":
        """-log p of each frame that is there."""
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits

        from gatewright.nn.sequence import step_mask

        frames = binary_cross_entropy_with_logits(outputs, batch.targets, reduction="none").sum(-1)
        return frames[step_mask(batch.lengths, len(frames), torch.bool)]

    def scores(self, outputs: "Tensor", batch: Any) -> Mapping[str, "Tensor"]:
        """None: the loss says it all."""
        del outputs, batch
        return {}
