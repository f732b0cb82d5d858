"""Layers that are prepared once give the reference's numbers, step after step."""

import numpy as np
import pytest

from gatewright import cells
from gatewright.backends.llvm.runtime.command_list import CommandList
from gatewright.backends.llvm.runtime.runner import ALIGNMENT
from gatewright.backends.numpy_ref import run
from gatewright.lang import layer_norm
from gatewright.stream.prepared_layer import Layer, PreparedLayer
from gatewright.trace import simplify, trace_cell
from tests.parity.assertions import assert_parity

SIZES = {"input": 5, "hidden": 11}
STEPS, BATCH = 6, 3


def layer_of(cell, rng: np.random.Generator, sizes=SIZES, below: np.ndarray | None = None):
    """A prepared layer, its trace and its parameters."""
    trace = simplify(trace_cell(cell))
    params = {p.name: rng.standard_normal([sizes[axis] for axis in p.shape]) / 3 for p in trace.params}
    return PreparedLayer(Layer(trace, params, sizes), np.dtype("float64"), BATCH, below), trace, params


def outputs(layers: list[PreparedLayer], xs: np.ndarray) -> np.ndarray:
    """What the last of several layers emits at every step."""
    commands = CommandList([call for layer in layers for call in layer.calls], keep_lock=True, keep=layers)
    emitted: list[np.ndarray] = []
    for x in xs:
        layers[0].input[0] = x
        commands.perform()
        emitted.append(layers[-1].output[0].copy())
    return np.stack(emitted)


@pytest.mark.parametrize("cell", [cells.gru, layer_norm(cells.lstm), cells.mingru], ids=lambda cell: cell.label)
def test_steps_are_those_of_the_reference(cell, rng: np.random.Generator) -> None:
    layer, trace, params = layer_of(cell, rng)
    xs = rng.standard_normal((STEPS, BATCH, 5))
    got = outputs([layer], xs)
    want = run(trace, {"x": xs}, params)
    finals = {name: whole[0] for name, whole in layer.states.items()}
    assert_parity((got, finals), (want.output, want.finals), dtype="float64", steps=STEPS, width=256)


def test_a_layer_reads_what_another_gives(rng: np.random.Generator) -> None:
    lower, lower_trace, lower_params = layer_of(cells.gru, rng)
    sizes = {"input": SIZES["hidden"], "hidden": 4}
    upper, trace, params = layer_of(cells.elman, rng, sizes=sizes, below=lower.output)
    xs = rng.standard_normal((STEPS, BATCH, 5))
    want = run(trace, {"x": run(lower_trace, {"x": xs}, lower_params).output}, params)
    assert_parity(outputs([lower, upper], xs), want.output, dtype="float64", steps=2 * STEPS)


def test_memory_begins_with_a_line_of_the_cache(rng: np.random.Generator) -> None:
    layer, _, _ = layer_of(cells.lstm, rng)
    assert all(array.ctypes.data % ALIGNMENT == 0 for array in (layer.input, *layer.states.values()))


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((1, BATCH, 5), "float32"), np.zeros((1, BATCH, 4)), np.zeros((1, BATCH, 10))[:, :, ::2]],
    ids=["dtype", "shape", "apart"],
)
def test_memory_that_kernels_would_misread_is_not_taken(wrong: np.ndarray, rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError):
        layer_of(cells.gru, rng, below=wrong)
