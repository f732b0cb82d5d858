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
from gatewright.backends.torch_eager import EagerRun
from gatewright.errors import OptionError, TraceError
from gatewright.nn.calls.call import Call
from gatewright.nn.engine import sequence_function
from gatewright.nn.engine.differentiable import DTYPES, planned
from gatewright.nn.graphs import custom_ops, onnx_operators
from gatewright.nn.graphs.dispatch_modes import is_watched
from gatewright.nn.graphs.looped import loop_of, run_looped, scanned, scripted
from gatewright.nn.packed_cell import Asked, PackedCell, gate_name
from gatewright.nn.torch_fused import Fused
from gatewright.trace import Trace
from gatewright.trace.mask import MASK
from gatewright.trace.simplify import simplify


@dataclass(frozen=True, slots=True)
class Plan:
    """Which backend runs a layer, and why."""

    backend: str
    reason: str

    def __str__(self) -> str:
        return f"{self.backend}: {self.reason}"


def choose(asked: str, trace: Trace, like: Tensor, fused: Fused | str) -> Plan:
    """The backend for a cell on tensors such as `like`; `fused` is torch's function for the layer, or why it has none.

    Raises OptionError where one was asked for by name and cannot run it.
    """
    if exports_onnx():
        return Plan("onnx", "torch.onnx.export records ONNX's own operator, or a loop of the equations")
    if asked == "torch":
        return Plan("torch", "asked for by name; operation by operation, on any device")
    if asked == "torch-fused":
        if isinstance(fused, str):
            _refuse(asked, trace.name, fused)
        return Plan("torch-fused", f"asked for by name: {_FUSED.format(fused.name)}")
    obstacle = _obstacle(trace, like)
    if obstacle is None:
        return Plan("llvm", "compiled for this processor" + ("" if asked == "auto" else "; asked for by name"))
    if asked == "llvm":
        _refuse(asked, trace.name, obstacle)
    reason = f"the compiled engine cannot run this: {obstacle}"
    if _is_forward_mode():
        return Plan("torch", reason)
    if isinstance(fused, str):
        return Plan("torch", f"{reason}; nor can torch's fused functions: {fused}")
    return Plan("torch-fused", f"{reason}; {_FUSED.format(fused.name)}")


_FUSED = "torch.{} runs it (cuDNN on CUDA); masks, gates and second derivatives go operation by operation"
_EXPECTED = {
    "llvm": "float32 or float64 on the CPU, derivatives in reverse mode",
    "torch-fused": "the equations of torch.nn's RNN, GRU or LSTM, called without a mask or return_gates",
}


@torch.compiler.assume_constant_result  # torch.compile cannot follow how an error is made
def _refuse(asked: str, name: str, obstacle: str) -> NoReturn:
    raise OptionError(
        f"backend {asked!r} cannot run {name!r} here",
        expected=_EXPECTED[asked],
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
        if is_derived_by_transform():
            return "torch.compile is tracing a derivative by torch.func"
    elif type(like) not in (Tensor, torch.nn.Parameter):
        return f"the tensors are {type(like).__name__}s"
    if torch.is_autocast_enabled("cpu"):
        return "autocast is on"
    if _is_forward_mode():
        return "forward-mode differentiation is at work"
    return _unplannable(trace)


def _is_forward_mode() -> bool:
    return torch.autograd.forward_ad._current_level >= 0  # pyright: ignore[reportPrivateUsage]


@torch.compiler.assume_constant_result
def is_derived_by_transform() -> bool:
    """Whether torch.func takes a derivative of what torch.compile traces."""
    return any(level.key() != TransformType.Vmap for level in get_interpreter_stack() or ())


@torch.compiler.assume_constant_result
def _unplannable(trace: Trace) -> str | None:
    return _plan_problem(trace)


@lru_cache(maxsize=256)
def _plan_problem(trace: Trace) -> str | None:
    try:
        planned(simplify(trace))
    except TraceError as error:
        return error.problem
    return None


def run(chosen: Plan, call: Call) -> EagerRun:
    """Run a cell over a sequence by the chosen backend."""
    if chosen.backend == "onnx" and call.active is None and not call.gates:
        found = onnx_operators.run(call)
        if found is not None:
            return found
    if chosen.backend == "llvm" and call.active is None and _is_eager():
        return _run_packed(call)
    ragged = call.ragged
    if ragged is None:
        return _run_padded(chosen, call)
    active = ragged.mask() if call.active is None else call.active
    found = _run_padded(chosen, replace(call, active=active, ragged=None))
    found_gates = {name: ragged.fill_padding(gate) for name, gate in found.gates.items()}
    return EagerRun(ragged.fill_padding(found.output), found.finals, found_gates)


def _is_eager() -> bool:
    """Whether operations run as they are called: nobody compiles, records, transforms or watches them."""
    return not (
        torch.compiler.is_compiling() or torch.jit.is_tracing() or maybe_current_level() is not None or is_watched()
    )


def _run_packed(call: Call) -> EagerRun:
    """By the engine, on the tensors that the layer holds."""
    cell, sequences, ragged = call.cell, call.sequences, call.ragged
    operation = cell.operation(call.asked, call.like.dtype)
    if not operation.takes(call.packed):  # of another dtype or shape: converted, or refused, by name
        return _run_named(call)
    given = (*(sequences[name] for name in operation.inputs), *call.packed, *call.states.values())
    results = sequence_function.run(operation, given, None if ragged is None or ragged.is_whole else ragged)
    output, finals, emits = results[0], results[1 : 1 + len(call.states)], results[1 + len(call.states) :]
    return EagerRun(
        output,
        {name: one[0] for name, one in zip(call.states, finals, strict=True)},
        cell.named_gates(emits) if call.gates else {},
    )


def _run_padded(chosen: Plan, call: Call) -> EagerRun:
    """All steps of all rows; a row keeps its states where it is not active."""
    if chosen.backend == "onnx" or (chosen.backend == "torch" and torch.jit.is_tracing()):
        return _run_looped(call)
    if chosen.backend == "torch":
        return _run_eager(call)
    masked = call if call.active is None else _with_mask(call, call.active)
    return _run_packed(masked) if _is_eager() else _run_named(masked)


def _with_mask(call: Call, active: Tensor) -> Call:
    """The call with the mask as an input. Whatever stands where no step is taken, NaN too, must not come back in a
    gradient.
    """
    idle, mask = ~active.unsqueeze(-1), active.to(call.like.dtype)
    inputs = {name: one.masked_fill(idle, 0) if one.dim() == 3 else one for name, one in call.inputs.items()}
    return replace(call, inputs=inputs | {MASK: inputs[MASK] * mask if MASK in inputs else mask})


def _run_eager(call: Call) -> EagerRun:
    """Operation by operation; a cell that goes backwards is given its sequence the other way round."""
    cell = call.cell

    def flip(sequences: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: one.flip(0) if cell.backwards else one for name, one in sequences.items()}

    found = torch_eager.run(
        cell.trace,
        flip(call.inputs),
        cell.unpack(call.packed),
        call.starts,
        sizes=cell.sizes,
        noises=call.noises,
        active=None if call.active is None else flip({MASK: call.active})[MASK],
        gates=call.gates,
    )
    return EagerRun(flip({MASK: found.output})[MASK], found.finals, flip(found.gates))


def _run_looped(call: Call) -> EagerRun:
    """As a loop in a graph that is to run without the engine, for any number of steps."""
    cell = call.cell
    call = call if call.active is None else _with_mask(call, call.active)
    loop = loop_of(cell.spec(call.asked, call.like.dtype))
    values = {**call.sequences, **cell.unpack(call.packed), **call.starts}
    found = run_looped(loop, values, scripted if torch.jit.is_tracing() else scanned)
    gates = {name: found.emits[gate_name(name)] for name, _ in cell.trace.gates} if call.gates else {}
    return EagerRun(found.states[cell.trace.states[0].name], found.finals, gates)


def exports_onnx() -> bool:
    """Whether torch.onnx.export records what is called."""
    return (torch.compiler.is_exporting() or torch.jit.is_tracing()) and _is_in_onnx_export()


@torch.compiler.assume_constant_result
def _is_in_onnx_export() -> bool:
    return torch.onnx.is_in_onnx_export()


def _run_named(call: Call) -> EagerRun:
    """By the engine, on parameters that are named as in the equations."""
    cell, like = call.cell, call.like
    results = _run_engine(call, {**call.sequences, **cell.unpack(call.packed), **call.starts})
    shapes = {name: (*like.shape[:2], *bind(gate.shape, cell.sizes)) for name, gate in cell.trace.gates}
    steps, end = (slice(None, -1), 0) if cell.backwards else (slice(1, None), -1)
    return EagerRun(
        output=_own(results[cell.trace.states[0].name][steps]),
        finals={state.name: results[state.name][end] for state in cell.trace.states},
        gates={n: _own(results[gate_name(n)].expand(shape)) for n, shape in shapes.items()} if call.gates else {},
    )


def _own(sequence: Tensor) -> Tensor:
    """A sequence that a caller may change in place before its gradient is taken, which reads the states and gates."""
    if torch.jit.is_tracing():  # what is recorded serves with gradients and without
        return sequence.clone()
    return sequence.clone() if torch.is_grad_enabled() and not torch.compiler.is_compiling() else sequence


def _run_engine(call: Call, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Run the engine in the way that whoever calls can follow: a graph's, a transform's, or autograd's."""
    cell, asked, dtype = call.cell, call.asked, call.like.dtype
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or (is_watched() and maybe_current_level() is None):
        differentiated = torch.is_grad_enabled() and any(value.requires_grad for value in values.values())
        saves = differentiated and not torch.compiler.is_exporting() and not torch.jit.is_tracing()
        key, given, names = _graph_call(cell, asked, dtype, saves)
        return dict(zip(names, custom_ops.run_op(key, [values[name] for name in given]), strict=False))
    return sequence_function.run_named(cell.spec(asked, dtype), values)


@torch.compiler.assume_constant_result
def _graph_call(
    cell: PackedCell, asked: Asked, dtype: torch.dtype, saves: bool
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The key of the operation that a graph holds, and the names of what it takes and gives."""
    spec = cell.spec(asked, dtype)
    return custom_ops.key_of(spec, saves), spec.given, spec.results
