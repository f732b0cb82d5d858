"""Each identity of the simplifier, on the text of a trace before and after."""

import pytest

import gatewright as gw
from gatewright.derive import vjp
from gatewright.schedule.residuals import save
from gatewright.trace import Literal, Trace, parse, simplify, to_text, trace_cell, without

HEAD = """\
gatewright-trace 1
cell "one"
input x(hidden)
state h(hidden)
param U.h(hidden, hidden)
param a.k()
"""


def _simple(equations: str, *outputs: str, result: str = "y") -> list[str]:
    """The equations and outputs that are left of `equations`, whose `result` is the next h."""
    text = "\n".join([*(f"  {line}" for line in equations.splitlines()), f"next h = {result}", *outputs, "end", ""])
    lines = to_text(simplify(parse(HEAD + text))).splitlines()
    return [line.strip() for line in lines if line.startswith(("  ", "next ", "emit ", "sum ", "gate "))]


H = "(hidden)"
IDENTITIES = {
    # neutral elements
    "y(hidden) = add x 0.0": "x",
    "y(hidden) = add 0.0 x": "x",
    "y(hidden) = sub x 0.0": "x",
    "y(hidden) = mul x 1.0": "x",
    "y(hidden) = mul 1.0 x": "x",
    "y(hidden) = div x 1.0": "x",
    # zeros that come from derivation
    "y(hidden) = mul x 0.0": "0.0",
    "y(hidden) = mul 0.0 x": "0.0",
    "y(hidden) = div 0.0 x": "0.0",
    "z(hidden) = expand 0.0 axes=\"hidden\"\ny(hidden) = matmul U.h z": "0.0",
    # one value twice
    "z(hidden) = neg x\ny(hidden) = neg z": "x",
    "m(hidden, hidden) = transpose U.h\nn(hidden, hidden) = transpose m\ny(hidden) = matmul n x": "matmul U.h x",
    "y(hidden) = where x h h": "h",
    "y(hidden) = where 1.0 x h": "x",
    "y(hidden) = where 0.0 x h": "h",
    "y(hidden) = relabel x axes=\"hidden\"": "x",
    # signs
    "y(hidden) = sub 0.0 x": "neg x",
    "y(hidden) = mul x -1.0": "neg x",
    "y(hidden) = div x -1.0": "neg x",
    "z(hidden) = neg x\ny(hidden) = add h z": "sub h x",
    "z(hidden) = neg x\ny(hidden) = add z h": "sub h x",
    "z(hidden) = neg x\ny(hidden) = sub h z": "add h x",
    "z(hidden) = sub x h\ny(hidden) = neg z": "sub h x",
    "z(hidden) = neg x\ny(hidden) = sub 0.0 z": "x",
    # scalars
    "s() = sum a.k\ny(hidden) = mul s x": "mul a.k x",
    "s() = mean a.k\ny(hidden) = mul s x": "mul a.k x",
    "s() = size axes=\"\"\ny(hidden) = mul s x": "x",
    "z(hidden) = expand a.k axes=\"hidden\"\ny(hidden) = mul z x": "mul a.k x",
    "z(hidden) = expand a.k axes=\"hidden\"\nu(hidden) = relabel z axes=\"hidden\"\ny(hidden) = mul u x": "mul a.k x",
    # numbers
    "s() = add 0.5 0.25\ny(hidden) = mul s x": "mul 0.75 x",
    "s() = exp 0.0\ny(hidden) = add s x": "add 1.0 x",
    "s() = hard_sigmoid 1.0 slope=0.25\ny(hidden) = add s x": "add 0.75 x",
    "s() = less 1.0 2.0\nt() = maximum s 3.0\ny(hidden) = minimum t x": "minimum 3.0 x",
}  # fmt: skip


@pytest.mark.parametrize("equations", IDENTITIES)
def test_an_identity(equations: str) -> None:
    want = IDENTITIES[equations]
    value = want if " " not in want else "y"
    assert _simple(equations) == [*([f"y(hidden) = {want}"] if " " in want else []), f"next h = {value}"]


KEPT = [
    "y(hidden) = sub x x",  # infinity minus infinity is no zero
    "y(hidden) = div x x",
    "y(hidden) = div x 2.0",  # times 0.5 would be the same for halves only
    "y(hidden) = maximum x 0.0",
    "y(hidden) = add 1e-30 x",
    "z(hidden) = mul 0.1 x\ny(hidden) = mul 0.2 z",  # products are not regrouped
    "s() = log -1.0\ny(hidden) = mul s x",  # what is not finite is the backend's to say
    "s() = exp 1000.0\ny(hidden) = mul s x",
    "s() = div 1.0 0.0\ny(hidden) = mul s x",
    "s() = div 0.0 0.0\ny(hidden) = mul s x",
    "s() = sum x\ny(hidden) = mul s x",
]


@pytest.mark.parametrize("equations", KEPT)
def test_what_could_change_a_number_is_kept(equations: str) -> None:
    assert _simple(equations) == [*equations.splitlines(), "next h = y"]


def test_a_value_is_computed_once() -> None:
    equations = "a(hidden) = tanh x\nb(hidden) = tanh x\ny(hidden) = mul a b"
    assert _simple(equations) == ["a(hidden) = tanh x", "y(hidden) = mul a a", "next h = y"]


@pytest.mark.parametrize("op", ["add", "mul", "maximum", "minimum"])
def test_operands_that_may_be_exchanged_are(op: str) -> None:
    equations = f"a(hidden) = {op} x h\nb(hidden) = {op} h x\ny(hidden) = sub a b"
    assert _simple(equations) == [f"a(hidden) = {op} x h", "y(hidden) = sub a a", "next h = y"]


@pytest.mark.parametrize("op", ["sub", "div", "less"])
def test_operands_that_may_not_be_exchanged_are_not(op: str) -> None:
    equations = f"a(hidden) = {op} x h\nb(hidden) = {op} h x\ny(hidden) = sub a b"
    assert _simple(equations) == [*equations.splitlines(), "next h = y"]


def test_attributes_and_the_sign_of_a_zero_tell_values_apart() -> None:
    slopes = "a(hidden) = hard_sigmoid x slope=0.2\nb(hidden) = hard_sigmoid x slope=0.25\ny(hidden) = sub a b"
    assert _simple(slopes) == [*slopes.splitlines(), "next h = y"]
    zeros = "a(hidden) = div x 0.0\nb(hidden) = div x -0.0\ny(hidden) = sub a b"
    assert _simple(zeros) == [*zeros.splitlines(), "next h = y"]


def test_the_users_name_is_kept_where_a_value_is_computed_twice() -> None:
    equations = "%0(hidden) = tanh x\nr(hidden) = tanh x\ny(hidden) = mul %0 r"
    assert _simple(equations, "gate r = r") == [
        "r(hidden) = tanh x",
        "y(hidden) = mul r r",
        "next h = y",
        "gate r = r",
    ]


def test_what_nothing_needs_is_dropped() -> None:
    equations = "a(hidden) = tanh x\nb(hidden) = matmul U.h a\ny(hidden) = neg x"
    assert _simple(equations) == ["y(hidden) = neg x", "next h = y"]
    assert simplify(parse(f"{HEAD}next h = x\nend\n")).params == ()


def test_a_gate_keeps_what_it_needs() -> None:
    equations = "a(hidden) = matmul U.h x\ny(hidden) = neg x"
    assert _simple(equations, "gate a = a") == [*equations.splitlines(), "next h = y", "gate a = a"]


def test_a_gate_that_has_become_a_number_is_dropped() -> None:
    equations = 'z(hidden) = expand 0.0 axes="hidden"\nr(hidden) = sigmoid z\ny(hidden) = mul r x'
    assert _simple(equations, "gate r = r") == ["y(hidden) = mul 0.5 x", "next h = y"]


def test_an_output_keeps_its_shape() -> None:
    equations = 'z(hidden) = expand a.k axes="hidden"\ny(hidden) = mul z 2.0'
    assert _simple(equations, "emit d(x) = z", "sum d(U.h) = y") == [
        "y() = mul a.k 2.0",
        '%0(hidden) = expand y axes="hidden"',
        'z(hidden) = expand a.k axes="hidden"',
        "next h = %0",
        "emit d(x) = z",
        "sum d(U.h) = %0",
    ]


def test_a_number_that_is_given_out_keeps_its_shape_but_as_a_state() -> None:
    equations = "y(hidden) = mul x 0.0"
    assert _simple(equations, "emit d(x) = y") == [
        'y(hidden) = expand 0.0 axes="hidden"',
        "next h = 0.0",
        "emit d(x) = y",
    ]


def test_a_gradient_that_is_zero_keeps_the_parameter_that_tells_its_shape() -> None:
    """Twice differentiated, a ReLU's bias meets nothing: its own gradient has 0 in the bias's shape."""
    once = vjp(trace_cell(gw.cells.elman(activation=gw.relu)))
    twice = save(once).backward  # given what h is, it reads the bias no more
    name, value = twice.sums[-1]
    assert (name, value) == ("d(b.h)", Literal(0.0))
    assert twice.output_shape(name, value) == ("hidden",)


def test_a_product_gets_its_operands_in_their_shape() -> None:
    equations = 'z(hidden) = expand a.k axes="hidden"\ny(hidden) = matmul U.h z'
    assert _simple(equations) == [*equations.splitlines(), "next h = y"]
    equations = 'm(hidden, hidden) = expand 2.0 axes="hidden,hidden"\ny(hidden) = matmul m x'
    assert _simple(equations) == [*equations.splitlines(), "next h = y"]


def test_a_sum_of_one_number_repeated_is_left_to_the_backend() -> None:
    equations = 'z(hidden) = expand a.k axes="hidden"\ns() = sum z\ny(hidden) = mul s x'
    assert _simple(equations) == [*equations.splitlines(), "next h = y"]


def test_lines_of_the_users_file_stay() -> None:
    @gw.cell
    def unit(x, h, U):
        r = gw.tanh(U.h @ h) * 1
        return 0 + r

    before, after = trace_cell(unit), simplify(trace_cell(unit))
    assert [equation.where for equation in after.equations] == [equation.where for equation in before.equations[:2]]
    assert [equation.target.name for equation in after.equations] == ["%0", "r"]


def test_without_a_bias_there_is_none() -> None:
    bare = without(trace_cell(gw.cells.gru), "b")
    assert [param.name for param in bare.params] == ["W.r", "W.z", "W.n", "U.r", "U.z", "U.n"]
    assert [name for name, _ in bare.gates] == ["r", "z", "n"]
    assert len(bare.equations) == len(trace_cell(gw.cells.gru).equations) - 3


def test_without_everything_there_is_a_number() -> None:
    @gw.cell
    def unit(x, h, b):
        return gw.sigmoid(b.h)

    bare = without(trace_cell(unit), "b")
    assert (bare.equations, bare.next_states, bare.gates) == ((), (Literal(0.5),), ())


def test_the_derivative_without_a_bias_is_that_of_the_cell_without_one() -> None:
    trace = trace_cell(gw.cells.lstm)
    sums = {name for name, _ in vjp(without(trace, "b")).sums}
    assert sums == {name for name, _ in vjp(trace).sums if not name.startswith("d(b.")}


def _count(trace: Trace) -> int:
    return len(trace.equations)


@pytest.mark.parametrize(("cell", "most"), [(gw.cells.gru, 56), (gw.cells.lstm, 77), (gw.cells.sru, 44)])
def test_a_gradient_does_not_grow(cell: gw.Cell, most: int) -> None:
    assert _count(vjp(trace_cell(cell))) <= most
