"""The threads that help a caller with a parallel region: a pool for the whole process.

A region is native code that releases the interpreter's lock. The caller begins it, so a call makes progress however
busy the helpers are. One caller at a time has the helpers; any other one runs alone.
"""

import os
import queue
import threading
from contextlib import suppress
from typing import Protocol

BACKLOG = 4
"""Regions for each helper in the queue. Where helpers are further behind, callers run alone."""


class Region(Protocol):
    """What several threads run together."""

    def expect(self, threads: int) -> None:
        """How many threads are to come; said before any comes. Fewer may, and have to be enough."""
        ...

    def join(self) -> None:
        """Take part until all is done; return at once where the membership is closed."""
        ...

    def close(self) -> None:
        """Let nobody join any more, and return when all members are done."""
        ...


class ThreadPool:
    """Threads that join regions. They start when they are first needed, and wait without using the processor."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin without any thread. So does a forked process: it has none of its parent's threads, and whatever locks
        they held stay locked."""
        self._queue: queue.SimpleQueue[Region] = queue.SimpleQueue()
        self._starting, self._claiming = threading.Lock(), threading.Lock()
        self._size = 0
        self._region: Region | None = None  # the one that has the helpers

    def run(self, region: Region, threads: int) -> bool:
        """See `run_together`."""
        errors: list[BaseException] = []
        try:
            helpers = self._helpers(threads - 1)
            with self._claiming:
                if self._region is not None or not helpers or self._queue.qsize() >= BACKLOG * self._size:
                    return False
                self._region = region
            region.expect(1 + helpers)
            for _ in range(helpers):
                self._queue.put(region)
            region.join()
        except BaseException as error:  # noqa: BLE001  an interrupt; it is raised when nobody is inside
            errors.append(error)
        # Helpers read and write the caller's arrays: the call must not end, not even by a second interrupt, before all
        # members are done.
        while self._region is region:
            try:
                region.close()
                self._region = None
            except BaseException as error:  # noqa: BLE001
                errors.append(error)
        if errors:
            _raise(errors)
        return True

    def _helpers(self, limit: int) -> int:
        """How many helpers there are, up to a limit; starts those that are missing."""
        if self._size < limit:
            with self._starting, suppress(RuntimeError):  # the system may give no further thread
                while self._size < limit:
                    threading.Thread(target=self._help, name=f"gatewright-{self._size + 1}", daemon=True).start()
                    self._size += 1
        return min(limit, self._size)

    def _help(self) -> None:
        while True:
            region = self._queue.get()
            region.join()
            del region  # a waiting thread keeps no arrays alive


def _raise(errors: list[BaseException]) -> None:
    """Raise the first error, and keep none: they refer to frames that refer to them and to arrays."""
    error = errors[0]
    errors.clear()
    try:
        raise error
    finally:
        del error


pool = ThreadPool()


def run_together(region: Region, threads: int) -> bool:
    """Have `threads` threads, this one among them, join a region at about the same time.

    False, and nobody has joined, where the pool's threads are taken: by another caller, or by the call that this one is
    made in; or where the system gives no thread. Then the caller does the work alone. All who joined are done when this
    returns or raises.
    """
    return threads > 1 and pool.run(region, threads)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.reset)
