"""The pool of threads: every part runs once, errors come back, and nothing can block."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from types import SimpleNamespace

import pytest

from gatewright import threads
from gatewright.errors import OptionError
from gatewright.threads import get_num_threads, run_parallel, set_num_threads
from tests.paths import subprocess_environment


@pytest.fixture(autouse=True)
def _default_again():
    yield
    set_num_threads(None)


def run_python(program: str) -> str:
    """What a program prints; it has to end by itself."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", program],
        env=subprocess_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


# How many


def test_a_number_that_was_set_holds() -> None:
    set_num_threads(3)
    assert get_num_threads() == 3


@pytest.mark.parametrize("wrong", [0, -1, 2.0, "2", True])
def test_a_number_that_cannot_be_is_refused(wrong: object) -> None:
    with pytest.raises(OptionError) as refused:
        set_num_threads(wrong)
    assert str(refused.value) == (
        "set_num_threads was given a number of threads that cannot be\n"
        "  expected: a whole number from 1 up, or None for the default\n"
        f"  got: {wrong!r}"
    )


def test_torch_decides_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(get_num_threads=lambda: 5))
    assert get_num_threads() == 5
    set_num_threads(2)
    assert get_num_threads() == 2
    set_num_threads(None)
    assert get_num_threads() == 5


@pytest.mark.parametrize(
    ("said", "number"), [("3", 3), (" 4,2", 4), ("", 7), ("many", 7), ("0", 7), ("-2", 7), (None, 7)]
)
@pytest.mark.parametrize("torch", [None, SimpleNamespace()], ids=["no torch", "torch half imported"])
def test_without_torch_the_environment_decides_and_then_the_machine(
    monkeypatch: pytest.MonkeyPatch, torch: object, said: str | None, number: int
) -> None:
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(os, "process_cpu_count", lambda: 7, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert get_num_threads() == number


def test_the_machine_has_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    assert 1 <= threads._processors() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert threads._processors() == (os.cpu_count() or 1)


# What runs


@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("parts", [0, 1, 2, 7])
def test_every_part_runs_once(number: int, parts: int) -> None:
    set_num_threads(number)
    ran: list[tuple[int, str]] = []
    run_parallel(lambda index, name: ran.append((index, name)), [(index, "part") for index in range(parts)])
    assert sorted(ran) == [(index, "part") for index in range(parts)]


def test_parts_run_at_the_same_time() -> None:
    set_num_threads(3)
    meeting = threading.Barrier(3, timeout=30)  # breaks unless three threads are inside at once
    used: list[int] = []

    def part(index: int) -> None:
        meeting.wait()
        used.append(threading.get_ident())

    run_parallel(part, [(index,) for index in range(3)])
    assert len(set(used)) == 3
    assert threading.get_ident() in used


def test_one_thread_is_a_plain_call() -> None:
    used = []
    set_num_threads(1)
    run_parallel(lambda index: used.append(threading.get_ident()), [(0,), (1,), (2,)])
    set_num_threads(4)
    run_parallel(lambda: used.append(threading.get_ident()), [()])
    assert used == [threading.get_ident()] * 4


def test_a_call_within_a_part_is_serial() -> None:
    set_num_threads(2)
    meeting = threading.Barrier(2, timeout=30)
    pairs: list[tuple[int, int]] = []

    def outer(index: int) -> None:
        meeting.wait()
        own = threading.get_ident()
        run_parallel(lambda inner: pairs.append((own, threading.get_ident())), [(0,), (1,), (2,)])

    run_parallel(outer, [(0,), (1,)])
    assert len(pairs) == 6
    assert all(own == inner for own, inner in pairs)
    assert len({own for own, _ in pairs}) == 2


def test_after_a_call_within_a_part_the_thread_is_parallel_again() -> None:
    set_num_threads(2)
    run_parallel(lambda index: None, [(0,), (1,)])
    meeting = threading.Barrier(2, timeout=30)
    run_parallel(lambda index: meeting.wait(), [(0,), (1,)])
    assert not meeting.broken


def test_two_threads_may_call_at_once() -> None:
    set_num_threads(3)
    sums = {"one": 0, "other": 0}

    def caller(name: str) -> None:
        for _ in range(300):
            ran: list[int] = []
            run_parallel(ran.append, [(index,) for index in range(4)])
            sums[name] += sum(ran)

    callers = [threading.Thread(target=caller, args=(name,)) for name in sums]
    for each in callers:
        each.start()
    for each in callers:
        each.join(timeout=60)
    assert sums == {"one": 1800, "other": 1800}


def test_a_caller_does_not_wait_for_helpers_that_are_busy_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads._process, "pool", threads._Pool())  # with the one helper that is needed here
    set_num_threads(2)
    entered, leave = threading.Semaphore(0), threading.Event()

    def block(index: int) -> None:
        entered.release()
        assert leave.wait(timeout=30)

    other = threading.Thread(target=run_parallel, args=(block, [(0,), (1,)]))
    other.start()
    assert entered.acquire(timeout=30)
    assert entered.acquire(timeout=30)
    for _ in range(20):
        ran: list[int] = []
        run_parallel(ran.append, [(0,), (1,)])
        assert ran == [0, 1]
    assert threads._process.pool._calls.qsize() == threads._BACKLOG
    leave.set()
    other.join(timeout=30)
    assert not other.is_alive()


# Errors


@pytest.mark.parametrize("number", [1, 2])
def test_an_error_comes_back(number: int) -> None:
    set_num_threads(number)
    with pytest.raises(ZeroDivisionError):
        run_parallel(lambda index: 1 // index, [(0,), (1,)])
    ran: list[int] = []
    run_parallel(ran.append, [(0,), (1,)])
    assert sorted(ran) == [0, 1]


def test_an_error_is_raised_when_no_part_runs_any_more() -> None:
    set_num_threads(2)
    meeting = threading.Barrier(2, timeout=30)
    ran: list[int] = []

    def part(index: int) -> None:
        if index > 1:
            ran.append(index)
            return
        meeting.wait()
        if threading.current_thread() is threading.main_thread():
            raise ValueError("the caller's part")
        time.sleep(0.1)
        ran.append(index)

    with pytest.raises(ValueError, match="the caller's part"):
        run_parallel(part, [(0,), (1,), *[(2,)] * 50])
    assert len([index for index in ran if index < 2]) == 1
    finished = list(ran)
    time.sleep(0.05)
    assert ran == finished


def test_an_error_in_a_helper_drops_what_was_not_begun() -> None:
    set_num_threads(2)
    meeting = threading.Barrier(2, timeout=30)
    ran: list[int] = []

    def part(index: int) -> None:
        if index > 1:
            ran.append(index)
            return
        meeting.wait()
        if threading.current_thread() is not threading.main_thread():
            raise ValueError("a helper's part")
        time.sleep(0.1)

    with pytest.raises(ValueError, match="a helper's part"):
        run_parallel(part, [(0,), (1,), (2,), (3,)])
    assert ran == []


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_keeps_the_arrays_of_a_call_alive(fails: bool) -> None:
    set_num_threads(2)

    class Array:
        pass

    def part(array: Array) -> None:
        if fails:
            raise ValueError

    def call() -> "weakref.ref[Array]":
        array = Array()
        try:
            run_parallel(part, [(array,), (array,), (array,)])
        except ValueError:
            assert fails
        return weakref.ref(array)

    gc.disable()
    try:
        known = call()
        deadline = time.monotonic() + 30
        while known() is not None and time.monotonic() < deadline:
            time.sleep(0.001)  # a helper may come late, find nothing, and only then let go
        assert known() is None
    finally:
        gc.enable()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="a thread cannot be interrupted from another here")
def test_an_interrupt_waits_for_the_helpers() -> None:
    set_num_threads(2)
    meeting = threading.Barrier(2, timeout=30)
    ended: list[str] = []

    def part(index: int) -> None:
        meeting.wait()
        if threading.current_thread() is threading.main_thread():
            return
        time.sleep(0.1)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.2)
        ended.append("the helper")

    with pytest.raises(KeyboardInterrupt):
        run_parallel(part, [(0,), (1,)])
    assert ended == ["the helper"]


def test_without_a_further_thread_the_caller_does_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(threads._process, "pool", threads._Pool())
    set_num_threads(4)
    ran: list[int] = []
    run_parallel(ran.append, [(index,) for index in range(4)])
    assert ran == [0, 1, 2, 3]


# Processes

MEET = """
import os, sys, threading
from gatewright import threads

def meet():
    meeting = threading.Barrier(2, timeout=30)
    threads.run_parallel(lambda index: meeting.wait(), [(0,), (1,)])

threads.set_num_threads(2)
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
        threads.run_parallel(lambda index: None, [(0,), (1,)])
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
