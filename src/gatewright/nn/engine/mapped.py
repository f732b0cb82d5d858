"""torch.func.vmap over a sequence: one more axis over its operands.

If the parameters are shared, the axis is folded into the batch: one run, whatever the size of the axis. Sums over rows
are then needed separately for every element: the run emits the factors of each sum at every step instead, which takes
as much memory again as the states of a gradient, and the sums are batched matrix products. If the axis is in a
parameter (an ensemble), there is one run for each element.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from gatewright.axes import bind
from gatewright.backends.base import execute, prepare
from gatewright.backends.torch_rules import rules
from gatewright.nn.engine.backward import Run
from gatewright.nn.engine.differentiable import Differentiable, sum_shape
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Program, RowSum
from gatewright.trace.ir import Literal

Dims = Sequence[int | None]


def mapped(
    run: Run, spec: Differentiable, count: int, dims: Dims, tensors: Sequence[Tensor]
) -> tuple[list[Tensor], list[int]]:
    """The results for an axis of `count` elements that is at `dims` of `tensors`, and its place in each result.

    `tensors` are in the order of `spec.operands`, results in that of `spec.results`. `run` runs a spec
    without the axis.
    """
    values = dict(zip(spec.operands, tensors, strict=True))
    places = dict(zip(spec.operands, dims, strict=True))
    if any(places[param.name] is not None for param in spec.trace.params):
        results = _one_by_one(run, spec, count, places, values)
        return [results[name] for name in spec.results], [0] * len(spec.results)
    results = _folded(run, spec, count, places, values)
    sums = {name for name, _ in spec.trace.sums}
    return [results[name] for name in spec.results], [0 if name in sums else 1 for name in spec.results]


def _one_by_one(
    run: Run, spec: Differentiable, count: int, places: Mapping[str, int | None], values: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    def element(index: int) -> dict[str, Tensor]:
        return {n: v if (place := places[n]) is None else v.select(place, index) for n, v in values.items()}

    runs = [run(spec, element(index)) for index in range(count)]
    return {name: torch.stack([results[name] for results in runs]) for name in spec.results}


def _folded(
    run: Run, spec: Differentiable, count: int, places: Mapping[str, int | None], values: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    params = {param.name for param in spec.trace.params}
    states = {state.name for state in spec.trace.states}

    def fold(name: str) -> Tensor:
        return _fold(values[name], places[name], count, 0 if name in states else 1)

    unsummed = _unsummed(spec)
    folded = {name: values[name] if name in params else fold(name) for name in spec.operands}
    rows = folded[spec.trace.inputs[0].name].shape[1] // count
    results = run(unsummed.spec, {name: folded[name] for name in unsummed.spec.operands})
    unfolded = {name: result.unflatten(1, (count, rows)) for name, result in results.items()}
    return unfolded | unsummed.sums(unfolded, folded, count)


def _fold(tensor: Tensor, place: int | None, count: int, axis: int) -> Tensor:
    """A tensor with the axis of vmap as a part of its axis of rows."""
    if place is not None:
        return tensor.movedim(place, axis).flatten(axis, axis + 1)
    wide = tensor.unsqueeze(axis)
    return wide.expand(*wide.shape[:axis], count, *wide.shape[axis + 1 :]).flatten(axis, axis + 1)


@dataclass(frozen=True, slots=True)
class _Unsummed:
    """A step without sums over rows: it emits their factors."""

    spec: Differentiable
    whole: Differentiable
    program: Program  # of the whole

    def sums(self, sequences: Mapping[str, Tensor], params: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
        """The sums of every element, (count, ...), from sequences (time, count, batch, ...)."""
        if not self.whole.trace.sums:
            return {}
        like = next(iter(sequences.values()))
        fixed: dict[str, Any] = {param.name: params[param.name] for param in self.whole.trace.params}
        self._compute(self.program.prologue, fixed, like)
        rows = {row_sum.target.name: _sum_rows(row_sum, sequences) for row_sum in self.program.row_sums}
        elements = [
            self._sums_of_element({**fixed, **{n: v[index] for n, v in rows.items()}}, like) for index in range(count)
        ]
        return {name: torch.stack([sums[name] for sums in elements]) for name, _ in self.whole.trace.sums}

    def _sums_of_element(self, values: dict[str, Any], like: Tensor) -> dict[str, Tensor]:
        self._compute(self.program.epilogue, values, like)
        return {
            name: like.new_full(sum_shape(self.whole, name), value.value)
            if isinstance(value, Literal)
            else values[value.name].reshape(bind(value.shape, self.whole.sizes))
            for name, value in self.program.sums
        }

    def _compute(self, equations: Sequence[Any], values: dict[str, Any], like: Tensor) -> None:
        if equations:
            execute(prepare(equations, rules(like), self.whole.sizes), values)


@lru_cache(maxsize=256)
def _unsummed(spec: Differentiable) -> _Unsummed:
    program = plan(spec.trace)
    values = (value for row_sum in program.row_sums for value in (row_sum.left, row_sum.right))
    factors = {value.name: value for value in values if value is not None}
    emits = (*spec.trace.emits, *((_factor(name), value) for name, value in factors.items()))
    trace = replace(spec.trace, emits=emits, sums=())
    return _Unsummed(spec.with_trace(trace, backwards=spec.backwards), spec, program)


def _factor(name: str) -> str:
    """The name under which a factor is emitted."""
    return f"factor({name})"


def _sum_rows(row_sum: RowSum, sequences: Mapping[str, Tensor]) -> Tensor:
    left = sequences[_factor(row_sum.left.name)]
    if row_sum.right is None:
        return left.sum((0, 2))
    return torch.einsum("tnbi,tnbj->nij", left, sequences[_factor(row_sum.right.name)])
