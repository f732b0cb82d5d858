"""Derivatives at the corners of functions: ties, kinks, zeros and NaN, against docs/conventions.md and PyTorch."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from gatewright import lang as gw
from gatewright.backends.base import execute, prepare
from gatewright.backends.numpy_ref import RULES
from gatewright.derive import vjp
from gatewright.lang import Symbol, cell
from gatewright.trace import Literal, trace_cell

Build = Callable[[Symbol, Symbol, Symbol], Symbol]
INF, NAN = math.inf, math.nan
G = 3.0  # the adjoint of the result
SMALLEST = np.nextafter(0.0, 1.0)
SLOPE = 0.25  # a number without rounding, so that the corners of hard_sigmoid are at -2 and 2 exactly


def flows(build: Build, values: tuple[float, ...], g: float = G) -> tuple[float, ...]:
    """What flows back to each operand of `build` at these values."""

    @cell(name="corner")
    def corner(x, u, v, w):
        return build(u, v, w), v, w

    back = vjp(trace_cell(corner))
    names = ("u", "v", "w")
    operands = dict.fromkeys(names, 0.0) | dict(zip(names[: len(values)], values, strict=True))
    given = {name: np.array([[value]]) for name, value in operands.items()}
    given |= {"x": np.zeros((1, 1)), "d(u.out)": np.array([[g]])} | {f"d({name})": np.zeros((1, 1)) for name in names}
    with np.errstate(all="ignore"):
        execute(prepare(back.equations, RULES, {"input": 1, "hidden": 1}), given)
    ends = (new.value if isinstance(new, Literal) else given[new.name].item() for new in back.next_states)
    return tuple(ends)[: len(values)]


def check(build: Build, values: tuple[float, ...], want: tuple[float, ...], g: float = G) -> None:
    np.testing.assert_array_equal(flows(build, values, g), want)


@pytest.mark.parametrize(
    ("a", "want"), [(0.0, 0.0), (-0.0, 0.0), (SMALLEST, G), (-SMALLEST, 0.0), (INF, G), (-INF, 0.0), (NAN, G)]
)
def test_relu_is_flat_at_zero_and_lets_everything_through_at_nan(a: float, want: float) -> None:
    check(lambda a, b, c: gw.relu(a), (a,), (want,))


@pytest.mark.parametrize(("a", "want"), [(0.0, 0.0), (-0.0, 0.0), (SMALLEST, G), (-SMALLEST, -G), (INF, G), (-INF, -G)])
def test_abs_is_flat_at_zero(a: float, want: float) -> None:
    check(lambda a, b, c: gw.abs(a), (a,), (want,))


@pytest.mark.parametrize("a", [0.0, -0.0, 1.0, -1.0])
def test_nothing_flows_through_a_sign_or_a_comparison(a: float) -> None:
    check(lambda a, b, c: gw.sign(a) + gw.less(a, b) + (b < a), (a, 0.0), (0.0, 0.0))


@pytest.mark.parametrize(
    ("a", "b", "share"),
    [(1.0, 1.0, 0.5), (0.0, -0.0, 0.5), (-0.0, 0.0, 0.5), (INF, INF, 0.5), (2.0, 1.0, 1.0), (1.0, INF, 0.0)],
)
def test_each_side_of_a_tie_takes_one_half(a: float, b: float, share: float) -> None:
    check(lambda a, b, c: gw.maximum(a, b), (a, b), (share * G, (1 - share) * G))
    check(lambda a, b, c: gw.minimum(-a, -b), (a, b), (-share * G, -(1 - share) * G))


@pytest.mark.parametrize("larger", [gw.maximum, gw.minimum])
def test_a_value_compared_with_itself_takes_the_whole(larger: Callable[[Symbol, Symbol], Symbol]) -> None:
    check(lambda a, b, c: larger(a, a), (1.5,), (G,))


@pytest.mark.parametrize("condition", [1.0, -1.0, SMALLEST, INF, NAN])
def test_where_takes_the_first_for_any_condition_but_zero(condition: float) -> None:
    check(gw.where, (condition, 5.0, 7.0), (0.0, G, 0.0))


@pytest.mark.parametrize("condition", [0.0, -0.0])
def test_where_takes_the_second_at_either_zero(condition: float) -> None:
    check(gw.where, (condition, 5.0, 7.0), (0.0, 0.0, G))


def test_what_where_did_not_take_gets_an_exact_zero() -> None:
    """Multiplying by a mask in place of `where` would give NaN."""
    for g in (NAN, INF):
        check(gw.where, (1.0, 5.0, NAN), (0.0, g, 0.0), g)
        check(gw.where, (0.0, NAN, 7.0), (0.0, 0.0, g), g)


def test_sqrt_is_infinitely_steep_at_zero() -> None:
    def root(a: Symbol, b: Symbol, c: Symbol) -> Symbol:
        return gw.sqrt(a)

    check(root, (0.0,), (INF,))
    check(root, (0.0,), (-INF,), -G)
    check(root, (0.0,), (NAN,), 0.0)  # 0 * inf, as in PyTorch
    check(root, (-1.0,), (NAN,))
    check(root, (INF,), (0.0,))
    check(root, (4.0,), (G / 4,))


@pytest.mark.parametrize(
    ("a", "want"),
    [
        (-2.0, 0.0), (np.nextafter(-2.0, 0.0), G * SLOPE), (np.nextafter(-2.0, -3.0), 0.0),
        (2.0, 0.0), (np.nextafter(2.0, 0.0) - 1e-15, G * SLOPE), (np.nextafter(2.0, 3.0), 0.0),
        (0.0, G * SLOPE), (INF, 0.0), (-INF, 0.0), (NAN, 0.0),
    ],
)  # fmt: skip
def test_hard_sigmoid_is_flat_at_both_of_its_corners(a: float, want: float) -> None:
    check(lambda a, b, c: gw.hard_sigmoid(a, SLOPE), (a,), (want,))


PYTORCH: dict[str, tuple[Build, Callable[..., torch.Tensor], list[tuple[float, ...]]]] = {
    "relu": (lambda a, b, c: gw.relu(a), torch.relu, [(0.0,), (-0.0,), (1.0,), (-1.0,), (NAN,)]),
    "abs": (lambda a, b, c: gw.abs(a), torch.abs, [(0.0,), (-0.0,), (1.0,), (-1.0,)]),
    "sqrt": (lambda a, b, c: gw.sqrt(a), torch.sqrt, [(0.0,), (-1.0,), (4.0,)]),
    "maximum": (lambda a, b, c: gw.maximum(a, b), torch.maximum, [(1.0, 1.0), (0.0, -0.0), (1.0, 2.0), (2.0, 1.0)]),
    "minimum": (lambda a, b, c: gw.minimum(a, b), torch.minimum, [(1.0, 1.0), (0.0, -0.0), (1.0, 2.0), (2.0, 1.0)]),
    "hard_sigmoid": (
        lambda a, b, c: gw.hard_sigmoid_keras3(a),
        torch.nn.functional.hardsigmoid,
        [(-3.0,), (3.0,), (0.0,), (-4.0,), (4.0,)],
    ),
    "log": (lambda a, b, c: gw.log(a), torch.log, [(0.0,), (1.0,), (INF,)]),
    "division": (lambda a, b, c: a / b, torch.div, [(1.0, 0.0), (0.0, 0.0), (0.0, 2.0), (1.0, INF)]),
}


@pytest.mark.parametrize("name", PYTORCH)
def test_corners_are_those_of_pytorch(name: str) -> None:
    """To 1e-7: the slope of torch's hard sigmoid is 1/6 as a float32, in float64 too."""
    build, function, points = PYTORCH[name]
    for values in points:
        leaves = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in values]
        want = torch.autograd.grad(function(*leaves), leaves, torch.tensor(G, dtype=torch.float64))
        np.testing.assert_allclose(flows(build, values), [one.item() for one in want], rtol=1e-7, err_msg=f"{values}")
