"""The resident kernel of every kind of cell in Triton's interpreter, against the reference."""

import numpy as np
import pytest

from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.derive import vjp
from gatewright.schedule.plan import plan
from gatewright.schedule.residuals import save
from gatewright.trace import Trace, simplify, trace_cell
from tests.backends.triton.loops import DOUBLE, by_kernel
from tests.parity.assertions import assert_parity
from tests.parity.matrix import CELLS, SLICED, sizes_for
from tests.schedule.running import draw, oracle


def traces(name: str) -> dict[str, Trace]:
    """What is run of a cell: the step, the step that saves, its gradient, and the gradient of the gradient."""
    step = simplify(trace_cell(CELLS[name]))
    pair = save(step, (step.states[0].name,))
    gradient = vjp(step, outputs=[state.name for state in step.states])
    twice = vjp(gradient, outputs=[state.name for state in gradient.states])
    return {"step": step, "saving": pair.forward, "gradient": pair.backward, "twice": twice}


def check(
    trace: Trace, name: str, steps: int, batch: int, precision: KernelPrecision, rng: np.random.Generator
) -> None:
    """Hold a kernel to the reference."""
    given = draw(trace, sizes_for(trace), steps, batch, rng)
    assert_parity(
        by_kernel(given, plan(trace), precision), oracle(given), dtype=precision.numbers, steps=steps, width=256,
        cell=f"{name}: {trace.name}", backend="triton",
    )  # fmt: skip


@pytest.mark.parametrize("name", [name for name in CELLS if name not in SLICED])
def test_cells_in_double_precision(name: str, rng: np.random.Generator) -> None:
    for kind, trace in traces(name).items():
        if kind != "twice" or "(" not in name:
            check(trace, name, DOUBLE, rng)
