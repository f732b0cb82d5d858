"""The whole text of every error that a cell's equations can raise; the line is found in the source, not typed."""

from collections.abc import Callable, Mapping
from inspect import getsourcelines

import pytest

from gatewright.errors import CellError, GatewrightError, OptionError
from gatewright.lang import cell
from gatewright.trace import trace_cell
from tests.errors import cells_in_error as wrong

NO_VALUE = "but a symbol has no value while a cell is traced"
LANGUAGE = "\n  expected: operations of the gatewright language, on symbols and plain numbers"
INSTEAD = "\n  do: use gw.tanh, gw.where, ... in place of functions of Python, math, NumPy and torch"
NUMBERS = "\n  expected: symbols and plain numbers"
PARAMETER = "\n  do: make it a parameter (b.name), an input, or a keyword-only option that is a plain number"
TRUTH = (
    f"the truth of <symbol less (hidden)> was asked for, {NO_VALUE}"
    "\n  expected: equations without `if`, `and`, `or`, `not`, `while` or min/max on symbols"
    "\n  got: bool() of a symbol"
    "\n  do: use gw.where(condition, a, b), gw.maximum or gw.minimum; a choice that is fixed when the cell is made "
    "can be a keyword-only option of the cell"
)
OTHER_RUN = (
    "was made in another run of the equations"
    "\n  expected: values of this step only"
    "\n  got: a value that was kept from somewhere else"
    "\n  do: pass what the step needs as an input, a state or a parameter"
)
ONE_SHAPE = "\n  expected: operands of one shape, or scalars"
CHANGE_AXIS = (
    "\n  do: multiply by a matrix (U.g @ h) to change an axis, or gw.relabel(x, like=h) where the two sizes are "
    "the same"
)
MATRIX_FIRST = "\n  do: write W.g @ x with the matrix on the left; use * for elementwise products"
EXCHANGE = "where the exchange is meant, say so: `return 1.0 * c, 1.0 * h`"
WRONG_PLACE = "state 'h' is returned in the wrong place or with the wrong shape"


def _untraceable(got: str) -> str:
    return f"this line cannot be traced{LANGUAGE}\n  got: {got}{INSTEAD}"


def _used(what: str, do: str) -> str:
    return (
        f"{what} was used on <symbol h (hidden)>, {NO_VALUE}"
        f"\n  expected: operations of the gatewright language\n  got: {what}\n  do: {do}"
    )


MESSAGES: Mapping[Callable[..., object], str] = {
    wrong.decides: TRUTH,
    wrong.takes_the_least: TRUTH,
    wrong.compares: _used("==", "gw.where(gw.less(a, b), ...) compares values"),
    wrong.uses_math: _used("float()", "keep the value symbolic: use gw's functions instead of math's or NumPy's"),
    wrong.uses_numpy: _untraceable("TypeError: operand 'Symbol' does not support ufuncs (__array_ufunc__=None)"),
    wrong.uses_an_array: f"`mul` cannot take ndarray{NUMBERS}\n  got: ndarray array([0.5, 2. ]){PARAMETER}",
    wrong.uses_an_unknown_op: _untraceable("AttributeError: module 'gatewright' has no attribute 'arctan'"),
    wrong.uses_an_unsupported_operator: _untraceable(
        "TypeError: unsupported operand type(s) for %: 'Symbol' and 'int'"
    ),
    wrong.uses_a_wrong_power: "** 3 is not in the language\n  expected: ** 2 or ** 0.5\n  got: ** 3"
    "\n  do: multiply, or write gw.exp(exponent * gw.log(value))",
    wrong.iterates: _used("iteration", "a symbol is a whole vector: write equations for all units at once"),
    wrong.indexes: _used("indexing", "give each part a parameter name of its own: W.a, W.b"),
    wrong.multiplies_a_space: "U is a space of parameters, not one matrix"
    "\n  expected: a named parameter, such as U.h @ h\n  got: U @ ..."
    "\n  do: give the matrix a gate's name: U.r, U.z, U.h",
    wrong.names_no_parameter: "U['h 1'] cannot be the name of a parameter\n  expected: a name such as U.r\n  got: 'h 1'"
    "\n  do: use letters, digits and underscores, and begin with a letter",
    wrong.adds_other_axes: f"`add` cannot combine these shapes{ONE_SHAPE}"
    f"\n  got: matmul(...) (hidden), x (input){CHANGE_AXIS}",
    wrong.multiplies_other_axes: "`matmul` cannot combine these shapes"
    "\n  expected: a vector of shape (input), to fit a matrix of shape (hidden, input)"
    "\n  got: W.h (hidden, input), h (hidden)"
    "\n  do: W acts on the input and U on a hidden state; declare another space with @gw.cell(spaces={...}) for "
    "other axes",
    wrong.multiplies_from_the_right: "`matmul` cannot combine these shapes\n  expected: a matrix @ a vector"
    f"\n  got: x (input), W.h (hidden, input){MATRIX_FIRST}",
    wrong.multiplies_matrices: "`matmul` cannot combine these shapes\n  expected: a matrix @ a vector"
    f"\n  got: U.a (hidden, hidden), U.b (hidden, hidden){MATRIX_FIRST}",
    wrong.transposes_a_vector: "`transpose` cannot combine these shapes\n  expected: a matrix\n  got: h (hidden)"
    "\n  do: only a matrix can be transposed",
    wrong.uses_two_shapes: "V.r is used with two shapes\n  expected: (hidden, input), the shape of its first use"
    "\n  got: V.r (hidden, input), h (hidden)\n  do: give the second use a parameter of its own name",
    wrong.uses_what_was_kept: f"<symbol h (hidden)> {OTHER_RUN}",
    wrong.returns_what_was_kept: f"<symbol tanh (hidden)> {OTHER_RUN}",
    wrong.returns_another_order: f"{WRONG_PLACE}\n  expected: h (hidden), in the order h, c\n  got: c (hidden)"
    f"\n  do: end the cell with `return h, c`; {EXCHANGE}",
    wrong.exchanges_two_states: f"{WRONG_PLACE}\n  expected: h (hidden), in the order h, c\n  got: c (hidden)"
    f"\n  do: end the cell with `return h, c`; {EXCHANGE}",
    wrong.returns_another_shape: f"{WRONG_PLACE}\n  expected: h (hidden), in the order h\n  got: tanh(...) (input)"
    "\n  do: end the cell with `return h`",
    wrong.returns_the_input: f"{WRONG_PLACE}\n  expected: h (hidden), in the order h\n  got: x (input)"
    "\n  do: end the cell with `return h`",
    wrong.multiplies_nothing: f"`mul` cannot take NoneType{NUMBERS}\n  got: NoneType None{PARAMETER}",
    wrong.multiplies_no_number: f"`mul` cannot take float{NUMBERS}\n  got: float nan{PARAMETER}",
    wrong.multiplies_too_large_a_number: _untraceable("OverflowError: int too large to convert to float"),
    wrong.fails_in_a_helper: f"`add` cannot take str{NUMBERS}\n  got: str 'one'{PARAMETER}",
}


@pytest.fixture(autouse=True)
def _kept() -> None:
    """A value from another run, for the cells that misuse it."""
    trace_cell(cell(wrong.keeps))


@pytest.mark.parametrize("function", MESSAGES, ids=lambda function: function.__name__)
def test_the_error_names_the_cell_and_the_line(function: Callable[..., object]) -> None:
    assert str(_error(function)) == f"{_place(function)}: {MESSAGES[function]}"


def test_a_space_is_no_value() -> None:
    text = str(_error(wrong.adds_a_space))
    assert text.startswith(f"{_place(wrong.adds_a_space)}: `add` cannot take ParameterSpace{NUMBERS}\n  got: ")
    assert text.endswith(PARAMETER)


@pytest.mark.parametrize(
    ("function", "expected", "got", "do"),
    [
        (wrong.returns_nothing, "1 value(s), the new h", "1 value(s): NoneType", "`return h`"),
        (wrong.returns_too_much, "2 value(s), the new h, c", "3 value(s): h, c, h", "`return h, c`"),
    ],
    ids=["nothing", "too much"],
)
def test_the_states_must_be_returned(function: Callable[..., object], expected: str, got: str, do: str) -> None:
    file, number, _ = _marked(function)
    assert str(_error(function)) == (
        f"cell {function.__name__!r} ({file}, line {number}): it does not return its states"
        f"\n  expected: {expected}\n  got: {got}\n  do: end the cell with {do}, in the order of its signature"
    )


def test_a_function_of_the_language_needs_a_symbol() -> None:
    assert str(_error(wrong.uses_no_symbol)) == (
        "gw.exp was called outside a cell's equations"
        "\n  expected: at least one symbol: an input, a state, a parameter, or something made of them"
        "\n  got: float"
        "\n  do: use NumPy's or math's function on numbers; gw's functions are for the equations of a @gw.cell"
    )


def test_a_random_value_needs_a_probability() -> None:
    expected = "gw.bernoulli has a probability that is not one\n  expected: from 0 to 1\n  got: 1.5"
    assert str(_error(wrong.draws_no_probability, OptionError)) == expected


def test_a_random_value_is_drawn_per_step_or_sequence() -> None:
    expected = 'gw.bernoulli cannot draw so\n  expected: per="step" or per="sequence"\n  got: per=\'row\''
    assert str(_error(wrong.draws_otherwise, OptionError)) == expected


def test_an_error_of_python_is_the_cause() -> None:
    assert isinstance(_error(wrong.uses_numpy).__cause__, TypeError)


def test_the_errors_are_type_errors_too() -> None:
    assert isinstance(_error(wrong.decides), TypeError)


def _error(function: Callable[..., object], kind: type[GatewrightError] = CellError) -> GatewrightError:
    with pytest.raises(kind) as raised:
        trace_cell(cell(spaces={"V": ("hidden", None)})(function))
    assert type(raised.value) is kind
    return raised.value


def _marked(function: Callable[..., object]) -> tuple[str, int, str]:
    """File, number and text of the line that is marked `# here`, in the function or in its helper."""
    for candidate in (function, wrong.helper):
        lines, first = getsourcelines(candidate)
        for number, line in enumerate(lines, first):
            if line.rstrip().endswith("# here"):
                return wrong.__file__, number, line.strip()
    raise AssertionError(f"{function.__name__} has no line that is marked")


def _place(function: Callable[..., object]) -> str:
    file, number, line = _marked(function)
    return f"cell {function.__name__!r} ({file}, line {number}: `{line}`)"
