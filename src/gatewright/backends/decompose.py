"""Ops in terms of simpler ops, for backends that lack them. Written in the language itself, so every backend agrees.

The rules have no cycle: what a rule uses comes after it in the table, or has no rule. Of two numbers of which one
is not a number, `maximum` and `minimum` so made give the first.
"""

from collections.abc import Callable, Collection, Mapping

from gatewright.errors import TraceError
from gatewright.lang.functions import abs, exp, less, log, maximum, minimum, sigmoid, size, sum, where
from gatewright.lang.ops import Op
from gatewright.lang.symbol import Operand
from gatewright.trace.build import Replay, finish_trace
from gatewright.trace.ir import Trace

DECOMPOSITIONS: Mapping[Op, Callable[..., Operand]] = {
    Op.SOFTPLUS: lambda a: maximum(a, 0.0) + log(1.0 + exp(-abs(a))),
    Op.HARD_SIGMOID: lambda a, slope: minimum(maximum(slope * a + 0.5, 0.0), 1.0),
    Op.RELU: lambda a: maximum(a, 0.0),
    Op.TANH: lambda a: 2.0 * sigmoid(2.0 * a) - 1.0,
    Op.SIGMOID: lambda a: 1.0 / (1.0 + exp(-a)),
    Op.SQRT: lambda a: exp(0.5 * log(a)),
    Op.SIGN: lambda a: less(0.0, a) - less(a, 0.0),
    Op.ABS: lambda a: maximum(a, -a),
    Op.MINIMUM: lambda a, b: where(less(b, a), b, a),
    Op.MAXIMUM: lambda a, b: where(less(a, b), b, a),
    Op.MEAN: lambda a: sum(a) / size(a),
    Op.SUB: lambda a, b: a + -b,
    Op.NEG: lambda a: -1.0 * a,
}


def decompose(trace: Trace, ops: Collection[Op]) -> Trace:
    """The trace in nothing but the given ops, with the user's names and lines. Numbers may differ in their last bits.

    Raises TraceError where an op that is not given has no decomposition.
    """
    while lacking := {equation.op for equation in trace.equations} - set(ops):
        helpless = sorted(lacking - DECOMPOSITIONS.keys())
        if helpless:
            raise TraceError(
                f"trace {trace.name!r} uses `{helpless[0]}`, which cannot be made of the ops of this backend",
                expected=", ".join(sorted(ops)),
                got=", ".join(sorted({equation.op for equation in trace.equations})),
                do="choose another backend",
            )
        trace = _decomposed(trace, lacking)
    return trace


def _decomposed(trace: Trace, lacking: Collection[Op]) -> Trace:
    """The trace after one rule for each equation that needs one."""
    step = Replay(trace, trace.name, {op: DECOMPOSITIONS[op] for op in lacking})
    return finish_trace(
        step.tracer,
        trace.name,
        inputs=[step.leaves[value.name] for value in trace.inputs],
        states=[step.leaves[value.name] for value in trace.states],
        params=step.tracer.params.values(),
        next_states=step.operands(trace.next_states),
        emits=step.outputs(trace.emits),
        sums=step.outputs(trace.sums),
        gates={name: step.symbol(value) for name, value in trace.gates},
        order=trace.order,
    )
