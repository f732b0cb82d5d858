"""A clamped gate has its fixed value in the clamped units, and everything else follows from the cell's equations."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gatewright as gw
from gatewright.backends import numpy_ref
from gatewright.derive import vjp
from gatewright.trace import parse, to_text, trace_cell
from gatewright.trace.clamp import clamped_trace

STEPS, BATCH, FEATURES, UNITS = 4, 2, 3, 5
Array = np.ndarray[Any, Any]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def gru_by_hand(x: Array, p: dict[str, Array], clamp: Callable[[str, Array], Array]) -> Array:
    h, outputs = np.zeros((BATCH, UNITS)), []
    for step in x:
        r = clamp("r", sigmoid(step @ p["W.r"].T + h @ p["U.r"].T + p["b.r"]))
        z = clamp("z", sigmoid(step @ p["W.z"].T + h @ p["U.z"].T + p["b.z"]))
        n = clamp("n", np.tanh(step @ p["W.n"].T + (r * h) @ p["U.n"].T + p["b.n"]))
        h = z * h + (1 - z) * n
        outputs.append(h)
    return np.array(outputs)


def lstm_by_hand(x: Array, p: dict[str, Array], clamp: Callable[[str, Array], Array]) -> Array:
    h, c, outputs = np.zeros((BATCH, UNITS)), np.zeros((BATCH, UNITS)), []
    for step in x:
        i, f, o = (clamp(k, sigmoid(step @ p[f"W.{k}"].T + h @ p[f"U.{k}"].T + p[f"b.{k}"])) for k in "ifo")
        g = clamp("g", np.tanh(step @ p["W.g"].T + h @ p["U.g"].T + p["b.g"]))
        c = f * c + i * g
        h = o * np.tanh(c)
        outputs.append(h)
    return np.array(outputs)


CELLS = {"gru": gru_by_hand, "lstm": lstm_by_hand}


def parameters(trace: Any) -> dict[str, Array]:
    random, sizes = np.random.default_rng(1), {"hidden": UNITS, "input": FEATURES}
    values = {param.name: random.normal(size=[sizes[axis] for axis in param.shape]) for param in trace.params}
    for name in values:
        if name.startswith(("keep.", "set.")):
            values[name] = np.full(UNITS, float(name.startswith("keep.")))
    return values


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("value", [0.0, 1.0, 0.3])
def test_a_clamped_gate_is_that_of_a_loop_by_hand(cell: str, value: float) -> None:
    trace = clamped_trace(trace_cell(gw.cells.get(cell)))
    x = np.random.default_rng(2).normal(size=(STEPS, BATCH, FEATURES))
    for gate in (name for name, _ in trace.gates):
        values = parameters(trace)
        values[f"keep.{gate}"][2], values[f"set.{gate}"][2] = 0.0, value

        def clamp(name: str, computed: Array, gate: str = gate) -> Array:
            fixed = computed.copy()
            if name == gate:
                fixed[:, 2] = value
            return fixed

        run = numpy_ref.run(trace, {"x": x}, values)
        np.testing.assert_allclose(run.output, CELLS[cell](x, values, clamp), rtol=1e-12)
        np.testing.assert_array_equal(run.gates[gate][:, :, 2], np.full((STEPS, BATCH), value))


@pytest.mark.parametrize("cell", CELLS)
def test_without_a_clamp_nothing_changes(cell: str) -> None:
    plain = trace_cell(gw.cells.get(cell))
    trace = clamped_trace(plain)
    values = parameters(trace)
    own = {param.name: values[param.name] for param in plain.params}
    x = np.random.default_rng(2).normal(size=(STEPS, BATCH, FEATURES))
    np.testing.assert_array_equal(
        numpy_ref.run(trace, {"x": x}, values).output, numpy_ref.run(plain, {"x": x}, own).output
    )


@pytest.mark.parametrize("cell", gw.cells.CATALOGUE)
def test_every_cell_can_be_clamped_printed_and_differentiated(cell: str) -> None:
    plain = trace_cell(gw.cells.get(cell))
    trace = clamped_trace(plain)
    assert [name for name, _ in trace.gates] == [name for name, _ in plain.gates]
    assert parse(to_text(trace)) == trace
    assert vjp(trace).equations
