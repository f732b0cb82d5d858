"""A trace in simpler ops computes the same numbers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gatewright.backends.decompose import DECOMPOSITIONS, decompose
from gatewright.lang.ops import Op
from gatewright.trace import Trace
from tests.properties.strategies import Problem, problems, traces

SIMPLEST = frozenset(Op) - DECOMPOSITIONS.keys()
some_ops = st.sets(st.sampled_from(list(DECOMPOSITIONS))).map(lambda extra: SIMPLEST | extra)


@given(problems(smooth=True), some_ops)
def test_the_numbers_are_the_same(problem: Problem, ops: frozenset[Op]) -> None:
    got, want = problem.run(decompose(problem.trace, ops)), problem.run()
    for name, values in want.sequences.items():
        np.testing.assert_allclose(got.sequences[name], values, rtol=0, atol=1e-9, strict=True)


@given(traces(), some_ops)
def test_only_the_given_ops_are_left_and_all_else_stays(trace: Trace, ops: frozenset[Op]) -> None:
    result = decompose(trace, ops)
    assert {equation.op for equation in result.equations} <= ops
    assert list(result.leaves()) == list(trace.leaves())
    assert [name for name, _ in result.gates] == [name for name, _ in trace.gates]
    assert [name for name in _named(trace) if name not in _named(result)] == []


@given(traces())
def test_a_backend_with_every_op_changes_nothing(trace: Trace) -> None:
    assert decompose(trace, frozenset(Op)) is trace


def _named(trace: Trace) -> list[str]:
    return [equation.target.name for equation in trace.equations if not equation.target.name.startswith("%")]
