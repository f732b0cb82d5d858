"""A trace's text is read back exactly, whatever the trace."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.derive import jvp, vjp
from gatewright.errors import TraceError
from gatewright.trace import Equation, Literal, Trace, parse, structural_hash, to_text
from gatewright.trace.ir import renamed
from tests.properties.strategies import traces


@given(traces())
def test_a_trace_is_read_back_from_its_text(trace: Trace) -> None:
    assert parse(to_text(trace)) == trace


@given(traces(lines=5))
def test_derivatives_are_read_back_from_their_text(trace: Trace) -> None:
    for derivative in (vjp(trace), jvp(trace), vjp(vjp(trace))):
        assert parse(to_text(derivative)) == derivative


@given(traces())
def test_a_text_that_is_read_is_written_the_same(trace: Trace) -> None:
    text = to_text(trace)
    assert to_text(parse(text)) == text


@given(st.floats(allow_nan=False), traces(lines=2))
def test_every_number_is_read_back(number: float, trace: Trace) -> None:
    numbered = replace(trace, next_states=tuple(Literal(number) for _ in trace.states))
    values = parse(to_text(numbered)).next_states
    assert [repr(value) for value in values] == [repr(Literal(number))] * len(trace.states)


@given(traces())
def test_the_hash_is_that_of_the_structure(trace: Trace) -> None:
    other = {equation.target.name: f"value{n}" for n, equation in enumerate(trace.equations)}
    nowhere = tuple(replace(equation, where=None) for equation in trace.equations)
    same = replace(renamed(replace(trace, equations=nowhere), other), name="another name")
    assert structural_hash(same) == structural_hash(trace)


@given(traces(), st.data())
def test_the_hash_tells_traces_apart(trace: Trace, data: st.DataObject) -> None:
    changed = data.draw(st.sampled_from(list(_changes(trace))))
    assert structural_hash(changed) != structural_hash(trace)


def _changes(trace: Trace) -> list[Trace]:
    """Traces that differ from this one in a single place."""
    first = replace(trace.states[0], name="another")
    changes = [
        replace(trace, inputs=(replace(trace.inputs[0], name="another"), *trace.inputs[1:]), equations=(), gates=()),
        replace(trace, states=(first, *trace.states[1:]), equations=(), gates=()),
        replace(trace, next_states=(Literal(0.123), *trace.next_states[1:])),
        replace(trace, emits=(("another", Literal(1.0)),)),
        replace(trace, sums=(("another", Literal(1.0)),)),
    ]
    for index, equation in enumerate(trace.equations):
        literal = [n for n, arg in enumerate(equation.args) if isinstance(arg, Literal)]
        if literal:
            args = tuple(Literal(0.123) if n == literal[0] else arg for n, arg in enumerate(equation.args))
            changes.append(_with(trace, index, replace(equation, args=args)))
    return changes


def _with(trace: Trace, index: int, equation: Equation) -> Trace:
    return replace(trace, equations=(*trace.equations[:index], equation, *trace.equations[index + 1 :]))


@given(traces(), st.data())
def test_a_damaged_text_is_refused_or_read(trace: Trace, data: st.DataObject) -> None:
    text = to_text(trace)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    damaged = text[:start] + data.draw(st.text(max_size=10)) + text[end:]
    _expect_a_trace_or_an_error(damaged)


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_text_of_any_kind_is_refused(text: str) -> None:
    with pytest.raises(TraceError, match="^trace text, line 1: this is no trace that this version"):
        parse(text)


@given(st.lists(st.text(alphabet=' \n"=(),.%+-0aeh\x00', max_size=30), max_size=5))
def test_lines_of_any_kind_are_refused(lines: list[str]) -> None:
    text = "\n".join(["gatewright-trace 1", 'cell "odd"', *lines])
    with pytest.raises(TraceError, match="^trace text, line [0-9]+: "):
        parse(text)


def _expect_a_trace_or_an_error(text: str) -> None:
    try:
        trace = parse(text)
    except TraceError as error:
        message = str(error)
    else:
        message = "trace text, line none"
        assert parse(to_text(trace)) == trace
    assert message.startswith(("trace text, line ", "trace '"))
