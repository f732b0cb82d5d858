"""Checkpoints of a run, the best network so far, early stopping, and stopping on request."""

import io
import math
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from gatewright.files import write_atomically
from gatewright.tasks.training.history import History
from gatewright.tasks.training.run_folder import RunFolder, damaged
from gatewright.tasks.training.training_module import KEPT, TrainingModule
from gatewright.untrusted.kinds import misfit


@dataclass(frozen=True)
class RunObserver:
    """Callbacks for a run: `validated` is called after each validation, and ends the run if it raises.

    `stop` is called after each iteration. If it returns True, the run saves its state and stops, as after Ctrl-C.
    """

    validated: Callable[[int, Mapping[str, float]], None] = lambda *_: None
    stop: Callable[[], bool] = lambda: False


class Interrupted(Exception):  # noqa: N818 - nothing failed
    """The user or the system stopped the run; its state has been saved."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by signal {signal_number}")
        self.signal_number = signal_number


def in_a_line(error: BaseException) -> str:
    """The class of an error, and the first line of its text."""
    return ": ".join([type(error).__name__, *str(error).splitlines()[:1]])


_CHECKPOINT: Mapping[str, Any] = {
    "epoch": int,
    "global_step": int,
    "pytorch-lightning_version": str,
    "state_dict": dict[str, Any],
    "loops": dict[str, Any],
    "callbacks": dict[str, Any],
    "optimizer_states": list,
    "lr_schedulers": list,
    KEPT: dict[str, Any],
}
_CALLBACKS: Mapping[str, Any] = dict.fromkeys(("History", "Keeper"), dict[str, Any])


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in weights.items()}


class PlainCheckpoints(TorchCheckpointIO):
    """Checkpoint I/O: written atomically, and loaded without unpickling."""

    loaded = False  # whether a checkpoint was read that has all parts of one

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a new file, then replace the old one."""
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_atomically(Path(path), content.getvalue())

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> Any:
        """Load a checkpoint that holds nothing but tensors and plain values."""
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file fails in as many ways as it can be damaged
            got = in_a_line(error) if Path(path).stat().st_size else "an empty file"
            raise damaged(f"the checkpoint {path} cannot be read", got=got) from error
        wrong = misfit(checkpoint, _CHECKPOINT) or misfit(checkpoint["callbacks"], _CALLBACKS)
        if wrong is not None:  # of what is missing Lightning would begin anew without a word
            expected, got = wrong
            kind = got if isinstance(got, str) else type(got).__name__
            raise damaged(f"the checkpoint {path} is none of a run", expected=expected, got=kind)
        self.loaded = True
        return checkpoint


class CheckpointCallback(Checkpoint):
    """Saves a checkpoint every `checkpoint_every` iterations, and the model file after each best validation.

    The checkpoint holds the best network too; `best` is empty if there is no validation part or keep="last".
    No checkpoint is saved between the last iteration of an epoch and its validation: resuming from it would skip the
    validation.
    """

    def __init__(
        self,
        module: TrainingModule,
        folder: RunFolder,
        history: History,
        save_model: Callable[[], None],
        observer: RunObserver,
    ) -> None:
        self.best: dict[str, Tensor] = {}
        self.best_score: float | None = None
        self.best_epoch = 0
        self._worse = 0  # validations since the best one
        self.module, self._folder, self._history, self._save_model = module, folder, history, save_model
        self._observer = observer
        self.started = False  # whether training goes on from what was restored
        self._saved_at = 0
        self._stop_signal: int | None = None

    @property
    def state_key(self) -> str:
        """Its entry in a checkpoint: the name that the class had in the versions which wrote the first ones."""
        return "Keeper"

    @property
    def kept_epoch(self) -> int | None:
        """The epoch of the network that is kept; None if it is the last one."""
        return self.best_epoch if self.best else None

    def request_stop(self, signal_number: int) -> None:
        """Stop with a checkpoint after the current iteration; on the second request with the same signal, at once.

        A different signal is no second request: torchrun sends SIGTERM after Ctrl-C.
        """
        if self._stop_signal == signal_number:
            raise Interrupted(signal_number)
        self._stop_signal = signal_number

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "best": self.best,
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "worse": self._worse,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from there.

        Raises ValueError if the best network does not fit the run, or an entry is no number.
        """
        best, own = dict(state_dict["best"]), self.module.network.state_dict()
        if best and _shapes(best) != _shapes(own):
            raise ValueError("the best network has other weights than the run's")
        numbers = {key: state_dict[key] for key in ("best_score", "best_epoch", "worse")}
        if wrong := misfit(numbers, {"best_score": float | None, "best_epoch": int, "worse": int}):
            raise ValueError(f"{wrong[0]} was expected, not {wrong[1]!r}")
        self.best, self.best_score = best, state_dict["best_score"]
        self.best_epoch, self._worse = state_dict["best_epoch"], state_dict["worse"]

    def on_train_start(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        """Stop at once if the resumed run had run out of patience."""
        self.started = True
        self._saved_at = self.module.global_step
        self._stop_early(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        """Keep the state where it is due, inside an epoch."""
        if not trainer.is_last_batch:
            self.save_if_due(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        """Judge the network, then keep the state."""
        epoch = trainer.current_epoch + 1
        if self._history.validation is not None:
            self._judge(self._history.validation, epoch, writing=trainer.is_global_zero)
            self._stop_early(trainer)
        self.save_if_due(trainer, now=trainer.should_stop or epoch == self.module.recipe.epochs)
        if self._history.validation is not None:
            self._observer.validated(epoch, self._history.validation)

    def _judge(self, validation: Mapping[str, float], epoch: int, *, writing: bool) -> None:
        metric, direction = self.module.recipe.monitored()
        score, sign = validation[metric], 1 if direction == "min" else -1
        if math.isfinite(score) and (self.best_score is None or sign * score < sign * self.best_score):
            self.best_score, self.best_epoch, self._worse = score, epoch, 0
            if self.module.recipe.keep == "best":
                weights = self.module.network.state_dict()
                self.best = {name: weight.detach().cpu().clone() for name, weight in weights.items()}
                if writing:
                    self._save_model()
        else:
            self._worse += 1

    def _stop_early(self, trainer: pl.Trainer) -> None:
        if 0 < self.module.recipe.patience <= self._worse:
            trainer.should_stop = True

    def save_if_due(self, trainer: pl.Trainer, *, now: bool = False) -> None:
        """Save a checkpoint where one is due or the run is to stop, and raise Interrupted in the latter case."""
        wanted = self._stop_signal is not None or self._observer.stop()
        if trainer.strategy.reduce_boolean_decision(wanted, all=False) and self._stop_signal is None:
            self._stop_signal = signal.SIGINT  # another process was asked, and all stop at the same iteration
        reached = self.module.global_step
        due = reached - self._saved_at >= self.module.recipe.checkpoint_every
        if due or now or self._stop_signal is not None:
            trainer.save_checkpoint(self._folder.checkpoint)
            self._saved_at = reached
        if self._stop_signal is not None:
            raise Interrupted(self._stop_signal)
