"""Names of kernels, numbers in their text, and what is known of padded lanes."""

import numpy as np
import pytest

import gatewright as gw
from gatewright.backends.triton.writer import KernelNames, KernelWriter, identifier, padded
from gatewright.lang.ops import Op
from gatewright.trace import Equation, Literal, Var, simplify, trace_cell
from tests.backends.triton.drawn import draw
from tests.backends.triton.loops import DOUBLE, loop_of
from tests.parity.assertions import assert_parity
from tests.parity.matrix import sizes_for
from tests.schedule.running import oracle

UNITS = ("hidden",)


@gw.cell
def named_like_a_kernel(x, h, W, U, b):
    """Values with names that a kernel has for its own variables, and numbers that float32 cannot hold."""
    rows = gw.sigmoid(W.r @ x + U.r @ h + b.r)
    tl = gw.maximum(W.t @ x + 0.1, rows - 0.3)
    step = gw.where(tl < 0.7, tl * 0.2, 0.6)
    hidden = gw.minimum(step, 0.9)
    return rows * h + hidden * gw.tanh(U.n @ (tl * h))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("W.r", "W_r"), ("h'", "h_new"), ("d(h)'", "d_h_new"), ("saved(r)", "saved_r"), ("%12", "v12"),
        ("%3+0.0", "v3_before"), ("%3+1.2", "v3_loop2"), ("h?", "h"), ("1x", "v_1x"),
    ],
)  # fmt: skip
def test_identifiers(name: str, expected: str) -> None:
    assert identifier(name) == expected


def test_no_two_values_have_one_name() -> None:
    names = KernelNames()
    assert [names.of(name) for name in ("W.r", "W_r", "W.r", "T", "lambda", "tl")] == [
        "W_r", "W_r_2", "W_r", "T_2", "lambda_2", "tl_2",
    ]  # fmt: skip


def test_a_cell_may_use_the_names_of_a_kernel(rng: np.random.Generator) -> None:
    step = simplify(trace_cell(named_like_a_kernel))
    given = draw(step, sizes_for(step), 3, 2, rng)
    _, results = loop_of(given, DOUBLE)
    assert_parity(results, oracle(given), dtype="float64", steps=3, width=256, cell=step.name, backend="triton")


@pytest.mark.parametrize(("size", "lanes"), [(1, 16), (16, 16), (17, 32), (64, 64), (65, 128)])
def test_axes_are_padded_to_powers_of_two(size: int, lanes: int) -> None:
    assert padded(size) == lanes


def tile_of(op: Op, *args: Var | Literal) -> float | None:
    """What is known of the padded lanes of a result: x is 0 there, s is a scalar of each row."""
    writer = KernelWriter({"hidden": 5})
    writer.tiles = {"x": writer.named("x", Var("x", UNITS)), "s": writer.named("s", Var("s", ()))}
    return writer.evaluated(Equation(Var("y", UNITS), op, args)).padding


def test_padded_lanes() -> None:
    x, s = Var("x", UNITS), Var("s", ())
    assert tile_of(Op.TANH, x) == 0.0
    assert tile_of(Op.SIGMOID, x) == 0.5
    assert tile_of(Op.DIV, Literal(1.0), x) is None
    assert tile_of(Op.MUL, x, s) is None  # the scalar may be infinite
    assert tile_of(Op.WHERE, s, x, x) is None
    assert tile_of(Op.WHERE, x, s, x) == 0.0
