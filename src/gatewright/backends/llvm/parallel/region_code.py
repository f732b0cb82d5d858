"""The machine code of parallel regions: entering, barriers, and the phases that a thread runs; see region.py.

The caller and its helpers run this code at the same time. They share a `RegionMemory`; each has a `ThreadMemory`.
"""

import ctypes

from gatewright.backends.llvm.emit.emitter import POINTER
from gatewright.backends.llvm.emit.native import NULL, NativeEmitter, NativeModule, StructMemory
from gatewright.backends.llvm.emit.vector_type import Value
from gatewright.backends.llvm.jit.target import Target

_CLOSED = 2**32
"""`state` is the number of members, and this much more once the membership is closed."""
_SPINS = 50
"""For how many turns, of some ten nanoseconds each, a thread only spins. Then it yields its processor at each turn: the
thread that it waits for may need that very processor."""
_PACK_PIECES = 4
"""Into how many pieces a member the packing is cut: who comes late finds some left."""


class RegionPhase(ctypes.Structure):
    """A kernel that the members of a region run together, on a part each.

    - `run`: which of the region's runs it belongs to; `table_offset` is how far after the first table of that run the
      table of its time block lies.
    - `by_units`: every member goes through all rows and computes some of the units. Otherwise each takes a range of the
      rows, cut at multiples of `multiple`, or at the region's `edges`, which make `pieces`.
    - `size`: the number of rows; -1 stands for all lines of the run.
    - `parts`: for how many members there is work at most; the first part is for the member of number -`turn`.
    - `adds`: whether sums are added to what is there.
    - `barrier`: whether the members wait for one another after it.
    """

    _fields_ = [
        ("kernel", ctypes.c_void_p),
        *[(name, ctypes.c_int64) for name in ("table_offset", "steps", "by_units", "size", "multiple", "pieces")],
        *[(name, ctypes.c_int64) for name in ("parts", "turn", "adds", "barrier", "run")],
    ]


class RegionMemory(ctypes.Structure):
    """What the members of a region share. Words that members write while others wait for them lie 64 bytes apart, so
    that no two of them share a cache line.

    - `tables`: the addresses of the first table of each run. A region has one run, or two side by side.
    - `useful_time`: the processor time of the members that have left, in nanoseconds, without what they waited.
    - `clock`: the address of the system's `clock_gettime`, 0 where there is none, and `clock_id` its clock for the
      processor time of one thread.
    """

    _fields_ = [
        *[(name, ctypes.c_int64 * 8) for name in ("state", "claimed", "arrived", "finished", "useful_time")],
        *[(name, ctypes.c_int64) for name in ("expected", "spin_limit", "batch", "lines", "groups", "phase_count")],
        *[(name, ctypes.c_void_p) for name in ("yield_processor", "pack", "phases", "edges")],
        ("tables", ctypes.c_void_p * 2),
        *[(name, ctypes.c_int64) for name in ("clock", "clock_id")],
    ]


class ThreadMemory(ctypes.Structure):
    """The context of one member. It begins with the fields that kernels read, see `thread_context.CONTEXT`.

    - `passed`: how many barriers are behind it.
    - `waited`: the processor time of its longer waits, in nanoseconds. Short ones are not worth two looks at a clock.
    - `time`: where the clock writes, seconds and nanoseconds.
    """

    _fields_ = [
        ("barrier", ctypes.c_void_p),
        ("part", ctypes.c_int64),
        ("parts", ctypes.c_int64),
        ("region", ctypes.c_void_p),
        ("passed", ctypes.c_int64),
        ("waited", ctypes.c_int64),
        ("time", ctypes.c_int64 * 2),
    ]


def source_for(target: Target) -> str:
    """The module, as LLVM IR: `join(region)` and `close(region)`."""
    module = NativeModule()
    processor = target.triple.partition("-")[0]
    with module.function("barrier", internal=True, context=POINTER) as (e, arguments):
        context = StructMemory(e, ThreadMemory, arguments.context)
        _Region(e, processor, context.load("region")).emit_barrier(context)
    with module.function("close", region=POINTER) as (e, arguments):
        _Region(e, processor, arguments.region).emit_close()
    with module.function("join", region=POINTER) as (e, arguments):
        _Region(e, processor, arguments.region).emit_join(module["barrier"])
    return str(module)


class _Region:
    """Emits code that works on a region."""

    def __init__(self, e: NativeEmitter, processor: str, region: Value) -> None:
        self._e, self._processor = e, processor
        self._region = StructMemory(e, RegionMemory, region)

    def emit_join(self, barrier: Value) -> None:
        """Become a member, unless the membership is closed; then pack, and run all phases."""
        e, region = self._e, self._region
        context = e.reserve(ThreadMemory, "context")
        with e.repeat("enter") as turn:
            part = e.load_acquire(region.at("state"), "part")
            e.leave(turn, e.compare_index(">=", part, _CLOSED))
            e.leave(turn, e.compare_exchange(region.at("state"), part, e.add_index(part, 1)))
        with e.when(e.compare_index("<", part, _CLOSED), "member"):
            for entry in range(2):
                e.store_index(0, context.at("time"), entry)
            began = self._processor_time(context)
            self._pack()
            context.store("barrier", e.function_pointer(barrier))
            context.store("part", part)
            context.store("region", region.pointer)
            context.store("passed", 0)
            packed = self._processor_time(context)
            context.store("parts", self._close(region.load("spin_limit")))
            # Until here it waited for others to come.
            context.store("waited", e.sub_index(self._processor_time(context), packed))
            # Matrices are packed by all members, in any order: nobody reads one before all are done.
            e.call(barrier, [context.pointer])
            phases = region.load("phases")
            with e.loop(0, region.load("phase_count"), 1, "phase") as loop:
                at = e.byte(phases, e.mul_index(loop.index, ctypes.sizeof(RegionPhase)))
                phase = StructMemory(e, RegionPhase, at)
                self._run_phase(phase, context)
                with e.when(e.compare_index("!=", phase.load("barrier"), 0), "together"):
                    e.call(barrier, [context.pointer])
            used = e.sub_index(self._processor_time(context), began, "used")
            e.fetch_add(region.at("useful_time"), e.sub_index(used, context.load("waited"), "useful"))
            # Only now may the caller free the region and the buffers.
            e.fetch_add(region.at("finished"), 1)

    def emit_close(self) -> None:
        """Close the membership, and wait until all members are done."""
        members, finished = self._close(0), self._region.at("finished")
        self._spin_until(finished, members)
        self._yield_until(finished, members)

    def emit_barrier(self, context: StructMemory) -> None:
        """Wait until all members have come here.

        The counter is never set back: barrier n is passed when it has reached n times the number of members. So nobody
        can miss a barrier, however late it looks, and no second counter is needed for the next one.
        """
        e = self._e
        passed = e.index(e.add_index(context.load("passed"), 1))
        context.store("passed", passed)
        goal = e.index(e.mul_index(passed, context.load("parts"), "goal"))
        arrived = self._region.at("arrived")
        before = e.fetch_add(arrived, 1, "before")
        # The last one to come goes on without another look at the counter.
        with e.when(e.compare_index("<", e.add_index(before, 1), goal), "wait"):
            self._spin_until(arrived, goal)
            with e.when(e.compare_index("<", e.load_acquire(arrived, "count"), goal), "long"):
                began = self._processor_time(context)
                self._yield_until(arrived, goal)
                waited = e.sub_index(self._processor_time(context), began)
                context.store("waited", e.add_index(context.load("waited"), waited))

    def _close(self, spin_limit: Value | int) -> Value:
        """Close the membership when all have come that are expected, or after `spin_limit` turns; gives how many
        members there are. Whoever finds that it is time closes it; all others see the same number."""
        e, region = self._e, self._region
        expected = region.load("expected")
        with e.repeat("closing", spins=0) as turn:
            state = e.load_acquire(region.at("state"), "members")
            e.leave(turn, e.compare_index(">=", state, _CLOSED))
            spins = turn.values["spins"]
            complete, late = e.compare_index(">=", state, expected), e.compare_index(">=", spins, spin_limit)
            due = e.either(complete, late, "due")
            with e.when(due, "close"):
                # Fails where a thread has entered or closed it meanwhile: the next turn looks again.
                e.compare_exchange(region.at("state"), state, e.add_index(state, _CLOSED))
            e.pause(self._processor)
            with e.when(e.compare_index(">", spins, _SPINS), "yield"):
                e.call_pointer(region.load("yield_processor"), [])
            turn.carry(spins=e.index(e.add_index(spins, 1)))
        return e.index(e.add_index(state, -_CLOSED, "members"))

    def _processor_time(self, context: StructMemory) -> Value:
        """The processor time of this thread in nanoseconds; where there is no clock, a number that does not change."""
        e, region = self._e, self._region
        clock = region.load("clock")
        with e.when(e.compare_index("!=", clock, 0), "clock"):
            e.call_pointer(e.as_pointer(clock), [region.load("clock_id"), context.at("time")])
        seconds, nanoseconds = (e.load_index(context.at("time"), entry) for entry in range(2))
        return e.index(e.add_index(e.mul_index(seconds, 10**9), nanoseconds, "processor_time"))

    def _spin_until(self, counter: Value, goal: Value) -> None:
        """Wait until a counter has reached a number, but not for longer than `_SPINS` turns."""
        e = self._e
        with e.repeat("spinning", spins=0) as turn:
            spins = turn.values["spins"]
            reached = e.compare_index(">=", e.load_acquire(counter, "count"), goal)
            e.leave(turn, e.either(reached, e.compare_index(">", spins, _SPINS)))
            e.pause(self._processor)
            turn.carry(spins=e.index(e.add_index(spins, 1)))

    def _yield_until(self, counter: Value, goal: Value) -> None:
        """Wait until a counter has reached a number, and let others have the processor meanwhile."""
        e = self._e
        with e.repeat("waiting") as turn:
            e.leave(turn, e.compare_index(">=", e.load_acquire(counter, "count"), goal))
            e.pause(self._processor)
            e.call_pointer(self._region.load("yield_processor"), [])

    def _pack(self) -> None:
        """Pack matrices, piece by piece, until none is left: something to do for the caller while helpers wake up."""
        e, region = self._e, self._region
        table, pack, groups = self._table(0), region.load("pack"), region.load("groups")
        pieces = e.mul_index(region.load("expected"), _PACK_PIECES)
        piece = e.add_index(e.div_index(groups, pieces), 1, "piece")
        with e.repeat("packing") as turn:
            first = e.fetch_add(region.at("claimed"), piece, "first")
            e.leave(turn, e.compare_index(">=", first, groups))
            last = e.smaller_index(e.add_index(first, piece), groups, "last")
            e.call_pointer(pack, [table, *map(e.index, (0, 0, first, last)), NULL, e.index(0)])

    def _table(self, run: Value | int) -> Value:
        """The address of the first table of a run."""
        return self._e.load_entry(POINTER, self._region.at("tables"), run, "tables")

    def _run_phase(self, phase: StructMemory, context: StructMemory) -> None:
        e, region = self._e, self._region
        fixed, by_units = phase.load("size"), phase.load("by_units")
        size = e.choose_index(e.compare_index("<", fixed, 0), region.load("lines"), fixed, "size")
        with e.when(e.compare_index("!=", by_units, 0), "units"):
            self._call(phase, e.index(0), size, context.pointer)
        with e.when(e.compare_index("==", by_units, 0), "rows"):
            self._run_rows(phase, size, context)

    def _run_rows(self, phase: StructMemory, size: Value, context: StructMemory) -> None:
        """Run a phase on this member's range of the rows, if there is one for it."""
        e, members = self._e, context.load("parts")
        parts = e.smaller_index(phase.load("parts"), members, "used")
        part = e.rem_index(e.add_index(context.load("part"), phase.load("turn")), members, "own")
        following = e.add_index(part, 1)
        multiple, edges = phase.load("multiple"), phase.load("pieces")
        has_edges = e.compare_index(">", edges, 0)
        pieces = e.choose_index(has_edges, edges, e.div_index(size, multiple), "pieces")
        low, high = (e.div_index(e.mul_index(pieces, number), parts) for number in (part, following))
        with e.when(e.compare_index("<", part, parts), "some"):
            with e.when(has_edges, "edged"):
                table = self._region.load("edges")
                self._call(phase, e.load_index(table, low, "first"), e.load_index(table, high, "last"), NULL)
            with e.when(e.compare_index("<=", edges, 0), "equal"):
                # What the multiple leaves over goes to the last part.
                first, whole = (e.index(e.mul_index(piece, multiple)) for piece in (low, high))
                last = e.choose_index(e.compare_index("==", following, parts), size, whole, "last")
                self._call(phase, first, last, NULL)

    def _call(self, phase: StructMemory, first: Value, last: Value, context: Value) -> None:
        """Call the kernel of a phase, unless there are no rows."""
        e, region = self._e, self._region
        with e.when(e.compare_index("<", first, last), "call"):
            table = e.byte(self._table(phase.load("run")), phase.load("table_offset"), "table")
            extent = (phase.load("steps"), region.load("batch"))
            e.call_pointer(phase.load("kernel"), [table, *extent, first, last, context, phase.load("adds")])
