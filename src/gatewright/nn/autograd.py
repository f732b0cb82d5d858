"""Autograd over the compiled engine: a Trace over a sequence as one differentiable operation.

The gradient of a sequence is a sequence run the other way, so that it is the same operation with another Trace, and
can be differentiated again. Where nobody asks for that, the gradient is run with what the forward run has saved.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import (  # pyright: ignore[reportMissingImports]
    is_functorch_wrapped_tensor,  # pyright: ignore[reportPrivateUsage]
    is_legacy_batchedtensor,  # pyright: ignore[reportPrivateUsage]
)

from gatewright.axes import bind
from gatewright.backends.base import execute as execute_calls
from gatewright.backends.base import prepare
from gatewright.backends.llvm.engine import Engine
from gatewright.backends.torch_eager import rules
from gatewright.derive import adjoint, seed, vjp
from gatewright.errors import GatewrightError
from gatewright.schedule.plan import plan
from gatewright.schedule.residuals import Pair, save
from gatewright.trace.ir import Equation, Trace
from gatewright.trace.simplify import simplify

DTYPES = {torch.float32: "float32", torch.float64: "float64"}


class TorchArrays:
    """The engine's memory, from torch."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._like = torch.empty((), dtype=dtype)

    def empty(self, shape: tuple[int, ...]) -> Tensor:
        """A tensor with anything in it."""
        return self._like.new_empty(shape)

    def zeros(self, shape: tuple[int, ...]) -> Tensor:
        """A tensor of zeros."""
        return self._like.new_zeros(shape)

    def contiguous(self, array: Tensor) -> Tensor:
        """The same numbers, one row after the other."""
        if array.requires_grad:
            array = array.detach()
        same = array.dtype == self._like.dtype and array.is_contiguous()
        return array if same else array.to(self._like.dtype).contiguous()

    def address(self, array: Tensor) -> int:
        """Where a tensor begins."""
        return array.data_ptr()

    def compute(self, equations: Sequence[Equation], values: dict[str, Any], sizes: Mapping[str, int]) -> None:
        """Compute equations on parameters."""
        if equations:
            execute_calls(prepare(equations, rules(self._like), sizes), values)


@dataclass(frozen=True, eq=False)
class Differentiable:
    """A Trace with sizes and a dtype, its direction in time, and everything that is made from it once."""

    trace: Trace
    sizes: Mapping[str, int]
    dtype: torch.dtype
    backwards: bool = False
    _pairs: dict[frozenset[str], "Halves"] = field(default_factory=dict[frozenset[str], "Halves"])
    _derived: dict[frozenset[str], "Differentiable"] = field(default_factory=dict[frozenset[str], "Differentiable"])

    @cached_property
    def alone(self) -> Engine:
        """The engine that saves nothing."""
        return self._engine(self.trace, backwards=self.backwards)

    def halves(self, seen: frozenset[str]) -> "Halves":
        """The engines of the step that saves, and of its gradient by the states in `seen`."""
        if seen not in self._pairs:
            outputs = tuple(state.name for state in self.trace.states if state.name in seen)
            pair = save(self.trace, outputs)
            forward = self._engine(pair.forward, backwards=self.backwards)
            backward = self._engine(pair.backward, backwards=not self.backwards)
            self._pairs[seen] = Halves(pair, forward, backward)
        return self._pairs[seen]

    def derived(self, seen: frozenset[str]) -> "Differentiable":
        """The gradient by the states in `seen`, itself to be differentiated."""
        if seen not in self._derived:
            outputs = tuple(state.name for state in self.trace.states if state.name in seen)
            gradient = vjp(self.trace, outputs)
            self._derived[seen] = Differentiable(gradient, self.sizes, self.dtype, not self.backwards)
        return self._derived[seen]

    def _engine(self, trace: Trace, *, backwards: bool) -> Engine:
        return Engine(plan(trace), self.sizes, "float32" if self.dtype == torch.float32 else "float64", backwards)

    @cached_property
    def given(self) -> tuple[str, ...]:
        """The names of all tensors that go in, in order: inputs with random values, parameters, states."""
        trace = self.trace
        noises = [noise.var.name for noise in trace.noises]
        return (
            *(v.name for v in trace.inputs),
            *noises,
            *(v.name for v in trace.params),
            *(v.name for v in trace.states),
        )

    @cached_property
    def results(self) -> tuple[str, ...]:
        """The names of all tensors that come out, in order: states, what is emitted, what is summed."""
        trace = self.trace
        return (*(v.name for v in trace.states), *(n for n, _ in trace.emits), *(n for n, _ in trace.sums))


@dataclass(frozen=True, slots=True)
class Halves:
    """A step that saves, and its gradient."""

    pair: Pair
    forward: Engine
    backward: Engine


@lru_cache(maxsize=256)
def _differentiable(trace: Trace, sizes: tuple[tuple[str, int], ...], dtype: torch.dtype) -> Differentiable:
    return Differentiable(simplify(trace), dict(sizes), dtype)


def differentiable(trace: Trace, sizes: Mapping[str, int], dtype: torch.dtype) -> Differentiable:
    """The one Differentiable of a trace, sizes and dtype."""
    return _differentiable(trace, tuple(sorted(sizes.items())), dtype)


Run = Callable[[Differentiable, Mapping[str, Tensor]], dict[str, Tensor]]


def run(spec: Differentiable, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Run a sequence: its states by name, (time + 1, batch, ...), then what it emits and sums, by name.

    `values` are the inputs (time, batch, ...), parameters, and states (batch, ...) by name.
    """
    results = _Sequence.apply(spec, *(values[name] for name in spec.given))
    return dict(zip(spec.results, results, strict=True))


class _Sequence(torch.autograd.Function):
    """A Trace over a sequence."""

    @staticmethod
    def forward(ctx: Any, spec: Differentiable, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Run the kernels, and save what the gradient needs."""
        values = dict(zip(spec.given, tensors, strict=True))
        trace, first = spec.trace, frozenset({spec.trace.states[0].name})
        wanted = any(ctx.needs_input_grad[1:])
        halves = spec.halves(first) if wanted else None
        engine = halves.forward if halves else spec.alone
        outcome = run_engine(engine, values, spec.dtype)
        states = [outcome.states[state.name] for state in trace.states]
        like = states[0]
        emits = [as_tensor(outcome.emits[name], like, emit_shape(spec, name, like)) for name, _ in trace.emits]
        sums = [as_tensor(outcome.sums[name], like, sum_shape(spec, name)) for name, _ in trace.sums]
        if halves:
            ctx.spec, ctx.first = spec, first
            ctx.saved = {name: outcome.emits[name] for name in halves.pair.saved}
            ctx.save_for_backward(*tensors, *states)
            ctx.set_materialize_grads(False)
        return (*states, *emits, *sums)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run the gradient: by its kernels, or, where it is to be differentiated itself, as this operation again."""
        spec: Differentiable = ctx.spec
        trace = spec.trace
        count = len(spec.given)
        values = dict(zip(spec.given, ctx.saved_tensors[:count], strict=True))
        states = dict(zip((state.name for state in trace.states), ctx.saved_tensors[count:], strict=True))
        call = Backward(spec, values, states, grads)
        given = [grad for grad in grads if grad is not None]
        if any(map(is_legacy_batchedtensor, given)):
            raise GatewrightError(
                "the compiled engine cannot take gradients in batches by is_grads_batched or vectorize",
                do="use torch.func.vmap over torch.autograd.grad, torch.func.jacrev, or backend='torch'",
            )
        if any(map(is_functorch_wrapped_tensor, given)):  # torch.func.vmap over torch.autograd.grad
            from gatewright.nn import transforms  # which is made of this module

            results = call.differentiable(transforms.run)
        elif torch.is_grad_enabled():
            results = call.differentiable(run)
        else:
            results = call.fast(ctx.saved, ctx.first)
        wanted = zip(spec.given, ctx.needs_input_grad[1:], strict=True)
        return (None, *(results.get(name) if needed else None for name, needed in wanted))


class Backward:
    """One gradient, about to be computed."""

    def __init__(
        self,
        spec: Differentiable,
        values: Mapping[str, Tensor],
        states: Mapping[str, Tensor],
        grads: Sequence[Tensor | None],
    ) -> None:
        self.spec, self.values, self.trace = spec, values, spec.trace
        self.like = next(iter(states.values()))
        before = slice(1, None) if spec.backwards else slice(None, -1)
        after = slice(None, -1) if spec.backwards else slice(1, None)
        self.before = {name: whole[before] for name, whole in states.items()}
        given = dict(zip(spec.results, grads, strict=True))
        of_states = {state.name: given[state.name] for state in self.trace.states}
        self.seen = frozenset(name for name, grad in of_states.items() if grad is not None)
        self.seeds = {seed(name): grad[after] for name, grad in of_states.items() if grad is not None}
        first = -1 if spec.backwards else 0
        self.at_start = {name: grad[first] for name, grad in of_states.items() if grad is not None}
        steps, batch = self.like.shape[0] - 1, self.like.shape[1]
        for name, value in self.trace.emits:
            grad = given[name]
            shape = (steps, batch, *bind(value.shape, spec.sizes))
            self.seeds[seed(name)] = self.like.new_zeros(shape) if grad is None else grad
        self.of_sums: dict[str, Tensor] = {}
        for name, _ in self.trace.sums:
            grad = given[name]
            self.of_sums[adjoint(name)] = self.like.new_zeros(sum_shape(spec, name)) if grad is None else grad

    def inputs(self) -> dict[str, Tensor]:
        """What the gradient is given, besides its states."""
        return {**self.values, **self.before, **self.seeds, **self.of_sums}

    def carried(self) -> dict[str, Tensor]:
        """The states that the gradient begins with."""
        return {
            adjoint(name): self.like.new_zeros(self.like.shape[1:2] + whole.shape[2:])
            for name, whole in self.before.items()
        }

    def fast(self, saved: Mapping[str, Tensor], first: frozenset[str]) -> dict[str, Tensor]:
        """By kernels that are given what the forward run saved."""
        if self.seen != first:
            saved = self._saved_for(first, saved)
        halves = self.spec.halves(self.seen)
        values = {**self.inputs(), **saved, **self.carried()}
        outcome = run_engine(halves.backward, values, self.spec.dtype)
        emits = {
            n: as_tensor(v, self.like, self.values[n[2:-1]].shape)
            for n, v in outcome.emits.items()
            if n[2:-1] in self.values
        }
        sums = {n: as_tensor(v, self.like, self.values[n[2:-1]].shape) for n, v in outcome.sums.items()}
        return self.gathered(outcome.states, emits, sums)

    def _saved_for(self, first: frozenset[str], saved: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """What another set of seeds needs saved: as it was, if the same values do; else the step is run again."""
        needed = self.spec.halves(self.seen)
        if set(needed.pair.saved) <= set(saved):
            return saved
        return run_engine(needed.forward, self.values, self.spec.dtype).emits

    def differentiable(self, run: Run) -> dict[str, Tensor]:
        """As an operation of its own, which autograd follows."""
        derived = self.spec.derived(self.seen)
        results = run(derived, {**self.inputs(), **self.carried()})
        emits = {name: results[name] for name, _ in derived.trace.emits}
        sums = {name: results[name] for name, _ in derived.trace.sums}
        return self.gathered(results, emits, sums)

    def gathered(
        self, states: Mapping[str, Tensor], emits: Mapping[str, Tensor], sums: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The gradient by everything that was given, by name, out of what the derived step gave."""
        last = -1 if self.spec.backwards else 0
        found = {name: emits[adjoint(name)] for name in (v.name for v in self.trace.inputs) if adjoint(name) in emits}
        found |= {param.name: sums[adjoint(param.name)] for param in self.trace.params if adjoint(param.name) in sums}
        for state in self.trace.states:
            grad = states[adjoint(state.name)][last]
            own = self.at_start.get(state.name)
            found[state.name] = grad if own is None else grad + own
        return found


def run_engine(engine: Engine, values: Mapping[str, Tensor], dtype: torch.dtype) -> Any:
    """Run kernels on tensors by name."""
    trace = engine.program.trace
    inputs = {name: values[name] for name in (*(v.name for v in trace.inputs), *(n.var.name for n in trace.noises))}
    params = {param.name: values[param.name] for param in trace.params}
    states = {state.name: values[state.name].detach() for state in trace.states}
    return engine.run(inputs, params, states, TorchArrays(dtype))


def as_tensor(value: Any, like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A result of the engine, which is a tensor or a number, in a shape."""
    return value.reshape(shape) if isinstance(value, Tensor) else like.new_full(shape, value)


def emit_shape(spec: Differentiable, name: str, like: Tensor) -> tuple[int, ...]:
    """The shape of an emitted sequence; `like` is a state at every time."""
    value = dict(spec.trace.emits)[name]
    own = next((leaf.shape for leaf in spec.trace.leaves() if adjoint(leaf.name) == name), value.shape)
    return (like.shape[0] - 1, like.shape[1], *bind(own, spec.sizes))


def sum_shape(spec: Differentiable, name: str) -> tuple[int, ...]:
    """The shape of a sum."""
    value = dict(spec.trace.sums)[name]
    own = next((leaf.shape for leaf in spec.trace.leaves() if adjoint(leaf.name) == name), value.shape)
    return bind(own, spec.sizes)
