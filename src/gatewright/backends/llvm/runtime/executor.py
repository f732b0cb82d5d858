"""Runs an engine on the arrays of a caller, and computes what no kernel computes."""

from collections.abc import Collection, Sequence
from functools import cached_property, partial
from math import prod
from typing import Any

from gatewright.axes import bind
from gatewright.backends.llvm.parallel.work_partition import is_faster_side_by_side
from gatewright.backends.llvm.runtime.active_lines import ActiveLines
from gatewright.backends.llvm.runtime.arrays import Arrays
from gatewright.backends.llvm.runtime.binding import Binding, Locations
from gatewright.backends.llvm.runtime.buffer_plan import BufferPlan
from gatewright.backends.llvm.runtime.command_list import KernelCall
from gatewright.backends.llvm.runtime.integer_panels import panel_order
from gatewright.backends.llvm.runtime.side_by_side import SideBySide
from gatewright.backends.llvm.runtime.tables import Location
from gatewright.schedule.program import Storage
from gatewright.trace.ir import Atom, Literal, names_of


class Executor:
    """Runs an engine over one extent, on arrays that its caller holds.

    It packs matrices, unless the extent is a single step and the caller says that it does not.
    """

    def __init__(
        self,
        binding: Binding,
        arrays: Arrays,
        steps: int,
        batch: int,
        *,
        ragged: bool = False,
        packs: bool = True,
    ) -> None:
        self.binding, self.arrays, self._extent, self._ragged = binding, arrays, (steps, batch), ragged
        self._packs = packs
        program, sizes = binding.program, binding.engine.sizes
        sums = [row_sum.target.name for row_sum in program.row_sums]
        self._inner_sums = [name for name in sums if name in binding.computed]  # sums that are no result themselves
        targets = [work.target for work in (*program.prologue, *program.epilogue, *program.row_sums)]
        self._shapes = {value.name: bind(value.shape, sizes) for value in (*program.trace.params, *targets)}
        read = [arg for equation in (*program.prologue, *program.epilogue) for arg in equation.args]
        self._used = names_of([*read, *(value for _, value in binding.unwritten_sums)])
        self._faster_beside: dict[tuple[Executor, int], bool] = {}
        self._computes_parameters = bool(binding.computed or binding.unwritten_sums)

    @cached_property
    def buffers(self) -> BufferPlan:
        """Where the kernels find everything. The first use compiles the kernels, unless they are in a cache."""
        runner = self.binding.engine.runner(*self._extent, ragged=self._ragged, packs=self._packs)
        return BufferPlan(runner, self.binding.places(), self.binding.arrays + len(self.binding.computed))

    @property
    def computes(self) -> bool:
        """Whether a run needs more than its kernels."""
        return self._computes_parameters or bool(self.binding.fills)

    @property
    def computes_from(self) -> frozenset[str]:
        """The values that a run reads outside its kernels."""
        return frozenset(self._used)

    def is_faster_beside(self, other: "Executor", threads: int) -> bool:
        """Whether this run and another one of the same extent are faster side by side; neither is ragged."""
        key = (other, threads)
        if key not in self._faster_beside:
            self._faster_beside[key] = self._compare_beside(*key)
        return self._faster_beside[key]

    def _compare_beside(self, other: "Executor", threads: int) -> bool:
        executors = (self, other)
        if not all(self._extent) or any(executor.computes for executor in executors):
            return False  # what is computed after the kernels cannot wait for them
        costs = [executor.buffers.cost for executor in executors]
        return is_faster_side_by_side(costs, self._extent, threads)

    @property
    def packing(self) -> str:
        """How matrices are packed."""
        return self.buffers.packing

    @property
    def packed_bytes(self) -> int:
        """How much memory the packed matrices take."""
        return self.buffers.packed_bytes if all(self._extent) else 0

    @cached_property
    def panel_order(self) -> str:
        """The order of packed matrices in eight bits: executors with the same order can share them."""
        order = panel_order(self.buffers.panels)
        is_computed = any(part.matrix in self.binding.computed for panel in self.buffers.panels for part in panel.parts)
        # What a prologue computes has a name of its own in each program.
        return f"{order} of {self.binding.engine.key}" if is_computed else order

    def matrices(self, arrays: Sequence[Any], names: Collection[str]) -> dict[str, Any]:
        """Matrices that kernels pack, out of the arrays of a call, or computed from them."""
        binding = self.binding
        arrays = [*arrays, *self._before(arrays)]
        places = {**binding.given, **binding.computed}
        return {name: self._view(arrays, places[name], self._shapes[name]) for name in names}

    def run(
        self,
        arrays: Sequence[Any],
        active: ActiveLines | None = None,
        packed: tuple[Any, bool] | None = None,
        *,
        adds: bool = False,
        beside: SideBySide | None = None,
    ) -> None:
        """Run the kernels; those for ragged batches over the lines that are active.

        With `beside` they run later, beside those of another call: for executors that can.

        `packed` is memory for packed matrices, and whether they are in it already. With `adds`, the sums that kernels
        write are added to what is in their arrays.
        """
        if self._computes_parameters:
            arrays = [*arrays, *self._before(arrays)]
        if all(self._extent):
            self._run_kernels(arrays, active, packed, adds, beside)
        if self._computes_parameters:
            self._after(arrays)
        for slot, value in self.binding.fills:
            shape = (*self._extent, *slot.shape)
            self.arrays.fill(self._view(arrays, slot.location, shape), self._value(arrays, value, shape))

    def _run_kernels(
        self,
        arrays: Sequence[Any],
        active: ActiveLines | None,
        packed: tuple[Any, bool] | None,
        adds: bool,
        beside: SideBySide | None,
    ) -> None:
        buffers, memory = self.buffers, self.arrays
        block = memory.take_workspace(buffers.workspace_bytes + (0 if packed else buffers.packed_bytes))
        if packed is None:
            *addresses, workspace = memory.addresses([*arrays, block])
            panels, is_packed = workspace + buffers.workspace_bytes, False
        else:
            *addresses, workspace, panels = memory.addresses([*arrays, block, packed[0]])
            is_packed = packed[1]
        buffers.run(addresses, workspace, panels, is_packed=is_packed, active=active, adds=adds, beside=beside)
        if beside is None:
            memory.give_back(block)
        else:
            beside.keep(arrays if packed is None else [*arrays, packed[0]])
            beside.release_later(partial(memory.give_back, block))

    def prepare(self, arrays: Sequence[Any]) -> tuple[KernelCall, list[Any]]:
        """The call that runs the kernels again and again on these very arrays, and the memory that has to live as long.

        Parameters are read, and matrices packed, now: their arrays may be freed. Kernels must write all results.
        """
        assert not self.binding.fills
        assert not self.binding.summed
        arrays = [*arrays, *self._before(arrays)]
        buffers, memory = self.buffers, self.arrays
        workspace, packed = memory.take_workspace(buffers.workspace_bytes), memory.take_workspace(buffers.packed_bytes)
        *addresses, workspace_at, packed_at = memory.addresses([*arrays, workspace, packed])
        call = buffers.prepare(addresses, workspace_at, packed_at)
        matrices = {part.matrix for panel in buffers.panels for part in panel.parts}
        places = {**self.binding.given, **self.binding.computed}
        dropped = {places[name].block for name in matrices}
        return call, [workspace, packed, *(array for number, array in enumerate(arrays) if number not in dropped)]

    def _before(self, arrays: Sequence[Any]) -> list[Any]:
        """What the prologue computes, and room for sums that are no result."""
        program, memory = self.binding.program, self.arrays
        values = self._views(arrays, self.binding.given)
        memory.compute(program.prologue, values, self.binding.engine.sizes)
        computed = [memory.contiguous(values[equation.target.name]) for equation in program.prologue]
        return computed + [memory.zeros(self._shapes[name]) for name in self._inner_sums]

    def _after(self, arrays: Sequence[Any]) -> None:
        """Compute the epilogue, and write the sums that kernels have not written."""
        binding = self.binding
        if not binding.unwritten_sums:
            return
        values = self._views(arrays, {**binding.given, **binding.sums, **binding.computed})
        self.arrays.compute(binding.program.epilogue, values, binding.engine.sizes)
        for slot, value in binding.unwritten_sums:
            result = value.value if isinstance(value, Literal) else _widened(values[value.name], slot.shape)
            self.arrays.fill(self._view(arrays, slot.location, slot.shape), result)

    def _value(self, arrays: Sequence[Any], value: Atom, shape: tuple[int, ...]) -> Any:
        """A value at every step, (time, batch, ...)."""
        if isinstance(value, Literal):
            return value.value
        binding, (steps, batch) = self.binding, self._extent
        storage = binding.program.storage[value.name]
        places = {**binding.given, **binding.written, **binding.computed}
        own = bind(value.shape, binding.engine.sizes)
        if storage is Storage.SHARED:
            return self._view(arrays, places[value.name], own)
        location = places[binding.program.new_values.get(value.name, value.name)]
        later = (storage is Storage.NEW) != binding.engine.backwards  # states have one slot more than there are steps
        if storage in (Storage.NEW, Storage.STATE) and later:
            location = Location(location.block, location.offset + batch * prod(own) * self.arrays.itemsize)
        return _widened(self._view(arrays, location, (steps, batch, *own)), shape)

    def _views(self, arrays: Sequence[Any], places: Locations) -> dict[str, Any]:
        """The values that equations on parameters use."""
        used = ((name, place) for name, place in places.items() if name in self._used)
        return {name: self._view(arrays, place, self._shapes[name]) for name, place in used}

    def _view(self, arrays: Sequence[Any], location: Location, shape: tuple[int, ...]) -> Any:
        return self.arrays.view(arrays[location.block], location.offset, shape)


def _widened(value: Any, shape: tuple[int, ...]) -> Any:
    """A value with axes of size 1 for those that its target has besides."""
    return value[(..., *(None,) * (len(shape) - value.ndim))]
