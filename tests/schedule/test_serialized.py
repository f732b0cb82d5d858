"""Traces and Programs as bytes: what comes back is equal, in the order of its parts too; damage is told."""

import json
import math
from dataclasses import replace

import pytest

from gatewright import cells, layer_norm, recurrent_dropout
from gatewright.lang import Cell, hard_sigmoid
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Choices, Program, Time
from gatewright.schedule.residuals import save
from gatewright.schedule.serialized import DamagedError, Part, from_bytes, to_bytes
from gatewright.schedule.text import to_text
from gatewright.trace import Literal, Trace, simplify, trace_cell

OTHERS: dict[str, Cell] = {
    "layer_norm(gru)": layer_norm(cells.gru),
    "recurrent_dropout(lstm)": recurrent_dropout(0.25)(cells.lstm),
    "gru(gate=hard_sigmoid)": cells.gru(gate=hard_sigmoid),
}
ALL = {**cells.CATALOGUE, **OTHERS}


def parts_of(trace: Trace) -> list[Part]:
    """Everything that is made of a cell."""
    pair = save(trace)
    in_steps = [pair.forward, pair.backward, plan(pair.forward), plan(pair.backward)]
    return [trace, *in_steps, plan(trace), plan(trace, Choices(time=Time.SCAN))]


@pytest.mark.parametrize("name", ALL)
def test_what_comes_back_is_equal(name: str) -> None:
    parts = parts_of(simplify(trace_cell(ALL[name])))
    returned = from_bytes(to_bytes(parts))
    assert returned == parts
    for part, other in zip(parts, returned, strict=True):
        if isinstance(part, Program):
            assert isinstance(other, Program)
            assert to_text(other) == to_text(part)
            # kernels number their buffers in this order
            assert [*other.storage.items(), *other.new_values.items()] == [
                *part.storage.items(),
                *part.new_values.items(),
            ]
            assert list(map(type, other.storage.values())) == list(map(type, part.storage.values()))


@pytest.mark.parametrize("number", [-0.0, math.inf, -math.inf, 1e-300, 0.1])
def test_numbers_are_the_same_to_the_bit(number: float) -> None:
    assert literals(with_literals(number)) == [repr(number)]


def test_zeros_that_differ_in_their_sign_stay_two() -> None:
    assert literals(with_literals(0.0, -0.0)) == ["0.0", "-0.0"]


def with_literals(*numbers: float) -> Trace:
    """A trace with an equation for each number, and else the same."""
    trace = trace_cell(cells.gru)
    first = trace.equations[0]
    return replace(trace, equations=tuple(replace(first, args=(Literal(number),)) for number in numbers))


def literals(trace: Trace) -> list[str]:
    """The numbers of a trace after it was read."""
    (returned,) = from_bytes(to_bytes([trace]))
    assert isinstance(returned, Trace)
    return [repr(arg.value) for equation in returned.equations for arg in equation.args if isinstance(arg, Literal)]


def _changed(data: bytes, **tables: object) -> bytes:
    return json.dumps({**json.loads(data), **tables}).encode()


DAMAGED = {
    "nothing": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "no text": lambda data: b"\xff" + data,
    "another form": lambda data: b"[1, 2]",
    "no values": lambda data: _changed(data, values=[]),
    "an unknown op": lambda data: data.replace(b'"tanh"', b'"tan"'),
    "an unknown kind": lambda data: data.replace(b'"program"', b'"progress"'),
    "fewer fields": lambda data: _changed(data, traces=[[]]),
    "a number of no value": lambda data: _changed(data, equations=[[10**6, "add", [], []]]),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_bytes_are_told(kind: str) -> None:
    data = to_bytes([plan(simplify(trace_cell(cells.gru)))])
    with pytest.raises(DamagedError, match="no traces and Programs: "):
        from_bytes(DAMAGED[kind](data))
