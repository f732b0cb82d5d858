"""Kernels of random cells and of their gradients against the reference, with guarded memory."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright.derive import vjp
from gatewright.schedule.residuals import save
from gatewright.trace import Trace, simplify
from tests.backends.llvm.engines import On, check
from tests.properties.strategies import axis_sizes, traces
from tests.properties.test_schedule import plannable
from tests.schedule.running import draw

extents = st.tuples(st.integers(1, 3), st.integers(1, 7))
places = st.builds(On, st.sampled_from(["float32", "float64"]))


@settings(max_examples=30)
@given(traces(), extents, places, st.integers(0, 2**32 - 1), st.data())
def test_kernels_of_random_cells(trace: Trace, extent: tuple[int, int], on: On, seed: int, data: st.DataObject) -> None:
    rng, sizes = np.random.default_rng(seed), data.draw(axis_sizes(trace))
    pair = save(simplify(trace))
    chosen = data.draw(st.sampled_from([pair.forward, pair.backward, vjp(pair.backward)]))
    if plannable(chosen):
        check(draw(chosen, sizes, *extent, rng), on)
