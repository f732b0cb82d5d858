"""Parallel regions on the OpenMP threads that PyTorch has already.

PyTorch's operators leave an OpenMP thread on every processor, which spins for a while in case another operator follows.
Threads of our own would compete with these for the processors. So a region runs on PyTorch's threads, through the
function that compilers call for `#pragma omp parallel` (libgomp and libomp both have it).
"""

import ctypes
import os
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Protocol


class NativeRegion(Protocol):
    """A region that threads join by machine code alone."""

    address: int
    """Of the memory that the function is called with."""
    join_address: int
    """Of the function that a thread joins with."""

    def expect(self, threads: int) -> None:
        """How many threads are to come; said before any comes."""
        ...


class OpenMPThreads:
    """The threads of an OpenMP library. One caller at a time has them; any other one works alone."""

    def __init__(self, library: Any, team_size: Callable[[], int]) -> None:
        self._parallel = library.GOMP_parallel
        self._parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        self._parallel.restype = None
        self._claim, self._team_size = threading.Lock(), team_size

    def run(self, region: NativeRegion, threads: int) -> bool:
        """Have `threads` threads join a region; False where another caller has them.

        The team is as large as PyTorch's, although some of it may find that the membership is closed: the library ends
        threads that a smaller team leaves over, and starts them again for the next larger one.
        """
        if not self._claim.acquire(blocking=False):
            return False
        try:
            region.expect(threads)
            # Returns when all of the team are done. An interrupt is raised only then.
            self._parallel(region.join_address, region.address, max(threads, self._team_size()), 0)
        finally:
            self._claim.release()
        return True


class Process:
    """What is known of this process."""

    is_forked = False


def threads_of_torch() -> OpenMPThreads | None:
    """PyTorch's OpenMP threads; None where PyTorch is not loaded or uses other threads, or in a forked process.

    An OpenMP library does not work in a child that was forked after its parent had used it.
    """
    threads = _threads_or_obstacle()
    return None if isinstance(threads, str) else threads


def obstacle() -> str:
    """Why the thread pool runs regions in place of PyTorch's threads; empty where it does not."""
    threads = _threads_or_obstacle()
    return threads if isinstance(threads, str) else ""


def _threads_or_obstacle() -> OpenMPThreads | str:
    if not hasattr(sys.modules.get("torch"), "get_num_threads"):
        return "PyTorch is not loaded"
    return "OpenMP does not work in a forked process" if Process.is_forked else _open()


@cache
def _open() -> OpenMPThreads | str:
    """The OpenMP library that PyTorch's own library was linked with: a process may hold others."""
    torch = sys.modules["torch"]
    folder = Path(str(torch.__file__)).parent / "lib"
    name = {"darwin": "libtorch_cpu.dylib", "win32": "torch_cpu.dll"}.get(sys.platform, "libtorch_cpu.so")
    try:
        library = ctypes.CDLL(str(folder / name))  # loaded already; a symbol is looked up in what it depends on, too
        # These may give a region fewer threads than it asks for, which would wait for the others in vain.
        if library.omp_get_dynamic():
            return "OMP_DYNAMIC lets OpenMP use fewer threads than a region asks for"
        if library.omp_get_thread_limit() < (os.cpu_count() or 1):
            return "OMP_THREAD_LIMIT is less than the number of processors"
        return OpenMPThreads(library, torch.get_num_threads)
    except (OSError, AttributeError):
        return "this build of PyTorch has no OpenMP threads that others can use"


def _forked() -> None:
    Process.is_forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
