"""Sums of outer products over rows, in panels of the left operand and without, against the float64 reference."""

import numpy as np
import pytest
import torch

import gatewright as gw
from gatewright.backends.llvm.jit.target import runnable, target_named
from gatewright.schedule.residuals import save
from gatewright.trace import parse
from tests.backends.llvm.engines import On, check, engine
from tests.schedule.running import Given, draw

LINEAR = """gatewright-trace 1
cell "linear"
input x(input)
param W(output, input)
  y(output) = matmul W x
emit y = y
end
"""
LARGE = [(1025, 16), (1031, 3), (1100, 45), (2051, 33)]
"""Outputs and inputs: a row behind the last tile, less than a vector, less than half a vector and more behind whole
ones."""


def gradient_of_linear(outputs: int, inputs: int, rows: int) -> Given:
    trace = save(parse(LINEAR)).backward
    return draw(trace, {"output": outputs, "input": inputs}, 1, rows, np.random.default_rng(rows))


def check_sums(given: Given, on: On) -> None:
    """The reference runs recurrent steps alone, so this is plain NumPy in float64."""
    flow, x = given.inputs["d(y.out)"][0], given.inputs["x"][0]
    emits, sums = {"d(x)": (flow @ given.params["W"])[None]}, {"d(W)": flow.T @ x}
    check(given, on, {"states": {}, "emits": emits, "sums": sums})


def layout(given: Given, on: On) -> str:
    return engine(given, on).kernels(1, given.batch)[0].layout


@pytest.mark.parametrize(("outputs", "inputs"), LARGE)
@pytest.mark.parametrize("on", [On(), On("float64"), On(products="bfloat16")], ids=["float32", "float64", "bfloat16"])
def test_panels_of_any_size(outputs: int, inputs: int, on: On) -> None:
    for rows in (1, 7, 128, 300):
        given = gradient_of_linear(outputs, inputs, rows)
        assert "in panels of" in layout(given, on)
        check_sums(given, on)


@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3", "x86-64-v4", "neon"])
def test_panels_on_kinds_of_processors(target: str) -> None:
    if not runnable(target_named(target)):
        pytest.skip(f"this machine does not run code for {target}")
    check_sums(gradient_of_linear(1031, 21, 130), On(target=target))


@pytest.mark.parametrize("inputs", [1, 2, 4, 7, 8, 9, 15, 17, 24, 25, 33])
def test_columns_behind_whole_vectors(inputs: int) -> None:
    for on in (On(), On("float64"), On(products="bfloat16")):
        given = gradient_of_linear(19, inputs, 9)
        assert "in panels of" not in layout(given, on)
        check_sums(given, on)


@pytest.mark.parametrize("lengths", [None, [9, 4, 0, 7, 1]], ids=["whole", "ragged"])
def test_panels_of_a_layer_on_threads(lengths: list[int] | None) -> None:
    def gradients(backend: str, threads: int) -> list[torch.Tensor]:
        torch.manual_seed(0)
        layer = gw.nn.Recurrent("elman", 3, 1030, backend=backend)
        x = torch.randn(9, 5, 3)
        gw.set_num_threads(threads)
        try:
            output, _ = layer(x, lengths=None if lengths is None else torch.tensor(lengths))
            output.square().sum().backward()
        finally:
            gw.set_num_threads(None)
        return [parameter.grad for parameter in layer.parameters() if parameter.grad is not None]

    one, two, expected = gradients("llvm", 1), gradients("llvm", 2), gradients("torch", 1)
    assert len(one) == len(expected) > 2
    for own, shared, want in zip(one, two, expected, strict=True):
        assert torch.equal(own, shared)
        torch.testing.assert_close(own, want, rtol=1e-4, atol=1e-4 * float(want.abs().max()))
