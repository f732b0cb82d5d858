"""A Trace made ready for a Scan: evaluated, in the ops of a type, with as much as possible moved out of the loop."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

from gatewright.backends.decompose import decompose
from gatewright.errors import OptionError
from gatewright.lang.ops import Op
from gatewright.schedule.gather import gather
from gatewright.schedule.passes import phases
from gatewright.schedule.program import Product, Reduction, Scan, Work
from gatewright.schedule.scan import ScannedStates
from gatewright.trace.analysis import shared
from gatewright.trace.check import check
from gatewright.trace.ir import Equation, Literal, Trace, Var
from gatewright.trace.mask import MASK
from gatewright.trace.simplify import substitute, without_chance


@lru_cache(maxsize=64)
def evaluated(trace: Trace) -> Trace:
    """The trace as a trained layer runs it: random values are their means, and every step is taken.

    Raises OptionError for a further input of the cell, of which a layer knows nothing.
    """
    first, *further = trace.inputs
    unknown = next((leaf for leaf in further if leaf.name != MASK), None)
    if unknown is not None:
        raise OptionError(
            f"cell {trace.name!r} has an input that a layer does not know",
            expected=f"{first.name} or {MASK}",
            got=unknown.name,
        )
    every_step = {leaf.name: Literal(1.0) for leaf in further}
    return replace(substitute(without_chance(trace), every_step), inputs=(first,))


def regrouped(trace: Trace, ops: Collection[Op]) -> Trace:
    """The trace in the given ops, with sums taken apart by when their terms are known: `W @ x + U @ h + b` becomes
    `(W @ x + b)`, which is for all steps at once, and `U @ h` added to it in the loop.

    A trace that computes with matrices of single rows keeps its sums.
    """
    trace = replace(decompose(trace, ops), gates=())
    once = shared(trace)
    if any(len(equation.target.shape) > 1 and equation.target.name not in once for equation in trace.equations):
        return trace
    transposed = {
        equation.args[0].name: equation.target.name
        for equation in trace.equations
        if equation.op is Op.TRANSPOSE and isinstance(equation.args[0], Var) and equation.target.name in once
    }
    matrices = {value.name: value for value in trace.values()}
    # Products of inputs are gathered into one sum that needs no state, so that it is computed before the loop.
    gathered = gather(trace, trace.next_states, phases(ScannedStates(trace)))
    equations = [equation for equation in trace.equations if equation.target.name in once]
    for work in gathered.works:
        equations += _equations(work, matrices, transposed)
    result = replace(trace, equations=tuple(equations))
    check(result)
    return result


def _equations(work: Work, matrices: Mapping[str, Var], transposed: Mapping[str, str]) -> Iterator[Equation]:
    if isinstance(work, Equation):
        yield work
    elif isinstance(work, Reduction):
        yield Equation(work.target, work.op, (work.vector,))
    elif isinstance(work, Product):
        yield from _sum_of_products(work, matrices, transposed)
    else:
        assert not isinstance(work, Scan), "scans are a choice that is not made here"


def _sum_of_products(work: Product, matrices: Mapping[str, Var], transposed: Mapping[str, str]) -> Iterator[Equation]:
    total: Var | None = None
    last = len(work.terms) - 1
    for index, term in enumerate(work.terms):
        matrix = matrices[transposed[term.matrix] if term.transposed else term.matrix]
        product = Var(f"{work.target.name}@{index}", work.target.shape) if last else work.target
        yield Equation(product, Op.MATMUL, (matrix, term.vector))
        if total is None:
            total = product
        else:
            summed = work.target if index == last else Var(f"{work.target.name}@+{index}", work.target.shape)
            yield Equation(summed, Op.ADD, (total, product))
            total = summed
