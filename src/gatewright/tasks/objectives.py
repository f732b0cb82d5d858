"""Training objectives: losses, and the metrics reported beside them. torch is imported when it is used."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

if TYPE_CHECKING:
    from torch import Tensor, nn

ForecastKind = Literal["quantiles", "student", "gaussian"]
SIDES: Mapping[ForecastKind, int] = {"quantiles": 2, "student": 1, "gaussian": 1}
"""In how many numbers a network gives the width of an interval: on each side of the middle, or on both together."""

LEAST_WIDTH = 2e-3
"""Of the interval of a density, in deviations of the training part, so that no density is infinite."""


class Objective(ABC):
    """A loss and the scores beside it: each gives one value an item, and the mean over all items is what counts."""

    items: ClassVar[str] = "examples"
    headline: ClassVar[str] = "loss"  # the measure that says most to a person

    def with_network(self, network: "nn.Module") -> Self:
        """The same for that network, of which a loss may need weights beside the outputs."""
        return self

    @abstractmethod
    def losses(self, outputs: "Tensor", batch: Any) -> "Tensor":
        """The loss of each item of the batch, in any shape."""

    def total_loss(self, network: Any, batch: Any, state: Any) -> tuple["Tensor", int, Any]:
        """The sum of the losses of a batch, how many items it is of, and the state of the network after it."""
        outputs, state = network(batch.inputs, state, batch.lengths)
        losses = self.losses(outputs.float(), batch)
        return losses.sum(), losses.numel(), state

    def scores(self, outputs: "Tensor", batch: Any) -> Mapping[str, "Tensor"]:
        """Further measures of each item, such as 1 where the answer is right; none where the loss says it all."""
        return {}

    def derived(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """Measures that follow from means, such as the perplexity from the mean loss."""
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


class NextSymbols(Classes):
    """The next symbol of a text: cross entropy, and the perplexity that follows from it."""

    items = "tokens"
    headline = "perplexity"

    def total_loss(self, network: Any, batch: Any, state: Any) -> tuple["Tensor", int, Any]:
        """The same, without ever storing the outputs: with many words they are most of the memory and the time."""
        from gatewright.nn import linear_cross_entropy

        features, state = network.features(batch.inputs, state, batch.lengths)
        output, targets = network.output, batch.targets
        options: Any = {"ignore_index": self.padding, "reduction": "sum"}
        total = linear_cross_entropy(features, output.weight, output.bias, targets, **options)
        return total, int((targets != self.padding).sum()), state

    def derived(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """exp(mean loss); infinite where that is beyond a float."""
        loss = means["loss"]
        return {"perplexity": math.exp(loss) if loss < 700 else math.inf}


class Bits(Objective):
    """A row of bits, (time, batch, 1): right when every bit is, so one wrong bit of 64 counts as a wrong answer.

    The loss is sum(0.5 * (output - bit) ** 2) of a row; a bit is 1 above 0.5.
    """

    headline = "exact"

    def losses(self, outputs: "Tensor", batch: Any) -> "Tensor":
        """The loss of each row, summed over its bits."""
        return (0.5 * (outputs - batch.targets) ** 2).sum((0, 2))

    def decide(self, outputs: "Tensor") -> "Tensor":
        """The bits that the outputs mean, as truth values."""
        return outputs > 0.5

    def scores(self, outputs: "Tensor", batch: Any) -> Mapping[str, "Tensor"]:
        """Exact: 1 where all bits of a row are right."""
        return {"exact": (self.decide(outputs) == (batch.targets > 0.5)).all(2).all(0)}


def half_width(kind: ForecastKind, interval: float) -> float:
    """How far from its middle the interval of a standard distribution ends that holds the share `interval`."""
    level = (1 + interval) / 2
    if kind != "student":
        return NormalDist().inv_cdf(level)
    inside = 4 * level * (1 - level)  # the quantile of four degrees of freedom, in closed form (Shaw 2006)
    return 2 * math.sqrt(math.cos(math.acos(math.sqrt(inside)) / 3) / math.sqrt(inside) - 1)


@dataclass(frozen=True)
class Forecasts(Objective):
    """Forecasts (horizon, batch, variables, 3) of targets (horizon, batch, variables): low, middle, high.

    Low and high are the ends of the interval that should hold the share `interval` of all targets. What `kind` says is
    the loss: of "quantiles" the mean of the three quantile losses; of "gaussian" and "student" the negative logarithm
    of the density of a normal distribution, or of Student's with four degrees of freedom, that has this middle and an
    interval of this width. The last steps of the inputs are the naive forecast, beside which the error is reported:
    `skill` is 0 where the two are as good, and 1 where there is no error. Where the naive forecast has no error, there
    is no skill.
    """

    items = "forecasts"
    headline = "mae"
    kind: ForecastKind
    interval: float
    variables: tuple[str, ...] = ()  # whose errors are told one by one

    @property
    def levels(self) -> tuple[float, float, float]:
        """The shares of targets below each end of the interval, and below its middle."""
        return (1 - self.interval) / 2, 0.5, (1 + self.interval) / 2

    def losses(self, outputs: "Tensor", batch: Any) -> "Tensor":
        """The loss of each target."""
        import torch

        if self.kind == "quantiles":
            above = batch.targets[..., None] - outputs
            levels = outputs.new_tensor(self.levels)
            return torch.maximum(levels * above, (levels - 1) * above).mean(-1)
        low, middle, high = outputs.unbind(-1)
        scale = (high - low).clamp(min=LEAST_WIDTH) / (2 * half_width(self.kind, self.interval))
        away = (batch.targets - middle) / scale
        if self.kind == "gaussian":
            return 0.5 * away.square() + scale.log() + 0.5 * math.log(2 * math.pi)
        return scale.log() + 2.5 * torch.log1p(away.square() / 4) + math.log(8 / 3)

    def scores(self, outputs: "Tensor", batch: Any) -> Mapping[str, "Tensor"]:
        """The errors of the middle and of the naive forecast, the interval's width, and 1 where it holds the target."""
        low, middle, high = outputs.unbind(-1)
        naive = batch.inputs[-len(batch.targets) :, :, : batch.targets.shape[-1]]
        return {
            "mae": (batch.targets - middle).abs(),
            "mse": (batch.targets - middle).square(),
            "naive_mae": (batch.targets - naive).abs(),
            "coverage": (low <= batch.targets) & (batch.targets <= high),
            "width": high - low,
            **{
                f"mae of {name}": (batch.targets - middle)[..., place].abs()
                for place, name in enumerate(self.variables)
            },
        }

    def derived(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """What share of the naive forecast's error is gone; nothing where it had none."""
        mae, naive = means.get("mae"), means.get("naive_mae")
        # In training nothing but the loss is gathered; and of an error of 0 there is no share.
        return {} if mae is None or not naive else {"skill": 1 - mae / naive}


class Targets(Objective):
    """Squared error of numbers, outputs and targets (rows, targets), in the units of the targets."""

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


@dataclass(frozen=True)
class NumberTargets(Targets):
    """The same, where a row is right if each of its numbers is within `close` of the target; the accuracy counts."""

    headline = "accuracy"
    close: float

    def scores(self, outputs: "Tensor", batch: Any) -> Mapping[str, "Tensor"]:
        """Accuracy: 1 where a row's numbers are all close."""
        return {"accuracy": ((outputs - batch.targets).abs() < self.close).all(-1)}

    def derived(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """Nothing more: the loss is the mean squared error."""
        return {}


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
