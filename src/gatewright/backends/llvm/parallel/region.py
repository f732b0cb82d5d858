"""A parallel region: threads that run the kernels of one call together.

Helpers are asked to come, and the caller begins at once. Whoever comes is a member until the membership is closed: when
all have come that were expected, or when those who are there have reached their spin limit. So nobody ever waits for a
thread that has not begun, however busy the machine is. Until then members pack matrices. docs/parallel.md tells more.
"""

import ctypes
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

from gatewright.backends.llvm.jit.compile import compile_module
from gatewright.backends.llvm.jit.machine_code import Signature, address_of
from gatewright.backends.llvm.jit.target import target_named
from gatewright.backends.llvm.parallel.openmp import threads_of_torch
from gatewright.backends.llvm.parallel.region_code import RegionMemory, RegionPhase, source_for
from gatewright.backends.llvm.parallel.thread_pool import run_together

_FUNCTIONS: dict[str, Signature] = {"join": (ctypes.c_void_p,), "close": (ctypes.c_void_p,)}


class PhaseList:
    """The phases of a region in order, for `threads` threads at most. Any number of regions may use one."""

    def __init__(self, phases: Sequence[RegionPhase], threads: int) -> None:
        self.threads, self.count = threads, len(phases)
        self.pieces = max((phase.pieces for phase in phases), default=0)  # into which a ragged run cuts its rows
        self._array = (RegionPhase * self.count)(*phases)
        self.address = ctypes.addressof(self._array)


class ParallelRegion:
    """One run of phases over tables of buffers, for the threads that join it.

    `tables` are the addresses of the tables of each run: one, or two side by side. `pack` is the address of the
    function that packs matrices, and for how many groups it is called. `spin_limit` is for how many turns members wait
    for others to come. `lines` and `edges` are those of this run, see `RegionPhase`.
    """

    def __init__(
        self,
        phases: PhaseList,
        tables: tuple[int, ...],
        batch: int,
        pack: tuple[int, int],
        spin_limit: int,
        lines: int,
        edges: Any = None,
    ) -> None:
        code = _code()
        # With the code itself: threads that make the first region at the same time may compile it twice, and only one
        # of the two stays in the cache.
        self._kept = (phases, edges, code)
        self.memory = memory = RegionMemory()
        memory.spin_limit, memory.yield_processor = spin_limit, _yield_processor()
        memory.clock, memory.clock_id = _clock()
        memory.tables[: len(tables)], memory.batch, memory.lines = tables, batch, lines
        memory.pack, memory.groups = pack
        memory.phases, memory.phase_count = phases.address, phases.count
        if edges is not None:
            memory.edges = ctypes.addressof(edges)
        self.address, self.join_address = ctypes.addressof(memory), code.join_address
        self._join, self._close = code.join, code.close

    def expect(self, threads: int) -> None:
        """Say how many threads are to come; before any does."""
        self.memory.expected = threads

    def useful_seconds(self) -> float | None:
        """The processor time of all members in which they did not wait for one another; None where it is not known."""
        return self.memory.useful_time[0] * 1e-9 if self.memory.clock else None

    def join(self) -> None:
        """Take part until all phases are done; return at once if the membership is closed."""
        self._join(self.address)

    def close(self) -> None:
        """Let nobody join any more, and wait until all members are done."""
        self._close(self.address)


def run_region(region: ParallelRegion, threads: int) -> bool:
    """Run a region on up to so many threads: PyTorch's own where they can be had, else those of the pool.

    False, and nobody has joined, where another caller has them. Then the caller does the work alone.
    """
    openmp = threads_of_torch()
    return openmp.run(region, threads) if openmp else run_together(region, threads)


class _RegionCode:
    """The functions of all regions, each called with the address of a region."""

    def __init__(self) -> None:
        target = target_named()
        code = compile_module(lambda: source_for(target), _FUNCTIONS, key="parallel region", target=target)
        self.join, self.close = code["join"], code["close"]
        self.join_address = address_of(self.join)


@cache
def _code() -> _RegionCode:
    return _RegionCode()


@cache
def _yield_processor() -> int:
    """The address of the system's function by which a thread lets others have its processor."""
    windows: Any = getattr(ctypes, "windll", None)
    function: Any = windows.kernel32.SwitchToThread if windows else ctypes.CDLL(None).sched_yield
    return address_of(function)


@cache
def _clock() -> tuple[int, int]:
    """The address of the system's `clock_gettime`, and its clock for the processor time of a thread; 0 without one."""
    clock_id = getattr(time, "CLOCK_THREAD_CPUTIME_ID", None)
    if clock_id is None or ctypes.sizeof(ctypes.c_long) != 8:  # it writes two numbers of this size
        return 0, 0
    return address_of(ctypes.CDLL(None).clock_gettime), clock_id
