"""The metrics of a run, one row for each epoch: as CSV, and for TensorBoard."""

import csv
import math
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from torch.utils.tensorboard import SummaryWriter

from gatewright.files import write_atomically, writing
from gatewright.tasks.answers.evaluate import RunningMeans, measure
from gatewright.tasks.formatting import csv_text
from gatewright.tasks.run_data import Batches
from gatewright.tasks.training.processes import from_the_first
from gatewright.tasks.training.run_folder import RunFolder, damaged
from gatewright.tasks.training.training_module import TrainingModule

Row = Mapping[str, float]
ITERATION = "iteration"
SPEED = "_per_second"
_NEEDED = ("epoch", ITERATION)


def read_rows(path: Path, *, until: int | None = None) -> list[dict[str, float]]:
    """The rows of a CSV file of metrics, up to that iteration; a last line that was cut short is left out.

    Raises DataError if any other line is damaged, or the file is no table.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as opened:
            table = csv.DictReader(opened)
            columns, lines = table.fieldnames or (), list(table)
    except (ValueError, csv.Error) as error:
        raise damaged(f"{path} cannot be read", got=str(error)) from error
    listed = ", ".join(columns) or "an empty file"
    for name in _NEEDED:
        if name not in columns:
            raise damaged(f"{path} is damaged", expected=f"a column {name!r}", got=listed)
    rows = [_row(texts) for texts in lines]
    if rows and rows[-1] is None:
        rows.pop()
    if None in rows:
        line = rows.index(None) + 2
        raise damaged(f"{path} is damaged in line {line}", expected=f"numbers for {listed}")
    return [row for row in rows if row is not None and (until is None or row[ITERATION] <= until)]


def _row(texts: Mapping[Any, Any]) -> dict[str, float] | None:
    """The numbers of a line; None if it is damaged."""
    try:
        row = {name: float(text) for name, text in texts.items() if text != ""}
    except (TypeError, ValueError):  # more or fewer values than columns are a list and None
        return None
    return row if all(math.isfinite(row.get(name, math.nan)) for name in _NEEDED) else None


def as_csv(rows: list[dict[str, float]], columns: list[str], *, header: bool = True) -> bytes:
    """The rows as lines of CSV, with ten figures."""
    texts = ({name: f"{value:.10g}" for name, value in row.items()} for row in rows)
    return csv_text(texts, columns, header=header).encode()


class History(pl.Callback):
    """After each epoch: validates if that is due, and writes the row of the epoch.

    The CSV file is the record itself: a resumed run reads it, and leaves out what came after the checkpoint.
    """

    def __init__(self, module: TrainingModule, folder: RunFolder, validation: Batches | None) -> None:
        self.rows: list[dict[str, float]] = []
        self.validation: dict[str, float] | None = None  # of the epoch that has just ended, if it was measured
        self._module, self._folder, self._validation_part = module, folder, validation
        self._seconds_before = 0.0  # of earlier sessions
        self._resumed_at: int | None = None  # the iteration of the checkpoint
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
        return {"seconds": self.seconds, "iteration": self._module.global_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Read the rows that earlier sessions wrote, up to the checkpoint.

        Raises DataError unless there is a row for every epoch.
        """
        self._seconds_before, self._resumed_at = float(state_dict["seconds"]), state_dict["iteration"]
        self.rows = read_rows(self._folder.metrics, until=state_dict["iteration"])
        epochs = state_dict["iteration"] * self._module.recipe.epochs // self._module.total_iterations
        if [row["epoch"] for row in self.rows] != list(range(1, epochs + 1)):
            raise damaged(
                f"{self._folder.metrics} does not have the rows that the checkpoint goes on from",
                expected=f"one for each of {epochs} epochs",
                got=f"{len(self.rows)} rows",
            )

    def on_train_start(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        """Start the clock, and the log after the checkpoint.

        Raises DataError if training would continue from an iteration other than the checkpoint's.
        """
        if self._resumed_at not in (None, self._module.global_step):
            raise damaged(
                f"the checkpoint {self._folder.checkpoint} does not fit the run",
                expected=f"loops at iteration {self._resumed_at}",
                got=f"iteration {self._module.global_step}",
            )
        self._started = self._epoch_started = time.perf_counter()  # a resumed epoch is not begun again
        self._items_before = self._module.means.items("loss")
        if trainer.is_global_zero:
            place, step = str(self._folder.tensorboard), self._module.global_step
            self._tensorboard = SummaryWriter(place, purge_step=step + 1)

    def on_train_epoch_start(self, *_: Any, **__: Any) -> None:
        """Start the clock of the epoch."""
        self._epoch_started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        """Measure, and write the row."""
        module, epoch = self._module, trainer.current_epoch + 1
        speed = (module.means.items("loss") - self._items_before) / (time.perf_counter() - self._epoch_started)
        self.validation = None
        is_due = epoch % module.recipe.validate_every == 0 or epoch == module.recipe.epochs
        if self._validation_part is not None and is_due:
            part = self._validation_part
            self.validation = from_the_first(
                lambda: measure(module.network, module.objective, part), is_first=trainer.is_global_zero
            )
        self.rows.append(
            {
                "epoch": epoch,
                ITERATION: module.global_step,
                "seconds": self.seconds,
                "rate": trainer.optimizers[0].param_groups[0]["lr"],
                f"{module.objective.items}{SPEED}": speed,
                **_named("train", module.means.metrics(module.objective)),
                **_named("validation", self.validation or {}),
            }
        )
        if trainer.is_global_zero:
            self._write(self.rows[-1])
        module.means, self._items_before = RunningMeans(), 0

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Close the log."""
        if self._tensorboard is not None:
            self._tensorboard.close()

    on_exception = on_train_end

    def _write(self, row: dict[str, float]) -> None:
        if set(row) <= set(self._columns):
            with writing(self._folder.metrics), self._folder.metrics.open("ab") as opened:
                opened.write(as_csv([row], self._columns, header=False))
        else:
            self._columns = list(dict.fromkeys(name for row in self.rows for name in row))
            write_atomically(self._folder.metrics, as_csv(self.rows, self._columns))
        if self._tensorboard is not None:
            for name, value in row.items():
                self._tensorboard.add_scalar(name.replace("_", "/", 1), value, int(row[ITERATION]))


def _named(part: str, metrics: Row) -> dict[str, float]:
    return {f"{part}_{name}": value for name, value in metrics.items()}
