"""The LightningModule of a recipe: training step, optimiser, schedule, and its part of a checkpoint."""

import math
from functools import partial
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, get_total_norm

from gatewright.nn import Recurrent
from gatewright.tasks.answers.evaluate import RunningMeans
from gatewright.tasks.network import State, map_state
from gatewright.tasks.recipe import Recipe
from gatewright.tasks.run_data import Data
from gatewright.tasks.training import nonfinite
from gatewright.tasks.training.processes import from_every_process, rows_of, sum_over_processes
from gatewright.tasks.training.random_numbers import random_numbers, set_random_numbers
from gatewright.tasks.training.tensor_batches import BatchLoader, TensorBatch

OPTIMISERS = {
    # Fused, one pass over the weights takes the place of ten, which is most of an iteration with a large embedding.
    "adam": partial(torch.optim.Adam, fused=True),
    "adamw": partial(torch.optim.AdamW, fused=True),
    "rmsprop": torch.optim.RMSprop,
    "adadelta": partial(torch.optim.Adadelta, rho=0.95),  # as in the paper, Zeiler 2012, 1212.5701
    "sgd": partial(torch.optim.SGD, fused=True),
}
KEPT = "gatewright"  # our part of a checkpoint


class TrainingModule(pl.LightningModule):
    """The LightningModule that trains a recipe's network.

    Its checkpoint holds, besides Lightning's own, the carried state, the losses of the unfinished epoch and the
    state of torch's random numbers; the place in the data follows from the number of iterations. So a run that
    goes on from a checkpoint ends with the same bits as one that was never stopped.
    """

    def __init__(self, recipe: Recipe, network: nn.Module, data: Data) -> None:
        super().__init__()
        self.recipe, self.network = recipe, network
        self.objective = recipe.objective_of(data.sizes).with_network(network)
        self.means = RunningMeans()
        self._batches = data.parts["train"]
        self._state: State = None
        self._random_numbers: list[Tensor] | None = None  # of a checkpoint, until training starts

    @property
    def carried_state(self) -> State:
        """The state after the last batch, where the next one goes on from it; None means zeros."""
        return self._state

    @property
    def total_iterations(self) -> int:
        """Iterations of the whole run, if nothing stops it early."""
        return self.recipe.epochs * len(self._batches)

    def train_dataloader(self) -> BatchLoader:
        """A loader that starts at the current iteration."""
        own = partial(rows_of, rank=self.global_rank, total=self._processes, timed=self.recipe.timed_targets())
        return BatchLoader(self._batches, lambda: self.global_step, own)

    def training_step(self, batch: TensorBatch, _: int) -> Tensor:
        """The mean loss of a batch. Raises NonFiniteError, which names its origin, if the loss is not finite."""
        before, drawn = batch.begins_with(self._state), random_numbers()
        total, count, state = self.objective.total_loss(self.network, batch, before)
        loss, value, items = self._mean(total, count)
        if not math.isfinite(value):
            set_random_numbers(drawn)  # so that dropout draws the same masks again
            is_own, at = not math.isfinite(loss.item()), self.global_step
            raise nonfinite.of_loss(self.network, batch, before, value=value, iteration=at, is_own=is_own)
        self._state = map_state(Tensor.detach, state) if self._batches.carries_state else None
        self.means.add("loss", value * items, items)
        return loss

    def _mean(self, total: Tensor, count: int) -> tuple[Tensor, float, int]:
        """The loss to differentiate, the mean over the items of all processes, and their number.

        `total` is the sum over the `count` items of this process.

        DDP averages the gradients of the processes, and the mean of their losses is that mean.
        """
        if self._processes == 1:
            loss = total / count if count else total * math.nan
            return loss, loss.item(), count
        sums, items = sum_over_processes([total.item(), count], total.device)
        return total * (self._processes / items), sums / items, int(items)

    @property
    def _processes(self) -> int:
        return self.trainer.world_size

    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        """Clip the norm of all gradients together, and stop if it is not finite."""
        parameters = list(self.network.parameters())
        if self.recipe.clip:
            norm = clip_grad_norm_(parameters, self.recipe.clip)
        else:
            norm = get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
        if not math.isfinite(norm.item()):
            raise nonfinite.of_gradient(self.network, iteration=self.global_step)

    def configure_optimizers(self) -> Any:
        """The recipe's optimiser and schedule."""
        recipe = self.recipe
        make: Any = OPTIMISERS[recipe.optimiser]
        options = {"alpha": recipe.smoothing} if recipe.optimiser == "rmsprop" else {}
        optimiser = make(self.network.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay, **options)
        if recipe.schedule == "constant":
            return optimiser
        total = self.total_iterations
        if recipe.schedule == "one-cycle":
            has_momentum = not {"momentum", "betas"}.isdisjoint(optimiser.defaults)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total, cycle_momentum=has_momentum)
        elif recipe.schedule == "decay":
            epoch = len(self._batches)  # iterations that have the same factor
            schedule = torch.optim.lr_scheduler.LambdaLR(
                optimiser, lambda iteration: recipe.decay ** max(0, iteration // epoch + 1 - recipe.decay_after)
            )
        else:
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, total)
        return [optimiser], [{"scheduler": schedule, "interval": "step"}]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the carried state, the losses of the epoch and the random state; only tensors and plain values."""
        state = map_state(lambda tensor: tensor.cpu(), self._state)
        checkpoint[KEPT] = {
            "means": self.means.sums,
            "processes": from_every_process({"state": state, "random numbers": random_numbers()}),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore them. The random state is set again when training starts: more numbers may be drawn until then."""
        kept = checkpoint[KEPT]
        own = kept["processes"][self.global_rank]
        self._state = map_state(lambda tensor: tensor.cpu(), own["state"])
        self.means.sums = {name: (total, items) for name, (total, items) in kept["means"].items()}
        self._random_numbers = own["random numbers"]
        set_random_numbers(own["random numbers"])

    def on_train_start(self) -> None:
        """Have recurrent layers save what the recipe says. Restore the random state of the checkpoint; without one,
        seed each process differently."""
        self._set_gradient_checkpoint(self.recipe.gradient_checkpoint or None)
        if self._random_numbers is not None:
            set_random_numbers(self._random_numbers)
            self._state = map_state(lambda tensor: tensor.to(self.device), self._state)
        elif self.global_rank:
            seeds = np.random.SeedSequence([self.recipe.seed, self.global_rank])
            torch.manual_seed(int(seeds.generate_state(1, np.uint64)[0]))

    def on_train_end(self) -> None:
        """Have recurrent layers save everything again, as those of a new network do."""
        self._set_gradient_checkpoint(None)

    def _set_gradient_checkpoint(self, checkpoint: bool | int | None) -> None:
        for module in self.network.modules():
            if isinstance(module, Recurrent):
                module.checkpoint = checkpoint
