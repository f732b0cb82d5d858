"""A Trace with sizes and a dtype, and all that is made from it once: its engines, and its gradient."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from gatewright.axes import bind
from gatewright.backends.llvm.emit.vector_type import Dtype
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.derive import vjp
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Program
from gatewright.schedule.residuals import StepPair, save
from gatewright.trace.ir import Trace
from gatewright.trace.mask import masked_trace
from gatewright.trace.simplify import simplify

DTYPES: Mapping[torch.dtype, Dtype] = {torch.float32: "float32", torch.float64: "float64"}


@dataclass(frozen=True, eq=False)
class Differentiable:
    """A Trace with sizes and a dtype, its direction in time, and everything that is made from it once."""

    trace: Trace
    sizes: Mapping[str, int]
    dtype: torch.dtype
    backwards: bool = False
    _pairs: dict[frozenset[str], "Halves"] = field(default_factory=dict[frozenset[str], "Halves"])
    _gradients: dict[tuple[frozenset[str], frozenset[str]], Engine] = field(
        default_factory=dict[tuple[frozenset[str], frozenset[str]], Engine]
    )
    _derived: dict[frozenset[str], "Differentiable"] = field(default_factory=dict[frozenset[str], "Differentiable"])

    @cached_property
    def alone(self) -> Engine:
        """The engine that saves nothing."""
        return self._engine(self.trace, backwards=self.backwards)

    @cached_property
    def first(self) -> frozenset[str]:
        """The state that a layer emits: the forward run saves what the gradient by it alone needs."""
        return frozenset({self.trace.states[0].name})

    def halves(self, seen: frozenset[str]) -> "Halves":
        """The engines of the step that saves, and of its gradient by the states in `seen`."""
        if seen not in self._pairs:
            pair = save(self.trace, self._in_order(seen))
            forward = self._engine(pair.forward, backwards=self.backwards)
            backward = self._engine(pair.backward, backwards=not self.backwards)
            self._pairs[seen] = Halves(pair, forward, backward)
        return self._pairs[seen]

    def gradient(self, seen: frozenset[str], wanted: frozenset[str]) -> Engine:
        """The engine of the gradient by the states in `seen`, of which only some results are wanted, by their names."""
        key = (seen, wanted)
        if key not in self._gradients:
            halves = self.halves(seen)
            trace = halves.pair.backward
            emits = tuple(one for one in trace.emits if one[0] in wanted)
            sums = tuple(one for one in trace.sums if one[0] in wanted)
            whole = len(emits) == len(trace.emits) and len(sums) == len(trace.sums)
            fewer = trace if whole else simplify(replace(trace, emits=emits, sums=sums))
            engine = halves.backward if whole else self._engine(fewer, backwards=not self.backwards)
            self._gradients[key] = engine
        return self._gradients[key]

    def derived(self, seen: frozenset[str]) -> "Differentiable":
        """The gradient by the states in `seen`, itself to be differentiated."""
        if seen not in self._derived:
            gradient = vjp(self.trace, self._in_order(seen))
            self._derived[seen] = Differentiable(gradient, self.sizes, self.dtype, not self.backwards)
        return self._derived[seen]

    @cached_property
    def masked(self) -> "Differentiable":
        """The same with a mask as an input: a row keeps its states where that is 0."""
        return differentiable(masked_trace(self.trace), self.sizes, self.dtype, backwards=self.backwards)

    @cached_property
    def given(self) -> tuple[str, ...]:
        """The names of all tensors that go in, in order: inputs with random values, parameters, states."""
        trace = self.trace
        random = (noise.var for noise in trace.noises)
        return tuple(value.name for value in (*trace.inputs, *random, *trace.params, *trace.states))

    @cached_property
    def results(self) -> tuple[str, ...]:
        """The names of all tensors that come out, in order: states, what is emitted, what is summed."""
        trace = self.trace
        return (*(v.name for v in trace.states), *(n for n, _ in trace.emits), *(n for n, _ in trace.sums))

    def _in_order(self, seen: frozenset[str]) -> tuple[str, ...]:
        return tuple(state.name for state in self.trace.states if state.name in seen)

    def _engine(self, trace: Trace, *, backwards: bool) -> Engine:
        return Engine(planned(trace), self.sizes, DTYPES[self.dtype], backwards)


@dataclass(frozen=True, slots=True)
class Halves:
    """A step that saves, and its gradient."""

    pair: StepPair
    forward: Engine
    backward: Engine


@lru_cache(maxsize=256)
def planned(trace: Trace) -> Program:
    """The Program of a trace that is simple already: made once for all sizes, dtypes and layers.

    Raises TraceError where there is none.
    """
    return plan(trace)


@lru_cache(maxsize=256)
def _differentiable(
    trace: Trace, sizes: tuple[tuple[str, int], ...], dtype: torch.dtype, backwards: bool
) -> Differentiable:
    return Differentiable(simplify(trace), dict(sizes), dtype, backwards)


def differentiable(
    trace: Trace, sizes: Mapping[str, int], dtype: torch.dtype, *, backwards: bool = False
) -> Differentiable:
    """The one Differentiable of a trace, sizes, dtype and direction in time."""
    return _differentiable(trace, tuple(sorted(sizes.items())), dtype, backwards)


def emit_shape(spec: Differentiable, name: str, like: Tensor) -> tuple[int, ...]:
    """The shape of an emitted sequence; `like` is a state at every time."""
    shape = spec.trace.output_shape(name, dict(spec.trace.emits)[name])
    return (like.shape[0] - 1, like.shape[1], *bind(shape, spec.sizes))


def sum_shape(spec: Differentiable, name: str) -> tuple[int, ...]:
    """The shape of a sum."""
    return bind(spec.trace.output_shape(name, dict(spec.trace.sums)[name]), spec.sizes)
