"""Several threads in one run of kernels: how they come together, take their parts, and wait for one another.

Whoever comes is a member until the number is settled: when all have come that were wanted, or when those who are there
have waited long enough. So nobody ever waits for a thread that has not begun, however busy the machine is. Until then
members pack matrices, group by group. What they wait for is seen in memory; a thread that waits for long lets others
have its processor.
"""

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any

from gatewright.backends.llvm.jit.compile import compile_module
from gatewright.backends.llvm.jit.library import Library
from gatewright.backends.llvm.jit.machine_code import Signature
from gatewright.backends.llvm.jit.target import named
from gatewright.backends.llvm.parallel.region_code import source_for
from gatewright.backends.llvm.runtime.command_list import address_of

_FUNCTIONS: dict[str, Signature] = {"join": (ctypes.c_void_p,), "settle": (ctypes.c_void_p,)}


class Phase(ctypes.Structure):
    """A kernel that the members of a meeting run together.

    `size` rows are cut at multiples of `multiple` among `most` members at most, beginning with another member each
    `turn`. After it the members meet, if `meets`. The operands of a sum are numbers of table entries, and bytes behind
    these; so is the list of lines, if it goes through a list. A sum `adds` to what is there. The table of a phase lies
    some bytes behind the meeting's.
    """

    _fields_ = [
        ("kind", ctypes.c_int64),
        ("kernel", ctypes.c_void_p),
        *[(name, ctypes.c_int64) for name in ("size", "multiple", "most", "turn", "meets")],
        *[(name, ctypes.c_int64) for name in ("left", "before_left", "right", "before_right", "result", "lines")],
        ("listed", ctypes.c_int64),
        ("edges", ctypes.c_void_p),
        *[(name, ctypes.c_int64) for name in ("steps", "before_table", "adds")],
    ]

    def cut(self, edges: Sequence[int]) -> None:
        """Cut the rows there, into pieces that take about the same time, and not into equal ones."""
        self._kept = (ctypes.c_int64 * len(edges))(*edges)
        self.edges, self.size = ctypes.addressof(self._kept), len(edges) - 1


class Phases:
    """Phases one behind the other, as a meeting takes them."""

    def __init__(self, phases: Sequence[Phase]) -> None:
        self._kept = phases
        self._array = (Phase * (len(phases) + 1))(*phases)  # the last one is empty
        self.address = ctypes.addressof(self._array)


class _Words(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int64 * 8) for name in ("state", "claimed", "arrived", "finished")],
        ("wanted", ctypes.c_int64),
        ("patience", ctypes.c_int64),
        ("give_way", ctypes.c_void_p),
        ("tables", ctypes.c_void_p),
        ("batch", ctypes.c_int64),
        ("pack", ctypes.c_void_p),
        ("groups", ctypes.c_int64),
        ("phases", ctypes.c_void_p),
    ]


class Meeting:
    """One run of phases over tables of buffers, for the threads that join it; see `gatewright.threads.Meeting`.

    `patience` is for how many turns those who are there wait for the others; `pack` is the function that packs, and for
    how many groups it is called. Phases end with one that is empty.
    """

    def __init__(self, tables: Any, batch: int, phases: Phases, pack: tuple[int, int], patience: int) -> None:
        code = _code()
        self._kept = (tables, phases, code)
        self._words = words = _Words()
        words.patience, words.give_way = patience, _give_way()
        words.tables, words.phases = ctypes.addressof(tables), phases.address
        words.batch = batch
        words.pack, words.groups = pack
        self._address = ctypes.addressof(words)
        self._join, self._settle = code["join"], code["settle"]

    def expect(self, threads: int) -> None:
        """Say how many threads are to come; before any does."""
        self._words.wanted = threads

    def join(self) -> None:
        """Take part, unless it is settled already who does."""
        self._join(self._address)

    def settle(self) -> None:
        """Let nobody join any more, and wait until all who take part are done."""
        self._settle(self._address)


@cache
def _code() -> Library:
    target = named()
    return compile_module(source_for(target), _FUNCTIONS, key="meeting", target=target)


@cache
def _give_way() -> int:
    """Where the function of the system lies that lets others have the processor."""
    windows: Any = getattr(ctypes, "windll", None)
    function: Any = windows.kernel32.SwitchToThread if windows else ctypes.CDLL(None).sched_yield
    return address_of(function)
