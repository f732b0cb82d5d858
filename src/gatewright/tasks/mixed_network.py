"""An ensemble of a network and a linear model that is fitted in closed form, and the weights of both."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewright.tasks.network import RecipeNetwork, State
from gatewright.tasks.run_data import Batches
from gatewright.tasks.training.tensor_batches import tensor_batch

Floats = NDArray[np.float64]

_LOWEST = -30.0  # below the highest score of an example: of classes that the linear model does not know
_HALF_TRUST = 20  # rows of numbers at which half of what they say is believed


class MixedNetwork(RecipeNetwork):
    """A Network beside a linear model: in evaluation it gives the mean of both, in training its own outputs alone.

    So it learns as if it were alone. A linear model is better where there are few examples, a recurrent one where there
    are many, and their mean is mostly better than both: it is an ensemble of two that err differently. `balance` scales
    both for that mean.
    """

    own_share = 0.5
    """How much the network counts beside the linear model while no validation part says it."""

    def forward(self, inputs: Tensor, state: State = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """The outputs, and the state after the last step."""
        outputs, state = super().forward(inputs, state, lengths)
        linear = None if self.training else self.linear_outputs(inputs, lengths)
        return outputs if linear is None else (outputs + linear) / 2, state

    @property
    def linear_model(self) -> Any:
        """The module beside the network, with a `weight` and a `bias`; None where there is none."""
        raise NotImplementedError

    def linear_outputs(self, inputs: Tensor, lengths: Tensor | None) -> Tensor | None:
        """What the linear model gives, (rows, outputs); None where there is none."""
        return None if self.linear_model is None else self.linear_model(inputs, lengths)

    @torch.no_grad()
    def balance(self, batches: Batches | None) -> None:
        """Scale both so that the targets of these batches are as likely as possible (stacking, Wolpert 1992).

        A network that has learned its training part by heart is too sure of itself, and would outvote the linear model.
        Without batches both count as `own_share` says. Targets that are whole numbers are classes. Where there is no
        linear model nothing is done.
        """
        if (beside := self.linear_model) is None:
            return
        parts = [] if batches is None else [self._both(batches, position) for position in range(len(batches))]
        prior = np.array([self.own_share, 1 - self.own_share])
        weights = prior
        if parts:
            own, linear, targets = (torch.cat(part).cpu().double().numpy() for part in zip(*parts, strict=True))
            if parts[0][2].is_floating_point():
                weights = averaging_weights(own, linear, targets, prior)
            else:
                weights = stacking_weights(own, linear, targets.astype(np.int64), prior)
        for factor, parameters in zip(
            2 * weights, (self.output.parameters(), (beside.weight, beside.bias)), strict=True
        ):
            for parameter in parameters:
                parameter.mul_(float(factor))

    def _both(self, batches: Batches, position: int) -> tuple[Tensor, Tensor, Tensor]:
        batch = tensor_batch(batches, 0, position).to(self.output.weight.device)
        self.eval()
        outputs, _ = super().forward(batch.inputs, None, batch.lengths)
        linear = self.linear_outputs(batch.inputs, batch.lengths)
        assert linear is not None, "there is a linear model to balance"
        return outputs, linear, self.scaled_targets(batch.targets)

    def scaled_targets(self, targets: Tensor) -> Tensor:
        """Targets in the units of both outputs."""
        return targets


def stacking_weights(own: Floats, linear: Floats, labels: NDArray[np.int64], prior: Floats | None = None) -> Floats:
    """The factors, 0 at least, of two scores (rows, classes) whose sum makes the labels (rows,) most likely.

    A weak prior, at one half each where none is given, keeps them finite where few rows, all of them right, would have
    them grow.
    """
    from scipy.optimize import minimize

    both = np.stack([np.maximum(part - part.max(1, keepdims=True), _LOWEST) for part in (own, linear)])
    prior = np.full(2, 0.5) if prior is None else prior
    wanted = both[:, np.arange(len(labels)), labels]  # (2, rows)

    def loss(weights: Floats) -> tuple[float, Floats]:
        exponentials = np.exp(np.tensordot(weights, both, 1))
        total = exponentials.sum(1)
        away = weights - prior
        value = (np.log(total) - weights @ wanted).sum() + away @ away
        gradient = (both * (exponentials / total[:, None])).sum((1, 2)) - wanted.sum(1) + 2 * away
        return float(value), gradient

    result: Any = minimize(loss, prior, jac=True, bounds=[(0, None)] * 2, method="L-BFGS-B")
    return result.x


def averaging_weights(own_answers: Floats, linear_answers: Floats, targets: Floats, prior: Floats) -> Floats:
    """The weights, 0 to 1, of the mean of two answers (rows, numbers) that is nearest to the targets.

    The fewer the rows, the nearer to the prior.
    """
    apart = own_answers - linear_answers
    share = np.clip(
        (apart * (targets - linear_answers)).sum() / max(np.square(apart).sum(), np.finfo(np.float64).tiny), 0, 1
    )
    trust = len(targets) / (len(targets) + _HALF_TRUST)
    own = trust * share + (1 - trust) * prior[0]
    return np.array([own, 1 - own])
