"""A Trace with sizes and a dtype, and all that is made from it once: its engines, and its gradient."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import torch

from gatewright.axes import bind
from gatewright.backends.llvm.emit.vector_type import Dtype, Products
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.derive import vjp
from gatewright.errors import OptionError
from gatewright.schedule.narrow import Narrow, narrow_saved, stored_names
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Program
from gatewright.schedule.residuals import StepPair, save
from gatewright.trace.ir import Trace
from gatewright.trace.mask import masked_trace
from gatewright.trace.simplify import simplify

Names = frozenset[str]
DTYPES: Mapping[torch.dtype, Dtype] = {torch.float32: "float32", torch.float64: "float64"}


@dataclass(frozen=True, eq=False)
class Differentiable:
    """A Trace with sizes and a dtype, its direction in time, and everything that is made from it once.

    `products` is the dtype that operands of products are rounded to, in its derivatives too; see Engine.

    A gradient is taken by all results. Only by states at every step may there be nothing to take it by: `seeded` names
    those by which there is, and each set of them has a gradient of its own.
    """

    trace: Trace
    sizes: Mapping[str, int]
    dtype: torch.dtype
    backwards: bool = False
    products: Products = None
    _engines: dict[Names, "GradientEngines"] = field(default_factory=dict[Names, "GradientEngines"])
    _gradients: dict[tuple[Names, Names], Engine] = field(default_factory=dict[tuple[Names, Names], Engine])
    _derived: dict[Names, "Differentiable"] = field(default_factory=dict[Names, "Differentiable"])

    @cached_property
    def inference(self) -> Engine:
        """The engine of a run that saves nothing."""
        return self._engine(self.trace, backwards=self.backwards)

    @cached_property
    def output_state(self) -> Names:
        """The state that a layer emits, where a Trace has states: a forward run saves what the gradient by it alone
        needs."""
        return frozenset(state.name for state in self.trace.states[:1])

    def engines(self, seeded: Names) -> "GradientEngines":
        """The engines of the step that saves, and of its gradient."""
        if self.products == "int8":
            raise OptionError(
                "layers of weights in int8 have no gradients",
                expected="a call without gradients",
                do="train the model that was quantised, or call this one under torch.no_grad()",
            )
        if seeded not in self._engines:
            pair = save(self.trace, self._in_order(seeded))
            narrow = self._narrow(pair, seeded)
            forward = self._engine(pair.forward, backwards=self.backwards, narrow=stored_names(pair, narrow))
            backward = self._engine(pair.backward, backwards=not self.backwards, narrow=narrow)
            self._engines[seeded] = GradientEngines(pair, forward, backward, narrow)
        return self._engines[seeded]

    @property
    def narrow_values(self) -> Narrow:
        """The values of a step that lie in memory as bfloat16 until the gradient by the output reads them."""
        return self.engines(self.output_state).forward.narrow

    def _narrow(self, pair: StepPair, seeded: Names) -> Narrow:
        """The saved values that lie in memory as bfloat16: for other gradients, those of the one by the output."""
        if self.products != "bfloat16":
            return {}
        narrow = narrow_saved(pair, planned(pair.forward))
        if seeded == self.output_state:
            return narrow
        kept = self.engines(self.output_state).narrow
        return {name: form for name, form in narrow.items() if kept.get(name) is form}

    def gradient(self, seeded: Names, wanted: Names) -> Engine:
        """The engine of the gradient without those of its results that are not `wanted`."""
        key = (seeded, wanted)
        if key not in self._gradients:
            engines = self.engines(seeded)
            trace = engines.pair.backward
            emits = tuple((name, value) for name, value in trace.emits if name in wanted)
            sums = tuple((name, value) for name, value in trace.sums if name in wanted)
            if len(emits) == len(trace.emits) and len(sums) == len(trace.sums):
                engine = engines.backward
            else:
                fewer = simplify(replace(trace, emits=emits, sums=sums))
                engine = self._engine(fewer, backwards=not self.backwards, narrow=engines.narrow)
            self._gradients[key] = engine
        return self._gradients[key]

    def derived(self, seeded: Names) -> "Differentiable":
        """The gradient, itself to be differentiated."""
        if seeded not in self._derived:
            gradient = vjp(self.trace, self._in_order(seeded))
            self._derived[seeded] = Differentiable(gradient, self.sizes, self.dtype, not self.backwards, self.products)
        return self._derived[seeded]

    @cached_property
    def masked(self) -> "Differentiable":
        """The same with a mask as an input: a row keeps its states where that is 0."""
        trace = masked_trace(self.trace)
        return differentiable(trace, self.sizes, self.dtype, backwards=self.backwards, products=self.products)

    @cached_property
    def operands(self) -> tuple[str, ...]:
        """The names of all operands in order: inputs with random values, parameters, states."""
        trace = self.trace
        random = (noise.var for noise in trace.noises)
        return tuple(value.name for value in (*trace.inputs, *random, *trace.params, *trace.states))

    @cached_property
    def results(self) -> tuple[str, ...]:
        """The names of all results in order: states, what is emitted, what is summed."""
        trace = self.trace
        return (*(v.name for v in trace.states), *(n for n, _ in trace.emits), *(n for n, _ in trace.sums))

    def _in_order(self, seeded: Names) -> tuple[str, ...]:
        return tuple(state.name for state in self.trace.states if state.name in seeded)

    def _engine(self, trace: Trace, *, backwards: bool, narrow: Narrow | None = None) -> Engine:
        dtype = DTYPES[self.dtype]
        return Engine(planned(trace), self.sizes, dtype, backwards, products=self.products, narrow=narrow or {})


@dataclass(frozen=True, slots=True)
class GradientEngines:
    """A step that saves, and its gradient, which reads what was saved."""

    pair: StepPair
    forward: Engine
    backward: Engine
    narrow: Narrow  # of what was saved, in bfloat16


@lru_cache(maxsize=256)
def planned(trace: Trace) -> Program:
    """The Program of a trace that is simple already: made once for all sizes, dtypes and layers.

    Raises TraceError where there is none.
    """
    return plan(trace)


@lru_cache(maxsize=256)
def _differentiable(
    trace: Trace, sizes: tuple[tuple[str, int], ...], dtype: torch.dtype, backwards: bool, products: Products
) -> Differentiable:
    return Differentiable(simplify(trace), dict(sizes), dtype, backwards, products)


def differentiable(
    trace: Trace,
    sizes: Mapping[str, int],
    dtype: torch.dtype,
    *,
    backwards: bool = False,
    products: Products = None,
) -> Differentiable:
    """The one Differentiable of a trace, sizes, dtypes and direction in time."""
    return _differentiable(trace, tuple(sorted(sizes.items())), dtype, backwards, products)


def sum_shape(spec: Differentiable, name: str) -> tuple[int, ...]:
    """The shape of a sum."""
    return bind(spec.trace.output_shape(name, dict(spec.trace.sums)[name]), spec.sizes)
