"""The kernels of an engine for one extent: which memory they need, and how they are run by one thread or several.

Everything is worked out once an extent, or once a number of threads; a call goes through the kernels.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from gatewright.backends.llvm.codegen.buffers import BufferId, inside_buffers, outside_buffers
from gatewright.backends.llvm.codegen.kernels import LOOP, PACK, PAIR, WHOLE, Kernels
from gatewright.backends.llvm.jit.machine_code import Library, address_of
from gatewright.backends.llvm.parallel.contention import ContentionMonitor
from gatewright.backends.llvm.parallel.region import ParallelRegion, PhaseList, run_region
from gatewright.backends.llvm.parallel.region_code import RegionPhase
from gatewright.backends.llvm.parallel.time_blocks import TimeBlock, time_blocks
from gatewright.backends.llvm.parallel.work_partition import (
    PartitionAxis,
    PassPartition,
    WorkPartition,
    partition_work,
)
from gatewright.backends.llvm.runtime.active_lines import ActiveLines
from gatewright.backends.llvm.runtime.command_list import KernelCall
from gatewright.backends.llvm.runtime.tables import POINTER_BYTES
from gatewright.schedule.program import Program, Storage
from gatewright.threads import get_num_threads

ALIGNMENT = 64  # a cache line, and the widest vector register
SPIN_LIMITS = (500, 20_000)
"""For how many turns, of some hundred nanoseconds each, members of a region wait for others to come: at least and at
most."""
_OPERATIONS_PER_SPIN = 50_000
"""For how many operations of a run one turn of waiting is risked: they take twice as long."""
_ALL_LINES = -1
contention = ContentionMonitor()


class Runner:
    """Runs the kernels over `steps` steps of `batch` rows.

    A call is given the address of its tables: one for each block of time, with the addresses of all buffers in the
    order of `kernels.bound.slots`. `inside` are the places of the buffers that only kernels use, `inside_keys`, in one
    block of `inside_bytes`; `panels` those of the packed matrices in one of `panel_bytes`.
    """

    def __init__(self, program: Program, kernels: Kernels, library: Library, steps: int, batch: int) -> None:
        self.kernels, self.library = kernels, library
        self._steps, self._batch = self.extent = steps, batch
        inside, self._outside = [*inside_buffers(program), *kernels.rounded], outside_buffers(program)
        self.inside_keys = inside
        line_bytes = sum(kernels.line_bytes(key) for key in (*self._outside, *inside))
        # The lines of a ragged batch are listed over all steps, so it is one block.
        whole = (TimeBlock(0, steps),)
        backwards = kernels.backwards
        self.time_blocks = whole if kernels.ragged else time_blocks(steps, batch, line_bytes, backwards=backwards)
        self._table_bytes = POINTER_BYTES * len(kernels.bound.slots)
        self.inside, self.inside_bytes = self._offsets([self._elements(key) for key in inside])
        self.panels, self.panel_bytes = self._offsets([panel.size for panel in kernels.panels])
        self._whole = library[WHOLE]
        self._pack = (address_of(library[PACK]), kernels.groups) if kernels.panels else (0, 0)
        self.alone = (address_of(self._whole), batch)  # the kernel that runs all others, and the rows it is called with
        self.is_small = kernels.cost.is_small(steps * batch)
        work = kernels.cost.operations * steps * batch
        self.spin_limit = min(max(work // _OPERATIONS_PER_SPIN, SPIN_LIMITS[0]), SPIN_LIMITS[1])
        self._phases: dict[tuple[int, int, bool], PhaseList] = {}
        self._phases_beside: dict[tuple[Runner, bool, bool], PhaseList] = {}

    def stride(self, key: BufferId) -> int:
        """The bytes from one step to the next in a buffer, 0 where every time block begins at its beginning again."""
        return self._batch * self.kernels.line_bytes(key) if key in self._outside else 0

    def run(
        self, tables: int, *, is_packed: bool = False, active: ActiveLines | None = None, adds: bool = False
    ) -> None:
        """Run all kernels. If it `is_packed`, the panels are as an earlier call has left them.

        Kernels for ragged batches need the lines that are `active`. With `adds`, sums are added to what is there.
        """
        if self.is_small or not self._run_together(tables, is_packed, active, adds):
            for number, block in enumerate(self.time_blocks):
                table, later = tables + number * self._table_bytes, number > 0
                self._whole(table, block.steps, self._batch, is_packed or later, 0, 0, adds or later)

    def pack(self, table: int) -> None:
        """Pack the matrices that a table names."""
        if self.kernels.panels:
            self.library[PACK](table, self._steps, self._batch, 0, self.kernels.groups, 0, 0)

    def call(self, table: int) -> KernelCall:
        """The call of a command list that runs all kernels for a single step by one thread, with matrices that are
        packed."""
        assert self._steps == 1
        return KernelCall(kernel=address_of(self._whole), table=table, steps=1, batch=self._batch, first=1)

    def _run_together(self, tables: int, is_packed: bool, active: ActiveLines | None, adds: bool) -> bool:
        """Run all kernels on several threads, if that is worth it and there are any to be had."""
        threads = get_num_threads()
        if threads == 1:
            return False
        phases = self._phases_for(threads, active, adds)
        if phases.threads == 1 or contention.runs_alone():
            return False
        pack = (0, 0) if is_packed else self._pack
        lines, edges = (0, None) if active is None else (active.count, active.edges(phases.pieces))
        region = ParallelRegion(phases, (tables,), self._batch, pack, self.spin_limit, lines, edges)
        with contention.watched(region):
            return run_region(region, phases.threads)

    def phases_beside(self, other: "Runner", is_packed: bool, other_is_packed: bool) -> PhaseList:
        """The phases of this run and of another one of the same extent, each by one thread."""
        key = (other, is_packed, other_is_packed)
        phases = self._phases_beside.get(key)
        if phases is None:
            both = [*self._phases_of_one(0, is_packed), *other._phases_of_one(1, other_is_packed)]
            phases = self._phases_beside[key] = PhaseList(both, 2)
        return phases

    def _phases_of_one(self, run: int, is_packed: bool) -> Iterator[RegionPhase]:
        """The phases of a run by one thread, in a region that runs another one beside it. `run` is the number of the
        run and of the thread. Not for ragged batches."""
        partition = WorkPartition(dict.fromkeys(self.kernels.cost.passes, PassPartition(PartitionAxis.ROWS, 1)), 1, 1)
        for number, block in enumerate(self.time_blocks):
            phases = [*self._pass_phases(partition, block.steps), *self._pair_phases(partition, block.steps)]
            phases += self._sum_phases(partition)
            if self.kernels.panels and not is_packed and number == 0:
                pack, groups = self._pack
                phases.insert(0, RegionPhase(kernel=pack, size=groups, multiple=groups, parts=1))
            for phase in phases:
                phase.steps, phase.table_offset = block.steps, number * self._table_bytes
                phase.adds, phase.barrier = number > 0, 0
                phase.run = phase.turn = run
                yield phase

    def _phases_for(self, threads: int, active: ActiveLines | None, adds: bool) -> PhaseList:
        """The phases of a run on up to so many threads; made once for each number of threads.

        Those of ragged batches are made once for each power of two of lines: they are partitioned as for the fewest
        lines of that magnitude, and take the real number of lines from the region.
        """
        key = (threads, 0 if active is None else active.count.bit_length(), adds)
        phases = self._phases.get(key)
        if phases is None:
            lines = None if active is None else 1 << max(key[1] - 1, 0)
            phases = self._phases[key] = self._make_phases(threads, lines, adds)
        return phases

    def _make_phases(self, threads: int, lines: int | None, adds: bool) -> PhaseList:
        most, phases = 1, list[RegionPhase]()
        partitions = {  # there may be thousands of blocks, but no more than two lengths
            steps: partition_work(self.kernels.cost, (steps, self._batch), threads, lines or steps * self._batch)
            for steps in {block.steps for block in self.time_blocks}
        }
        for number, block in enumerate(self.time_blocks):
            partition = partitions[block.steps]
            most = max(most, partition.threads)
            own = [*self._pass_phases(partition, block.steps), *self._pair_phases(partition, block.steps)]
            own += self._sum_phases(partition)
            for phase in own:
                phase.steps, phase.table_offset = block.steps, number * self._table_bytes
                phase.adds = adds or number > 0
            own[-1].barrier = 1  # the next time block overwrites what the sums of this one read
            phases += own
        phases[-1].barrier = 0  # the end of the region is one
        return PhaseList(phases if most > 1 else [], most)

    def _pass_phases(self, partition: WorkPartition, steps: int) -> Iterator[RegionPhase]:
        """The passes. There is a barrier after each: the next one reads what all threads have stored."""
        ragged = self.kernels.ragged
        for name, part in partition.passes.items():
            phase = RegionPhase(kernel=address_of(self.library[name]), multiple=1, parts=part.parts, barrier=1)
            phase.by_units = part.axis is PartitionAxis.UNITS
            if name == LOOP:
                phase.size = self._batch
                # Rows of a ragged batch take unequal numbers of steps, so they are cut by these.
                phase.pieces = part.parts if ragged and part.axis is PartitionAxis.ROWS else 0
            else:
                phase.size = _ALL_LINES if ragged else steps * self._batch
            yield phase

    def _pair_phases(self, partition: WorkPartition, steps: int) -> Iterator[RegionPhase]:
        """The rounding of what the sums read, by pairs of lines."""
        if self.kernels.paired:
            size = _ALL_LINES if self.kernels.ragged else steps * self._batch
            kernel = address_of(self.library[PAIR])
            yield RegionPhase(kernel=kernel, size=size, multiple=2, parts=partition.sums, barrier=1)

    def _sum_phases(self, partition: WorkPartition) -> Iterator[RegionPhase]:
        """The sums, which need no barrier between them. Those that are not divided go to one thread after the other."""
        for number, (name, design) in enumerate(zip(self.kernels.sum_names, self.kernels.sums, strict=True)):
            yield RegionPhase(
                kernel=address_of(self.library[name]),
                size=design.height,
                multiple=design.tile.rows if design.tile and design.height >= design.tile.rows else design.height,
                parts=partition.sums,
                turn=0 if design.tile else number,
            )

    def _elements(self, key: BufferId) -> int:
        steps = 1 if key.kind == Storage.ROW else max(block.steps for block in self.time_blocks)
        if key in self.kernels.rounded:
            return self.kernels.rounded[key].words(steps, self._batch)
        return steps * self._batch * self.kernels.bound.width_of(key.name)

    def _offsets(self, elements: Sequence[int]) -> tuple[list[int], int]:
        """Where buffers of so many elements begin, one after the other, and how many bytes there are in all."""
        offsets, end = [], 0
        for count in elements:
            offsets.append(end)
            end += aligned(count * np.dtype(self.kernels.dtype).itemsize)
        return offsets, end


def aligned(size: int) -> int:
    """The least number of bytes from `size` up at which another buffer may begin."""
    return -(-size // ALIGNMENT) * ALIGNMENT
