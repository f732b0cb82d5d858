"""Runs a Program by compiled kernels: finds or compiles them, gives them memory, and spreads rows over threads."""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

from gatewright.axes import bind
from gatewright.backends.llvm.buffers import Key
from gatewright.backends.llvm.compile import compile_module
from gatewright.backends.llvm.kernels import LOOP, Kernels
from gatewright.backends.llvm.library import Library
from gatewright.backends.llvm.panels import matrix_key
from gatewright.backends.llvm.row_sums import result_key
from gatewright.backends.llvm.target import Target, named
from gatewright.backends.llvm.vector_type import Dtype
from gatewright.schedule.program import Place, Program, RowSum
from gatewright.threads import get_num_threads, run_parallel
from gatewright.trace.ir import Equation, Literal, Var
from gatewright.trace.text import structural_hash

_ROW_COUNTS = (64, 16, 8, 6, 5, 4, 3, 2, 1)
"""Kernels are made for these numbers of rows; the largest that is not more than what is at hand is used."""


class Arrays(Protocol):
    """Where memory comes from: NumPy, or torch."""

    def empty(self, shape: tuple[int, ...]) -> Any:
        """An array with anything in it."""
        ...

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """An array of zeros."""
        ...

    def contiguous(self, array: Any) -> Any:
        """The same numbers, one row after the other, in the engine's dtype."""
        ...

    def address(self, array: Any) -> int:
        """Where an array begins."""
        ...

    def compute(self, equations: Sequence[Equation], values: dict[str, Any], sizes: Mapping[str, int]) -> None:
        """Compute equations on parameters, which no kernel does."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a Program gave. States are (time + 1, batch, ...), sequences (time, batch, ...)."""

    states: dict[str, Any]
    emits: dict[str, Any]
    sums: dict[str, Any]


@dataclass(frozen=True)
class Engine:
    """A Program bound to sizes, ready to run over any number of steps and rows."""

    program: Program
    sizes: Mapping[str, int]
    dtype: Dtype
    backwards: bool = False
    target: Target | None = None

    @cached_property
    def _compiled(self) -> dict[tuple[int, int], tuple[Kernels, Library]]:
        return {}

    @cached_property
    def key(self) -> str:
        """What decides the kernels, but for the machine and the number of rows."""
        sizes = ",".join(f"{axis}={size}" for axis, size in sorted(self.sizes.items()))
        return f"{structural_hash(self.program.trace)} {sizes} {self.dtype} backwards={self.backwards}"

    def kernels(self, steps: int, batch: int) -> tuple[Kernels, Library]:
        """The kernels for an extent, from memory, from the cache on disk, or compiled now."""
        extent = (_row_count(batch), _row_count(steps * batch))
        if extent not in self._compiled:
            target = self.target or named()
            kernels = Kernels(self.program, self.sizes, self.dtype, target, self.backwards, *extent)
            library = compile_module(kernels.emit, kernels.functions, key=f"{self.key} rows={extent}", target=target)
            self._compiled[extent] = (kernels, library)
        return self._compiled[extent]

    def run(
        self, inputs: Mapping[str, Any], params: Mapping[str, Any], states: Mapping[str, Any], arrays: Arrays
    ) -> Outcome:
        """Run over inputs (time, batch, ...) from states (batch, ...), which for a gradient are those after the end."""
        steps, batch = next(iter(inputs.values())).shape[:2]
        memory = _Memory(self, inputs, params, states, arrays, steps, batch)
        if steps and batch:
            kernels, library = self.kernels(steps, batch)
            table = memory.table(kernels)
            if kernels.panels:
                library["pack"](table, steps, batch, 0, 0)
            for name in kernels.designs:
                rows = batch if name == LOOP else steps * batch
                parts = _split(rows, kernels.fewest(name), get_num_threads())
                run_parallel(library[name], [(table, steps, batch, *part) for part in parts])
            self._sum(kernels, library, memory)
        return memory.outcome()

    def _sum(self, kernels: Kernels, library: Library, memory: "_Memory") -> None:
        lines, threads = memory.steps * memory.batch, get_num_threads()
        parts: list[tuple[Any, ...]] = []
        for one in self.program.row_sums:
            tile, height = kernels.outer_tile(one), kernels.bound.width(one.left)
            operands = memory.operands(one)
            spans = [(0, height)] if tile is None else _split_at(height, tile.rows, threads)
            parts += [(library[kernels.sum_name(one)], *operands, lines, *span) for span in spans]
        run_parallel(lambda kernel, *given: kernel(*given), parts)


class _Memory:
    """The buffers of one run."""

    def __init__(
        self,
        engine: Engine,
        inputs: Mapping[str, Any],
        params: Mapping[str, Any],
        states: Mapping[str, Any],
        arrays: Arrays,
        steps: int,
        batch: int,
    ) -> None:
        self.engine, self.arrays, self.steps, self.batch = engine, arrays, steps, batch
        program = engine.program
        self.held: dict[Key, Any] = {}
        self.shared: dict[str, Any] = {name: arrays.contiguous(value) for name, value in params.items()}
        arrays.compute(program.prologue, self.shared, engine.sizes)
        for name, place in program.places.items():
            if place is Place.INPUT:
                self.held[place, name] = arrays.contiguous(inputs[name])
            elif place is Place.SHARED and name in self.shared:
                self.held[place, name] = arrays.contiguous(self.shared[name])
            elif place is Place.SEQUENCE:
                self.held[place, name] = arrays.empty((steps, batch, *self._shape(name)))
            elif place is Place.ROW:
                self.held[place, name] = arrays.empty((batch, *self._shape(name)))
        for state in program.trace.states:
            whole = arrays.empty((steps + 1, batch, *bind(state.shape, engine.sizes)))
            whole[-1 if engine.backwards else 0] = states[state.name]
            self.held[Place.STATE, state.name] = whole
        for one in program.row_sums:
            self.held[result_key(one)] = arrays.zeros(bind(one.target.shape, engine.sizes))

    def _shape(self, name: str) -> tuple[int, ...]:
        return bind(self.engine.program.shapes[name], self.engine.sizes)

    def table(self, kernels: Kernels) -> Any:
        """The table of pointers that kernels are called with."""
        for panel in kernels.panels:
            self.held[panel.key] = self.arrays.empty((panel.size,))
            for part in panel.parts:
                key = matrix_key(part.matrix)
                self.held.setdefault(key, self.shared[part.matrix])
        slots = kernels.bound.slots
        table = (ctypes.c_void_p * len(slots))()
        for key, slot in slots.items():
            if key in self.held:
                table[slot] = self.arrays.address(self.held[key])
        return table

    def operands(self, one: RowSum) -> tuple[int, int, int]:
        """Where the operands of a sum begin, and its result."""
        address = self.arrays.address
        right = 0 if one.right is None else address(self.sequence(one.right))
        return address(self.sequence(one.left)), right, address(self.held[result_key(one)])

    def outcome(self) -> Outcome:
        """What the caller gets."""
        trace = self.engine.program.trace
        return Outcome(
            states={state.name: self.held[Place.STATE, state.name] for state in trace.states},
            emits={n: v.value if isinstance(v, Literal) else self.sequence(v) for n, v in trace.emits},
            sums=self._sums(),
        )

    def sequence(self, value: Var) -> Any:
        """A value at every step: (time, batch, ...)."""
        program = self.engine.program
        place = program.places[value.name]
        if place is Place.NEW:
            whole = self.held[Place.STATE, program.news[value.name]]
            return whole[:-1] if self.engine.backwards else whole[1:]
        if place is Place.STATE:
            whole = self.held[Place.STATE, value.name]
            return whole[1:] if self.engine.backwards else whole[:-1]
        return self.held[place, value.name]

    def _sums(self) -> dict[str, Any]:
        program = self.engine.program
        values = dict(self.shared)
        for one in program.row_sums:
            values[one.target.name] = self.held[result_key(one)]
        self.arrays.compute(program.epilogue, values, self.engine.sizes)
        return {name: value.value if isinstance(value, Literal) else values[value.name] for name, value in program.sums}


def _row_count(rows: int) -> int:
    return next((count for count in _ROW_COUNTS if count <= rows), 1)


def _split(rows: int, fewest: int, threads: int) -> list[tuple[int, int]]:
    """Ranges of rows, each of at least `fewest`, nearly equal."""
    parts = max(1, min(threads, rows // max(fewest, 1)))
    edges = [rows * part // parts for part in range(parts + 1)]
    return list(pairwise(edges))


def _split_at(height: int, multiple: int, threads: int) -> list[tuple[int, int]]:
    """Ranges that begin at multiples; the last one goes to the end."""
    tiles = max(1, height // multiple)
    edges = [min(tile * multiple, height) for tile in (tiles * part // threads for part in range(threads))]
    return [(a, b) for a, b in zip(edges, [*edges[1:], height], strict=True) if a < b]
