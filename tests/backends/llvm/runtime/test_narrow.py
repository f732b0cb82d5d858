"""Values that lie in memory as bfloat16: what a run stores there, and what another one reads."""

from dataclasses import replace

import numpy as np
import pytest

from gatewright import cells
from gatewright.backends.llvm.jit.target import target_named
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.schedule.narrow import Narrow, NarrowForm, narrow_saved, stored_names
from gatewright.schedule.plan import plan
from gatewright.schedule.residuals import StepPair, save
from gatewright.trace import trace_cell
from tests.backends.llvm.engines import leaves, results, run_by_name
from tests.backends.llvm.guarded import Guarded
from tests.backends.llvm.runtime.test_bfloat16 import TARGETS
from tests.backends.llvm.runtime.test_engine import given_for
from tests.schedule.running import Given, Results

SHAPES = ((3, 2, 5, 1), (2, 3, 4, 5), (3, 2, 5, 19), (2, 2, 7, 64))


def run(given: Given, target: str, narrow: Narrow) -> Results:
    engine = Engine(
        plan(given.trace), given.sizes, "float32", given.backwards, target_named(target), "bfloat16", narrow
    )
    arrays = Guarded("float32")
    found = results(given, *run_by_name(engine, arrays, given), "float32")
    arrays.check()
    return found


def rounded(numbers: np.ndarray, form: NarrowForm) -> np.ndarray:
    """The bits of the nearest bfloat16 numbers, ties to even."""
    values = numbers.astype(np.float32)
    bits = (np.float32(1) - values if form is NarrowForm.FROM_ONE else values).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def widened(halves: np.ndarray, form: NarrowForm) -> np.ndarray:
    values = (halves.astype(np.uint32) << 16).view(np.float32)
    return np.float32(1) - values if form is NarrowForm.FROM_ONE else values


def stored(halves: np.ndarray) -> np.ndarray:
    """An array of float32 that begins with the halves."""
    array = np.zeros(halves.shape, np.float32)
    array.reshape(-1).view(np.uint16)[: halves.size] = halves.reshape(-1)
    return array


def pair_of(name: str) -> tuple[StepPair, Narrow]:
    trace = trace_cell(cells.gru(reset="after") if name == "gru" else cells.CATALOGUE[name])
    pair = save(trace, (trace.states[0].name,))
    return pair, narrow_saved(pair, plan(pair.forward))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_a_run_stores_the_nearest_numbers(name: str, target: str, shape: tuple[int, int, int, int]) -> None:
    """All other results are the same bits as without, and nothing is written behind the halves."""
    pair, narrow = pair_of(name)
    given = given_for(pair.forward, shape)
    plain, got = run(given, target, {}), run(given, target, stored_names(pair, narrow))
    assert set(narrow.values()) == set(NarrowForm)
    for key, values in plain["emits"].items():
        if key in narrow:
            halves = got["emits"][key].reshape(-1).view(np.uint16)
            np.testing.assert_array_equal(halves[: values.size], rounded(values, narrow[key]).reshape(-1))
            assert np.isnan(got["emits"][key].reshape(-1)[-(values.size // 2) :]).all()
        else:
            np.testing.assert_array_equal(got["emits"][key], values)
    for key, values in plain["states"].items():
        np.testing.assert_array_equal(got["states"][key], values)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_a_gradient_reads_what_is_stored(name: str, target: str, shape: tuple[int, int, int, int]) -> None:
    """The same bits as from the same numbers in float32."""
    pair, narrow = pair_of(name)
    given = given_for(pair.backward, shape)
    halves = {key: rounded(given.inputs[key], form) for key, form in narrow.items()}
    wide = {key: widened(halves[key], form) for key, form in narrow.items()}
    plain = run(replace(given, inputs={**given.inputs, **wide}), target, {})
    packed = {key: stored(own) for key, own in halves.items()}
    got = run(replace(given, inputs={**given.inputs, **packed}), target, narrow)
    for ours, expected in zip(leaves(got), leaves(plain), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_the_key_says_what_is_narrow_and_how() -> None:
    pair, narrow = pair_of("lstm")
    given = given_for(pair.backward, (2, 2, 3, 4))
    others = [{}, narrow, dict.fromkeys(narrow, NarrowForm.VALUE)]
    keys = [Engine(plan(given.trace), given.sizes, "float32", products="bfloat16", narrow=own).key for own in others]
    assert len(set(keys)) == 3
