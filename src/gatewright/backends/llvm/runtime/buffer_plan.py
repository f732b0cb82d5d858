"""Where kernels find their buffers: in the arrays that a call brings, and in a workspace. Worked out once an extent."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gatewright.backends.llvm.codegen.buffers import LINES, STARTS, BufferId
from gatewright.backends.llvm.runtime.active_lines import ActiveLines
from gatewright.backends.llvm.runtime.command_list import KernelCall
from gatewright.backends.llvm.runtime.runner import Runner, aligned
from gatewright.backends.llvm.runtime.side_by_side import SideBySide
from gatewright.backends.llvm.runtime.step_commands import BlockCopy, ParameterSum, StepCommands
from gatewright.backends.llvm.runtime.tables import POINTER_BYTES, AddressTables, Location


class BufferPlan:
    """The buffers of a Program over one extent.

    A call brings arrays, numbered from 0. `places` says where in them each buffer begins that the caller sees: inputs,
    parameters, states, what is emitted, and sums. All other buffers belong to the kernels. They lie in a workspace of
    `workspace_bytes`, after the tables of addresses, and packed matrices in a block of `packed_bytes`.

    Nothing here allocates: the caller owns all memory, so that it may come from torch, NumPy or anywhere else.
    """

    def __init__(self, runner: Runner, places: Mapping[BufferId, Location], arrays: int) -> None:
        kernels = runner.kernels
        workspace, packed, lines, starts = range(arrays, arrays + 4)
        slots = kernels.bound.slots
        keys = sorted(slots, key=slots.__getitem__)
        tables = aligned(POINTER_BYTES * len(keys) * len(runner.time_blocks))
        inside = zip(runner.inside_keys, runner.inside, strict=True)
        panels = zip(kernels.panels, runner.panels, strict=True)
        located = {
            **places,
            **{key: Location(workspace, tables + offset) for key, offset in inside},
            **{panel.key: Location(packed, offset) for panel, offset in panels},
            LINES: Location(lines),
            STARTS: Location(starts),
        }
        self._runner = runner
        self._tables = AddressTables(
            [located[key] for key in keys],
            arrays + (4 if kernels.ragged else 2),
            [runner.stride(key) for key in keys],
            runner.time_blocks,
        )
        self._alone = runner.alone
        self.workspace_bytes = tables + runner.inside_bytes
        self.packed_bytes = runner.panel_bytes
        self.cost = kernels.cost
        self.panels = kernels.panels  # the packed matrices
        self.panel_offsets = runner.panels  # where each begins in its block
        self.packing = kernels.layout  # how they are packed: plans with the same packing can share them

    def run(
        self,
        arrays: Sequence[int],
        workspace: int,
        packed: int,
        *,
        is_packed: bool = False,
        active: ActiveLines | None = None,
        adds: bool = False,
        beside: SideBySide | None = None,
    ) -> None:
        """Run the kernels, or have them run `beside` others later.

        All arrays are given by the addresses where they begin.
        `is_packed` says that the packed matrices are there already. Kernels for ragged batches need the `active` lines.
        With `adds`, sums are added to what is there.
        """
        listed = active.addresses if active is not None else ()
        bases = [*arrays, workspace, packed, *listed]
        if beside is not None:
            assert active is None
            assert not adds
            self._tables.fill(workspace, bases)
            beside.add(self._runner, workspace, is_packed=is_packed)
            return
        if self._runner.is_small and not adds:
            self._tables.fill_and_call(workspace, bases, *self._alone, is_packed=is_packed)
            return
        self._tables.fill(workspace, bases)
        self._runner.run(workspace, is_packed=is_packed, active=active, adds=adds)

    def commands(
        self,
        bases: int,
        *,
        sums: Sequence[ParameterSum] = (),
        before: Sequence[BlockCopy] = (),
        after: Sequence[BlockCopy] = (),
    ) -> Callable[[Sequence[int], int], None]:
        """A function that runs the kernels for a single step, sums and copies before them and copies after them: of
        `bases` addresses, and that of the workspace. Matrices are packed already, or read where they are.

        The bases begin with the arrays, the workspace, and the block of packed matrices, or any address without one.
        """
        runner, dtype, fill = self._runner, self._runner.kernels.dtype, self._tables.filling
        if runner.is_small:
            options: Any = {"fill": fill, "kernel": self._alone, "keep": self}
            return StepCommands(dtype, bases, sums=sums, before=before, after=after, **options).run
        begin = StepCommands(dtype, bases, sums=sums, before=before, fill=fill, keep=self).run
        end = StepCommands(dtype, bases, after=after).run

        def run(addresses: Sequence[int], workspace: int) -> None:
            begin(addresses, workspace)
            runner.run(workspace, is_packed=True)
            end(addresses, workspace)

        return run

    def prepare(self, arrays: Sequence[int], workspace: int, packed: int) -> KernelCall:
        """Pack the matrices, and give the call that runs the kernels from then on, where all memory stays as it is.

        One thread runs it.
        """
        self._tables.fill(workspace, [*arrays, workspace, packed])
        self._runner.pack(workspace)
        return self._runner.call(workspace)
