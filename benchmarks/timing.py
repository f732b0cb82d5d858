"""Timing of several calls in turn: whatever slows the machine down for a while slows them all."""

import gc
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import repeat
from statistics import quantiles

Call = Callable[[], object]


@dataclass(frozen=True)
class Method:
    """How long a sample lasts at least, how many rounds there are, and in what time; all in seconds."""

    sample: float = 1e-3
    fewest: int = 7
    most: int = 101
    budget: float = 5.0

    def shorter(self, part: float) -> "Method":
        """The same in a part of the time."""
        return replace(self, budget=part * self.budget)


QUICK = Method(sample=5e-4, fewest=3, most=15, budget=0.25)
SETTLES = 0.05
"""Seconds: a sample that lasts longer brings its data into the caches by itself."""


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: the median of the rounds, the quartiles beside it, and the least."""

    least: float
    median: float
    low: float
    high: float
    rounds: int
    calls: int

    def shared_by(self, parts: int) -> "Timing":
        """That of each of the equal parts of a call."""
        return replace(
            self, least=self.least / parts, median=self.median / parts, low=self.low / parts, high=self.high / parts
        )


class _Contestant:
    """A call, how many of them make a sample, and what it took so far."""

    def __init__(self, call: Call, sample: float) -> None:
        self.call, self.samples = call, list[float]()
        call()
        self.count, seconds = 1, self._seconds(1)
        while seconds < sample:
            self.count = max(self.count + 1, min(10 * self.count, int(1.2 * sample / max(seconds, 1e-9) * self.count)))
            seconds = self._seconds(self.count)
        self.warmups = self.count // 2 + 1 if seconds < SETTLES else 0

    def sample(self) -> None:
        """Calls that are not counted, which bring the data back into the caches, then those that are."""
        self._seconds(self.warmups)
        self.samples.append(self._seconds(self.count) / self.count)

    def _seconds(self, count: int) -> float:
        call = self.call
        began = time.perf_counter()
        for _ in repeat(None, count):
            call()
        return time.perf_counter() - began

    def timing(self) -> Timing:
        low, median, high = quantiles(self.samples, n=4, method="inclusive")
        return Timing(min(self.samples), median, low, high, len(self.samples), self.count)


def race(calls: Mapping[str, Call], method: Method) -> dict[str, Timing]:
    """Time each call in every round; who begins a round goes last in the next."""
    with _no_collection():
        contestants = {name: _Contestant(call, method.sample) for name, call in calls.items()}
        order, rounds, began = list(contestants.values()), 0, time.perf_counter()
        while rounds < method.fewest or (rounds < method.most and time.perf_counter() - began < method.budget):
            for contestant in order:
                contestant.sample()
            order.append(order.pop(0))
            rounds += 1
    return {name: contestant.timing() for name, contestant in contestants.items()}


@contextmanager
def _no_collection() -> Generator[None]:
    """Without Python's collector of cycles, as in timeit."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
