"""Which backend runs a layer: chosen with a reason that can be read, never fallen back to in silence."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NoReturn

import torch
from torch import Tensor
from torch._C._functorch import (  # pyright: ignore[reportMissingImports]
    TransformType,  # pyright: ignore[reportPrivateUsage]
    get_interpreter_stack,  # pyright: ignore[reportPrivateUsage]
    maybe_current_level,  # pyright: ignore[reportPrivateUsage]
)

from gatewright.axes import bind
from gatewright.backends import torch_eager
from gatewright.errors import OptionError, TraceError
from gatewright.nn import autograd, custom_ops, transforms
from gatewright.nn.differentiable import DTYPES, differentiable
from gatewright.schedule.plan import plan
from gatewright.trace import Literal, Trace
from gatewright.trace.mask import MASK, masked_trace
from gatewright.trace.simplify import simplify, substitute


@dataclass(frozen=True, slots=True)
class Plan:
    """Which backend runs a layer, and why."""

    backend: str
    reason: str

    def __str__(self) -> str:
        return f"{self.backend}: {self.reason}"


def choose(asked: str, trace: Trace, like: Tensor) -> Plan:
    """The backend for a cell on tensors such as `like`.

    Raises OptionError where one was asked for by name and cannot run it.
    """
    obstacle = _obstacle(trace, like)
    if asked == "torch":
        return Plan("torch", "asked for by name; operation by operation, on any device")
    if obstacle is None:
        return Plan("llvm", "compiled for this processor" + ("" if asked == "auto" else "; asked for by name"))
    if asked == "llvm":
        _refuse(trace.name, obstacle)
    return Plan("torch", f"the compiled engine cannot run this: {obstacle}")


@torch.compiler.assume_constant_result  # torch.compile cannot follow how an error is made
def _refuse(name: str, obstacle: str) -> NoReturn:
    raise OptionError(
        f"backend 'llvm' cannot run {name!r} here",
        expected="float32 or float64 on the CPU, derivatives in reverse mode",
        got=obstacle,
        do="use backend='auto' or 'torch'",
    )


def _obstacle(trace: Trace, like: Tensor) -> str | None:
    """Why the compiled engine cannot run a cell on such tensors; None where it can."""
    if like.device.type != "cpu":
        return f"the tensors are on {like.device.type}"
    if like.dtype not in DTYPES:
        return f"the dtype is {str(like.dtype).removeprefix('torch.')}"
    if torch.compiler.is_compiling():
        if _is_derived_by_transform():
            return "torch.compile is tracing a derivative by torch.func"
    elif type(like) not in (Tensor, torch.nn.Parameter):
        return f"the tensors are {type(like).__name__}s"
    if torch.is_autocast_enabled("cpu"):
        return "autocast is on"
    if torch.autograd.forward_ad._current_level >= 0:  # pyright: ignore[reportPrivateUsage]
        return "forward-mode differentiation is at work"
    return _unplannable(trace)


@torch.compiler.assume_constant_result
def _is_derived_by_transform() -> bool:
    return any(level.key() != TransformType.Vmap for level in get_interpreter_stack() or ())


@torch.compiler.assume_constant_result
def _unplannable(trace: Trace) -> str | None:
    return _plan_problem(trace)


@lru_cache(maxsize=256)
def _plan_problem(trace: Trace) -> str | None:
    try:
        plan(simplify(trace))
    except TraceError as error:
        return error.problem
    return None


def run(
    chosen: Plan,
    trace: Trace,
    inputs: Mapping[str, Tensor],
    params: Mapping[str, Tensor],
    states: Mapping[str, Tensor],
    *,
    sizes: Mapping[str, int],
    noises: Mapping[str, Tensor] | None,
    active: Tensor | None,
    gates: bool,
) -> torch_eager.Sequences:
    """Run a cell over a sequence by the chosen backend; see torch_eager.run for the arguments."""
    if chosen.backend == "torch":
        return torch_eager.run(trace, inputs, params, states, sizes=sizes, noises=noises, active=active, gates=gates)
    like = next(iter(inputs.values()))
    values = {**inputs, **params, **states, **(noises or {})}
    if active is not None:
        values[MASK] = active.to(like.dtype)
    asked = {"expected": noises is None, "masked": active is not None, "gates": gates}
    results = _run_engine(trace, asked, tuple(sorted(sizes.items())), values, like.dtype)
    shapes = {name: (*like.shape[:2], *bind(gate.shape, sizes)) for name, gate in trace.gates}
    return torch_eager.Sequences(
        output=results[trace.states[0].name][1:],
        finals={state.name: results[state.name][-1] for state in trace.states},
        gates={name: results[_gate(name)].expand(shape) for name, shape in shapes.items()} if gates else {},
    )


_Sizes = tuple[tuple[str, int], ...]


def _run_engine(
    trace: Trace, asked: Mapping[str, bool], sizes: _Sizes, values: Mapping[str, Tensor], dtype: torch.dtype
) -> dict[str, Tensor]:
    """Run the engine in the way that whoever calls can follow: a graph's, a transform's, or autograd's."""
    if torch.compiler.is_compiling():
        differentiated = torch.is_grad_enabled() and any(value.requires_grad for value in values.values())
        saves = differentiated and not torch.compiler.is_exporting()
        key, given, names = _graph_call(trace, sizes, dtype, saves, **asked)
        return dict(zip(names, custom_ops.run_op(key, [values[name] for name in given]), strict=False))
    spec = differentiable(_prepared(trace, **asked), dict(sizes), dtype)
    return transforms.run(spec, values) if maybe_current_level() is not None else autograd.run(spec, values)


@torch.compiler.assume_constant_result
def _graph_call(
    trace: Trace, sizes: _Sizes, dtype: torch.dtype, saves: bool, **asked: bool
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The key of the operation that a graph holds, and the names of what it takes and gives."""
    spec = differentiable(_prepared(trace, **asked), dict(sizes), dtype)
    return custom_ops.key_of(spec, saves), spec.given, spec.results


@lru_cache(maxsize=256)
def _prepared(trace: Trace, *, expected: bool, masked: bool, gates: bool) -> Trace:
    """The trace that the engine runs: random values as their means, states that may stay, gates given out."""
    if gates:
        trace = replace(trace, emits=tuple((_gate(name), value) for name, value in trace.gates))
    if expected:
        trace = substitute(trace, {noise.var.name: Literal(noise.probability) for noise in trace.noises})
    return masked_trace(trace) if masked else trace


def _gate(name: str) -> str:
    return f"gate({name})"
