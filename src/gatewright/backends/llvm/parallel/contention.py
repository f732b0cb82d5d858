"""Whether others use the processors, so that threads which wait for one another would lose more than they gain."""

import time
from collections.abc import Generator
from contextlib import contextmanager

_LOST = 0.3
"""The share of a run's time that its thread was kept from running, from which on it counts as crowded."""
_FEWEST, _MOST = 8, 512
"""For how many runs threads stay apart after a crowded one; twice as many each time that it is crowded again."""


class Crowd:
    """Learns from every run on several threads whether the calling thread had a processor to itself meanwhile."""

    def __init__(self) -> None:
        self._can_tell = time.get_clock_info("thread_time").resolution < 1e-5
        self._apart, self._next = 0, _FEWEST

    def keeps_apart(self) -> bool:
        """Whether this run is better done by its caller alone; asked once for each run."""
        if not self._apart:
            return False
        self._apart -= 1
        return True

    @contextmanager
    def watched(self) -> Generator[None]:
        """A run on several threads."""
        began, used_before = time.perf_counter(), time.thread_time()
        yield
        took, used = time.perf_counter() - began, time.thread_time() - used_before
        if self._can_tell and used < (1 - _LOST) * took:
            self._apart, self._next = self._next, min(2 * self._next, _MOST)
        else:
            self._next = max(self._next // 2, _FEWEST)
