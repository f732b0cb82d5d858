"""From equations to a trace: the user's names, his order, the lines that he wrote, the gates."""

import inspect
from collections.abc import Callable

import pytest

import gatewright as gw
from gatewright.lang import cell
from gatewright.trace import Trace, simplify, trace_cell


def _trace(function: Callable[..., object]) -> Trace:
    return trace_cell(cell(function))


def _targets(trace: Trace) -> list[str]:
    return [equation.target.name for equation in trace.equations]


def _gates(trace: Trace) -> dict[str, str]:
    return {name: value.name for name, value in trace.gates}


def test_values_are_called_as_the_user_calls_them() -> None:
    def one(x, h, U):
        product = U.h @ h
        twice = product + product
        return twice * h

    assert _targets(_trace(one)) == ["product", "twice", "h'"]


def test_a_name_that_is_used_again_is_numbered() -> None:
    def one(x, h, U):
        a = U.h @ h
        a = a + h
        a = a * h
        return -a

    assert _targets(_trace(one)) == ["a", "a_1", "a_2", "h'"]


def test_a_state_that_is_assigned_becomes_the_next_state() -> None:
    def one(x, h, c, U):
        c = U.c @ c
        h = gw.tanh(c)
        return h, c

    trace = _trace(one)
    assert _targets(trace) == ["c'", "h'"]
    assert [value.name for value in trace.next_states] == ["h'", "c'"]


def test_one_value_may_be_two_states() -> None:
    def one(x, h, c, U):
        c = gw.tanh(U.c @ c)
        h = c
        return h, c

    first, second = _trace(one).next_states
    assert first == second


def test_a_state_may_stay_as_it_is() -> None:
    def one(x, h, c, U):
        return U.h @ h, c

    trace = _trace(one)
    assert trace.next_states[1] == trace.states[1]


def test_names_come_through_helpers_that_return_their_result() -> None:
    def gate(a, b):
        return gw.sigmoid(a + b)

    def one(x, h, W, U):
        r = gate(W.r @ x, U.r @ h)
        return r * h

    assert _targets(_trace(one)) == ["%0", "%1", "%2", "r", "h'"]


def test_names_are_found_without_the_source() -> None:
    names: dict[str, Callable[..., object]] = {}
    exec("def one(x, h, U):\n    r = U.r @ h\n    return r * h", {}, names)
    assert _targets(_trace(names["one"])) == ["r", "h'"]


def test_names_are_found_in_a_comprehension_and_a_loop() -> None:
    def one(x, h, U):
        total = h
        for gate in ("a", "b"):
            total = total + U[gate] @ h
        parts = [U[gate] @ h for gate in ("c", "d")]
        return total + parts[0] * parts[1]

    assert _targets(_trace(one)) == ["%0", "total", "%1", "total_1", "%2", "%3", "%4", "h'"]


def test_what_is_not_used_is_left_out() -> None:
    def one(x, h, W, U, b):
        unused = gw.tanh(W.unused @ x + b.unused)
        assert unused.shape == ("hidden",)
        return U.h @ h * gw.bernoulli(0.5, like=h) * (0 * gw.bernoulli(0.25, like=h) + 1)

    trace = _trace(one)
    assert [param.name for param in trace.params] == ["U.h"]
    assert [noise.var.name for noise in trace.noises] == ["noise0", "noise1"]


def test_a_random_value_that_is_not_used_is_left_out() -> None:
    def one(x, h, U):
        gw.bernoulli(0.5, like=h)
        return U.h @ h * gw.bernoulli(0.25, like=h)

    assert [(noise.var.name, noise.probability) for noise in _trace(one).noises] == [("noise1", 0.25)]


def test_no_variable_of_the_user_takes_the_name_of_a_random_value() -> None:
    def one(x, noise0, U):
        noise1 = U.h @ noise0
        return gw.bernoulli(0.25, like=noise1) * noise1

    trace = _trace(one)
    assert [noise.var.name for noise in trace.noises] == ["noise1"]
    assert _targets(trace) == ["noise1_1", "noise0'"]


def test_parameters_come_in_the_order_of_the_spaces_and_of_their_first_use() -> None:
    def one(x, h, W, U, b):
        return (b.z + U.z @ h) * (W.r @ x + U.r @ h + b.r) + W.z @ x

    trace = _trace(one)
    assert [param.name for param in trace.params] == ["W.r", "W.z", "U.z", "U.r", "b.z", "b.r"]
    assert {space: [param.name for param in params] for space, params in trace.spaces().items()} == {
        "W": ["W.r", "W.z"],
        "U": ["U.z", "U.r"],
        "b": ["b.z", "b.r"],
    }


def test_axes_come_in_the_order_in_which_they_are_met() -> None:
    @cell(states={"m": "memory"}, spaces={"P": ("memory", "hidden"), "V": ("hidden", None)})
    def one(x, h, m, U, P, V):
        return gw.tanh(U.h @ h + V.m @ m), P.m @ h

    trace = trace_cell(one)
    assert trace.axes() == ("input", "hidden", "memory")
    assert next(param.shape for param in trace.params if param.name == "V.m") == ("hidden", "memory")


def test_every_equation_knows_its_line() -> None:
    def one(x, h, W, U):
        r = gw.sigmoid(
            W.r @ x  # the second line of the expression
            + U.r @ h
        )
        return r * h

    lines, first = inspect.getsourcelines(one)
    trace = _trace(one)
    files = {equation.where.file for equation in trace.equations if equation.where}
    assert files == {__file__}
    texts = [lines[equation.where.line - first].strip() for equation in trace.equations if equation.where]
    assert texts[-1] == "return r * h"
    assert len(texts) == len(trace.equations)
    assert set(texts[:-1]) <= {"r = gw.sigmoid(", "W.r @ x  # the second line of the expression", "+ U.r @ h"}


def test_a_cell_is_traced_once() -> None:
    calls: list[int] = []

    def one(x, h, U):
        calls.append(1)
        return U.h @ h

    made = cell(one)
    assert trace_cell(made) is trace_cell(made)
    assert len(calls) == 1


def test_a_gate_is_called_as_its_parameters_are() -> None:
    def one(x, h, W, U, b, p):
        update = gw.sigmoid(W.z @ x + U.z @ h + b.z)
        reset = gw.hard_sigmoid(p.r * h + b.r)
        candidate = W.n @ x
        return update * h + (1 - update) * candidate * reset

    assert _gates(_trace(one)) == {"z": "update", "r": "reset", "n": "candidate"}


def test_gates_of_one_product_are_told_apart_by_their_biases() -> None:
    def one(x, h, W, U, b):
        both = W.h @ x + U.h @ h
        return gw.sigmoid(both + b.z) * gw.tanh(both + b.n)

    trace = _trace(one)
    assert list(_gates(trace)) == ["z", "n"]


def test_gates_of_one_parameter_are_told_apart_by_the_users_names() -> None:
    def one(x, h, U):
        keep = gw.sigmoid(U.a @ h)
        write = gw.tanh(U.a @ h)
        return keep * write

    assert _gates(_trace(one)) == {"keep": "keep", "write": "write"}


def test_no_gate_takes_the_name_of_another() -> None:
    def one(x, h, W, U):
        gate1 = gw.tanh(U.gate1 @ h)
        return gate1 + gw.sigmoid(W.gate1 @ x) + gw.exp(W.gate1 @ x)

    assert list(_gates(_trace(one))) == ["gate1", "gate2", "gate3"]


@pytest.mark.parametrize("activation", [gw.relu, gw.tanh, gw.sigmoid])
def test_what_squashes_no_product_is_no_gate(activation: Callable[..., object]) -> None:
    def one(x, h, U):
        return activation(h) * (U.h @ h)

    assert _gates(_trace(one)) == {}


def test_a_state_becomes_what_another_one_was() -> None:
    """A delay line; two states that become each other are a mistake, unless that is said."""

    def delayed(x, h, d, e, W, U):
        return gw.tanh(W.h @ x + U.h @ e), h, d

    def exchanged(x, h, c, W, U):
        return 1.0 * c, 1.0 * h

    trace = _trace(delayed)
    assert [getattr(value, "name", value) for value in trace.next_states] == ["h'", "h", "d"]
    trace = simplify(_trace(exchanged))
    assert [getattr(value, "name", value) for value in trace.next_states] == ["c", "h"]
