"""A Trace with sizes and a dtype, and all that is made from it once: its engines, and its gradient."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Literal

import torch

from gatewright.axes import bind
from gatewright.backends.llvm.emit.vector_type import PRODUCTS, Dtype, Products
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.backends.triton.newton import Newton
from gatewright.derive import vjp
from gatewright.errors import OptionError
from gatewright.nn.engine.schedules import gradient_program, planned, simplified, step_pair
from gatewright.schedule.narrow import Narrow, narrow_saved, stored_names
from gatewright.schedule.program import Program
from gatewright.schedule.residuals import StepPair
from gatewright.trace.ir import Trace
from gatewright.trace.mask import masked_trace

Names = frozenset[str]
EngineName = Literal["llvm", "triton"]
"""The code generator of the kernels: LLVM for a CPU, Triton for a GPU."""
OperandDtype = Products | Literal["float16", "tf32", "tf32x3"]
"""What operands of products are rounded to. float16 and the two forms of tf32 are for GPUs, int8 is for CPUs."""
OPERAND_DTYPES: tuple[OperandDtype, ...] = (*PRODUCTS, "float16", "tf32", "tf32x3")
DTYPES: Mapping[torch.dtype, Dtype] = {torch.float32: "float32", torch.float64: "float64"}


@dataclass(frozen=True, eq=False)
class Differentiable:
    """A Trace with sizes and a dtype, its direction in time, and everything that is made from it once.

    `products` is the dtype that operands of products are rounded to, in its derivatives too; see Engine. `engine` makes
    the kernels. With `newton`, Newton's iterations solve all steps at once, in its derivatives too.

    A gradient is taken by all results. Only by states at every step may there be nothing to take it by: `seeded` names
    those by which there is, and each set of them has a gradient of its own.
    """

    trace: Trace
    sizes: Mapping[str, int]
    dtype: torch.dtype
    backwards: bool = False
    products: OperandDtype = None
    engine: EngineName = "llvm"
    newton: Newton | None = None
    _engines: dict[Names, "GradientEngines"] = field(default_factory=dict[Names, "GradientEngines"])
    _gradients: dict[tuple[Names, Names], Engine] = field(default_factory=dict[tuple[Names, Names], Engine])
    _derived: dict[Names, "Differentiable"] = field(default_factory=dict[Names, "Differentiable"])

    @cached_property
    def inference(self) -> Engine:
        """The engine of a run that saves nothing."""
        return self._engine(planned(self.trace), backwards=self.backwards)

    @cached_property
    def output_state(self) -> Names:
        """The state that a layer emits, where a Trace has states: a forward run saves what the gradient by it alone
        needs."""
        return frozenset(state.name for state in self.trace.states[:1])

    def engines(self, seeded: Names) -> "GradientEngines":
        """The step that saves and its gradient, and the engine of that step."""
        if self.products == "int8":
            raise OptionError(
                "layers of weights in int8 have no gradients",
                expected="a call without gradients",
                do="train the model that was quantised, or call this one under torch.no_grad()",
            )
        if seeded not in self._engines:
            pair = self.pair(seeded)
            narrow = self._narrow(pair, seeded)
            program = planned(pair.forward)
            forward = self._engine(program, backwards=self.backwards, narrow=stored_names(pair, narrow))
            self._engines[seeded] = GradientEngines(pair, forward, narrow)
        return self._engines[seeded]

    def pair(self, seeded: Names) -> StepPair:
        """The step that saves, and its gradient by the states in `seeded`."""
        return step_pair(self.trace, self._in_order(seeded))

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
        trace = self.pair(seeded).backward
        key = (seeded, wanted.intersection(name for name, _ in (*trace.emits, *trace.sums)))
        if key not in self._gradients:
            program, narrow = self.gradient_program(*key), self.engines(seeded).narrow
            self._gradients[key] = self._engine(program, backwards=not self.backwards, narrow=narrow)
        return self._gradients[key]

    def gradient_program(self, seeded: Names, wanted: Names) -> Program:
        """The Program of the gradient without those of its results that are not `wanted`."""
        trace = self.pair(seeded).backward
        names = wanted.intersection(name for name, _ in (*trace.emits, *trace.sums))
        return gradient_program(self.trace, self._in_order(seeded), names)

    @property
    def whole_gradient(self) -> Engine:
        """The engine of the gradient by the output, with all of its results."""
        trace = self.engines(self.output_state).pair.backward
        return self.gradient(self.output_state, frozenset(name for name, _ in (*trace.emits, *trace.sums)))

    def derived(self, seeded: Names) -> "Differentiable":
        """The gradient, itself to be differentiated."""
        if seeded not in self._derived:
            gradient = vjp(self.trace, self._in_order(seeded))
            self._derived[seeded] = self.with_trace(gradient, backwards=not self.backwards)
        return self._derived[seeded]

    def with_trace(self, trace: Trace, *, backwards: bool) -> "Differentiable":
        """Another Trace with the same sizes, dtypes and engine."""
        return Differentiable(trace, self.sizes, self.dtype, backwards, self.products, self.engine, self.newton)

    @cached_property
    def masked(self) -> "Differentiable":
        """The same with a mask as an input: a row keeps its states where that is 0."""
        trace = masked_trace(self.trace)
        return differentiable(
            trace,
            self.sizes,
            self.dtype,
            backwards=self.backwards,
            products=self.products,
            engine=self.engine,
            newton=self.newton,
        )

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

    def _engine(self, program: Program, *, backwards: bool, narrow: Narrow | None = None) -> Engine:
        if self.products not in PRODUCTS:
            raise OptionError(
                f"products in {self.products} are not computed on a CPU",
                expected="None, 'bfloat16' or 'int8'",
                got=repr(self.products),
            )
        dtype = DTYPES[self.dtype]
        return Engine(program, self.sizes, dtype, backwards, products=self.products, narrow=narrow or {})


@dataclass(frozen=True, slots=True)
class GradientEngines:
    """A step that saves with its engine, and its gradient, which reads what was saved."""

    pair: StepPair
    forward: Engine
    narrow: Narrow  # of what was saved, in bfloat16


@lru_cache(maxsize=256)
def _differentiable(
    trace: Trace,
    sizes: tuple[tuple[str, int], ...],
    dtype: torch.dtype,
    backwards: bool,
    products: OperandDtype,
    engine: EngineName,
    newton: Newton | None,
) -> Differentiable:
    return Differentiable(simplified(trace), dict(sizes), dtype, backwards, products, engine, newton)


def differentiable(
    trace: Trace,
    sizes: Mapping[str, int],
    dtype: torch.dtype,
    *,
    backwards: bool = False,
    products: OperandDtype = None,
    engine: EngineName = "llvm",
    newton: Newton | None = None,
) -> Differentiable:
    """The one Differentiable of a trace, sizes, dtypes, direction in time and engine."""
    return _differentiable(trace, tuple(sorted(sizes.items())), dtype, backwards, products, engine, newton)


def sum_shape(spec: Differentiable, name: str) -> tuple[int, ...]:
    """The shape of a sum."""
    return bind(spec.trace.output_shape(name, dict(spec.trace.sums)[name]), spec.sizes)
