"""Symbols, which stand for the values of a cell while it is traced, and the spaces that parameters are named in."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn, Protocol

from gatewright.axes import Shape
from gatewright.errors import GatewrightError
from gatewright.lang.ops import Attrs, Op


@dataclass(frozen=True, slots=True)
class Where:
    """The line of a user's file that an operation was written on."""

    file: str
    line: int


class Redraw(StrEnum):
    """How often a random value is drawn."""

    STEP = "step"  # anew at every step
    SEQUENCE = "sequence"  # once, and kept over all steps


class Recorder(Protocol):
    """What symbols ask of the tracer. The tracer lives in `trace`, which this package must not import."""

    def emit(self, op: Op, args: tuple["Operand", ...], attrs: Attrs = ()) -> "Symbol":
        """Record one operation and return its result."""
        ...

    def parameter(self, space: str, gate: str) -> "Symbol":
        """The parameter `space.gate`, made at its first use."""
        ...

    def noise(self, probability: float, shape: Shape, per: Redraw) -> "Symbol":
        """A random 0/1 value."""
        ...

    def rewriting(self, rule: "Rewrite") -> AbstractContextManager[None]:
        """Within the context, `rule` may replace the arguments of every operation before it is recorded."""
        ...

    def error(self, problem: str, *, expected: str, got: str, do: str) -> GatewrightError:
        """An error that names the cell, the file and the line being traced."""
        ...


_Operator = Callable[["Symbol", "Operand"], "Symbol"]


def _operators(op: Op) -> tuple[_Operator, _Operator]:
    """The methods of a Symbol for `symbol op other` and `other op symbol`."""
    return (
        lambda symbol, other: symbol.recorder.emit(op, (symbol, other)),
        lambda symbol, other: symbol.recorder.emit(op, (other, symbol)),
    )


class Symbol:
    """A value inside a cell's equations: known by its shape and by how it was made, not by its numbers."""

    __slots__ = ("args", "attrs", "name", "op", "recorder", "shape", "where")
    __array_ufunc__ = None  # so that NumPy hands `array * symbol` to us instead of looping over elements

    def __init__(
        self,
        recorder: Recorder,
        shape: Shape,
        *,
        name: str | None = None,
        op: Op | None = None,
        args: tuple["Operand", ...] = (),
        attrs: Attrs = (),
        where: Where | None = None,
    ) -> None:
        self.recorder, self.shape, self.name = recorder, shape, name
        self.op, self.args, self.attrs, self.where = op, args, attrs, where

    def __repr__(self) -> str:
        return f"<symbol {self.name or self.op} ({', '.join(self.shape)})>"

    def __neg__(self) -> "Symbol":
        return self.recorder.emit(Op.NEG, (self,))

    __add__, __radd__ = _operators(Op.ADD)
    __sub__, __rsub__ = _operators(Op.SUB)
    __mul__, __rmul__ = _operators(Op.MUL)
    __truediv__, __rtruediv__ = _operators(Op.DIV)
    __matmul__, __rmatmul__ = _operators(Op.MATMUL)
    __lt__, __gt__ = _operators(Op.LESS)

    def __pow__(self, exponent: float) -> "Symbol":
        if exponent == 2:
            return self * self
        if exponent == 0.5:
            return self.recorder.emit(Op.SQRT, (self,))
        raise self.recorder.error(
            f"** {exponent!r} is not in the language",
            expected="** 2 or ** 0.5",
            got=f"** {exponent!r}",
            do="multiply, or write gw.exp(exponent * gw.log(value))",
        )

    @property
    def T(self) -> "Symbol":
        """The transposed matrix, as in `U.h.T @ h`."""
        return self.recorder.emit(Op.TRANSPOSE, (self,))

    def __bool__(self) -> NoReturn:
        raise self.recorder.error(
            f"the truth of {self!r} was asked for, but a symbol has no value while a cell is traced",
            expected="equations without `if`, `and`, `or`, `not`, `while` or min/max on symbols",
            got="bool() of a symbol",
            do="use gw.where(condition, a, b), gw.maximum or gw.minimum; "
            "a choice that is fixed when the cell is made can be a keyword-only option of the cell",
        )

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        raise self._unsupported("==", "gw.where(gw.less(a, b), ...) compares values")

    def __hash__(self) -> int:
        return id(self)

    def __float__(self) -> float:
        raise self._unsupported("float()", "keep the value symbolic: use gw's functions instead of math's or NumPy's")

    def __iter__(self) -> NoReturn:
        raise self._unsupported("iteration", "a symbol is a whole vector: write equations for all units at once")

    def __getitem__(self, key: object) -> NoReturn:
        raise self._unsupported("indexing", "give each part a parameter name of its own: W.a, W.b")

    def _unsupported(self, what: str, do: str) -> GatewrightError:
        return self.recorder.error(
            f"{what} was used on {self!r}, but a symbol has no value while a cell is traced",
            expected="operations of the gatewright language",
            got=what,
            do=do,
        )


Operand = Symbol | float
"""What an operation takes: a symbol or a plain number."""

Rewrite = Callable[[Op, tuple[Operand, ...], Attrs], tuple[Operand, ...]]
"""Given an operation and its arguments, the arguments to record instead."""


class ParameterSpace:
    """The parameters of one kind, `W` say. An attribute is one parameter: `W.r`. It exists because it is named."""

    __slots__ = ("_name", "_recorder")

    def __init__(self, recorder: Recorder, name: str) -> None:
        self._recorder, self._name = recorder, name

    def __getattr__(self, gate: str) -> Symbol:
        if gate.startswith("_"):
            raise AttributeError(gate)
        return self._recorder.parameter(self._name, gate)

    def __getitem__(self, gate: str) -> Symbol:
        if not (isinstance(gate, str) and gate.isidentifier()):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise self._recorder.error(
                f"{self._name}[{gate!r}] cannot be the name of a parameter",
                expected=f"a name such as {self._name}.r",
                got=repr(gate),
                do="use letters, digits and underscores, and begin with a letter",
            )
        return self._recorder.parameter(self._name, gate)

    def __matmul__(self, other: Operand) -> NoReturn:
        raise self._recorder.error(
            f"{self._name} is a space of parameters, not one matrix",
            expected=f"a named parameter, such as {self._name}.h @ h",
            got=f"{self._name} @ ...",
            do=f"give the matrix a gate's name: {self._name}.r, {self._name}.z, {self._name}.h",
        )
