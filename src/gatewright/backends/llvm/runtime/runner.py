"""The kernels of an engine for one extent: which memory they need, and how they are called.

Everything is worked out once; a call makes one table of addresses, and goes through the kernels.
"""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from gatewright.axes import bind
from gatewright.backends.llvm.codegen.buffers import (
    LINES,
    BufferId,
    inside_buffers,
    outside_buffers,
    sum_buffer,
)
from gatewright.backends.llvm.codegen.kernels import LOOP, PACK, WHOLE, Kernels
from gatewright.backends.llvm.jit.library import Library
from gatewright.backends.llvm.parallel.contention import Crowd
from gatewright.backends.llvm.parallel.region import Meeting, Phase, Phases
from gatewright.backends.llvm.parallel.region_code import Kind
from gatewright.backends.llvm.parallel.time_blocks import stretches_of, stride_of
from gatewright.backends.llvm.parallel.work_partition import Division, divide, is_small, operations
from gatewright.backends.llvm.runtime.active_lines import ActiveLines
from gatewright.backends.llvm.runtime.command_list import Call, address_of
from gatewright.backends.llvm.runtime.tables import TableSeries
from gatewright.schedule.program import Program, Storage
from gatewright.threads import get_num_threads, run_together
from gatewright.trace.ir import Var

ALIGNMENT = 64  # a line of the cache, and the widest vector register
_PATIENCE = (500, 20_000)
"""For how many turns, of some hundred nanoseconds each, threads of a meeting wait for others: at least and at most."""
_OPERATIONS_OF_A_TURN = 50_000
"""For how many operations of a run one turn of waiting is risked: they take twice as long."""
crowd = Crowd()
Kernel = Callable[..., None]


class Runner:
    """Runs the kernels over `steps` steps of `batch` rows.

    A call is given the addresses of all buffers, in this order: those in `outside`; those that only the kernels use
    (`inside` are their places in one block of `inside_bytes`); the packed matrices (`panels`, `panel_bytes`); memory
    for every sum of the Program. A table of these is the first of several, one for each stretch of time, for which
    there has to be room behind it.
    """

    def __init__(self, program: Program, kernels: Kernels, library: Library, steps: int, batch: int) -> None:
        self.kernels, self.library = kernels, library
        self._program, self._bound = program, kernels.bound
        self._steps, self._batch = steps, batch
        self.outside = outside_buffers(program)
        self._stretches = stretches_of(kernels, steps, batch)
        slots = sorted(self._bound.slots, key=self._bound.slots.__getitem__)
        self._tables = TableSeries(
            [stride_of(kernels, key, batch) for key in slots], [stretch.start for stretch in self._stretches]
        )
        self.table_entries = self._tables.entries
        self.inside, self.inside_bytes = self._offsets([self._elements(key) for key in inside_buffers(program)])
        self.panels, self.panel_bytes = self._offsets([panel.size for panel in kernels.panels])
        self._whole: Kernel = library[WHOLE]
        self._pack = (address_of(library[PACK]), kernels.groups) if kernels.panels else (0, 0)
        work = sum(operations(kernels, name, steps * batch) for name in kernels.designs)
        self._patience = min(max(work // _OPERATIONS_OF_A_TURN, _PATIENCE[0]), _PATIENCE[1])
        self._is_small = is_small(kernels, steps * batch)
        self._divided: dict[int, tuple[int, Phases]] = {}

    def run(self, addresses: Sequence[int], *, pack: bool = True) -> None:
        """Run all kernels; see the class. Without `pack`, the panels are as an earlier call has left them."""
        self.run_table((ctypes.c_void_p * self.table_entries)(*addresses), pack=pack)

    def run_table(self, table: Any, *, pack: bool = True, active: ActiveLines | None = None) -> None:
        """Run all kernels with a table of addresses, which is an array of ctypes.

        The table of kernels for ragged batches ends with the addresses of the lines that are `active`.
        """
        first = ctypes.addressof(table)
        self._tables.extend(first)
        if self._is_small or not self._run_together(table, pack, active):
            for number, stretch in enumerate(self._stretches):
                at, goes_on = first + number * self._tables.bytes_of_one, number > 0
                self._whole(at, stretch.steps, self._batch, goes_on or not pack, goes_on, 0)

    def pack(self, table: Any) -> None:
        """Pack the matrices that a table names."""
        kernels = self.kernels
        if kernels.panels:
            self.library[PACK](table, self._steps, self._batch, 0, kernels.groups, 0)

    def call(self, table: Any) -> Call:
        """What runs all kernels for a single step by one thread, with matrices that are packed; a Script calls it."""
        assert self._steps == 1
        is_packed, adds = 1, 0
        address = ctypes.addressof(table)
        return Call(address_of(self._whole), address, self._steps, self._batch, is_packed, adds)

    def _run_together(self, table: Any, pack: bool, active: ActiveLines | None) -> bool:
        """Run all kernels on several threads, if that is worth it and there are any to be had."""
        threads, phases = self._division(get_num_threads(), active)
        if threads == 1 or crowd.keeps_apart():
            return False
        pack_with = self._pack if pack else (0, 0)
        meeting = Meeting(table, self._batch, phases, pack_with, self._patience)
        with crowd.watched():
            return run_together(meeting, threads)

    def _division(self, threads: int, active: ActiveLines | None) -> tuple[int, Phases]:
        """Among how many threads the kernels are divided, of so many that may be used, and how."""
        if active is not None:
            return self._divide(threads, active)
        if threads not in self._divided:
            self._divided[threads] = self._divide(threads, None)
        return self._divided[threads]

    def _divide(self, threads: int, active: ActiveLines | None) -> tuple[int, Phases]:
        most, phases = 1, list[Phase]()
        for number, stretch in enumerate(self._stretches):
            lines = stretch.steps * self._batch if active is None else active.count
            division = divide(self.kernels, (stretch.steps, self._batch), threads, lines)
            most = max(most, division.threads)
            own = [*self._pass_phases(division, active), *self._sum_phases(division, lines)]
            for phase in own:
                phase.steps, phase.before_table = stretch.steps, number * self._tables.bytes_of_one
                phase.adds = int(number > 0)
            own[-1].meets = 1
            phases += own
        phases[-1].meets = 0  # its end is that of the run
        return most, Phases(phases if most > 1 else [])

    def _pass_phases(self, division: Division, active: ActiveLines | None) -> Iterator[Phase]:
        for name, one in division.passes.items():
            phase = Phase(kind=one.kind, size=one.rows, multiple=1, most=one.most, meets=1, listed=-1)
            phase.kernel = address_of(self.library[name])
            if active is not None and name == LOOP and one.kind is Kind.ROWS:
                phase.cut(active.edges(self.kernels.fewest(name), one.most))
            yield phase

    def _sum_phases(self, division: Division, lines: int) -> Iterator[Phase]:
        """The sums; those that are not divided go to one thread after the other."""
        for number, (one, design) in enumerate(zip(self._program.row_sums, self.kernels.sums, strict=True)):
            left = self._operand(one.left)
            right = left if one.right is None else self._operand(one.right)
            yield Phase(
                kind=Kind.SUM,
                kernel=address_of(self.library[design.name]),
                size=design.height,
                multiple=design.tile.rows if design.tile and design.height >= design.tile.rows else design.height,
                most=division.sums,
                turn=0 if design.tile else number,
                left=left[0],
                before_left=left[1],
                right=right[0],
                before_right=right[1],
                result=self._bound.slots[sum_buffer(one)],
                lines=lines,
                listed=self._bound.slots[LINES] if self.kernels.ragged else -1,
            )

    def _operand(self, value: Var) -> tuple[int, int]:
        """A place in the table, and how many bytes behind it the first step of a value lies."""
        shift = self._bound.shift(value) * self._batch * self._bound.width(value)
        return self._bound.slots[self._bound.buffer_of(value)], shift * self._item

    @property
    def _item(self) -> int:
        return np.dtype(self.kernels.dtype).itemsize

    def _elements(self, key: BufferId) -> int:
        kind, name = key
        rows = self._batch if kind == Storage.ROW else max(stretch.steps for stretch in self._stretches) * self._batch
        return rows * prod(bind(self._program.shapes[name], self._bound.sizes))

    def _offsets(self, elements: Sequence[int]) -> tuple[list[int], int]:
        """Where buffers of so many elements begin, one behind the other, and how many bytes there are in all."""
        offsets, end = [], 0
        for count in elements:
            offsets.append(end)
            end += -(-count * self._item // ALIGNMENT) * ALIGNMENT
        return offsets, end
