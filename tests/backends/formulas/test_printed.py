"""What is printed computes what the reference computes: equations and gradients are read back from their text."""

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from gatewright import cells, lang
from gatewright.backends import numpy_ref
from gatewright.backends.formulas import unicode
from gatewright.lang import Cell
from gatewright.trace import trace_cell
from tests.backends.formulas.printed import Printed
from tests.parity.assertions import assert_parity
from tests.properties.random_cells import write_cell

STEPS = 3
SIZES = {"hidden": 3, "input": 2, "projection": 4, "context": 4, "input_rank": 2, "hidden_rank": 2}
EQUAL = dict.fromkeys(SIZES, 3)
CLOSE = {"dtype": "float64", "steps": STEPS, "scale": 10.0}  # numbers are printed with 15 digits, not with 17
GRU, LSTM = cells.get("gru"), cells.get("lstm")
VARIED: tuple[Cell, ...] = (
    GRU(reset="after"),
    GRU(gate=lang.hard_sigmoid_theano),
    lang.layer_norm(GRU),
    lang.masked(LSTM),
    lang.zoneout({"c": 0.5, "h": 0.05})(LSTM),
    lang.recurrent_dropout(0.25)(GRU),
    lang.recurrent_dropout(0.5, per="step")(cells.get("elman")),
    lang.residual(GRU),
    lang.layer_norm(lang.zoneout(0.1)(LSTM)),
)


def check_what_is_printed(cell: Cell, sizes: dict[str, int], rng: np.random.Generator) -> None:
    trace = trace_cell(cell)
    sizes = {axis: sizes.get(axis, 3) for axis in (*trace.axes(), "hidden", "input")}
    printed = Printed(trace, sizes)
    inputs = {leaf.name: rng.normal(size=(STEPS, *printed.shape(leaf.name))) for leaf in trace.inputs}
    if "mask" in inputs:
        inputs["mask"] = np.array([1.0, 0.0, 1.0])
    params = {leaf.name: rng.normal(size=printed.shape(leaf.name)) for leaf in trace.params}
    states = {leaf.name: rng.normal(size=printed.shape(leaf.name)) for leaf in trace.states}
    noises = numpy_ref.draw(trace, sizes, STEPS, 1, rng)
    seeds = {trace.states[0].name: rng.normal(size=(STEPS, *printed.shape(trace.states[0].name)))}
    finals = {leaf.name: rng.normal(size=printed.shape(leaf.name)) for leaf in trace.states}

    batch = {name: array[:, None] for name, array in inputs.items()}
    first = {name: array[None] for name, array in states.items()}
    want = numpy_ref.run(trace, batch, params, first, noises=noises)
    grad = numpy_ref.gradient(
        trace,
        batch,
        params,
        first,
        d_outputs={name: array[:, None] for name, array in seeds.items()},
        d_finals={name: array[None] for name, array in finals.items()},
        noises=noises,
    )
    steps = printed.run(inputs, params, states, {name: array[:, 0] for name, array in noises.items()})
    got = {s: np.stack([printed.whole(step[printed.now[s]], s) for step in steps])[:, None] for s in states}
    assert_parity(got, want.sequences, backend="the printed equations", cell=cell.label, **CLOSE)
    of_inputs, of_states, of_params = printed.gradient(steps, seeds, finals)
    assert_parity(
        {
            "inputs": {name: array[:, None] for name, array in of_inputs.items()},
            "states": {name: array[None] for name, array in of_states.items()},
            "params": of_params,
        },
        {"inputs": grad.inputs, "states": grad.states, "params": grad.params},
        backend="the printed gradient",
        cell=cell.label,
        **CLOSE,
    )


@pytest.mark.parametrize("name", cells.CATALOGUE)
def test_a_printed_cell_computes_what_the_cell_does(name: str, rng: np.random.Generator) -> None:
    check_what_is_printed(cells.get(name), SIZES, rng)


@pytest.mark.parametrize("cell", VARIED, ids=lambda cell: cell.label)
def test_a_printed_variation_computes_what_it_does(cell: Cell, rng: np.random.Generator) -> None:
    check_what_is_printed(cell, EQUAL if "residual" in cell.name else SIZES, rng)


@settings(max_examples=60)
@given(st.data())
def test_any_printed_cell_computes_what_it_does(data: st.DataObject) -> None:
    source, cell = write_cell(data.draw, smooth=False, lines=6)
    note(source)
    note(unicode.equations(trace_cell(cell)))
    note(unicode.gradient(trace_cell(cell)))
    check_what_is_printed(cell, EQUAL, np.random.default_rng(0))
