"""Threads stay alone for a while where a run was kept from its processor."""

import time

import pytest

from gatewright.backends.llvm.parallel.contention import ContentionMonitor


class Clock:
    """Time that passes as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.used = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(time, "thread_time", lambda: self.used)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def run(monitor: ContentionMonitor, clock: Clock, used: float) -> int:
    """A run of a second, of which a part had a processor; how many runs after it are for one thread."""
    with monitor.watched():
        clock.now += 1.0
        clock.used += used
    alone = 0
    while monitor.runs_alone():
        alone += 1
    return alone


def test_who_has_a_processor_stays_together(clock: Clock) -> None:
    monitor = ContentionMonitor()
    assert [run(monitor, clock, used) for used in (1.0, 0.9, 0.75)] == [0, 0, 0]


def test_after_a_contended_run_threads_stay_alone_for_longer_and_longer(clock: Clock) -> None:
    monitor = ContentionMonitor()
    assert [run(monitor, clock, 0.5) for _ in range(8)] == [8, 16, 32, 64, 64, 64, 64, 64]
    assert [run(monitor, clock, 1.0) for _ in range(3)] == [0, 0, 0]
    assert run(monitor, clock, 0.1) == 8


def test_a_clock_that_is_too_coarse_tells_nothing(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    class Coarse:
        resolution = 0.015

    monkeypatch.setattr(time, "get_clock_info", lambda name: Coarse)
    assert run(ContentionMonitor(), clock, 0.0) == 0


def test_an_interrupted_run_tells_nothing(clock: Clock) -> None:
    monitor = ContentionMonitor()

    def interrupted() -> None:
        with monitor.watched():
            clock.now += 1.0
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not monitor.runs_alone()
