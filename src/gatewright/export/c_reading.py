"""What a C file computes, by the NumPy reference in double precision; and what whole numbers as weights cost."""

from typing import Any

import numpy as np

from gatewright.axes import bind
from gatewright.backends import numpy_ref
from gatewright.backends.c99.parts import CellStack, Constant
from gatewright.int8 import Loss, Quantised
from gatewright.network.part import Array

STEPS, ROWS = 200, 8


def run(stack: CellStack, inputs: Array) -> Array:
    """The outputs (time, batch, features) for numbers (time, batch, features) or symbols (time, batch)."""
    values = _read(stack, inputs)
    for part in stack.parts:
        constants = {name: _array(constant) for name, constant in part.constants.items()}
        batch = values.shape[1]
        states = {s.name: np.zeros((batch, *bind(s.shape, part.sizes))) for s in part.trace.states}
        values = numpy_ref.run(part.trace, {part.trace.inputs[0].name: values}, constants, states).output
    return values


def loss(exact: CellStack, coarse: CellStack, sample: Array | None) -> Loss:
    """Compare two stacks, on a sample (time, batch, ...) or on random inputs."""
    inputs = drawn(exact) if sample is None else sample
    want, got = run(exact, inputs), run(coarse, inputs)
    return Loss.between(want, got, "random inputs" if sample is None else "the sample")


def drawn(stack: CellStack) -> Array:
    """Random inputs: each symbol as probable as the others; numbers of mean 0 and deviation 1, or as standardised."""
    generator = np.random.default_rng(0)
    if stack.symbols:
        return generator.integers(0, stack.symbols.count, (STEPS, ROWS))
    first = stack.parts[0]
    numbers = generator.standard_normal((STEPS, ROWS, first.input_size))
    if {"mean", "deviation"} == set(first.constants):
        return _array(first.constants["mean"]) + _array(first.constants["deviation"]) * numbers
    return numbers


def _read(stack: CellStack, inputs: Array) -> Array:
    if stack.symbols is None:
        return np.asarray(inputs, np.float64)
    table = stack.symbols.table
    return np.eye(stack.symbols.count)[inputs] if table is None else _array(table)[inputs]


def _array(constant: Constant) -> Array:
    whole: Any = constant.matrix() if isinstance(constant, Quantised) else constant
    return np.asarray(whole, np.float64)
