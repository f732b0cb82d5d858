"""Progress of training: a bar with the time left on a terminal, otherwise a line at each tenth of the run."""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import lightning.pytorch as pl
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from gatewright.tasks.formatting import spell
from gatewright.tasks.training.history import ITERATION, History, Row
from gatewright.tasks.training.training_module import TrainingModule
from gatewright.terminal import Terminal

_SAME_ORDER = {"perplexity": "loss"}  # measures that rank networks alike
_LINES = 10  # how many lines a whole run writes where there is no terminal


def summary(rows: Sequence[Row], headline: str, decides: str) -> str:
    """The latest main measure, on validation if possible, else on training; and the monitored one."""
    newest = [row for row in rows if f"validation_{headline}" in row][-1:]
    part, row = ("validation", newest[0]) if newest else ("train", rows[-1])
    if f"{part}_{headline}" not in row:
        return f"train loss {spell(row['train_loss'])}"
    shown = [headline] if decides in (headline, _SAME_ORDER.get(headline)) else [headline, decides]
    return f"{part} " + ", ".join(
        f"{measure} {spell(row[key])}" for measure in shown if (key := f"{part}_{measure}") in row
    )


class ProgressCallback(pl.Callback):
    """A live bar on a terminal; elsewhere a line at each tenth of the run."""

    def __init__(self, module: TrainingModule, history: History, console: Terminal) -> None:
        self._module, self._history, self._console = module, history, console
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            expand=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting")
        self._first, self._started, self._last_line = 0, 0.0, 0

    def on_train_start(self, *_: Any, **__: Any) -> None:
        """Show the bar; a resumed run begins at its iteration."""
        self._first, self._started = self._module.global_step, time.perf_counter()
        self._last_line = self._first
        self._bar.update(self._task, total=self._module.total_iterations, completed=self._first)
        self._bar.start()

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """Advance the bar."""
        self._bar.update(self._task, completed=self._module.global_step)

    def on_train_epoch_end(self, *_: Any, **__: Any) -> None:
        """Show the measures of the epoch."""
        row, total = self._history.rows[-1], self._module.total_iterations
        figures = summary(self._history.rows, self._module.objective.headline, self._module.recipe.monitored()[0])
        self._bar.update(self._task, description=figures)
        done = int(row[ITERATION])
        due = (done - self._last_line) * _LINES >= total or done == total
        if due and not self._console.is_terminal:
            self._last_line = done
            seconds = time.perf_counter() - self._started
            left = timedelta(seconds=round(seconds * (total - done) / max(1, done - self._first)))
            line = f"epoch {int(row['epoch'])}, iteration {done}/{total}: {figures}, left {left}"
            self._console.print(line, soft_wrap=True)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Remove the bar."""
        self._bar.stop()

    on_exception = on_train_end
