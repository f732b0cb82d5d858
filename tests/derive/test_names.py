"""What a derivative is given and gives, by name; and its text."""

from collections.abc import Callable

import pytest

from gatewright import cells, zoneout
from gatewright.cells import CATALOGUE
from gatewright.derive import adjoint, jvp, seed, tangent, vjp
from gatewright.errors import OptionError
from gatewright.lang import OPS, cell, tanh
from gatewright.trace import Literal, Trace, parse, structural_hash, to_text, trace_cell

LSTM = trace_cell(cells.lstm)


def names(values) -> list[str]:
    return [value.name for value in values]


def test_a_gradient_is_a_cell_run_backwards() -> None:
    backward = vjp(LSTM)
    assert backward.name == "d(lstm)"
    assert names(backward.inputs) == ["x", "h", "c", "d(h.out)"]
    assert names(backward.states) == ["d(h)", "d(c)"]
    assert [name for name, _ in backward.emits] == ["d(x)"]
    assert [name for name, _ in backward.sums] == [f"d({param.name})" for param in LSTM.params]
    assert {value.name: value.shape for value in backward.states} == {"d(h)": ("hidden",), "d(c)": ("hidden",)}


def test_the_names_are_those_of_the_functions() -> None:
    assert (adjoint("W.r"), seed("h"), tangent("h")) == ("d(W.r)", "d(h.out)", "t(h)")


def test_a_gradient_knows_its_order_and_what_its_outputs_are_gradients_by() -> None:
    first, second = vjp(LSTM), vjp(vjp(LSTM))
    third = vjp(second)
    assert [trace.order for trace in (LSTM, first, second, third, jvp(first))] == [0, 1, 1, 2, 1]
    assert first.adjoint_of("d(W.f)") == "W.f"
    assert second.adjoint_of("d(d(h.out))") == "d(h.out)"
    assert third.adjoint_of("d2(x)") == "x"
    for trace, name in ((LSTM, "d(x)"), (first, "d2(x)"), (first, "W.f"), (first, "d01(x)"), (first, "t(x)")):
        assert trace.adjoint_of(name) is None
    for trace in (first, second, third, jvp(first)):
        assert parse(to_text(trace)).order == trace.order


def test_a_cell_may_be_called_as_a_gradient_is() -> None:
    @cell(name="d2(x)")
    def odd(x, h, W):
        return tanh(W.h @ x)

    assert parse(to_text(trace_cell(odd))).order == trace_cell(odd).order == 0


def test_the_loss_may_see_other_states() -> None:
    assert names(vjp(LSTM, outputs=["c"]).inputs) == ["x", "h", "c", "d(c.out)"]
    assert names(vjp(LSTM, outputs=["h", "c"]).inputs) == ["x", "h", "c", "d(h.out)", "d(c.out)"]
    assert names(vjp(LSTM, outputs=[]).inputs) == ["x", "h", "c"]


def test_a_state_that_there_is_not_cannot_be_seen() -> None:
    with pytest.raises(OptionError) as caught:
        vjp(LSTM, outputs=["h", "m"])
    assert str(caught.value) == "trace 'lstm' has no state 'm' to derive by\n  expected: h, c\n  got: m"


def test_random_values_are_handed_to_the_gradient() -> None:
    backward = vjp(trace_cell(zoneout(0.1)(cells.elman)))
    assert names(backward.inputs) == ["x", "h", "d(h.out)"]
    assert names(noise.var for noise in backward.noises) == ["noise0"]


def test_the_gradient_of_a_gradient_is_given_adjoints_of_what_it_gave() -> None:
    twice = vjp(vjp(trace_cell(cells.elman)), outputs=[])
    assert names(twice.inputs) == ["x", "h", "d(h.out)", "d(h)", "d(d(x).out)"]
    assert names(twice.states) == ["d(d(h))"]
    assert names(twice.params) == ["W.h", "U.h", "b.h", "d(d(W.h))", "d(d(U.h))", "d(d(b.h))"]
    assert [name for name, _ in twice.emits] == ["d(x)", "d(h)", "d(d(h.out))"]
    assert [name for name, _ in twice.sums] == ["d(W.h)", "d(U.h)", "d(b.h)"]


def test_forward_mode_doubles_everything() -> None:
    pushed = jvp(LSTM)
    assert names(pushed.inputs) == ["x", "t(x)"]
    assert names(pushed.states) == ["h", "c", "t(h)", "t(c)"]
    assert names(pushed.params) == [*names(LSTM.params), *(f"t({name})" for name in names(LSTM.params))]


def test_forward_mode_pushes_what_a_gradient_emits_and_sums() -> None:
    pushed = jvp(vjp(trace_cell(cells.elman)))
    assert [name for name, _ in pushed.emits] == ["d(x)", "t(d(x))"]
    assert [name for name, _ in pushed.sums] == [
        *("d(W.h)", "d(U.h)", "d(b.h)"),
        *("t(d(W.h))", "t(d(U.h))", "t(d(b.h))"),
    ]


def test_names_that_are_taken_are_of_a_higher_order() -> None:
    elman = trace_cell(cells.elman)
    pushed = jvp(jvp(elman))
    assert pushed.name == "t2(t(elman))"
    assert names(pushed.inputs) == ["x", "t(x)", "t2(x)", "t2(t(x))"]
    thrice = vjp(vjp(vjp(elman)), outputs=[])
    assert thrice.name == "d2(d(d(elman)))"
    assert names(thrice.states) == ["d2(d(d(h)))"]
    assert [name for name, _ in thrice.sums][:3] == ["d2(W.h)", "d2(U.h)", "d2(b.h)"]
    assert tangent("h", order=2) == "t2(h)"


def test_a_derivative_that_is_zero_is_a_number_and_is_not_seeded() -> None:
    @cell
    def indifferent(x, h, U):
        return tanh(U.h @ h)

    backward = vjp(trace_cell(indifferent))
    assert backward.emits == (("d(x)", Literal(0.0)),)
    assert names(vjp(backward, outputs=[]).inputs) == ["x", "h", "d(h.out)", "d(h)"]


@pytest.mark.parametrize("name", CATALOGUE)
def test_derivatives_of_the_catalogue_stay_in_the_language(name: str) -> None:
    trace = trace_cell(CATALOGUE[name])
    for derivative in (vjp(trace), jvp(trace), vjp(vjp(trace)), jvp(vjp(trace)), vjp(jvp(trace))):
        assert {equation.op for equation in derivative.equations} <= OPS.keys()
        assert structural_hash(parse(to_text(derivative))) == structural_hash(derivative)


def test_a_gradient_has_the_lines_of_the_users_equations() -> None:
    lines = {equation.where.line for equation in LSTM.equations if equation.where}
    assert {equation.where.line for equation in vjp(LSTM).equations if equation.where} <= lines


@pytest.mark.parametrize(
    ("name", "trace"), [("vjp_gru", vjp(trace_cell(cells.gru))), ("jvp_elman", jvp(trace_cell(cells.elman)))]
)
def test_the_text_of_a_derivative(name: str, trace: Trace, golden: Callable[[str, str], None]) -> None:
    golden(f"derive/{name}.txt", to_text(trace))
