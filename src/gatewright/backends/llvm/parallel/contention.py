"""Whether other work uses the processors, so that threads which wait for one another would lose more than they gain."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

_LEAST_GAIN = 1.1
"""A run counts as contended where its threads together did less than this many times the work of one thread that is
never stopped."""
_MIN_PAUSE, _MAX_PAUSE = 4.0, 10.0
"""For how long threads stay apart after a contended run, as a multiple of the time that it lost. It doubles each time
that the next one is contended, too. So on a busy machine such runs take a tenth of the time in the end, and after a
short disturbance threads are soon together again."""


class Measured(Protocol):
    """A region that measures what its members do."""

    def useful_seconds(self) -> float | None:
        """The processor time of all members in which they did not wait for one another; None where it is not known."""
        ...


class ContentionMonitor:
    """Learns from every run on several threads whether these had a processor each.

    A thread that other work keeps from its processor is not the one that can tell: the caller may have had its own all
    the time, and have spent it waiting at barriers. So the processor time of all members is compared with the time
    that passed, without what they spent waiting.
    """

    def __init__(self) -> None:
        self._pause, self._ends = _MIN_PAUSE, 0.0

    def runs_alone(self) -> bool:
        """Whether a run is better done by its caller alone."""
        return self._ends > 0.0 and self.seconds_left() > 0.0

    def seconds_left(self) -> float:
        """For how long runs are done by their caller alone."""
        return max(self._ends - time.perf_counter(), 0.0)

    @contextmanager
    def watched(self, region: Measured) -> Generator[None]:
        """A run on several threads."""
        began = time.perf_counter()
        yield
        took, useful = time.perf_counter() - began, region.useful_seconds()
        if useful is None:
            return
        if useful < _LEAST_GAIN * took:
            lost = took - useful / _LEAST_GAIN
            self._ends = began + took + self._pause * lost
            self._pause = min(2 * self._pause, _MAX_PAUSE)
        else:
            self._pause = max(self._pause / 2, _MIN_PAUSE)
