"""How many threads kernels use, and the pool of those that help a caller with a run.

A run is a meeting of threads in native code: it is begun by whoever is there, so a call makes progress however busy the
helpers are. One caller at a time has the helpers; another one does its run alone.
"""

import os
import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from gatewright.errors import OptionError

_BACKLOG = 4  # calls for each helper; those who are further behind are not called


def set_num_threads(threads: int | None) -> None:
    """Set how many threads kernels use; None follows PyTorch or the machine again.

    Results do not depend on it. Raises OptionError unless it is None or a whole number from 1 up.
    """
    if threads is not None and (type(threads) is not int or threads < 1):
        raise OptionError(
            "set_num_threads was given a number of threads that cannot be",
            expected="a whole number from 1 up, or None for the default",
            got=repr(threads),
        )
    _process.requested = threads


def get_num_threads() -> int:
    """How many threads kernels use.

    That is the number that was set; else PyTorch's, where PyTorch is loaded; else the first number in
    OMP_NUM_THREADS; else the processors that this process may run on.
    """
    if _process.requested is not None:
        return _process.requested
    of_torch = getattr(sys.modules.get("torch"), "get_num_threads", None)
    return of_torch() if of_torch else _threads_of_environment() or _processors()


def _threads_of_environment() -> int | None:
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # "4,2" is for nested regions
    return int(first) if first.isdecimal() and int(first) > 0 else None


def _processors() -> int:
    of_process: Callable[[], int | None] | None = getattr(os, "process_cpu_count", None)  # from Python 3.13 on
    if of_process:
        return of_process() or 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Meeting(Protocol):
    """A run that several threads do together, in native code that releases the interpreter's lock."""

    def expect(self, threads: int) -> None:
        """How many threads are to come; said before any comes. Fewer may, and have to be enough."""
        ...

    def join(self) -> None:
        """Take part until all is done; return at once where it was settled before who takes part."""
        ...

    def settle(self) -> None:
        """Let nobody join any more, and return when all who take part are done."""
        ...


class _Pool:
    """Threads that join meetings. They start when they are first needed, and wait without using the processor."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Meeting] = queue.SimpleQueue()
        self._starting, self._choosing = threading.Lock(), threading.Lock()
        self._size = 0
        self._held: Meeting | None = None  # the one that has the threads

    def run(self, meeting: Meeting, threads: int) -> bool:
        """See `run_together`."""
        errors: list[BaseException] = []
        try:
            helpers = self._helpers(threads - 1)
            with self._choosing:
                if self._held is not None or not helpers or self._calls.qsize() >= _BACKLOG * self._size:
                    return False
                self._held = meeting
            meeting.expect(1 + helpers)
            for _ in range(helpers):
                self._calls.put(meeting)
            meeting.join()
        except BaseException as error:  # noqa: BLE001  an interrupt; it is raised when nobody is inside
            errors.append(error)
        while self._held is meeting:
            try:
                meeting.settle()
                self._held = None
            except BaseException as error:  # noqa: BLE001
                errors.append(error)
        if errors:
            _raise(errors)
        return True

    def _helpers(self, wanted: int) -> int:
        """How many helpers there are, up to those that are wanted."""
        if self._size < wanted:
            with self._starting, suppress(RuntimeError):  # there may be no thread to be had
                while self._size < wanted:
                    threading.Thread(target=self._help, name=f"gatewright-{self._size + 1}", daemon=True).start()
                    self._size += 1
        return min(wanted, self._size)

    def _help(self) -> None:
        while True:
            meeting = self._calls.get()
            meeting.join()
            del meeting  # a waiting thread keeps no arrays alive


def _raise(errors: list[BaseException]) -> None:
    """Raise the first error, and keep none: they refer to frames that refer to them and to arrays."""
    error = errors[0]
    errors.clear()
    try:
        raise error
    finally:
        del error


def run_together(meeting: Meeting, threads: int) -> bool:
    """Have `threads` threads, this one among them, join a meeting at about the same time.

    False, and nobody has joined, where the pool's threads are taken: by another caller, or by the call that this one is
    made in; or where the system gives no thread. Then the caller does the work alone. Helpers join when they get to it,
    and those who are there settle whether they wait; so nothing can block, however busy the helpers are. All who joined
    are done when this returns or raises.
    """
    return threads > 1 and _process.pool.run(meeting, threads)


class _Process:
    """What all threads of a process share."""

    def __init__(self) -> None:
        self.requested: int | None = None
        self.pool = _Pool()

    def renew(self) -> None:
        """A forked process has none of its parent's threads, and whatever locks they held stay locked."""
        self.pool = _Pool()


_process = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.renew)
