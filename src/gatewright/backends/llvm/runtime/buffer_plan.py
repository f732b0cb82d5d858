"""Where kernels find their buffers: in the arrays that a call brings, and in a workspace. Worked out once an extent."""

import ctypes
from collections.abc import Mapping, Sequence

from gatewright.backends.llvm.codegen.buffers import LINES, STARTS, BufferId, inside_buffers
from gatewright.backends.llvm.codegen.panels import Panel
from gatewright.backends.llvm.runtime.active_lines import ActiveLines
from gatewright.backends.llvm.runtime.command_list import Call
from gatewright.backends.llvm.runtime.runner import ALIGNMENT, Runner
from gatewright.backends.llvm.runtime.tables import Location, TablePlan

POINTER_BYTES = ctypes.sizeof(ctypes.c_void_p)


class BufferPlan:
    """The buffers of a Program over one extent.

    A call brings arrays, numbered from 0. `places` says where in them each buffer begins that the caller sees: inputs,
    parameters, states, what is emitted, and sums. All other buffers belong to the kernels. They lie in a workspace of
    `workspace_bytes`, behind the table of addresses, and packed matrices in a block of `packed_bytes`.

    Nothing here allocates: the caller owns all memory, so that it may come from torch, NumPy or anywhere else.
    """

    def __init__(self, runner: Runner, places: Mapping[BufferId, Location], arrays: int) -> None:
        kernels = runner.kernels
        workspace, packed, lines, starts = range(arrays, arrays + 4)
        table_bytes = _aligned(runner.table_entries * POINTER_BYTES)
        inside = zip(inside_buffers(kernels.program), runner.inside, strict=True)
        panels = zip(kernels.panels, runner.panels, strict=True)
        located = {
            **places,
            **{key: Location(workspace, table_bytes + offset) for key, offset in inside},
            **{panel.key: Location(packed, offset) for panel, offset in panels},
            LINES: Location(lines),
            STARTS: Location(starts),
        }
        slots = kernels.bound.slots
        self._runner = runner
        self._blocks = arrays + (4 if kernels.ragged else 2)
        self._table = TablePlan([located[key] for key in sorted(slots, key=slots.__getitem__)], self._blocks)
        self.workspace_bytes = table_bytes + runner.inside_bytes
        self.packed_bytes = runner.panel_bytes

    @property
    def panels(self) -> list[Panel]:
        """The packed matrices."""
        return self._runner.kernels.panels

    @property
    def packing(self) -> str:
        """How matrices are packed: plans with the same packing can share packed matrices."""
        return self._runner.kernels.layout

    def run(
        self,
        arrays: Sequence[int],
        workspace: int,
        packed: int,
        *,
        is_packed: bool = False,
        active: ActiveLines | None = None,
    ) -> None:
        """Run the kernels; all arrays are given by the addresses where they begin.

        `is_packed` says that the packed matrices are there already. Kernels for ragged batches need the `active` lines.
        """
        listed = active.addresses if active is not None else ()
        table = self._table.at(workspace, [*arrays, workspace, packed, *listed])
        self._runner.run_table(table, pack=not is_packed, active=active)

    def prepare(self, arrays: Sequence[int], workspace: int, packed: int) -> Call:
        """Pack the matrices, and give the call that runs the kernels from then on, where all memory stays as it is.

        One thread runs it.
        """
        table = self._table.at(workspace, [*arrays, workspace, packed])
        self._runner.pack(table)
        return self._runner.call(table)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
