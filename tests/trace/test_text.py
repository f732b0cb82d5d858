"""The text of a trace: what it looks like, and the whole message for each way in which it can be wrong."""

import math
import pickle
import time
from collections.abc import Callable
from dataclasses import fields, replace

import pytest

import gatewright as gw
from gatewright.derive import vjp
from gatewright.errors import TraceError
from gatewright.trace import Equation, Literal, Noise, Trace, Var, parse, structural_hash, to_text, trace_cell
from gatewright.trace.parse import LONGEST_TEXT

TEXT = """\
gatewright-trace 1
cell "unit(gate=\\"a\\")"
input x(input)
input mask()
state h(hidden)
param W.r(hidden, input)
param a.k()
noise noise0(hidden) 0.25 per sequence
  %0(hidden) = matmul W.r x
  r(hidden) = hard_sigmoid %0 slope=0.2
  %1() = size axes="hidden,input"
  %2(hidden, input) = expand -1e-05 axes="hidden,input"
  h'(hidden) = where mask r +inf
next h = h'
emit d(x) = %1
sum d(a.k) = 0.0
gate r = r
end
"""
HIDDEN = ("hidden",)


def test_a_text_says_what_is_in_the_trace() -> None:
    trace = parse(TEXT)
    x, mask, h = Var("x", ("input",)), Var("mask", ()), Var("h", HIDDEN)
    r, size = Var("r", HIDDEN), Var("%1", ())
    assert trace.name == 'unit(gate="a")'
    assert (trace.inputs, trace.states) == ((x, mask), (h,))
    assert trace.params == (Var("W.r", ("hidden", "input")), Var("a.k", ()))
    assert trace.noises == (Noise(Var("noise0", HIDDEN), 0.25, "sequence"),)
    assert trace.equations[1] == Equation(r, "hard_sigmoid", (Var("%0", HIDDEN),), (("slope", 0.2),))
    assert trace.equations[3].args == (Literal(-1e-05),)
    assert trace.equations[4].args == (mask, r, Literal(math.inf))
    assert (trace.emits, trace.sums, trace.gates) == ((("d(x)", size),), (("d(a.k)", Literal(0.0)),), (("r", r),))


def test_a_trace_is_written_in_one_way() -> None:
    assert to_text(parse(TEXT)) == TEXT


def test_a_missing_last_line_end_is_no_fault() -> None:
    assert parse(TEXT.removesuffix("\n")) == parse(TEXT)


def test_the_lines_of_the_users_file_are_not_in_the_text() -> None:
    trace = trace_cell(gw.cells.gru)
    assert __file__ not in to_text(trace)
    assert all(equation.where is None for equation in parse(to_text(trace)).equations)


@pytest.mark.parametrize("name", ["", 'a "quoted" cell', "two\nlines", "müλ", "tab\t", "\u2028", "\x00", "\\"])
def test_a_cell_may_have_any_name(name: str) -> None:
    trace = replace(parse(TEXT), name=name)
    assert parse(to_text(trace)) == trace
    assert to_text(trace).count("\n") == TEXT.count("\n")


@pytest.mark.parametrize("number", [0.1, -0.0, 1e300, 5e-324, 1 / 3, -2.0, math.inf, -math.inf, 3])
def test_a_number_is_read_as_it_was(number: float) -> None:
    trace = replace(parse(TEXT), next_states=(Literal(number),))
    assert repr(float(parse(to_text(trace)).next_states[0].value)) == repr(float(number))


@pytest.mark.parametrize("name", ["h 1", "1h", "-h", 'h"', "h=", "h,", "h\n", "h\x00", "", "a" * 201])
def test_a_name_that_cannot_be_written_is_refused(name: str) -> None:
    value = Var(name, HIDDEN)
    trace = Trace("one", (), (value,), (), (), (), (value,))
    with pytest.raises(TraceError, match="^the name .* cannot be written in the text of a trace\n  expected: names"):
        to_text(trace)


@pytest.mark.parametrize("axis", ["a b", "a(b", "a,b", ""])
def test_an_axis_that_cannot_be_written_is_refused(axis: str) -> None:
    with pytest.raises(TraceError) as raised:
        to_text(replace(parse(TEXT), inputs=(Var("x", (axis,)),)))
    assert str(raised.value) == (
        f"axis {axis!r} of 'x' cannot be written in the text of a trace"
        "\n  expected: names of at most 200 printable characters without spaces, quotes, commas and '=', that do not "
        "begin like a number; axes without parentheses; numbers that are not nan"
    )


def test_nan_is_refused() -> None:
    with pytest.raises(TraceError, match="^the number nan cannot be written"):
        to_text(replace(parse(TEXT), next_states=(Literal(math.nan),)))


def _changed(old: str, new: str) -> str:
    assert TEXT.count(old) == 1, old
    return TEXT.replace(old, new)


LINE = "two spaces and an equation, or one of cell, input, state, param, noise, next, emit, sum, gate, end"
ORDER = "lines in the order cell, input, state, param, noise, equation, next, emit, sum, gate, end"
NUMBER = "a finite number such as 0.5 or -1e-05, +inf or -inf"
FAULTS: dict[str, tuple[str, int, str, str, str]] = {
    "empty": ("", 1, "this is no trace that this version of Gatewright can read", "gatewright-trace 1", ""),
    "another version": (
        _changed("gatewright-trace 1", "gatewright-trace 2"),
        1,
        "this is no trace that this version of Gatewright can read",
        "gatewright-trace 1",
        "gatewright-trace 2",
    ),
    "only its first line": (
        "gatewright-trace 1\n",
        1,
        "the text is cut short",
        "a last line `end`",
        "the end of the text",
    ),
    "cut short": (_changed("end\n", ""), 17, "the text is cut short", "a last line `end`", "the end of the text"),
    "no cell": (
        _changed('cell "unit(gate=\\"a\\")"\n', ""),
        2,
        "the name of the cell is missing",
        'cell "name"',
        "input x(input)",
    ),
    "two cells": (_changed("input x", 'cell "a"\ninput x'), 3, "this line is in a wrong place", ORDER, 'cell "a"'),
    "a cell without quotes": (
        _changed('"unit(gate=\\"a\\")"', "unit"),
        2,
        "the name of the cell cannot be read",
        "a text in double quotes",
        "unit",
    ),
    "a cell that does not end": (
        _changed('\\"a\\")"', '\\"a\\")'),
        2,
        "the name of the cell cannot be read",
        "a text in double quotes",
        '"unit(gate=\\"a\\")',
    ),
    "an unknown line": (_changed("input mask()", "output y()"), 4, "this is no line of a trace", LINE, "output y()"),
    "an empty line": (_changed("input mask()", ""), 4, "this is no line of a trace", LINE, ""),
    "a line with one space": (
        _changed("  r(hidden)", " r(hidden)"),
        10,
        "this is no line of a trace",
        LINE,
        " r(hidden) = hard_sigmoid %0 slope=0.2",
    ),
    "a line named equation": (
        _changed("  r(hidden) ", "equation r(hidden) "),
        10,
        "this is no line of a trace",
        LINE,
        "equation r(hidden) = hard_sigmoid %0 slope=0.2",
    ),
    "a line after its place": (
        _changed("next h = h'\n", "next h = h'\n  y(hidden) = neg h\n"),
        15,
        "this line is in a wrong place",
        ORDER,
        "  y(hidden) = neg h",
    ),
    "a line after the end": (TEXT + "gate q = r\n", 19, "this line is in a wrong place", ORDER, "gate q = r"),
    "two ends": (TEXT + "end\n", 19, "this line is in a wrong place", ORDER, "end"),
    "more than an end": (_changed("\nend", "\nend it"), 18, "the last line holds more than `end`", "end", "it"),
    "no shape": (_changed("mask()", "mask"), 4, "a declaration cannot be read", "name(axis, axis)", "mask"),
    "half a shape": (_changed("mask()", "mask("), 4, "a declaration cannot be read", "name(axis, axis)", "mask("),
    "an odd axis": (
        _changed("mask()", "mask(a b)"),
        4,
        "a declaration cannot be read",
        "name(axis, axis)",
        "mask(a b)",
    ),
    "an odd name": (
        _changed("input mask()", "input 1()"),
        4,
        "a declaration cannot be read",
        "name(axis, axis)",
        "1()",
    ),
    "a name twice": (_changed("mask()", "x()"), 4, "a name is defined twice", "one definition a name", "x"),
    "too many axes": (
        _changed("mask()", "mask(a, a, a, a, a, a, a, a, a)"),
        4,
        "a value has too many axes",
        "at most 8",
        "mask(a, a, a, a, a, a, a, a, a)",
    ),
    "no probability": (_changed("0.25 per", "2.0 per"), 8, "this is no probability", "a number from 0 to 1", "2.0"),
    "a probability that is none": (_changed("0.25 per", "x per"), 8, "a number cannot be read", NUMBER, "x"),
    "an odd draw": (
        _changed("per sequence", "per row"),
        8,
        "a random value cannot be read",
        "name(axis) probability per step|sequence",
        "noise0(hidden) 0.25 per row",
    ),
    "no operation": (
        _changed(" = matmul W.r x", ""),
        9,
        "'' is no operation",
        f"one of {', '.join(gw.lang.OPS)}",
        "%0(hidden)",
    ),
    "an unknown operation": (
        _changed("matmul W.r x", "conv W.r x"),
        9,
        "'conv' is no operation",
        f"one of {', '.join(gw.lang.OPS)}",
        "%0(hidden) = conv W.r x",
    ),
    "a value that is not defined": (
        _changed("W.r x", "W.q x"),
        9,
        "a value is used that is not defined above",
        "the name of a value, or a number",
        "W.q",
    ),
    "a value that is defined below": (
        _changed("W.r x", "W.r r"),
        9,
        "a value is used that is not defined above",
        "the name of a value, or a number",
        "r",
    ),
    "two spaces": (
        _changed("W.r x", "W.r  x"),
        9,
        "a value is used that is not defined above",
        "the name of a value, or a number",
        "",
    ),
    "an odd number": (_changed("-1e-05", "-1e-05x"), 12, "a number cannot be read", NUMBER, "-1e-05x"),
    "a number of another script": (_changed("-1e-05", "-१"), 12, "a number cannot be read", NUMBER, "-१"),
    "a number with an underscore": (_changed("-1e-05", "1_0"), 12, "a number cannot be read", NUMBER, "1_0"),
    "a number that is too large": (_changed("-1e-05", "1e999"), 12, "a number cannot be read", NUMBER, "1e999"),
    "a number that is too long": (
        _changed("-1e-05", "0." + "1" * 50),
        12,
        "a number cannot be read",
        NUMBER,
        "0." + "1" * 50,
    ),
    "no number": (_changed("-1e-05", "-nan"), 12, "a number cannot be read", NUMBER, "-nan"),
    "an attribute that is no number": (_changed("slope=0.2", "slope=x"), 10, "a number cannot be read", NUMBER, "x"),
    "axes without quotes": (
        _changed('size axes="hidden,input"', "size axes=hidden"),
        11,
        "axes cannot be read",
        'axes="axis,axis"',
        "axes=hidden",
    ),
    "odd axes": (
        _changed('size axes="hidden,input"', 'size axes="a,,b"'),
        11,
        "axes cannot be read",
        'axes="axis,axis"',
        'axes="a,,b"',
    ),
    "a state that is not next": (
        _changed("next h", "next g"),
        14,
        "the next states are in another order than the states",
        "h",
        "g",
    ),
    "a next state too many": (
        _changed("next h = h'\n", "next h = h'\nnext h = h'\n"),
        15,
        "the next states are in another order than the states",
        "no further state",
        "h",
    ),
    "a next state too few": (_changed("next h = h'\n", ""), 17, "a next state is missing", "next h = ...", "end"),
    "a next state of another shape": (
        _changed("next h = h'", "next h = x"),
        14,
        "a next state has a wrong shape",
        "h (hidden)",
        "x (input)",
    ),
    "an output without a value": (
        _changed("emit d(x) = %1", "emit d(x)"),
        15,
        "an output cannot be read",
        "name = value",
        "d(x)",
    ),
    "an output twice": (
        _changed("sum d(a.k)", "sum d(x)"),
        16,
        "an output is given twice",
        "one output a name",
        "d(x)",
    ),
    "a gate that is a number": (
        _changed("gate r = r", "gate r = 0.5"),
        17,
        "a gate is a number",
        "the name of a value",
        "r = 0.5",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_with_its_line(fault: str) -> None:
    text, line, problem, expected, got = FAULTS[fault]
    shown = got if len(got) <= 120 else f"{got[:120]}..."
    with pytest.raises(TraceError) as raised:
        parse(text)
    message = f"trace text, line {line}: {problem}\n  expected: {expected}"
    assert str(raised.value) == f"{message}\n  got: {shown!r}"


WRONG_EQUATIONS: dict[str, tuple[str, str, str]] = {
    "matmul W.r": ("%0 = matmul", "2 operand(s)", "1"),
    "matmul x x": ("%0 = matmul", "a matrix @ a vector", "(input), (input)"),
    "add x mask": ("%0 = add", "(input)", "(hidden)"),
    "hard_sigmoid h": ("%0 = hard_sigmoid", "attributes ('slope',)", "()"),
    "relu h slope=0.2": ("%0 = relu", "attributes ()", "(('slope', 0.2),)"),
    "hard_sigmoid h slope=0.2 slope=0.3": (
        "%0 = hard_sigmoid",
        "attributes ('slope',)",
        "(('slope', 0.2), ('slope', 0.3))",
    ),
    'relabel x axes="hidden,input"': ("%0 = relabel", "a vector", "(input)"),
}


@pytest.mark.parametrize("equation", WRONG_EQUATIONS)
def test_an_equation_that_breaks_a_rule_is_told_with_its_line(equation: str) -> None:
    problem, expected, got = WRONG_EQUATIONS[equation]
    with pytest.raises(TraceError) as raised:
        parse(_changed("matmul W.r x", equation))
    assert str(raised.value) == (
        f"trace text, line 9: trace 'unit(gate=\"a\")': {problem}\n  expected: {expected}\n  got: {got}"
    )


def test_a_value_that_is_assigned_twice_is_told_with_its_line() -> None:
    with pytest.raises(TraceError, match=r"^trace text, line 10: .*: %0 is assigned twice\n"):
        parse(_changed("  r(hidden)", "  %0(hidden)"))


def test_a_text_that_is_too_long_is_not_read() -> None:
    with pytest.raises(TraceError) as raised:
        parse("a" * (LONGEST_TEXT + 1))
    assert str(raised.value) == (
        "trace text, line 1: the text is too long\n  expected: at most 4000000 characters\n  got: '4000001 characters'"
    )


HOSTILE: dict[str, Callable[[int], str]] = {
    "parentheses": lambda size: _changed("mask()", "(" * size),
    "axes": lambda size: _changed("mask()", f"mask({', '.join(['a'] * (size // 3))})"),
    "operands": lambda size: _changed("matmul W.r x", "add" + " x" * (size // 2)),
    "attributes": lambda size: _changed("matmul W.r x", "add" + " slope=1" * (size // 8)),
    "digits": lambda size: _changed("-1e-05", "1" * size),
    "brackets in the name": lambda size: _changed('"unit(gate=\\"a\\")"', '"' + "[" * size),
    "escapes in the name": lambda size: _changed('"unit(gate=\\"a\\")"', '"' + "\\u0041" * (size // 6)),
    "line ends": lambda size: TEXT + "\n" * size,
    "equations": lambda size: _changed("next h", "  q(hidden) = neg h\n" * (size // 20) + "next h"),
    "outputs": lambda size: _changed("end\n", "".join(f"gate g{n} = r\n" for n in range(size // 14))),
    "states": lambda size: _changed("param W.r", "".join(f"state s{n}()\n" for n in range(size // 12)) + "param W.r"),
    "equal signs": lambda size: _changed("matmul W.r x", " = " * (size // 3)),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_the_work_is_bounded_by_the_length_of_the_text(kind: str) -> None:
    text = HOSTILE[kind](LONGEST_TEXT - len(TEXT) - 100)
    started = time.perf_counter()
    with pytest.raises(TraceError) as raised:
        parse(text)
    assert time.perf_counter() - started < 10
    assert len(str(raised.value)) < 2000


def test_the_gradient_has_a_text_too() -> None:
    text = to_text(vjp(trace_cell(gw.cells.sru)))
    assert "input d(h.out)(hidden)\n" in text
    assert "next d(h) = 0.0\n" in text


def test_a_trace_that_was_pickled_without_an_order_is_of_a_step() -> None:
    trace = trace_cell(gw.cells.gru)
    state = [getattr(trace, field.name) for field in fields(trace) if field.name != "order"]
    restored = Trace.__new__(Trace)
    restored.__setstate__(state)
    assert restored == trace
    assert pickle.loads(pickle.dumps(vjp(trace))) == vjp(trace)


def test_the_hash_is_of_what_is_computed() -> None:
    first, second = (trace_cell(cell) for cell in (gw.cells.gru, gw.cells.gru(reset="after")))
    assert structural_hash(first) == structural_hash(parse(to_text(first)))
    assert structural_hash(first) != structural_hash(second)
    assert len(structural_hash(first)) == 64


def test_the_hash_does_not_confuse_values_with_leaves() -> None:
    odd = Var("%0", HIDDEN)
    x = Var("x", HIDDEN)
    first = Trace("one", (x,), (odd,), (), (), (Equation(Var("y", HIDDEN), "neg", (x,)),), (Var("y", HIDDEN),))
    second = replace(first, next_states=(odd,))
    assert structural_hash(first) != structural_hash(second)
