"""Timing of several calls in turn: whatever slows the machine down for a while slows them all."""

import gc
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from statistics import quantiles

Call = Callable[[], object]
Run = Callable[[int], float]
"""Does so many calls, here or in another process, and returns the seconds that they took."""


@dataclass(frozen=True)
class Method:
    """How long a sample lasts at least, how many rounds there are, and in what time; all in seconds.

    A sample that lasts less than `settles` follows calls that are not counted: longer ones bring their data into the
    caches by themselves.
    """

    sample: float = 1e-3
    fewest: int = 7
    most: int = 101
    budget: float = 5.0
    settles: float = 0.05

    def shorter(self, part: float) -> "Method":
        """The same in a part of the time."""
        return replace(self, budget=part * self.budget)


QUICK = Method(sample=5e-4, fewest=3, most=15, budget=0.25)


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

    def __init__(self, run: Run, sample: float, settles: float) -> None:
        self.run, self.samples = run, list[float]()
        run(1)
        self.count, seconds = 1, run(1)
        while seconds < sample:
            self.count = max(self.count + 1, min(10 * self.count, int(1.2 * sample / max(seconds, 1e-9) * self.count)))
            seconds = run(self.count)
        self.warmups = self.count // 2 + 1 if seconds < settles else 0

    def sample(self) -> None:
        """Calls that are not counted, which bring the data back into the caches, then those that are."""
        if self.warmups:
            self.run(self.warmups)
        self.samples.append(self.run(self.count) / self.count)

    def timing(self) -> Timing:
        low, median, high = quantiles(self.samples, n=4, method="inclusive")
        return Timing(min(self.samples), median, low, high, len(self.samples), self.count)


def seconds_of(call: Call, count: int) -> float:
    """The seconds of so many calls."""
    began = time.perf_counter()
    for _ in repeat(None, count):
        call()
    return time.perf_counter() - began


def race(calls: Mapping[str, Call], method: Method) -> dict[str, Timing]:
    """Time each call in every round; who begins a round goes last in the next."""
    return race_runs({name: partial(seconds_of, call) for name, call in calls.items()}, method)


def race_runs(runs: Mapping[str, Run], method: Method) -> dict[str, Timing]:
    """The same for calls that are timed where they run."""
    with _no_collection():
        contestants = {name: _Contestant(run, method.sample, method.settles) for name, run in runs.items()}
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
