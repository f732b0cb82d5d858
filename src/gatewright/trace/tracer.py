"""Run a cell's equations once with symbols, and write down what they did."""

import linecache
import math
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from itertools import count
from traceback import walk_tb

import numpy as np

from gatewright.axes import OPEN, Shape, show_shape
from gatewright.errors import CellError, GatewrightError
from gatewright.lang.cell import Cell, Operands
from gatewright.lang.ops import OPS, Attrs, Op, UnfitShapesError, result_shape
from gatewright.lang.param import Param
from gatewright.lang.preactivation import param_of
from gatewright.lang.symbol import Operand, ParameterSpace, Redraw, Rewrite, Symbol, Where
from gatewright.trace.frames import assigned_name, user_frame

_Leaf = tuple[Symbol, float, Redraw]


class Tracer:
    """The Recorder that cells and derivative rules speak to. Keeps leaves; operations are kept by their symbols."""

    def __init__(self, label: str, spaces: Mapping[str, Shape] | None = None) -> None:
        self.label = label
        self.params: dict[str, Symbol] = {}
        self.noises: list[_Leaf] = []
        self.order: list[Symbol] = []
        self._spaces = dict(spaces or {})
        self._leaf_names: set[str] = set()
        self._rules: list[Rewrite] = []
        self._in_rule = False
        self._where: list[Where | None] = []

    def leaf(self, name: str, shape: Shape) -> Symbol:
        """A value that comes from outside the step."""
        self._leaf_names.add(name)
        return Symbol(self, shape, name=name)

    def parameter(self, space: str, gate: str) -> Symbol:
        """The parameter `space.gate`, made at its first use."""
        name = str(Param(space, gate))
        if name not in self.params:
            self.params[name] = self.leaf(name, self._spaces[space])
        return self.params[name]

    def noise(self, probability: float, shape: Shape, per: Redraw) -> Symbol:
        """A random 0/1 value, as a leaf."""
        number = next(n for n in count(len(self.noises)) if f"noise{n}" not in self._leaf_names)
        symbol = self.leaf(f"noise{number}", shape)
        self.noises.append((symbol, probability, per))
        return symbol

    @contextmanager
    def rewriting(self, rule: Rewrite) -> Generator[None]:
        """Within the context, `rule` may replace the arguments of every operation before it is recorded."""
        self._rules.append(rule)
        try:
            yield
        finally:
            self._rules.remove(rule)

    @contextmanager
    def at(self, where: Where | None) -> Generator[None]:
        """Within the context, operations are said to come from `where`, not from the running code."""
        self._where.append(where)
        try:
            yield
        finally:
            self._where.pop()

    def emit(self, op: Op, args: tuple[Operand, ...], attrs: Attrs = ()) -> Symbol:
        """Record one operation and return its result."""
        args = self._rewritten(op, args, attrs)
        args = tuple(self._checked(op, arg) for arg in args)
        shape = self._shape(op, args, attrs)
        where, name = (self._where[-1], None) if self._where else self._here()
        symbol = Symbol(self, shape, name=None if self._in_rule else name, op=op, args=args, attrs=attrs, where=where)
        self.order.append(symbol)
        return symbol

    def _rewritten(self, op: Op, args: tuple[Operand, ...], attrs: Attrs) -> tuple[Operand, ...]:
        """The arguments after every rule; a rule's own operations are neither rewritten again nor named."""
        if self._in_rule:
            return args
        self._in_rule = True
        try:
            for rule in reversed(self._rules):
                args = rule(op, args, attrs)
        finally:
            self._in_rule = False
        return args

    def error(self, problem: str, *, expected: str, got: str, do: str) -> CellError:
        """An error that names the cell, the file and the line that is running."""
        where = self._where[-1] if self._where else self._here()[0]
        return CellError(f"{_place(self.label, where)}: {problem}", expected=expected, got=got, do=do)

    def _here(self) -> tuple[Where | None, str | None]:
        frame = user_frame()
        if frame is None:
            return None, None
        return Where(frame.f_code.co_filename, frame.f_lineno), assigned_name(frame)

    def _checked(self, op: Op, arg: object) -> Operand:
        if isinstance(arg, Symbol):
            self.own([arg])
            return arg
        if isinstance(arg, int | float | np.integer | np.floating) and not isinstance(arg, bool):
            number = float(arg)
            if not math.isnan(number):
                return number
        raise self.error(
            f"`{op}` cannot take {type(arg).__name__}",
            expected="symbols and plain numbers",
            got=f"{type(arg).__name__} {arg!r}"[:120],
            do="make it a parameter (b.name), an input, or a keyword-only option that is a plain number",
        )

    def own(self, symbols: Iterable[Symbol]) -> None:
        """Hold that values were made in this run.

        Raises CellError.
        """
        for symbol in symbols:
            if symbol.recorder is not self:
                raise self.error(
                    f"{symbol!r} was made in another run of the equations",
                    expected="values of this step only",
                    got="a value that was kept from somewhere else",
                    do="pass what the step needs as an input, a state or a parameter",
                )

    def _shape(self, op: Op, args: tuple[Operand, ...], attrs: Attrs) -> Shape:
        if len(args) != OPS[op].arity:
            raise self.error(f"`{op}` has a wrong number of operands", expected=str(OPS[op].arity),
                             got=str(len(args)), do="see gatewright.lang.OPS")  # fmt: skip
        _settle(op, args)
        shapes = tuple(arg.shape if isinstance(arg, Symbol) else () for arg in args)
        try:
            return result_shape(op, shapes, attrs)
        except UnfitShapesError as unfit:
            got = ", ".join(f"{_show(arg)} {show_shape(shape)}" for arg, shape in zip(args, shapes, strict=True))
            settled = _settled_elsewhere(args, self._spaces)
            if settled is not None:
                problem = f"{settled.name} is used with two shapes"
                expected = f"{show_shape(settled.shape)}, the shape of its first use"
                do = "give the second use a parameter of its own name"
                raise self.error(problem, expected=expected, got=got, do=do) from None
            raise self.error(f"`{op}` cannot combine these shapes", expected=unfit.expected, got=got,
                             do=unfit.do) from None  # fmt: skip


def _settle(op: Op, args: tuple[Operand, ...]) -> None:
    """Give an axis that a space left open the axis of the operand that it meets first."""
    symbols = [arg for arg in args if isinstance(arg, Symbol)]
    for symbol, other in zip(symbols, reversed(symbols), strict=True):
        if symbol is other or OPEN not in symbol.shape:
            continue
        if op is Op.MATMUL and len(symbol.shape) == 2 and len(other.shape) == 1:
            symbol.shape = (symbol.shape[0], other.shape[0])
        elif len(symbol.shape) == len(other.shape):
            symbol.shape = tuple(b if a == OPEN else a for a, b in zip(symbol.shape, other.shape, strict=True))


def _settled_elsewhere(args: tuple[Operand, ...], spaces: Mapping[str, Shape]) -> Symbol | None:
    """The parameter among the operands whose open axis an earlier use has fixed."""
    for arg in args:
        if isinstance(arg, Symbol) and (param := param_of(arg)) and OPEN in spaces.get(param.space, ()):
            return arg
    return None


def _show(arg: Operand) -> str:
    if not isinstance(arg, Symbol):
        return f"{arg:g}"
    return arg.name or f"{arg.op}(...)"


def _place(label: str, where: Where | None) -> str:
    if where is None:
        return f"cell {label!r}"
    linecache.checkcache(where.file)  # the file may have changed since its lines were cached
    line = linecache.getline(where.file, where.line).strip()
    return f"cell {label!r} ({where.file}, line {where.line}{': `' + line + '`' if line else ''})"


def run_cell(cell: Cell) -> tuple[Tracer, Operands, tuple[Symbol, ...]]:
    """Run a cell's equations with symbols: the tracer, the operands that it gave, and the new states."""
    from gatewright.lang.variations import step

    tracer = Tracer(cell.label, {name: space.shape for name, space in cell.spaces.items()})
    operands = Operands(
        inputs={name: tracer.leaf(name, shape) for name, shape in cell.inputs.items()},
        states={name: tracer.leaf(name, shape) for name, shape in cell.states.items()},
        spaces={name: ParameterSpace(tracer, name) for name in cell.spaces},
    )
    try:
        new = step(cell, operands)
    except GatewrightError:
        raise
    except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
        with tracer.at(_origin(error, cell)):
            raise tracer.error(
                "this line cannot be traced",
                expected="operations of the gatewright language, on symbols and plain numbers",
                got=f"{type(error).__name__}: {error}",
                do="use gw.tanh, gw.where, ... in place of functions of Python, math, NumPy and torch",
            ) from error
    _check_order(cell, tracer, operands, new)
    return tracer, operands, new


def _origin(error: Exception, cell: Cell) -> Where:
    """The innermost line of the cell's own file that an error came through."""
    lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == cell.file]
    return Where(cell.file, lines[-1] if lines else cell.line)


def _check_order(cell: Cell, tracer: Tracer, operands: Operands, new: tuple[Symbol, ...]) -> None:
    with tracer.at(Where(cell.file, cell.line)):
        tracer.own(new)
    states, order = operands.states, ", ".join(cell.states)
    for (state, shape), value in zip(cell.states.items(), new, strict=True):
        place = _place_taken(state, value, states, new)
        if value.shape == shape and place is None:
            continue
        meant = f"; where the exchange is meant, say so: `return {', '.join(f'1.0 * {v.name}' for v in new)}`"
        with tracer.at(value.where or Where(cell.file, cell.line)):
            raise tracer.error(
                f"state {state!r} is returned in the wrong place or with the wrong shape",
                expected=f"{state} {show_shape(shape)}, in the order {order}",
                got=f"{_show(value)} {show_shape(value.shape)}",
                do=f"end the cell with `return {order}`" + (meant if place and all(v.name for v in new) else ""),
            )


def _place_taken(state: str, value: Symbol, states: Mapping[str, Symbol], new: tuple[Symbol, ...]) -> str | None:
    """The state that a value seems to be of, where it is returned as another one.

    A variable called as a state is that state. One value may be two states (`h = c`), and what a state was before the
    step may become another one, as in a delay line; two states that become each other are a mistake.
    """
    name = value.name
    if name is None or name == state or name not in states:
        return None
    there = dict(zip(states, new, strict=True))[name]
    is_old = value is states[name]
    return name if there is not value and (not is_old or there.name == state) else None
