"""Threads stay apart for a while after a run in which they did too little together."""

import time

import pytest

from gatewright.backends.llvm.parallel.contention import ContentionMonitor


class Clock:
    """Time that passes as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


class Work:
    """A region in which members did so much."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds

    def useful_seconds(self) -> float | None:
        return self._seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def run(monitor: ContentionMonitor, clock: Clock, useful: float | None) -> float:
    """A run of a second, with so many seconds of useful work; for how long threads stay apart after it."""
    with monitor.watched(Work(useful)):
        clock.now += 1.0
    apart = monitor.seconds_left()
    assert monitor.runs_alone() is (apart > 0)
    clock.now += apart
    assert not monitor.runs_alone()
    return round(apart, 6)


def test_threads_that_gain_stay_together(clock: Clock) -> None:
    monitor = ContentionMonitor()
    assert [run(monitor, clock, useful) for useful in (2.0, 1.5, 1.1)] == [0, 0, 0]


def test_after_a_contended_run_threads_stay_apart_in_proportion_to_what_it_lost(clock: Clock) -> None:
    assert run(ContentionMonitor(), clock, 0.55) == 4 * 0.5
    assert run(ContentionMonitor(), clock, 0.0) == 4 * 1.0
    assert run(ContentionMonitor(), clock, 1.1 * 0.999) == 4 * 0.001


def test_threads_stay_apart_for_longer_while_runs_are_contended(clock: Clock) -> None:
    monitor = ContentionMonitor()
    assert [run(monitor, clock, 0.0) for _ in range(4)] == [4.0, 8.0, 10.0, 10.0]
    assert [run(monitor, clock, 2.0) for _ in range(2)] == [0, 0]
    assert run(monitor, clock, 0.0) == 4.0


def test_time_without_runs_counts(clock: Clock) -> None:
    monitor = ContentionMonitor()
    with monitor.watched(Work(0.0)):
        clock.now += 1.0
    clock.now += 3.5
    assert monitor.runs_alone()
    assert monitor.seconds_left() == 0.5
    clock.now += 1.0
    assert not monitor.runs_alone()
    assert monitor.seconds_left() == 0.0


def test_a_region_that_is_not_measured_tells_nothing(clock: Clock) -> None:
    assert run(ContentionMonitor(), clock, None) == 0


def test_an_interrupted_run_tells_nothing(clock: Clock) -> None:
    monitor = ContentionMonitor()

    def interrupted() -> None:
        with monitor.watched(Work(0.0)):
            clock.now += 1.0
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not monitor.runs_alone()
