"""One direction of one level of a layer, run by any backend: the generic path."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gatewright.axes import bind
from gatewright.backends import torch_eager
from gatewright.backends.triton.newton import Newton
from gatewright.backends.triton.random_values import draw_seeds
from gatewright.nn.engine import sequence_function
from gatewright.nn.engine.checkpointed import Checkpoint, run_checkpointed
from gatewright.nn.engine.differentiable import EngineName, OperandDtype
from gatewright.nn.engine.newton_operation import merged, newton_reports
from gatewright.nn.engine.sequence_pair import run_pair
from gatewright.nn.engine.trace_operation import Operands, TraceOperation
from gatewright.nn.graphs import custom_ops, onnx_operators
from gatewright.nn.graphs.looped import loop_of, run_looped, scanned, scripted
from gatewright.nn.layer_interface import LayerInterface
from gatewright.nn.modes import is_eager, is_transformed, is_watched
from gatewright.nn.packed_cell import PackedCell, RunMode, gate_name
from gatewright.nn.sequence import RaggedRows
from gatewright.trace.mask import MASK, masked_trace
from gatewright.trace.reset import RESET, reset_trace

CellResults = tuple[Tensor, ...]
"""The output (time, batch, size), every state after the last step (1, batch, size), every gate that was asked for."""
LevelResults = Sequence[CellResults]
"""Those of both directions of a level."""


@dataclass(frozen=True, slots=True)
class CellCall:
    """A cell over a sequence.

    - `inputs`: every input of the cell by name, (time, batch, ...). With `RESET` among them, (time, batch), rows start
      anew before the steps where it is not 0.
    - `packed`: the parameters, in the order of the cell's layout.
    - `states`: every initial state by name and in the cell's order, (batch, ...); None is zeros.
    - `noises`: what `draw` gives for the backend; without them the means of random values are used.
    - `active` (time, batch): rows keep their states where it is False. It includes the ends of ragged rows.
    - `ragged`: rows end before the last step; what is emitted after the end is 0.
    - `gates`: return every gate.
    - `products`: the dtype that an engine rounds operands of products to.
    - `checkpoint`: compute saved values again by stretches; see gatewright.nn.engine.checkpointed.
    - `newton`: how backend "newton" solves all steps at once.
    """

    cell: PackedCell
    inputs: Mapping[str, Tensor]
    packed: Sequence[Tensor]
    states: Mapping[str, Tensor | None]
    noises: Mapping[str, Tensor] | None = None
    active: Tensor | None = None
    ragged: RaggedRows | None = None
    gates: bool = False
    products: OperandDtype = None
    checkpoint: Checkpoint = None
    newton: Newton | None = None

    @property
    def like(self) -> Tensor:
        """The sequence that the cell reads."""
        return next(iter(self.inputs.values()))

    @property
    def mode(self) -> RunMode:
        """How the cell is run."""
        return not self.noises, self.active is not None, self.gates, RESET in self.inputs

    @property
    def is_plain(self) -> bool:
        """Whether all rows take all steps, and saved values are kept."""
        is_padded = self.ragged is None or self.ragged.is_known_whole
        return self.active is None and is_padded and not self.checkpoint

    @property
    def sequences(self) -> dict[str, Tensor]:
        """Everything that differs from step to step, by name."""
        return {**self.inputs, **(self.noises or {})}

    @property
    def initial_states(self) -> dict[str, Tensor]:
        """The initial states, zeros where none are given."""
        like, sizes = self.like, self.cell.sizes
        shapes = {state.name: bind(state.shape, sizes) for state in self.cell.trace.states}
        return {
            name: like.new_zeros(like.shape[1], *shapes[name]) if state is None else state
            for name, state in self.states.items()
        }

    @property
    def values(self) -> dict[str, Tensor]:
        """Every value that the equations read, by name."""
        return {**self.sequences, **self.cell.unpack(self.packed), **self.initial_states}


def draw(backend: str, cell: PackedCell, like: Tensor) -> dict[str, Tensor]:
    """Random values by name for a sequence (time, batch, ...): zeros and ones (time, batch, ...), drawn in the same
    order for every backend, but seeds (time, batch) for Triton's kernels."""
    steps, batch = like.shape[:2]
    if backend in ("triton", "newton"):
        return draw_seeds(cell.trace, steps, batch, like.device)
    return torch_eager.draw(cell.trace, cell.sizes, steps, batch, like)


def run_direction_of(layer: LayerInterface, index: int, backend: str, call: CellCall) -> CellResults:
    """Run the direction of that index of a layer, which keeps what Newton's iterations report of it."""
    if call.newton is None:
        return run_cell(backend, call)
    layer.newton_reports = layer.newton_reports[:index]
    with newton_reports() as found:
        results = run_cell(backend, call)
    layer.newton_reports = (*layer.newton_reports, merged(found))
    return results


def run_cell(backend: str, call: CellCall) -> CellResults:
    """Run a cell over a sequence by a backend of gatewright.nn.backends."""
    if backend == "newton":  # the operations of the engine for GPUs, which solve in place of looping
        backend = "triton"
    if backend == "onnx" and call.mode == (True, False, False, False):
        lengths = None if call.ragged is None else call.ragged.lengths
        results = onnx_operators.run(call.cell, call.like, call.packed, tuple(call.states.values()), lengths)
        if results is not None:
            return results
    runs_packed = call.active is None and (is_eager() or call.cell.holds_weights)
    if (backend == "llvm" or backend == "triton") and runs_packed:  # noqa: PLR1714 (pyright narrows it)
        return _run_packed(backend, call)
    ragged = call.ragged
    if ragged is None:
        return _run_padded(backend, call)
    active = ragged.mask() if call.active is None else call.active
    output, *others = _run_padded(backend, replace(call, active=active, ragged=None))
    finals, gates = others[: len(call.states)], others[len(call.states) :]
    return (ragged.fill_padding(output), *finals, *map(ragged.fill_padding, gates))


def run_both_directions(backend: str, calls: tuple[CellCall, CellCall]) -> LevelResults:
    """Run the two directions of a level by a backend: those of padded sequences side by side on a GPU."""
    if backend == "triton" and is_eager() and all(call.is_plain for call in calls):
        (first, own), (second, others) = (_on_packed("triton", call) for call in calls)
        if all(operation.takes(call.packed) for operation, call in zip((first, second), calls, strict=True)):
            return run_pair((first, second), (own, others))
    return [run_cell(backend, call) for call in calls]


def _run_packed(engine: EngineName, call: CellCall) -> CellResults:
    """By an engine, on the tensors that the layer holds."""
    operation, tensors = _on_packed(engine, call)
    if not operation.takes(call.packed):  # the unpacked parameters are converted, or refused with an error
        return _run_by_name(engine, call)
    ragged = call.ragged
    ragged = None if ragged is None or ragged.is_known_whole else ragged
    if call.checkpoint:
        return run_checkpointed(operation, tensors, ragged, call.checkpoint)
    return sequence_function.run(operation, tensors, ragged)


def _on_packed(engine: EngineName, call: CellCall) -> tuple[TraceOperation, Operands]:
    """The operation of a call on the tensors that the layer holds, and its operands."""
    cell, mode, dtype = call.cell, call.mode, call.like.dtype
    operation: TraceOperation = (
        cell.device_operation(mode, dtype, call.products, call.newton)
        if engine == "triton"
        else cell.operation(mode, dtype, call.products)
    )
    sequences = call.sequences
    return operation, (*(sequences[name] for name in operation.inputs), *call.packed, *call.states.values())


def _run_padded(backend: str, call: CellCall) -> CellResults:
    """All steps of all rows; a row keeps its states where it is not active."""
    if backend == "torch" and not torch.jit.is_tracing():
        return _run_eager(call)
    masked = call if call.active is None else _with_mask(call, call.active)
    if backend != "llvm" and backend != "triton":  # noqa: PLR1714 (pyright narrows it)
        return _run_looped(masked)
    return _run_packed(backend, masked) if is_eager() or call.cell.holds_weights else _run_by_name(backend, masked)


def _with_mask(call: CellCall, active: Tensor) -> CellCall:
    """The call with the mask as an input.

    Inputs are set to 0 where no step is taken: a NaN there would come back in a gradient, as 0 * NaN.
    """
    idle, mask = ~active.unsqueeze(-1), active.to(call.like.dtype)
    inputs = {name: x.masked_fill(idle, 0) if x.dim() == 3 else x for name, x in call.inputs.items()}
    return replace(call, inputs=inputs | {MASK: inputs[MASK] * mask if MASK in inputs else mask})


def _run_eager(call: CellCall) -> CellResults:
    """Operation by operation; a cell that goes backwards reads its sequence in reverse."""
    cell, trace = call.cell, call.cell.trace
    if RESET in call.inputs:
        if call.active is not None:  # as an input: a row starts anew where it takes no step too
            call, trace = replace(_with_mask(call, call.active), active=None), masked_trace(trace)
        trace = reset_trace(trace)

    def in_time(sequence: Tensor) -> Tensor:
        return sequence.flip(0) if cell.backwards else sequence

    results = torch_eager.run(
        trace,
        {name: in_time(x) for name, x in call.inputs.items()},
        cell.unpack(call.packed),
        call.initial_states,
        sizes=cell.sizes,
        noises={name: in_time(x) for name, x in call.noises.items()} if call.noises else None,
        active=None if call.active is None else in_time(call.active),
        gates=call.gates,
    )
    finals = [_as_final(results.finals[state.name]) for state in cell.trace.states]
    return (in_time(results.output), *finals, *map(in_time, results.gates.values()))


def _run_looped(call: CellCall) -> CellResults:
    """As a loop in a graph that is to run without the engine, for any number of steps."""
    trace = call.cell.trace
    loop = loop_of(call.cell.spec(call.mode, call.like.dtype))
    results = run_looped(loop, call.values, scripted if torch.jit.is_tracing() else scanned)
    finals = [_as_final(results.finals[state.name]) for state in trace.states]
    gates = [results.emits[gate_name(name)] for name, _ in trace.gates] if call.gates else []
    return (results.states[trace.states[0].name], *finals, *gates)


def _as_final(state: Tensor) -> Tensor:
    """A last state (1, batch, ...) in memory of its own: callers may change it in place."""
    return state.unsqueeze(0).clone()


def _run_by_name(engine: EngineName, call: CellCall) -> CellResults:
    """By an engine, on parameters named as in the equations: for graphs, transforms and masks within them."""
    cell, like = call.cell, call.like
    results = _run_engine(engine, call, call.values)
    steps, end = (slice(None, -1), 0) if cell.backwards else (slice(1, None), -1)
    names = [state.name for state in cell.trace.states]
    gates: list[Tensor] = []
    for name, gate in cell.trace.gates if call.gates else ():
        shape = (*like.shape[:2], *bind(gate.shape, cell.sizes))
        gates.append(_own(results[gate_name(name)].expand(shape)))
    return (_own(results[names[0]][steps]), *(_as_final(results[name][end]) for name in names), *gates)


def _own(sequence: Tensor) -> Tensor:
    """A sequence that a caller may change in place before its gradient is taken, which reads the states and gates."""
    if torch.jit.is_tracing():  # a recorded graph serves calls with gradients and without
        return sequence.clone()
    return sequence.clone() if torch.is_grad_enabled() and not torch.compiler.is_compiling() else sequence


def _run_engine(engine: EngineName, call: CellCall, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Run an engine as an operator where a graph or a TorchDispatchMode has to see it, else as an autograd function,
    which transforms of torch.func can follow.
    """
    cell, mode, dtype = call.cell, call.mode, call.like.dtype
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or (is_watched() and not is_transformed()):
        differentiated = torch.is_grad_enabled() and any(value.requires_grad for value in values.values())
        saves = differentiated and not torch.compiler.is_exporting() and not torch.jit.is_tracing()
        key, operands, names = _graph_call(cell, mode, dtype, call.products, engine, saves)
        return dict(zip(names, custom_ops.run_op(key, [values[name] for name in operands]), strict=False))
    return sequence_function.run_named(cell.spec(mode, dtype, call.products, engine, call.newton), values)


@torch.compiler.assume_constant_result
def _graph_call(
    cell: PackedCell, mode: RunMode, dtype: torch.dtype, products: OperandDtype, engine: EngineName, saves: bool
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The key of the operation that a graph holds, and the names of its operands and results."""
    spec = cell.spec(mode, dtype, products, engine)
    return custom_ops.key_of(spec, saves), spec.operands, spec.results
