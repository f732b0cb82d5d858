"""Progress of many runs: one bar with the time left on a terminal, otherwise a line for each finished run."""

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from gatewright.tasks.training.history import read_rows
from gatewright.tasks.training.run_folder import RunFolder
from gatewright.terminal import Terminal

_EVERY = 0.5  # seconds from one look to the next


@dataclass(frozen=True)
class RunsProgress:
    """The share of the work that is done, and a line for each finished run."""

    share: float
    ended: tuple[str, ...]
    title: str


def share_of(folder: RunFolder, epochs: int) -> float:
    """How much of a run is done, by what its folder says."""
    if folder.finished:
        return 1.0
    with suppress(OSError, KeyError):  # it is being written at this moment
        rows = read_rows(folder.metrics)
        return min(rows[-1]["epoch"] / epochs, 1.0) if rows else 0.0
    return 0.0


@contextmanager
def overview(console: Terminal, look: Callable[[], RunsProgress]) -> Generator[None]:
    """Show what `look()` returns, twice a second and from a thread of its own, while the body runs."""
    shown, ended = _ProgressDisplay(console, look), threading.Event()

    def keep_looking() -> None:
        while not ended.wait(_EVERY):
            shown.update()

    thread = threading.Thread(target=keep_looking, daemon=True)
    with shown.bar:
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            shown.update()


class _ProgressDisplay:
    def __init__(self, console: Terminal, look: Callable[[], RunsProgress]) -> None:
        self._console, self._look = console, look
        first = look()
        self._before, self._started, self._printed = first.share, time.perf_counter(), set(first.ended)
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            expand=True,
            disable=not console.is_terminal,
        )
        self._task = self.bar.add_task(first.title, total=1.0, left="")
        self.bar.update(self._task, completed=first.share)

    def update(self) -> None:
        """Look again."""
        now = self._look()
        gained, seconds = now.share - self._before, time.perf_counter() - self._started
        left = f"left {timedelta(seconds=round(seconds * (1 - now.share) / gained))}" if gained > 0 else ""
        self.bar.update(self._task, description=now.title, completed=now.share, left=left)
        for line in (line for line in now.ended if line not in self._printed):
            where = "" if self._console.is_terminal else f" ({now.title}{', ' if left else ''}{left})"
            self._console.print(f"{line}{where}", soft_wrap=True)
        self._printed.update(now.ended)
