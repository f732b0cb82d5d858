"""The random cells are what they are said to be: they reach every op, and their numbers stay small."""

from collections import Counter

import numpy as np
from hypothesis import given, settings

from gatewright.lang.ops import Op
from gatewright.trace import check
from tests.properties.random_cells import LARGEST
from tests.properties.strategies import Problem, problems, traces


def test_every_op_occurs() -> None:
    seen: Counter[Op] = Counter()

    @settings(max_examples=300)
    @given(traces())
    def collect(trace) -> None:
        check(trace)
        seen.update(equation.op for equation in trace.equations)

    collect()
    assert set(Op) - set(seen) == set()


@given(problems(lines=12))
def test_numbers_stay_small(problem: Problem) -> None:
    result = problem.run()
    for values in (result.output, *result.sequences.values()):
        assert np.abs(values).max(initial=0.0) <= LARGEST
