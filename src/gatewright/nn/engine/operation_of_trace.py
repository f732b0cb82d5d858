"""The operation of a Trace by itself, with a tensor for each of its parameters."""

from functools import lru_cache

from gatewright.nn.engine.device_operation import DeviceOperation
from gatewright.nn.engine.differentiable import Differentiable
from gatewright.nn.engine.operation import SequenceOperation
from gatewright.nn.engine.trace_operation import TraceOperation
from gatewright.packing import Packed


@lru_cache(maxsize=1024)
def operation_of_trace(spec: Differentiable) -> TraceOperation:
    """The operation of a trace with a tensor for each parameter, under the names in its equations."""
    layout = tuple(Packed(param.name, (param.name,)) for param in spec.trace.params)
    kind = DeviceOperation if spec.engine == "triton" else SequenceOperation
    return kind(spec, layout, whole_states=True)
