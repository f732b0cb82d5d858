"""The record of a run: one row an epoch, as CSV and for TensorBoard."""

import csv
import io
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from torch.utils.tensorboard import SummaryWriter

from gatewright.files import write_atomically, writing
from gatewright.tasks.evaluate import Means, measure
from gatewright.tasks.folder import RunFolder
from gatewright.tasks.learner import Learner
from gatewright.tasks.processes import from_the_first
from gatewright.tasks.recipe import Batches

Row = Mapping[str, float]
ITERATION = "iteration"
SPEED = "_per_second"


def read_rows(path: Path, *, until: int | None = None) -> list[dict[str, float]]:
    """The rows of a CSV file of metrics, up to that iteration; a last line that was cut short is left out."""
    if not path.exists():
        return []
    rows: list[dict[str, float]] = []
    with path.open(newline="", encoding="utf-8") as opened:
        for texts in csv.DictReader(opened):
            try:
                row = {name: float(text) for name, text in texts.items() if text != ""}
            except (TypeError, ValueError):
                break
            if until is None or row[ITERATION] <= until:
                rows.append(row)
    return rows


def as_csv(rows: list[dict[str, float]], columns: list[str], *, header: bool = True) -> bytes:
    """The rows as lines of CSV; a row that lacks a column is empty there."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows({name: f"{value:.10g}" for name, value in row.items()} for row in rows)
    return text.getvalue().encode()


class History(pl.Callback):
    """Ends each epoch: measures on the validation part when that is due, and writes the epoch's row.

    The CSV file is the record itself: a resumed run reads it, and leaves out what came after the checkpoint.
    """

    def __init__(self, learner: Learner, folder: RunFolder, validation: Batches | None) -> None:
        self.rows: list[dict[str, float]] = []
        self.validation: dict[str, float] | None = None  # of the epoch that has just ended, if it was measured
        self._learner, self._folder, self._validation_part = learner, folder, validation
        self._seconds_before = 0.0  # of earlier sessions
        self._started: float | None = None  # when this one began to train
        self._epoch_started, self._items_before = 0.0, 0
        self._columns: list[str] = []
        self._tensorboard: SummaryWriter | None = None

    @property
    def seconds(self) -> float:
        """How long this run has trained, in all its sessions."""
        return self._seconds_before + (0.0 if self._started is None else time.perf_counter() - self._started)

    @property
    def speed(self) -> float:
        """The median of the epochs' items per second."""
        return statistics.median(value for row in self.rows for name, value in row.items() if name.endswith(SPEED))

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"seconds": self.seconds, "iteration": self._learner.global_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Read what earlier sessions wrote, up to the checkpoint."""
        self._seconds_before = state_dict["seconds"]
        self.rows = read_rows(self._folder.metrics, until=state_dict["iteration"])

    def on_train_start(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        """Start the clock, and the log after the checkpoint."""
        self._started = self._epoch_started = time.perf_counter()  # a resumed epoch is not begun again
        self._items_before = self._learner.means.items("loss")
        if trainer.is_global_zero:
            place, step = str(self._folder.tensorboard), self._learner.global_step
            self._tensorboard = SummaryWriter(place, purge_step=step + 1)

    def on_train_epoch_start(self, *_: Any, **__: Any) -> None:
        """Start the clock of the epoch."""
        self._epoch_started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        """Measure, and write the row."""
        learner, epoch = self._learner, trainer.current_epoch + 1
        speed = (learner.means.items("loss") - self._items_before) / (time.perf_counter() - self._epoch_started)
        self.validation = None
        if self._validation_part is not None and self._is_due(epoch):
            part = self._validation_part
            self.validation = from_the_first(
                lambda: measure(learner.network, learner.objective, part), is_first=trainer.is_global_zero
            )
        self.rows.append(
            {
                "epoch": epoch,
                ITERATION: learner.global_step,
                "seconds": self.seconds,
                "rate": trainer.optimizers[0].param_groups[0]["lr"],
                f"{learner.objective.items}{SPEED}": speed,
                **_named("train", learner.means.metrics(learner.objective)),
                **_named("validation", self.validation or {}),
            }
        )
        if trainer.is_global_zero:
            self._write(self.rows[-1])
        learner.means, self._items_before = Means(), 0

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Close the log."""
        if self._tensorboard is not None:
            self._tensorboard.close()

    def on_exception(self, *_: Any, **__: Any) -> None:
        """Close the log."""
        self.on_train_end()

    def _is_due(self, epoch: int) -> bool:
        recipe = self._learner.recipe
        return epoch % recipe.validate_every == 0 or epoch == recipe.epochs

    def _write(self, row: dict[str, float]) -> None:
        if set(row) <= set(self._columns):
            with writing(self._folder.metrics), self._folder.metrics.open("ab") as opened:
                opened.write(as_csv([row], self._columns, header=False))
        else:
            self._columns = list(dict.fromkeys(name for one in self.rows for name in one))
            write_atomically(self._folder.metrics, as_csv(self.rows, self._columns))
        if self._tensorboard is not None:
            for name, value in row.items():
                self._tensorboard.add_scalar(name.replace("_", "/", 1), value, int(row[ITERATION]))


def _named(part: str, metrics: Row) -> dict[str, float]:
    return {f"{part}_{name}": value for name, value in metrics.items()}
