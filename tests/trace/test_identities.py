"""What ops give for numbers alone is what the reference gives."""

import itertools
import math

import numpy as np
import pytest

from gatewright.backends.numpy_ref import RULES
from gatewright.lang.ops import ELEMENTWISE, OPS, Op
from gatewright.trace.identities import fold

NUMBERS = (-700.0, -2.5, -1.0, -0.0, 0.0, 0.3, 1.0, 4.0, 700.0)
FOLDED = sorted(ELEMENTWISE - {Op.WHERE})  # `where` with a number as condition is one of its branches


@pytest.mark.parametrize("op", FOLDED)
def test_the_number_is_that_of_the_reference(op: Op) -> None:
    attrs = dict.fromkeys(OPS[op].attrs, 0.2)
    for numbers in itertools.product(NUMBERS, repeat=OPS[op].arity):
        with np.errstate(all="ignore"):
            want = float(RULES[op](*map(np.asarray, numbers), **attrs))
        got = fold(op, numbers, tuple(attrs.items()))
        if math.isfinite(want):
            assert got == pytest.approx(want, rel=1e-14, abs=0), numbers
        else:
            assert got is None, numbers


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_is_left_to_the_backend(number: float) -> None:
    assert fold(Op.SIGMOID, [number], ()) is None
    assert fold(Op.ADD, [1.0, number], ()) is None


@pytest.mark.parametrize("op", sorted(set(Op) - set(FOLDED)))
def test_other_ops_are_left_to_the_backend(op: Op) -> None:
    assert fold(op, [1.0] * OPS[op].arity, ()) is None
