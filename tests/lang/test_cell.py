"""What `@cell` reads from a function: its name, inputs, states, spaces, options and description."""

from collections.abc import Callable

import numpy as np
import pytest

from gatewright.backends import numpy_ref
from gatewright.errors import CellError, OptionError
from gatewright.lang import Cell, Symbol, cell, hard_sigmoid_theano, layer_norm, masked, relu, sigmoid, tanh, zoneout
from gatewright.trace import trace_cell

CONTRACT = (
    "\n  do: write def name(x, h, W, U, b), or def name(x, h, c, W, U, b, p, *, option=value); "
    "declare further parameter spaces with @gw.cell(spaces={'V': ('hidden', 'hidden')})"
)


def unit(x, h, c, W, U, b, p, *, gate=sigmoid, reset="before"):
    """A unit.

    With a second line.
    """
    f = gate(W.f @ x + U.f @ h + b.f + p.f * c)
    return f * h, c if reset == "before" else f * c


def test_a_cell_is_described_by_its_signature() -> None:
    made = cell(unit)
    assert made.name == made.label == "unit"
    assert made.inputs == {"x": ("input",)}
    assert made.states == {"h": ("hidden",), "c": ("hidden",)}
    assert {name: space.shape for name, space in made.spaces.items()} == {
        "W": ("hidden", "input"),
        "U": ("hidden", "hidden"),
        "b": ("hidden",),
        "p": ("hidden",),
    }
    assert made.defaults == {"gate": sigmoid, "reset": "before"}
    assert (made.file, made.line) == (unit.__code__.co_filename, unit.__code__.co_firstlineno)
    assert repr(made) == "<gatewright cell unit>"


def test_a_cell_can_be_described_in_words() -> None:
    made = cell(title="Unit", paper="Nobody 2000", convention="f keeps", differs="nothing", name="other")(unit)
    assert (made.name, made.about.title, made.about.paper) == ("other", "Unit", "Nobody 2000")
    assert (made.about.convention, made.about.differs) == ("f keeps", "nothing")


def test_the_title_is_the_first_line_of_the_docstring() -> None:
    assert cell(unit).about.title == "A unit."
    assert cell(lambda x, h: h).about.title == ""


def test_states_and_spaces_have_the_axes_that_are_declared() -> None:
    made = cell(states={"c": "memory"}, spaces={"b": ("memory",), "W": ("memory", None)})(unit)
    assert made.states == {"h": ("hidden",), "c": ("memory",)}
    assert made.spaces["b"].shape == ("memory",)
    assert made.spaces["W"].shape[0] == "memory"


def test_an_option_is_bound_by_a_call() -> None:
    made = cell(unit)(reset="after", gate=hard_sigmoid_theano)
    assert made.label == 'unit(reset="after", gate=hard_sigmoid_theano)'
    assert made.name == "unit"
    assert [equation.op for equation in trace_cell(made).equations].count("mul") == 3
    assert dict(trace_cell(made).equations[-3].attrs) == {"slope": 0.2}


def test_options_are_bound_one_after_the_other() -> None:
    assert cell(unit)(reset="after")(gate=relu).label == 'unit(reset="after", gate=relu)'


def test_an_option_of_its_default_value_changes_nothing() -> None:
    made = cell(unit)(reset="after")(reset="before")
    assert made.label == "unit"
    assert trace_cell(made) == trace_cell(cell(unit))


def test_an_option_that_is_not_there_is_refused() -> None:
    with pytest.raises(OptionError) as raised:
        cell(unit)(rest="after")
    assert str(raised.value) == (
        "cell 'unit' has no option 'rest'\n  expected: gate=sigmoid, reset=\"before\"\n  got: rest"
        "\n  do: name one of the expected options"
    )


@pytest.mark.parametrize("vary", [masked, zoneout(0.5)], ids=["masked", "zoneout"])
def test_a_varied_cell_has_no_options(vary: Callable[[Cell], Cell]) -> None:
    with pytest.raises(OptionError) as raised:
        vary(cell(unit))(reset="after")
    assert str(raised.value) == (
        f"cell {vary(cell(unit)).name!r} has no option 'reset'\n  expected: no options\n  got: reset"
        "\n  do: give a cell's options before it is transformed: gw.masked(gru(reset='after'))"
    )


def test_options_can_be_given_before_a_variation() -> None:
    made = masked(cell(unit)(reset="after"))
    assert made.label == 'masked(unit(reset="after"))'
    assert len(trace_cell(made).equations) == len(trace_cell(cell(unit)(reset="after")).equations) + 2


EXPECTED = "the input x, then at least one state, then parameter spaces"
PLAIN = "plain arguments without defaults; options go after a `*`"
WRONG: list[tuple[Callable[..., object], str, str, str]] = [
    (lambda: 0, "the signature", EXPECTED, "def <lambda>()"),
    (lambda x: x, "the signature", EXPECTED, "def <lambda>(x)"),
    (lambda x, W, U: x, "the signature", EXPECTED, "def <lambda>(x, W, U)"),
    (lambda W, h: h, "the signature", EXPECTED, "def <lambda>(W, h)"),
    (lambda x, h, W, c: h, "the signature", EXPECTED, "def <lambda>(x, h, W, c)"),
    (lambda x, W, h: h, "the signature", EXPECTED, "def <lambda>(x, W, h)"),
    (lambda x, h, gate=1: h, "argument 'gate'", PLAIN, "gate=1"),
    (lambda x, *h: h, "argument 'h'", PLAIN, "*h"),
    (lambda x, h, **more: h, "argument 'more'", PLAIN, "**more"),
    (lambda x, /, h: h, "argument 'x'", PLAIN, "x"),
    (lambda x, h, *, gate: h, "option 'gate'", "a default value", "none"),
]


@pytest.mark.parametrize(("function", "what", "expected", "got"), WRONG)
def test_a_signature_that_breaks_the_contract_is_refused(
    function: Callable[..., object], what: str, expected: str, got: str
) -> None:
    with pytest.raises(CellError) as raised:
        cell(function)
    code = function.__code__
    assert str(raised.value) == (
        f"cell '<lambda>' ({code.co_filename}, line {code.co_firstlineno}): {what} does not fit the contract of a cell"
        f"\n  expected: {expected}\n  got: {got}{CONTRACT}"
    )


def test_only_states_have_an_axis_of_their_own() -> None:
    with pytest.raises(CellError, match="names 'm' does not fit the contract.*\n  expected: one of the states"):
        cell(states={"m": "memory"})(unit)


@pytest.mark.parametrize("options", [{"states": {"c": "my axis"}}, {"spaces": {"b": ("a,b",)}}])
def test_an_axis_has_a_name(options: dict[str, dict[str, str]]) -> None:
    with pytest.raises(CellError, match="axis '.*' does not fit the contract.*\n  expected: letters, digits and"):
        cell(**options)(unit)


@pytest.mark.parametrize("value", [3, print, Symbol], ids=repr)
def test_only_a_function_is_a_cell(value: object) -> None:
    with pytest.raises(CellError) as raised:
        cell(value)
    assert str(raised.value) == (
        f"@gw.cell was given {value!r}\n  expected: a plain function of one step\n  got: {type(value).__name__}"
    )


def test_a_nested_function_is_a_cell() -> None:
    def within(x, h, U):
        return tanh(U.h @ h)

    assert cell(within).name == "within"


def delayed(x, h, d, W, U, b, *, delay=2):
    return tanh(W.h @ x + U.h @ h + U.d @ d + b.h), h


def test_what_is_returned_for_a_delay_line_is_read_that_many_steps_later() -> None:
    made = cell(delays={"d": "delay"})(delayed)
    assert made.states == dict.fromkeys(("h", "d", "d_2"), ("hidden",))
    assert made(delay=1).states == dict.fromkeys(("h", "d"), ("hidden",))
    assert [str(value.name) for value in trace_cell(made(delay=3)).next_states] == ["h'", "d_2", "d_3", "h"]
    x, states = np.random.default_rng(0).normal(size=(6, 1, 2)), {name: np.zeros((1, 3)) for name in made.states}
    params = {"W.h": np.ones((3, 2)), "U.h": np.eye(3), "U.d": 0.5 * np.eye(3), "b.h": np.zeros(3)}
    got = numpy_ref.run(trace_cell(made), {"x": x}, params, states).sequences
    before = np.concatenate([np.zeros((3, 1, 3)), got["h"]])  # the state before the first step, and two before it
    assert np.array_equal(got["d_2"], before[2:-1])
    assert np.array_equal(got["d"], before[1:-2])
    want = np.tanh(x @ params["W.h"].T + before[2:-1] + 0.5 * before[:-3])
    assert np.allclose(got["h"], want, rtol=1e-12, atol=0)


@pytest.mark.parametrize("steps", [0, 1.5, True, "2"])
def test_a_delay_is_a_whole_number_of_steps(steps: object) -> None:
    with pytest.raises(OptionError) as raised:
        cell(delays={"d": "delay"})(delayed)(delay=steps)
    assert str(raised.value) == (
        f"cell 'delayed' cannot hold its state 'd' back for delay={steps!r} steps"
        f"\n  expected: a whole number of at least 1\n  got: {steps!r}"
    )


def test_a_cell_with_a_delay_line_returns_one_value_for_each_state_of_its_signature() -> None:
    @cell(delays={"d": "delay"})
    def forgetful(x, h, d, W, *, delay=2):
        return W.h @ x + h + d

    with pytest.raises(CellError) as raised:
        trace_cell(forgetful)
    assert str(raised.value) == (
        "cell 'forgetful' does not return its states"
        "\n  expected: 2 values, the new h, d\n  got: 1"
        "\n  do: end the cell with `return h, d`, in the order of its signature"
    )


CONTRARY = " does not fit the contract of a cell\n  expected: "


@pytest.mark.parametrize(
    ("delays", "told"),
    [
        ({"e": "delay"}, f"delays={{...}} names 'e'{CONTRARY}one of the states"),
        ({"d": "steps"}, f"delays={{...}} takes the length of 'd' from 'steps'{CONTRARY}one of the options"),
        ({"h": "delay"}, f"the argument 'h_2'{CONTRARY}another name: h_2 is a part of the delay line h"),
    ],
)
def test_a_delay_line_is_declared_of_a_state_and_an_option(delays: dict[str, str], told: str) -> None:
    def odd(x, h, h_2, d, W, *, delay=2):
        return W.h @ x, h, h_2

    with pytest.raises(CellError) as raised:
        cell(delays=delays)(odd)
    assert told in str(raised.value)


def test_parameters_that_start_at_a_constant() -> None:
    @cell(initial={"b.f": 2.0})
    def remembering(x, h, W, U, b):
        f = sigmoid(W.f @ x + b.f)
        return f * h + (1 - f) * tanh(U.n @ h + b.n)

    names = [param.name for param in trace_cell(remembering).params]
    assert remembering.starts(names) == {"b.f": 2.0}
    normalised = layer_norm(remembering)
    starts = normalised.starts(param.name for param in trace_cell(normalised).params)
    assert {name: start for name, start in starts.items() if not name.startswith("gain")} == {"b.f": 2.0}
    assert {start for name, start in starts.items() if name.startswith("gain")} == {1.0}
