"""Traces and Programs as bytes, and back: a process reads what an earlier one has derived and scheduled.

The form is JSON with three tables. Values and equations are written once, and named by their number everywhere else,
since a Program repeats those of its trace. The lines of a user's file that equations were written on are left out.

Nothing here is checked as `check` does: whoever keeps the bytes has to know that they are whole, and that they were
written by these very sources.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gatewright.axes import Shape
from gatewright.lang.ops import Op
from gatewright.lang.symbol import Redraw
from gatewright.schedule.program import (
    Phase,
    Product,
    Program,
    Reduction,
    RowSum,
    Scan,
    Stage,
    Storage,
    Store,
    Term,
)
from gatewright.trace.ir import Atom, Equation, Literal, Noise, Trace, Var

Part = Trace | Program
_TRACE, _PROGRAM = "trace", "program"


class DamagedError(ValueError):
    """Bytes that hold no traces and Programs."""


def to_bytes(parts: Iterable[Part]) -> bytes:
    """Traces and Programs as bytes."""
    writer = _TablesWriter()
    numbers = [writer.part(part) for part in parts]
    tables = {"values": writer.values, "equations": writer.equations, "traces": writer.traces, "parts": numbers}
    return json.dumps(tables, separators=(",", ":")).encode()


def from_bytes(data: bytes) -> list[Part]:
    """The traces and Programs of `to_bytes`.

    Raises DamagedError where the bytes hold none.
    """
    try:
        return _TablesReader(json.loads(data)).parts()
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DamagedError(f"no traces and Programs: {error}") from error


class _TablesWriter:
    """Fills the tables."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.equations: list[Any] = []
        self.traces: list[Any] = []
        self._value_numbers: dict[Var, int] = {}
        self._equation_numbers: dict[str, int] = {}
        self._trace_numbers: dict[int, int] = {}
        self._traces_alive: list[Trace] = []  # so that no other one gets the same `id`

    def part(self, part: Part) -> list[Any]:
        """A trace or a Program."""
        if isinstance(part, Trace):
            return [_TRACE, self._trace(part)]
        return [_PROGRAM, self._program(part)]

    def _trace(self, trace: Trace) -> int:
        number = self._trace_numbers.get(id(trace))
        if number is None:
            number = self._trace_numbers[id(trace)] = len(self.traces)
            self._traces_alive.append(trace)
            self.traces.append(
                [
                    trace.name,
                    self._vars(trace.inputs),
                    self._vars(trace.states),
                    self._vars(trace.params),
                    [[self._var(noise.var), noise.probability, noise.per] for noise in trace.noises],
                    [self._equation(equation) for equation in trace.equations],
                    [self._atom(value) for value in trace.next_states],
                    self._named(trace.emits),
                    self._named(trace.sums),
                    self._named(trace.gates),
                    trace.order,
                ]
            )
        return number

    def _program(self, program: Program) -> list[Any]:
        return [
            self._trace(program.trace),
            {name: str(storage) for name, storage in program.storage.items()},
            {name: list(shape) for name, shape in program.shapes.items()},
            dict(program.new_values),
            [self._equation(equation) for equation in program.prologue],
            {str(phase): [self._stage(stage) for stage in stages] for phase, stages in program.passes()},
            [
                [self._var(value) for value in (total.target, total.left, total.right) if value is not None]
                for total in program.row_sums
            ],
            [self._equation(equation) for equation in program.epilogue],
            self._named(program.sums),
        ]

    def _stage(self, stage: Stage) -> list[Any]:
        return [
            stage.axis,
            [
                [
                    self._var(product.target),
                    [[term.matrix, term.transposed, self._var(term.vector)] for term in product.terms],
                ]
                for product in stage.products
            ],
            [self._equation(equation) for equation in stage.equations],
            [[self._atom(store.value), store.name, str(store.storage)] for store in stage.stores],
            [[self._var(work.target), str(work.op), self._var(work.vector)] for work in stage.reductions],
            [
                [self._var(scan.target), self._var(scan.state), self._atom(scan.slope), self._atom(scan.offset)]
                for scan in stage.scans
            ],
        ]

    def _equation(self, equation: Equation) -> int:
        row = [
            self._var(equation.target),
            str(equation.op),
            [self._atom(arg) for arg in equation.args],
            [list(attr) for attr in equation.attrs],
        ]
        number = self._equation_numbers.setdefault(repr(row), len(self.equations))
        if number == len(self.equations):
            self.equations.append(row)
        return number

    def _named(self, outputs: Iterable[tuple[str, Atom]]) -> list[Any]:
        return [[name, self._atom(value)] for name, value in outputs]

    def _atom(self, atom: Atom) -> Any:
        return self._var(atom) if isinstance(atom, Var) else [atom.value]

    def _vars(self, values: Iterable[Var]) -> list[int]:
        return [self._var(value) for value in values]

    def _var(self, value: Var) -> int:
        number = self._value_numbers.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append([value.name, *value.shape])
        return number


class _TablesReader:
    """Makes objects of the tables. What a table holds is made once, and shared by all that name it."""

    def __init__(self, tables: Any) -> None:
        self._parts = tables["parts"]
        shapes: dict[Shape, Shape] = {}
        names = [(name, tuple(axes)) for name, *axes in tables["values"]]
        self._vars = [Var(name, shapes.setdefault(shape, shape)) for name, shape in names]
        self._equations = [self._equation(row) for row in tables["equations"]]
        self._traces = [self._trace(row) for row in tables["traces"]]

    def parts(self) -> list[Part]:
        """The traces and Programs, in order."""
        makers: Mapping[str, Callable[[Any], Part]] = {
            _TRACE: lambda number: self._traces[number],
            _PROGRAM: self._program,
        }
        return [makers[kind](row) for kind, row in self._parts]

    def _equation(self, row: list[Any]) -> Equation:
        target, op, args, attrs = row
        return Equation(self._vars[target], Op(op), tuple(map(self._atom, args)), tuple(map(tuple, attrs)))

    def _trace(self, row: list[Any]) -> Trace:
        name, inputs, states, params, noises, equations, next_states, emits, sums, gates, order = row
        values = self._vars
        return Trace(
            name=name,
            inputs=tuple([values[number] for number in inputs]),
            states=tuple([values[number] for number in states]),
            params=tuple([values[number] for number in params]),
            noises=tuple(Noise(values[number], probability, Redraw(per)) for number, probability, per in noises),
            equations=self._those(equations),
            next_states=tuple(map(self._atom, next_states)),
            emits=self._named(emits),
            sums=self._named(sums),
            gates=tuple((name, values[number]) for name, number in gates),
            order=order,
        )

    def _program(self, row: list[Any]) -> Program:
        trace, storage, shapes, new_values, prologue, stages, row_sums, epilogue, sums = row
        values = self._vars
        of_phase = {Phase(phase): tuple(self._stage(row) for row in rows) for phase, rows in stages.items()}
        return Program(
            trace=self._traces[trace],
            storage={name: Storage(kind) for name, kind in storage.items()},
            shapes={name: tuple(shape) for name, shape in shapes.items()},
            new_values=new_values,
            prologue=self._those(prologue),
            before=of_phase[Phase.BEFORE],
            scan=of_phase[Phase.SCAN],
            loop=of_phase[Phase.LOOP],
            after=of_phase[Phase.AFTER],
            row_sums=tuple(RowSum(*(values[number] for number in numbers)) for numbers in row_sums),
            epilogue=self._those(epilogue),
            sums=self._named(sums),
        )

    def _stage(self, row: list[Any]) -> Stage:
        axis, products, equations, stores, reductions, scans = row
        values, atom = self._vars, self._atom
        return Stage(
            axis=axis,
            products=tuple(
                Product(values[target], tuple(Term(matrix, flip, values[vector]) for matrix, flip, vector in terms))
                for target, terms in products
            ),
            equations=self._those(equations),
            stores=tuple(Store(atom(value), name, Storage(kind)) for value, name, kind in stores),
            reductions=tuple(Reduction(values[target], Op(op), values[vector]) for target, op, vector in reductions),
            scans=tuple(
                Scan(values[target], values[state], atom(slope), atom(offset)) for target, state, slope, offset in scans
            ),
        )

    def _those(self, numbers: list[int]) -> tuple[Equation, ...]:
        return tuple([self._equations[number] for number in numbers])

    def _named(self, outputs: list[Any]) -> tuple[tuple[str, Atom], ...]:
        return tuple([(name, self._atom(value)) for name, value in outputs])

    def _atom(self, atom: Any) -> Atom:
        return self._vars[atom] if isinstance(atom, int) else Literal(*atom)
