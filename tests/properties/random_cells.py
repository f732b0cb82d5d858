"""Writes random cells, as Python source over the whole op set, whose values stay small enough to be compared.

Every value is kept below `LARGEST` by what is known of its operands, and no function is used near a point where it
is not finite, so that two right results differ by rounding only.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from hypothesis import strategies as st

from gatewright import lang
from gatewright.axes import Shape
from gatewright.lang import Cell, Symbol, cell
from gatewright.lang.ops import Op

Draw = Callable[[st.SearchStrategy[Any]], Any]

LARGEST = 8.0
LARGEST_SIZE = 4
HIDDEN, INPUT, PROJECTION = "hidden", "input", "projection"
STATES = {"h": HIDDEN, "c": HIDDEN, "m": PROJECTION}
# A space for each shape that parameters have; V has an open axis.
SPACES = {"a": (), "B": (INPUT,), "D": (PROJECTION,), "P": (PROJECTION, HIDDEN), "Q": (HIDDEN, PROJECTION)}
LEAVES = {"b": (HIDDEN,), "p": (HIDDEN,), "W": (HIDDEN, INPUT), "U": (HIDDEN, HIDDEN), **SPACES}
GATES = ("r", "z", "n", "f")
VARIABLES = (*GATES, "u", "k", "y", "c", "h")
NUMBERS = (0.0, 1.0, -1.0, 0.5, -2.0, 0.1, 1e-3, 1 / 3)


@dataclass(frozen=True)
class Value:
    """An expression, what is known of it, and the variable that holds it."""

    text: str
    shape: Shape
    bound: float = 1.0
    variable: str = ""


def outer(a: Symbol, b: Symbol) -> Symbol:
    return a.recorder.emit(Op.OUTER, (a, b))


def expand(a: Symbol | float, like: Symbol) -> Symbol:
    return like.recorder.emit(Op.EXPAND, (a,), (("axes", ",".join(like.shape)),))


class Writer:
    """Writes one cell, line by line. `smooth` leaves out what has no derivative somewhere."""

    def __init__(self, draw: Draw, states: tuple[str, ...], smooth: bool) -> None:
        self.draw, self.states, self.smooth = draw, states, smooth
        self.lines: list[str] = []
        self.unused: list[Value] = []
        self.values = [Value("x", (INPUT,)), *(Value(name, (STATES[name],), 2.0, name) for name in states)]
        narrow = any(STATES[name] == PROJECTION for name in states)
        self.shapes = {space: shape for space, shape in LEAVES.items() if narrow or PROJECTION not in shape}

    def line(self) -> None:
        """Write `variable = expression`."""
        kinds = [*SMOOTH, *(() if self.smooth else ROUGH)]
        value = self.choose(kinds)(self)
        if value.bound > LARGEST:
            value = Value(f"gw.tanh({value.text})", value.shape)
        variable = self.choose([*VARIABLES, f"v{len(self.lines)}"])
        self.lines.append(f"{variable} = {value.text}")
        self.values = [one for one in self.values if one.variable != variable]  # it has another value from here on
        self.unused = [one for one in self.unused if one.variable != variable]
        self.values.append(Value(variable, value.shape, value.bound, variable))
        self.unused.append(self.values[-1])

    def returned(self) -> list[str]:
        """An expression for the next value of each state; between them they use every variable."""
        results = {state: self.result(state) for state in self.states}
        for value in self.unused:
            state = self.choose(self.states)
            text = value.text if value.shape in ((), (STATES[state],)) else f"gw.mean({value.text})"
            results[state] = Value(f"{results[state].text} + {text}", (), math.inf)
        return [value.text if value.bound <= 2.0 else f"gw.tanh({value.text})" for value in results.values()]

    def result(self, state: str) -> Value:
        """A value that may be the next one of a state: another state in its place would be an error."""
        others = {name for name in self.states if name != state}
        fitting = [one for one in self.values if one.shape == (STATES[state],) and one.variable not in others]
        return self.use(self.choose([*fitting, self.leaf((STATES[state],))]))

    def use(self, value: Value) -> Value:
        self.unused = [one for one in self.unused if one is not value]
        return value

    def choose(self, options: Any) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def leaf(self, shape: Shape) -> Value:
        """A parameter."""
        space = self.choose([space for space, own in self.shapes.items() if own == shape])
        return Value(f"{space}.{self.choose(GATES)}", shape)

    def any(self, fits: Callable[[Shape], bool] = lambda shape: True) -> Value:
        """A value of a shape that fits: one that there is, or a parameter."""
        shapes = [shape for shape in dict.fromkeys(self.shapes.values()) if fits(shape)]
        fitting = [one for one in self.values if fits(one.shape)]
        return self.use(self.choose([*fitting, self.leaf(self.choose(shapes))]))

    def partner(self, value: Value) -> Value:
        """What can be combined with a value element by element: a value of its shape, a scalar or a number."""
        if self.draw(st.booleans()):
            number = self.draw(st.sampled_from(NUMBERS) | st.floats(-2, 2))
            return Value(f"({number!r})", (), abs(number))
        return self.any(lambda shape: not shape or not value.shape or shape == value.shape)


Kind = Callable[[Writer], Value]


def _is_vector(shape: Shape) -> bool:
    return len(shape) == 1


def _is_matrix(shape: Shape) -> bool:
    return len(shape) == 2


def _function(name: str, bound: Callable[[float], float], before: str = "{}") -> Kind:
    def kind(writer: Writer) -> Value:
        value = writer.any()
        return Value(f"gw.{name}({before.format(value.text)})", value.shape, bound(value.bound))

    return kind


def _binary(template: str, bound: Callable[[float, float], float]) -> Kind:
    def kind(writer: Writer) -> Value:
        value = writer.any()
        other = writer.partner(value)
        pair = [value, other] if writer.draw(st.booleans()) else [other, value]
        text = template.format(*(one.text for one in pair))
        return Value(text, value.shape or other.shape, bound(pair[0].bound, pair[1].bound))

    return kind


def _same(template: str) -> Kind:
    """What leaves a value as it is, for the simplifier to find."""

    def kind(writer: Writer) -> Value:
        value = writer.any()
        return Value(template.format(value.text), value.shape, value.bound)

    return kind


def _matmul(writer: Writer) -> Value:
    matrix = writer.any(_is_matrix)
    vector = writer.any(lambda shape: shape == matrix.shape[1:])
    return Value(f"({matrix.text} @ {vector.text})", matrix.shape[:1], matrix.bound * vector.bound * LARGEST_SIZE)


def _open_matmul(writer: Writer) -> Value:
    vector = writer.any(_is_vector)
    matrix = f"V.{writer.choose(GATES)}_{vector.shape[0]}"  # one name has one shape
    return Value(f"({matrix} @ {vector.text})", (HIDDEN,), vector.bound * LARGEST_SIZE)


def _preactivation(writer: Writer) -> Value:
    gate = writer.choose(GATES)
    activation = writer.choose(["sigmoid", "tanh"])
    return Value(f"gw.{activation}(W.{gate} @ x + U.{gate} @ {_hidden(writer)} + b.{gate})", (HIDDEN,))


def _mixture(writer: Writer) -> Value:
    gate = writer.any(lambda shape: shape == (HIDDEN,))
    old, new = _hidden(writer), _hidden(writer)
    return Value(f"gw.tanh({gate.text}) * {old} + (1 - gw.tanh({gate.text})) * {new}", (HIDDEN,), 3 * LARGEST)


def _hidden(writer: Writer) -> str:
    return writer.any(lambda shape: shape == (HIDDEN,)).text


def _transpose(writer: Writer) -> Value:
    matrix = writer.any(_is_matrix)
    twice = writer.draw(st.booleans())
    return Value(f"{matrix.text}{'.T' * (1 + twice)}", matrix.shape if twice else matrix.shape[::-1], matrix.bound)


def _outer(writer: Writer) -> Value:
    a, b = writer.any(_is_vector), writer.any(_is_vector)
    return Value(f"outer({a.text}, {b.text})", a.shape + b.shape, a.bound * b.bound)


def _expand(writer: Writer) -> Value:
    scalar = writer.any(lambda shape: not shape)
    number = writer.draw(st.booleans())
    like = writer.any(lambda shape: len(shape) > 0)
    return Value(
        f"expand({writer.choose(NUMBERS) if number else scalar.text}, {like.text})", like.shape, 2.0 + scalar.bound
    )


def _reduction(name: str, growth: int) -> Kind:
    def kind(writer: Writer) -> Value:
        value = writer.any()
        return Value(f"gw.{name}({value.text})", (), value.bound * growth)

    return kind


def _size(writer: Writer) -> Value:
    value = writer.any()
    return Value(f"gw.size({value.text})", (), float(LARGEST_SIZE**2))


def _relabel(writer: Writer) -> Value:
    value, like = writer.any(_is_vector), writer.any(_is_vector)
    return Value(f"gw.relabel({value.text}, like={like.text})", like.shape, value.bound)


def _noise(writer: Writer) -> Value:
    like = writer.any(_is_vector)
    probability, per = writer.choose([0.0, 0.25, 1.0]), writer.choose(["step", "sequence"])
    return Value(f"gw.bernoulli({probability}, like={like.text}, per={per!r})", like.shape)


def _where(writer: Writer) -> Value:
    a = writer.any()
    condition, b = writer.partner(a), writer.partner(a)
    if not a.shape and condition.shape and b.shape:
        b = Value("0.25", ())  # a scalar's partners have shapes of their own, which need not be one
    shape = a.shape or condition.shape or b.shape
    return Value(f"gw.where({condition.text}, {a.text}, {b.text})", shape, max(a.bound, b.bound))


SMOOTH: tuple[Kind, ...] = (
    _function("sigmoid", lambda bound: 1.0),
    _function("tanh", lambda bound: 1.0),
    _function("softplus", lambda bound: bound + 0.7),
    _function("exp", lambda bound: math.e, "gw.tanh({})"),
    _function("log", lambda bound: 0.7 + bound, "{0} * {0} + 0.5"),
    _function("sqrt", lambda bound: 0.8 + bound, "{0} * {0} + 0.5"),
    _binary("({} + {})", lambda a, b: a + b),
    _binary("({} - {})", lambda a, b: a + b),
    _binary("({} * {})", lambda a, b: a * b),
    _binary("({0} / ({1} * {1} + 0.5))", lambda a, b: 2 * a),
    _same("(-(-{}))"),
    _same("({} * 1)"),
    _same("(0 + {})"),
    _same("({} / 1)"),
    _same("(0 - {})"),
    _same("({0} * 0 + {0})"),
    _matmul,
    _open_matmul,
    _preactivation,
    _preactivation,
    _mixture,
    _transpose,
    _outer,
    _expand,
    _reduction("sum", LARGEST_SIZE**2),
    _reduction("mean", 1),
    _size,
    _relabel,
    _noise,
)
ROUGH: tuple[Kind, ...] = (
    _function("abs", lambda bound: bound),
    _function("sign", lambda bound: 1.0),
    _function("relu", lambda bound: bound),
    _function("hard_sigmoid", lambda bound: 1.0),
    _function("hard_sigmoid_theano", lambda bound: 1.0),
    _binary("gw.less({}, {})", lambda a, b: 1.0),
    _binary("gw.maximum({}, {})", max),
    _binary("gw.minimum({}, {})", max),
    _where,
)


def write_cell(draw: Draw, *, smooth: bool, lines: int) -> tuple[str, Cell]:
    """The source of a random cell, and the cell."""
    states = draw(st.sampled_from([order for count in (1, 2, 3) for order in permutations(STATES, count)]))
    states = states if states != ("m",) else ("m", "h")  # so that every axis has a size, whatever is simplified away
    writer = Writer(draw, states, smooth)
    for _ in range(draw(st.integers(0, lines))):
        writer.line()
    results = ", ".join(writer.returned())
    head = f"def random_cell(x, {', '.join(states)}, {', '.join(LEAVES)}, V):"
    source = "\n    ".join([head, *writer.lines, f"return {results}"]) + "\n"
    names = {"gw": lang, "outer": outer, "expand": expand}
    exec(compile(source, "<random cell>", "exec"), names)
    axes = {name: STATES[name] for name in states}
    make = cell(states=axes, spaces={**SPACES, "V": (HIDDEN, None)})
    return source, make(names["random_cell"])
