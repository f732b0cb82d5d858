"""The pool of threads: helpers come when they can, interrupts come back when nobody is inside, nothing can block."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable

import pytest

from gatewright.backends.llvm.parallel import thread_pool
from gatewright.backends.llvm.parallel.thread_pool import BACKLOG, ThreadPool, run_together
from tests.paths import ROOT, subprocess_environment


def run_python(program: str) -> str:
    """What a program prints; it has to end by itself."""
    environment = subprocess_environment()
    environment["PYTHONPATH"] += f":{ROOT}"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


class Gathering:
    """A region in Python: who joins before it is closed does `part`; with `all_come`, they wait for each other."""

    def __init__(self, part: Callable[[], object] = lambda: None, *, all_come: bool = False) -> None:
        self.part, self.all_come = part, all_come
        self.expected = 0
        self.joined: list[int] = []
        self.left = 0  # how many are done
        self.closed = threading.Event()
        self._entering = threading.Lock()
        self._there = threading.Condition()

    def expect(self, threads: int) -> None:
        self.expected = threads

    def join(self) -> None:
        with self._entering:
            if self.closed.is_set():
                return
            self.joined.append(threading.get_ident())
        try:
            if self.all_come:
                with self._there:
                    self._there.notify_all()
                    assert self._there.wait_for(lambda: len(self.joined) == self.expected, timeout=30)
            self.part()
        finally:
            with self._there:
                self.left += 1
                self._there.notify_all()

    def close(self) -> None:
        with self._entering:
            self.closed.set()
        with self._there:
            assert self._there.wait_for(lambda: self.left == len(self.joined), timeout=30)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> ThreadPool:
    """A pool without any helper yet."""
    pool = ThreadPool()
    monkeypatch.setattr(thread_pool, "pool", pool)
    return pool


@pytest.mark.parametrize("number", [2, 5])
def test_threads_come_together(number: int) -> None:
    for _ in range(20):
        region = Gathering(all_come=True)
        assert run_together(region, number)
        assert region.expected == len(set(region.joined)) == number
        assert threading.get_ident() in region.joined
        assert region.closed.is_set()


def test_one_thread_is_no_region() -> None:
    region = Gathering()
    assert not run_together(region, 1)
    assert region.joined == []


def test_a_call_within_a_call_is_for_the_caller_alone() -> None:
    inner = Gathering()
    said: list[bool] = []
    assert run_together(Gathering(lambda: said.append(run_together(inner, 2)), all_come=True), 2)
    assert said == [False, False]
    assert inner.joined == []
    assert run_together(inner, 2)


def test_of_two_callers_one_has_the_helpers() -> None:
    held, leave = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        assert leave.wait(timeout=30)

    other = threading.Thread(target=run_together, args=(Gathering(hold), 2))
    other.start()
    assert held.wait(timeout=30)
    refused = Gathering()
    assert not run_together(refused, 2)
    leave.set()
    other.join(timeout=30)
    assert not other.is_alive()
    assert refused.joined == []
    assert run_together(Gathering(all_come=True), 2)


def test_many_calls_of_many_threads() -> None:
    together = dict.fromkeys(range(4), 0)
    alone = dict(together)

    def caller(number: int) -> None:
        for _ in range(300):
            region = Gathering()
            if run_together(region, 3):
                together[number] += threading.get_ident() in region.joined
            else:
                alone[number] += not region.joined

    callers = [threading.Thread(target=caller, args=(number,)) for number in together]
    for each in callers:
        each.start()
    for each in callers:
        each.join(timeout=60)
    assert all(together[number] + alone[number] == 300 for number in together)
    assert sum(together.values()) > 0


def test_a_caller_does_not_wait_for_helpers_that_are_busy(pool: ThreadPool) -> None:
    entered, leave = threading.Event(), threading.Event()
    caller = threading.get_ident()

    def block() -> None:
        if threading.get_ident() != caller:
            entered.set()
            assert leave.wait(timeout=30)

    blocking = Gathering(block, all_come=True)
    blocking.close = lambda: None  # a caller that leaves while a helper is inside, so that this one stays busy
    assert run_together(blocking, 2)
    assert entered.wait(timeout=30)
    for _ in range(BACKLOG):
        region = Gathering()
        assert run_together(region, 2)
        assert region.joined == [caller]
    assert not run_together(Gathering(), 2)  # no further call is laid before a helper that is so far behind
    leave.set()
    deadline = time.monotonic() + 30
    while not (came := run_together(Gathering(all_come=True), 2)) and time.monotonic() < deadline:
        time.sleep(0.001)
    assert came


def test_without_a_further_thread_the_caller_is_alone(monkeypatch: pytest.MonkeyPatch, pool: ThreadPool) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        region = Gathering()
        assert not run_together(region, 4)
        assert region.joined == []
    assert run_together(Gathering(all_come=True), 4)  # nobody has the helpers


# Errors


def test_an_error_is_raised_when_nobody_is_inside_any_more() -> None:
    ended: list[str] = []
    caller = threading.get_ident()

    def part() -> None:
        if threading.get_ident() == caller:
            raise ValueError("the caller's part")
        time.sleep(0.1)
        ended.append("the helper")

    with pytest.raises(ValueError, match="the caller's part"):
        run_together(Gathering(part, all_come=True), 2)
    assert ended == ["the helper"]
    assert run_together(Gathering(all_come=True), 2)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="a thread cannot be interrupted from another here")
@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_waits_for_the_helpers(times: int) -> None:
    caller = threading.get_ident()
    ended: list[str] = []

    def part() -> None:
        if threading.get_ident() == caller:
            time.sleep(0.05)
            return
        for _ in range(times):
            time.sleep(0.1)
            signal.pthread_kill(caller, signal.SIGINT)
        time.sleep(0.2)
        ended.append("the helper")

    with pytest.raises(KeyboardInterrupt):
        run_together(Interruptible(part, all_come=True), 2)
    assert ended == ["the helper"]
    assert run_together(Gathering(all_come=True), 2)


class Interruptible(Gathering):
    """Interrupted while it is closed, it can be closed again."""

    def close(self) -> None:
        self.closed.set()
        while self.left < len(self.joined):
            time.sleep(0.001)


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_keeps_a_region_alive(fails: bool) -> None:
    def part() -> None:
        if fails and threading.current_thread() is threading.main_thread():
            raise ValueError

    def call() -> "weakref.ref[Gathering]":
        region = Gathering(part)
        try:
            run_together(region, 3)
        except ValueError:
            assert fails
        return weakref.ref(region)

    gc.disable()
    try:
        known = call()
        deadline = time.monotonic() + 30
        while known() is not None and time.monotonic() < deadline:
            time.sleep(0.001)  # a helper may come late, find nothing, and only then let go
        assert known() is None
    finally:
        gc.enable()


# Processes

MEET = """
import os, sys, threading
from gatewright.backends.llvm.parallel.thread_pool import run_together
from tests.backends.llvm.parallel.test_thread_pool import Gathering

def meet():
    assert run_together(Gathering(all_come=True), 2)

meet()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_has_a_pool_of_its_own() -> None:
    said = run_python(
        MEET
        + """
for child in range(3):
    process = os.fork()
    if process == 0:
        meet()
        os._exit(0)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
meet()
print("met")
"""
    )
    assert said == "met\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_process_may_be_forked_while_other_threads_are_in_calls() -> None:
    said = run_python(
        MEET
        + """
going = True
def caller():
    while going:
        run_together(Gathering(), 2)
other = threading.Thread(target=caller)
other.start()
for child in range(20):
    process = os.fork()
    if process == 0:
        meet()
        os._exit(0)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
going = False
other.join()
print("met")
"""
    )
    assert said == "met\n"


def test_helpers_do_not_hold_up_the_end_of_the_program() -> None:
    assert run_python(MEET + "print('done')") == "done\n"
