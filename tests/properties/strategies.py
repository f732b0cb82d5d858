"""Strategies of hypothesis: random cells over the whole op set, with arrays to run them on."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from hypothesis import note
from hypothesis import strategies as st

from gatewright.backends import numpy_ref
from gatewright.lang import Cell, masked, recurrent_dropout, residual, zoneout
from gatewright.lang.ops import Op
from gatewright.trace import Trace, trace_cell
from tests.properties.random_cells import LARGEST_SIZE, write_cell

Arrays = Mapping[str, np.ndarray]
VARIATIONS = (masked, residual, zoneout(0.25), recurrent_dropout(0.5), recurrent_dropout(0.5, per="step"))


@st.composite
def cells(draw, *, smooth: bool = False, varied: bool = True, lines: int = 8) -> Cell:
    """A cell of one to three states, vectors of two or three axes, scalars and matrices; every op may occur.

    `smooth` leaves out what has no derivative somewhere. `varied` may put a variation (masked, ...) around the cell.
    The source of a failing cell is printed.
    """
    source, cell = write_cell(draw, smooth=smooth, lines=lines)
    variation = draw(st.sampled_from([None, *VARIATIONS])) if varied else None
    note(f"{source}in {variation}" if variation else source)
    return variation(cell) if variation else cell


def traces(*, smooth: bool = False, varied: bool = True, lines: int = 8) -> st.SearchStrategy[Trace]:
    """The trace of a random cell."""
    return cells(smooth=smooth, varied=varied, lines=lines).map(trace_cell)


@dataclass(frozen=True, eq=False)
class Problem:
    """A trace with everything that is needed to run it. Sequences are (time, batch, features), in float64."""

    trace: Trace
    sizes: Mapping[str, int]
    inputs: Arrays
    params: Arrays
    states: Arrays
    noises: Arrays | None  # None: the cell is evaluated with their means

    def run(self, trace: Trace | None = None) -> numpy_ref.ReferenceRun:
        """What the reference makes of a trace, by default the problem's own, on these arrays."""
        return numpy_ref.run(trace or self.trace, self.inputs, self.params, self.states, noises=self.noises)


@st.composite
def problems(draw, *, smooth: bool = False, varied: bool = True, lines: int = 8, steps: int = 3) -> Problem:
    """A random cell's trace, sizes for its axes, and arrays of numbers from -1 to 1."""
    trace = draw(traces(smooth=smooth, varied=varied, lines=lines))
    sizes = draw(axis_sizes(trace))
    return problem(trace, sizes, draw(st.integers(0, 2**32 - 1)), steps, batch=draw(st.integers(1, 3)))


@st.composite
def axis_sizes(draw, trace: Trace) -> dict[str, int]:
    """A size for every axis; axes that the equations relabel have the same."""
    group = {axis: axis for axis in trace.axes()}
    for equation in trace.equations:
        if equation.op is Op.RELABEL:
            (before,), (after,) = equation.args[0].shape, equation.target.shape
            old, new = group[before], group[after]
            group = {axis: new if name == old else name for axis, name in group.items()}
    chosen = {name: draw(st.integers(1, LARGEST_SIZE)) for name in dict.fromkeys(group.values())}
    return {axis: chosen[name] for axis, name in group.items()}


def problem(trace: Trace, sizes: Mapping[str, int], seed: int, steps: int, batch: int) -> Problem:
    """A trace with arrays drawn from a seed."""
    generator = np.random.default_rng(seed)

    def uniform(shape: tuple[str, ...], *leading: int) -> np.ndarray:
        return generator.uniform(-1, 1, (*leading, *(sizes[axis] for axis in shape)))

    inputs = {value.name: uniform(value.shape, steps, batch) for value in trace.inputs}
    if "mask" in inputs:
        inputs["mask"] = (inputs["mask"] > 0).astype(np.float64)
    return Problem(
        trace=trace,
        sizes=sizes,
        inputs=inputs,
        params={value.name: uniform(value.shape) for value in trace.params},
        states={value.name: uniform(value.shape, batch) for value in trace.states},
        noises=numpy_ref.draw(trace, sizes, steps, batch, generator),
    )
