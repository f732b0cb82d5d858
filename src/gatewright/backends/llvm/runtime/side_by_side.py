"""Two runs of kernels side by side, each by one thread: the two directions of a layer.

Nothing of one is read by the other, so there is no barrier. This pays where one run is too small to be divided.
"""

from collections.abc import Callable, Sequence

from gatewright.backends.llvm.parallel.region import ParallelRegion, run_region
from gatewright.backends.llvm.runtime.runner import Runner, contention

COUNT = 2


class SideBySide:
    """Collects the runs of two calls, and runs them when both are there.

    Whoever adds a run leaves its memory alone until `run` has returned. Then `release` of each run is called.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[Runner, int, bool]] = []
        self._kept: list[object] = []
        self._releases: list[Callable[[], None]] = []

    def add(self, runner: Runner, tables: int, *, is_packed: bool) -> None:
        """Add a run over the buffers that tables name; see `Runner.run`."""
        self._runs.append((runner, tables, is_packed))

    def keep(self, objects: Sequence[object]) -> None:
        """Keep objects alive until the runs are done: arrays that they read and write."""
        self._kept += objects

    def release_later(self, release: Callable[[], None]) -> None:
        """Have a function called when the runs are done."""
        self._releases.append(release)

    def run(self) -> None:
        """Run what was added: side by side if two threads can be had, else one after the other."""
        if len(self._runs) < COUNT or contention.runs_alone() or not self._run_together():
            for runner, tables, is_packed in self._runs:
                runner.run(tables, is_packed=is_packed)
        for release in self._releases:
            release()

    def _run_together(self) -> bool:
        (first, _, _), (second, _, _) = self._runs
        phases = first.phases_beside(second, *(is_packed for _, _, is_packed in self._runs))
        tables = tuple(tables for _, tables, _ in self._runs)
        spin_limit = max(first.spin_limit, second.spin_limit)
        region = ParallelRegion(phases, tables, first.extent[1], (0, 0), spin_limit, 0)
        with contention.watched(region):
            return run_region(region, COUNT)
