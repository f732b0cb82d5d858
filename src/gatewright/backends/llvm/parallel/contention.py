"""Whether other work uses the processors, so that threads which wait for one another would lose more than they gain."""

import time
from collections.abc import Generator
from contextlib import contextmanager

_LOST_SHARE = 0.3
"""A run counts as contended from this share of its time on, in which its thread was kept from running."""
_MIN_RUNS, _MAX_RUNS = 8, 64
"""For how many runs a caller stays alone after a contended one; twice as many each time that it is contended again."""


class ContentionMonitor:
    """Learns from every run on several threads whether the calling thread had a processor to itself meanwhile."""

    def __init__(self) -> None:
        self._can_tell = time.get_clock_info("thread_time").resolution < 1e-5
        self.alone, self._next = 0, _MIN_RUNS  # for how many more runs the caller stays alone

    def runs_alone(self) -> bool:
        """Whether this run is better done by its caller alone; asked once for each run."""
        if not self.alone:
            return False
        self.alone -= 1
        return True

    @contextmanager
    def watched(self) -> Generator[None]:
        """A run on several threads."""
        began, used_before = time.perf_counter(), time.thread_time()
        yield
        took, used = time.perf_counter() - began, time.thread_time() - used_before
        # Waiting members spin, which uses the processor: time that is lost was given to other work.
        if self._can_tell and used < (1 - _LOST_SHARE) * took:
            self.alone, self._next = self._next, min(2 * self._next, _MAX_RUNS)
        else:
            self._next = max(self._next // 2, _MIN_RUNS)
