"""The operation of a Trace by itself, with a tensor for each of its parameters; what kernels for GPUs run of it."""

from functools import lru_cache

from gatewright.backends.triton.program_run import ProgramRun
from gatewright.nn.engine.device_operation import DeviceOperation
from gatewright.nn.engine.differentiable import Differentiable
from gatewright.nn.engine.newton_operation import NewtonOperation
from gatewright.nn.engine.operation import SequenceOperation
from gatewright.nn.engine.trace_operation import TraceOperation
from gatewright.packing import Layout, Packed


@lru_cache(maxsize=1024)
def operation_of_trace(spec: Differentiable) -> TraceOperation:
    """The operation of a trace with a tensor for each parameter, under the names in its equations."""
    layout = tuple(Packed(param.name, (param.name,)) for param in spec.trace.params)
    if spec.engine == "llvm":
        return SequenceOperation(spec, layout, whole_states=True)
    return device_operation(spec, layout, whole_states=True)


def device_operation(spec: Differentiable, layout: Layout, *, whole_states: bool = False) -> TraceOperation:
    """The operation by Triton's kernels: a loop, or Newton's iterations."""
    kind = DeviceOperation if spec.newton is None else NewtonOperation
    return kind(spec, layout, whole_states=whole_states)


def device_run(spec: Differentiable, *, gradient: bool = False) -> ProgramRun:
    """What Triton's kernels run of a trace, or of its gradient by the output with all of its results."""
    operation = operation_of_trace(spec)
    assert isinstance(operation, DeviceOperation)
    if not gradient:
        return operation.run_of("inference")
    backward = spec.pair(spec.output_state).backward
    return operation.run_of((spec.output_state, frozenset(name for name, _ in (*backward.emits, *backward.sums))))
