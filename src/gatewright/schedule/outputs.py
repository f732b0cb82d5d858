"""The shapes of what a Trace gives out."""

import re

from gatewright.axes import Shape
from gatewright.trace.ir import Atom, Literal, Trace

_ADJOINT = re.compile(r"d\d*\((.+)\)")


def output_shape(trace: Trace, name: str, value: Atom) -> Shape:
    """The shape of an output for one row: that of the value, or, where a gradient is the plain number 0, that of the
    leaf that it is the gradient of."""
    of = _ADJOINT.fullmatch(name)
    if not isinstance(value, Literal) or of is None:
        return value.shape
    return next((leaf.shape for leaf in trace.leaves() if leaf.name == of.group(1)), ())
