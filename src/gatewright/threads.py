"""How many threads kernels use, and the pool that runs one kernel over the parts of a batch.

The pool is for native calls that release the interpreter's lock. The calling thread works as well, and takes over
parts that no helper has begun: a call makes progress however busy the helpers are, and two callers cannot block each
other.
"""

import os
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from gatewright.errors import OptionError

_BACKLOG = 4  # calls for each helper; one that is further behind is not called, as it would find nothing left to do
_inside = threading.local()  # its `part` is true while this thread runs a part


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


class _Job:
    """One function and its parts: whoever has time claims the next part.

    A helper tells that it came and that it has gone, so the caller knows when nobody is inside a part. That does not
    count the parts themselves, since an interrupt in the caller may lose one.
    """

    __slots__ = ("arrived", "errors", "function", "gone", "left", "waiting")

    def __init__(self, function: Callable[..., object], parts: Iterable[tuple[Any, ...]]) -> None:
        self.function = function
        self.waiting = deque(parts)
        self.errors: list[BaseException] = []
        self.arrived: list[None] = []
        self.left: list[None] = []
        self.gone: queue.SimpleQueue[None] = queue.SimpleQueue()

    def work(self) -> None:
        """Run parts until none is left to claim. The first error drops those that nobody has begun."""
        try:
            while self.waiting:
                try:
                    part = self.waiting.popleft()
                except IndexError:  # another thread was quicker
                    return
                self.function(*part)
        except BaseException as error:  # noqa: BLE001  it is raised in the thread that asked
            self.errors.append(error)
            self.waiting.clear()

    def help(self) -> None:
        """Work, from another thread than the caller's."""
        self.arrived.append(None)
        self.work()
        self.left.append(None)
        self.gone.put(None)

    def wait(self) -> None:
        """Return when nobody is inside a part any more, and only then: parts use the caller's memory."""
        while True:
            try:
                self.waiting.clear()  # who arrives later finds nothing
                while len(self.left) < len(self.arrived):
                    self.gone.get()
                return
            except BaseException as error:  # noqa: BLE001  an interrupt; it is raised when nobody is inside
                self.errors.append(error)


class _Pool:
    """Threads that help with jobs. They start when they are first needed, and wait without using the processor."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._size = 0

    def run(self, job: _Job, helpers: int) -> None:
        if self._size < helpers:
            self._start(helpers)
        try:
            for _ in range(min(helpers, _BACKLOG * self._size - self._calls.qsize())):
                self._calls.put(job)
            _inside.part = True
            job.work()
        finally:
            _inside.part = False
            job.wait()

    def _start(self, helpers: int) -> None:
        with self._starting, suppress(RuntimeError):  # without a thread to be had, the caller does every part
            while self._size < helpers:
                threading.Thread(target=self._help, name=f"gatewright-{self._size + 1}", daemon=True).start()
                self._size += 1

    def _help(self) -> None:
        _inside.part = True
        while True:
            job = self._calls.get()
            job.help()
            del job  # a waiting thread keeps no arrays alive


def run_parallel(function: Callable[..., object], parts: Iterable[tuple[Any, ...]]) -> None:
    """Call `function(*part)` for every part, on at most `get_num_threads()` threads.

    Parts should be few and of equal work, and write to different memory. All calls have ended when this returns or
    raises; an error in a part is raised here, and parts that were not begun by then are left out. A call from within a
    part runs serially.
    """
    parts = list(parts)
    threads = 1 if getattr(_inside, "part", False) else min(len(parts), get_num_threads())
    if threads <= 1:
        for part in parts:
            function(*part)
        return
    job = _Job(function, parts)
    _process.pool.run(job, threads - 1)
    if job.errors:
        error = job.errors[0]
        job.errors.clear()
        try:
            raise error
        finally:
            del error  # it refers to the frames that refer to it, and they keep the arrays of the parts alive


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
