"""A Program run in NumPy, pass by pass and stage by stage: what a code generator must agree with.

Nothing reaches a stage but what an earlier one has stored; a plan that forgets to keep a value fails here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.axes import Shape, bind
from gatewright.lang.ops import Op
from gatewright.schedule.program import Product, Program, RowSum, Scan, Stage, Storage, Store
from gatewright.trace.ir import Atom, Equation, Literal, Var

Array = NDArray[Any]
Execute = Callable[[tuple[Equation, ...], dict[str, Any], Mapping[str, int]], None]
"""Compute elementwise equations on arrays, adding the results to the values: a backend of Traces lends it."""


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """What a Program gave."""

    states: dict[str, Array]  # (time + 1, batch, ...)
    emits: dict[str, Array]
    sums: dict[str, Array]


def interpret(
    program: Program,
    inputs: Mapping[str, Array],
    params: Mapping[str, Array],
    states: Mapping[str, Array],
    *,
    sizes: Mapping[str, int],
    execute: Execute,
    backwards: bool = False,
) -> ProgramResult:
    """Run a Program over (time, batch, ...) inputs from (batch, ...) states."""
    return ProgramInterpreter(program, inputs, params, sizes, execute, backwards).run(states)


@dataclass
class ProgramInterpreter:
    """Holds the arrays of one run. A test of a kernel overrides `run_loop`, and leaves all other passes as they are."""

    program: Program
    inputs: Mapping[str, Array]
    params: Mapping[str, Array]
    sizes: Mapping[str, int]
    execute: Execute
    backwards: bool

    def __post_init__(self) -> None:
        program, inputs = self.program, self.inputs
        self.steps, self.batch = next(iter(inputs.values())).shape[:2]
        self.dtype = np.result_type(*inputs.values())
        self.before, self.after = (1, 0) if self.backwards else (0, 1)
        self.shared: dict[str, Any] = dict(self.params)
        self.execute(program.prologue, self.shared, self.sizes)
        self.states = {s.name: self._poisoned(self.steps + 1, s) for s in program.trace.states}
        self.sequences = {
            name: self._poisoned(self.steps, Var(name, program.shapes[name]))
            for name, storage in program.storage.items()
            if storage is Storage.SEQUENCE
        }
        self.rows: dict[str, Array] = {}

    def run(self, states: Mapping[str, Array]) -> ProgramResult:
        """Run all passes from (batch, ...) states."""
        for name, state in states.items():
            self.states[name][-1 if self.backwards else 0] = state
        self.run_pass(self.program.before, whole=True)
        self.run_pass(self.program.scan, whole=True)
        self.run_loop()
        self.run_pass(self.program.after, whole=True)
        return ProgramResult(self.states, self.emits(), self.sums())

    def run_loop(self) -> None:
        """All steps, one after the other."""
        for t in reversed(range(self.steps)) if self.backwards else range(self.steps):
            self.rows = {}
            self.run_pass(self.program.loop, whole=False, t=t)
        self.rows = {}

    def _poisoned(self, steps: int, value: Var) -> Array:
        """NaN wherever nothing has been stored yet."""
        return np.full((steps, self.batch, *bind(value.shape, self.sizes)), np.nan, self.dtype)

    def run_pass(self, stages: tuple[Stage, ...], *, whole: bool, t: int = 0) -> None:
        """All stages over all steps at once, or over step t."""
        for stage in stages:
            wanted = [value for value in stage.reads() if isinstance(value, Var) and self._is_kept(value)]
            values = {value.name: self._load(value, whole, t) for value in wanted}
            for product in stage.products:
                values[product.target.name] = self._product(product, values)
            for reduction in stage.reductions:
                vector = values[reduction.vector.name]
                values[reduction.target.name] = vector.sum(-1) if reduction.op is Op.SUM else vector.mean(-1)
            self.execute(stage.equations, values, self.sizes)
            values |= {scan.target.name: self._scan(scan, values) for scan in stage.scans}
            for store in stage.stores:
                self._store(store, values, whole, t)

    def _is_kept(self, value: Var) -> bool:
        storage = self.program.storage.get(value.name)
        return value.name in self.rows if storage is Storage.ROW else storage is not None

    def _load(self, value: Var, whole: bool, t: int) -> Array:
        storage = self.program.storage[value.name]
        if storage is Storage.SHARED:
            return self.shared[value.name]
        if storage is Storage.ROW:
            return self.rows[value.name]
        array, shift = self._array(value.name, storage)
        return array[shift : shift + self.steps] if whole else array[t + shift]

    def _array(self, name: str, storage: Storage) -> tuple[Array, int]:
        if storage in (Storage.INPUT, Storage.RANDOM):
            return self.inputs[name], 0
        if storage is Storage.STATE:
            return self.states[name], self.before
        if storage is Storage.NEW:
            return self.states[self.program.new_values[name]], self.after
        return self.sequences[name], 0

    def _product(self, product: Product, values: Mapping[str, Array]) -> Array:
        terms = [
            values[term.vector.name] @ (self.shared[term.matrix] if term.transposed else self.shared[term.matrix].T)
            for term in product.terms
        ]
        return np.sum(terms, axis=0)

    def _scan(self, scan: Scan, values: Mapping[str, Any]) -> Array:
        """The new value of a state at every step."""
        states = self.states[scan.state.name]
        slope, offset = (self._spread(value, values, states[:-1].shape) for value in (scan.slope, scan.offset))
        if self.before:
            return scanned(slope[::-1], offset[::-1], states[-1])[::-1]
        return scanned(slope, offset, states[0])

    def _spread(self, value: Atom, values: Mapping[str, Any], shape: tuple[int, ...]) -> Array:
        """A value of every step and row; a scalar of each stands for all of its features."""
        array = np.asarray(value.value if isinstance(value, Literal) else values[value.name], self.dtype)
        missing = len(shape) - 2 if array.ndim == 2 and not value.shape else 0
        return np.broadcast_to(array[(..., *(None,) * missing)], shape)

    def _store(self, store: Store, values: Mapping[str, Any], whole: bool, t: int) -> None:
        value: Any = store.value.value if isinstance(store.value, Literal) else values[store.value.name]
        if store.storage is Storage.ROW:
            self.rows[store.name] = value
            return
        is_state = store.storage is Storage.STATE
        array = self.states[store.name] if is_state else self.sequences[store.name]
        shift = self.after if is_state else 0
        if whole:
            array[shift : shift + self.steps] = value
        else:
            array[t + shift] = value

    def emits(self) -> dict[str, Array]:
        """What is given out at every step."""
        trace = self.program.trace
        return {name: self._whole(value, trace.output_shape(name, value)) for name, value in trace.emits}

    def _whole(self, value: Atom, shape: Shape) -> Array:
        loaded: Any = value.value if isinstance(value, Literal) else self._load(value, whole=True, t=0)
        return np.broadcast_to(np.asarray(loaded, self.dtype), (self.steps, self.batch, *bind(shape, self.sizes)))

    def sums(self) -> dict[str, Array]:
        """What is added up over rows and steps."""
        values: dict[str, Any] = dict(self.shared)
        for row_sum in self.program.row_sums:
            values[row_sum.target.name] = self._row_sum(row_sum)
        self.execute(self.program.epilogue, values, self.sizes)
        totals: dict[str, Array] = {}
        for name, value in self.program.sums:
            total = value.value if isinstance(value, Literal) else values[value.name]
            shape = bind(self.program.trace.output_shape(name, value), self.sizes)
            totals[name] = np.broadcast_to(np.asarray(total, self.dtype), shape)
        return totals

    def _row_sum(self, total: RowSum) -> Array:
        left = self._whole(total.left, total.left.shape)
        if total.right is None:
            return left.sum(axis=(0, 1))
        return np.tensordot(left, self._whole(total.right, total.right.shape), axes=([0, 1], [0, 1]))


def scanned(slope: Array, offset: Array, first: Array) -> Array:
    """The states slope * state + offset, step after step along the first axis, from the state `first`: by a scan.

    Two steps are one, of the slope a2 * a1 and the offset a2 * b1 + b2. So each turn joins to every step what the
    turn before has found of as many steps before it; after as many turns as the length has binary digits, every
    step holds all that come before it.
    """
    slope, offset = slope.copy(), offset.copy()
    offset[:1] += slope[:1] * first
    reach = 1
    with np.errstate(all="ignore"):
        while reach < len(slope):
            state, late, early = offset[:-reach].copy(), slope[reach:], slope[:-reach].copy()
            # slopes of many steps may be infinite where a state, or another slope, is 0: that stays 0
            offset[reach:] += np.where((state == 0) & ~np.isnan(late), 0.0, late * state)
            slope[reach:] = np.where(~np.isnan(late) & ~np.isnan(early) & np.isnan(late * early), 0.0, late * early)
            reach *= 2
    return offset
