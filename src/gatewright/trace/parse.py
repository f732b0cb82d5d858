"""Read a Trace from its text. Nothing is run; work and memory are bounded by the length of the text."""

import json
import math
from collections.abc import Callable, Mapping
from typing import NoReturn

from gatewright.axes import show_shape
from gatewright.errors import TraceError
from gatewright.lang.ops import AttrValue, Op, parse_axes
from gatewright.lang.symbol import Redraw
from gatewright.trace.check import check, check_equation
from gatewright.trace.ir import Atom, Equation, Literal, Noise, Role, Trace, Var
from gatewright.trace.names import split_derived

FIRST_LINE = "gatewright-trace 1"
LONGEST_TEXT = 4_000_000
LONGEST_NAME = 200
MOST_AXES = 8
INFINITIES = {math.inf: "+inf", -math.inf: "-inf"}
_NUMBER_STARTS = tuple("+-.0123456789")
_RESERVED = frozenset('"=,')
_LONGEST_NUMBER = 40
_SHOWN = 120
_INFINITIES = {text: value for value, text in INFINITIES.items()}
_AXES = "axes"  # the only attribute that is not a number


def is_name(name: str) -> bool:
    """Whether a value, an output or an axis can be called so in the text of a Trace."""
    plain = 0 < len(name) <= LONGEST_NAME and name.isprintable() and " " not in name
    return plain and _RESERVED.isdisjoint(name) and not name.startswith(_NUMBER_STARTS)


def is_axis(name: str) -> bool:
    """Whether an axis can be called so in the text of a Trace."""
    return is_name(name) and "(" not in name and ")" not in name


def parse(text: str) -> Trace:
    """The Trace that `to_text` wrote.

    Raises TraceError, which names the line, what was expected and what came.
    """
    reader = _TraceReader()
    if len(text) > LONGEST_TEXT:
        reader.fail("the text is too long", f"at most {LONGEST_TEXT} characters", f"{len(text)} characters")
    first, *lines = text.removesuffix("\n").split("\n")
    if first != FIRST_LINE:
        reader.fail("this is no trace that this version of Gatewright can read", FIRST_LINE, first)
    for reader.number, line in enumerate(lines, start=2):
        reader.read(line)
    return reader.finished()


class _TraceReader:
    """Reads line after line; `number` is that of the line being read."""

    def __init__(self) -> None:
        self.number = 1
        self.kind = ""
        self.name = ""
        self.leaves: dict[Role, list[Var]] = {Role.INPUT: [], Role.STATE: [], Role.PARAM: []}
        self.noises: list[Noise] = []
        self.equations: list[Equation] = []
        self.next_states: list[Atom] = []
        self.outputs: dict[str, dict[str, Atom]] = {"emit": {}, "sum": {}, "gate": {}}
        self.defined: dict[str, Var] = {}

    def fail(self, problem: str, expected: str, got: str) -> NoReturn:
        """Raise the error of the line that is being read."""
        raise TraceError(f"trace text, line {self.number}: {problem}", expected=expected, got=repr(_clipped(got)))

    def read(self, line: str) -> None:
        """Take one line, which must not belong before the lines that were read."""
        kind, _, text = ("equation", "", line[2:]) if line.startswith("  ") else line.partition(" ")
        if kind not in _RULES or (kind == "equation") != line.startswith("  "):
            self.fail("this is no line of a trace", _EXPECTED_LINE, line)
        if not self.kind and kind != "cell":
            self.fail("the name of the cell is missing", 'cell "name"', line)
        again = kind == self.kind and kind in ("cell", "end")
        if again or _ORDER.index(kind) < _ORDER.index(self.kind or "cell"):
            self.fail("this line is in a wrong place", f"lines in the order {', '.join(_ORDER)}", line)
        self.kind = kind
        _RULES[kind](self, text)

    def finished(self) -> Trace:
        """The whole Trace, checked."""
        if self.kind != "end":
            self.fail("the text is cut short", "a last line `end`", "the end of the text")
        trace = Trace(
            name=self.name,
            inputs=tuple(self.leaves[Role.INPUT]),
            states=tuple(self.leaves[Role.STATE]),
            params=tuple(self.leaves[Role.PARAM]),
            noises=tuple(self.noises),
            equations=tuple(self.equations),
            next_states=tuple(self.next_states),
            emits=tuple(self.outputs["emit"].items()),
            sums=tuple(self.outputs["sum"].items()),
            gates=tuple((name, atom) for name, atom in self.outputs["gate"].items() if isinstance(atom, Var)),
            order=self._order(),
        )
        check(trace)
        return trace

    def _order(self) -> int:
        """The order of a gradient: an output that is named as the adjoint of something tells it. 0 for a step."""
        names = (*self.outputs["emit"], *self.outputs["sum"])
        return next((name.order for name in map(split_derived, names) if name and name.is_adjoint), 0)

    def cell(self, text: str) -> None:
        """`"gru"`, as JSON."""
        try:
            name = json.loads(text) if text.startswith('"') else None
        except ValueError:
            name = None
        if not isinstance(name, str):
            self.fail("the name of the cell cannot be read", "a text in double quotes", text)
        self.name = name

    def leaf(self, text: str) -> None:
        """`W.r(hidden, input)`."""
        self.leaves[Role(self.kind)].append(self._defined(self._declared(text)))

    def noise(self, text: str) -> None:
        """`noise0(hidden) 0.5 per step`."""
        words = text.rsplit(" ", 3)
        if len(words) != 4 or words[2] != "per" or words[3] not in list(Redraw):
            self.fail("a random value cannot be read", "name(axis) probability per step|sequence", text)
        probability = self._number(words[1])
        if not 0 <= probability <= 1:
            self.fail("this is no probability", "a number from 0 to 1", words[1])
        self.noises.append(Noise(self._defined(self._declared(words[0])), probability, Redraw(words[3])))

    def equation(self, text: str) -> None:
        """`r(hidden) = hard_sigmoid %3 slope=0.2`."""
        left, _, right = text.partition(" = ")
        op, *words = right.split(" ")
        if op not in _OPS:
            self.fail(f"{op[:_SHOWN]!r} is no operation", f"one of {', '.join(_OPS)}", text)
        args = tuple(self._atom(word) for word in words if "=" not in word)
        attrs = tuple(self._attribute(word) for word in words if "=" in word)
        equation = Equation(self._declared(left), _OPS[op], args, attrs)
        try:
            check_equation(self.name, equation, self.defined)
        except TraceError as error:
            problem = f"trace text, line {self.number}: {error.problem}"
            raise TraceError(problem, expected=_clipped(error.expected or ""), got=_clipped(error.got or "")) from None
        self.equations.append(equation)
        self._defined(equation.target)

    def next_state(self, text: str) -> None:
        """`h = h'`."""
        name, value = self._given(text)
        states, index = self.leaves[Role.STATE], len(self.next_states)
        if index >= len(states) or states[index].name != name:
            expected = ", ".join(state.name for state in states[index:]) or "no further state"
            self.fail("the next states are in another order than the states", expected, name)
        if isinstance(value, Var) and value.shape != states[index].shape:
            got = f"{value.name} {show_shape(value.shape)}"
            self.fail("a next state has a wrong shape", f"{name} {show_shape(states[index].shape)}", got)
        self.next_states.append(value)

    def output(self, text: str) -> None:
        """`d(x) = %3`."""
        name, value = self._given(text)
        if any(name in outputs for outputs in self.outputs.values()):
            self.fail("an output is given twice", "one output a name", name)
        if self.kind == "gate" and isinstance(value, Literal):
            self.fail("a gate is a number", "the name of a value", text)
        self.outputs[self.kind][name] = value

    def end(self, text: str) -> None:
        """Nothing."""
        if text:
            self.fail("the last line holds more than `end`", "end", text)
        missing = self.leaves[Role.STATE][len(self.next_states) :]
        if missing:
            self.fail("a next state is missing", f"next {missing[0].name} = ...", "end")

    def _given(self, text: str) -> tuple[str, Atom]:
        name, sign, value = text.partition(" = ")
        if not sign or not is_name(name):
            self.fail("an output cannot be read", "name = value", text)
        return name, self._atom(value)

    def _declared(self, text: str) -> Var:
        name, bracket, inner = text.removesuffix(")").rpartition("(")
        axes = tuple(inner.split(", ")) if inner else ()
        if not bracket or not text.endswith(")") or not is_name(name) or not all(map(is_axis, axes)):
            self.fail("a declaration cannot be read", "name(axis, axis)", text)
        if len(axes) > MOST_AXES:
            self.fail("a value has too many axes", f"at most {MOST_AXES}", text)
        return Var(name, axes)

    def _defined(self, value: Var) -> Var:
        if value.name in self.defined:
            self.fail("a name is defined twice", "one definition a name", value.name)
        self.defined[value.name] = value
        return value

    def _atom(self, word: str) -> Atom:
        if word.startswith(_NUMBER_STARTS):
            return Literal(self._number(word))
        if word not in self.defined:
            self.fail("a value is used that is not defined above", "the name of a value, or a number", word)
        return self.defined[word]

    def _attribute(self, word: str) -> tuple[str, AttrValue]:
        key, _, value = word.partition("=")
        if key != _AXES:
            return key, self._number(value)
        inner = value[1:-1]
        if value != f'"{inner}"' or not all(map(is_axis, parse_axes(inner))):
            self.fail("axes cannot be read", 'axes="axis,axis"', word)
        return key, inner

    def _number(self, word: str) -> float:
        if word in _INFINITIES:
            return _INFINITIES[word]
        plain = len(word) <= _LONGEST_NUMBER and set(word) <= set("+-.0123456789e")
        try:
            number = float(word) if plain else math.nan
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self.fail("a number cannot be read", "a finite number such as 0.5 or -1e-05, +inf or -inf", word)
        return number


def _clipped(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


_RULES: Mapping[str, Callable[[_TraceReader, str], None]] = {
    "cell": _TraceReader.cell,
    Role.INPUT: _TraceReader.leaf,
    Role.STATE: _TraceReader.leaf,
    Role.PARAM: _TraceReader.leaf,
    Role.NOISE: _TraceReader.noise,
    "equation": _TraceReader.equation,
    "next": _TraceReader.next_state,
    "emit": _TraceReader.output,
    "sum": _TraceReader.output,
    "gate": _TraceReader.output,
    "end": _TraceReader.end,
}
_ORDER = tuple(_RULES)
_OPS = {str(op): op for op in Op}
_EXPECTED_LINE = f"two spaces and an equation, or one of {', '.join(kind for kind in _ORDER if kind != 'equation')}"
