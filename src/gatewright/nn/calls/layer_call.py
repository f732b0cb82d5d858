"""A call of a whole layer: level by level, direction by direction.

`call_fast` serves padded sequences on the engine, `call_fast_packed` packed ones. Everything but the numbers is looked
up there: the operations of the layer by (dtype, products, gates), and the plan of each operation by its extent.
`call_generic` serves every call by any backend.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatewright.nn.calls.arguments import CallArguments
from gatewright.nn.calls.cell_call import (
    CellCall,
    CellResults,
    LevelResults,
    draw,
    run_both_directions,
    run_direction_of,
)
from gatewright.nn.calls.embedding_fold import EmbeddingFold
from gatewright.nn.calls.step_call import STRIDED
from gatewright.nn.dropout import drop
from gatewright.nn.embedding import lookups
from gatewright.nn.engine.checkpointed import Checkpoint, run_checkpointed
from gatewright.nn.engine.differentiable import DTYPES, OperandDtype
from gatewright.nn.engine.operation import SequenceOperation
from gatewright.nn.engine.packed_weights import converted
from gatewright.nn.engine.sequence_function import run
from gatewright.nn.engine.sequence_pair import run_pair
from gatewright.nn.engine.trace_operation import Operands
from gatewright.nn.layer_interface import LayerInterface
from gatewright.nn.modes import hooks_saved_tensors, is_plain
from gatewright.nn.precision import Precision, precision_of
from gatewright.nn.sequence import Lengths, RaggedRows, backward_resets, row_lengths
from gatewright.nn.torch_fused import runs_as_step
from gatewright.trace.mask import MASK
from gatewright.trace.reset import RESET

MOST_NARROW_ROWS = 4
"""A single step of up to so many rows multiplies in float32 where a caller asks for a narrow dtype: to read matrices
where they are takes less time than to round them, or to see whether they have changed."""
_ENGINE = ("auto", "llvm")  # the backends by which the engine may run


class LayerResults(NamedTuple):
    """The results of a whole layer.

    - `output`: (time, batch, features); the data of a PackedSequence that stayed packed.
    - `finals`: every final state, (num_layers * num_directions, batch, size).
    - `gates`: every gate that was asked for by its name, (time, batch, size).
    """

    output: Tensor
    finals: tuple[Tensor, ...]
    gates: dict[str, Tensor]


def call_fast(
    layer: LayerInterface,
    input: Tensor,
    hx: Tensor | Sequence[Tensor] | None,
    lengths: Lengths | None,
    gates: bool,
    resets: Tensor | None = None,
) -> LayerResults | None:
    """Fast path: a batch of sequences without a mask, once the generic path has made the operations for these dtypes,
    gates and resets. Returns None to fall back to the generic path, which also raises the errors for arguments that do
    not fit.

    The results have the axes of the input, batch first or not.
    """
    is_dense = type(input) is Tensor and input.layout is STRIDED and not input.is_nested
    is_plain_batch = is_dense and input.dim() == 3 and input.is_cpu and is_plain(autocast=True)
    if not is_plain_batch or input.shape[-1] != layer.input_size or not _is_for_engine(layer):
        return None
    fits = resets is None or (isinstance(resets, Tensor) and resets.shape == input.shape[:2] and resets.is_cpu)  # pyright: ignore[reportUnnecessaryIsInstance]
    if not fits:
        return None
    vectors, precision = input, None
    if input.dtype not in DTYPES or torch.is_autocast_enabled("cpu"):
        if (precision := _conversions(layer, input, hx)) is None:
            return None
        (input,), hx = precision.as_computed([input]), precision.as_computed(_listed(hx)) or None
    if not layer.batch_first:
        return _run_fast(layer, input, hx, lengths, gates, resets, precision, vectors)
    marks = None if resets is None else resets.T
    results = _run_fast(layer, input.transpose(0, 1), hx, lengths, gates, marks, precision, vectors)
    return None if results is None else _with_batch_first(results)


def call_fast_packed(
    layer: LayerInterface, input: PackedSequence, hx: Tensor | Sequence[Tensor] | None, gates: bool
) -> LayerResults | None:
    """The same for a PackedSequence. The results' output is the data of one; gates have the axes of a padded batch.

    Rows stay in the caller's order. Lines of the data are copied to their places and back, which takes less time than
    to teach kernels that inputs and states lie in different lines.
    """
    data = input.data
    is_plain_batch = type(data) is Tensor and data.dim() == 2 and data.is_cpu and is_plain()
    is_plain_batch = is_plain_batch and not hooks_saved_tensors()
    if not is_plain_batch or data.shape[-1] != layer.input_size or not _is_for_engine(layer):
        return None
    rows = RaggedRows.of_packed(input) if data.dtype in DTYPES else None
    if rows is None:
        return None
    results = _run_fast(layer, rows.pad(data), hx, rows, gates)
    if results is None:
        return None
    output = rows.pack(results.output)
    return (_with_batch_first(results) if layer.batch_first else results)._replace(output=output)


def _with_batch_first(results: LayerResults) -> LayerResults:
    named = {name: gate.transpose(0, 1) for name, gate in results.gates.items()}
    return LayerResults(results.output.transpose(0, 1), results.finals, named)


def _run_fast(
    layer: LayerInterface,
    values: Tensor,
    hx: Tensor | Sequence[Tensor] | None,
    lengths: Lengths | RaggedRows | None,
    gates: bool,
    resets: Tensor | None = None,
    precision: Precision | None = None,
    vectors: Tensor | None = None,
) -> LayerResults | None:
    """The results for arguments (time, batch, ...), in the dtype of the kernels' arrays; see `call_fast`.

    `vectors` is the tensor that a caller passed, where the values are those of it: it may be known as rows of a table.
    """
    dtype = values.dtype
    asked = layer._products  # pyright: ignore[reportPrivateUsage] (its property would be a call more)
    products = precision.products if precision else asked if dtype is torch.float32 else None
    steps, batch = values.shape[:2]
    states = _initial_states(layer, hx, values)
    has_products = products and not layer.packed_cells[0].holds_weights  # which single steps know of
    has_options = gates or not (resets is lengths is None)
    if steps == 1 and states and not has_options and runs_as_step(layer, batch):
        if precision is not None and precision.products != "int8" and batch <= MOST_NARROW_ROWS:
            results = _run_step(layer, values, hx, precision)
            return None if results is None else rounded(results, precision)
        if precision is None and not has_products:
            return _run_step(layer, values, hx)
    operations = _operations(layer, dtype, products, gates, resets is not None)
    if operations is None or states is None or not steps * batch:
        return None
    packed: list[list[Tensor]] = []
    for index, operation in enumerate(operations):
        own = layer.packed_parameters(index)
        packed.append(own if precision is None else precision.as_computed(own))
        if not operation.takes(packed[index]):
            return None
    ragged = None
    if lengths is not None:  # a copy: the gradient reads them again
        is_read = isinstance(lengths, RaggedRows)
        ragged = lengths if is_read else RaggedRows(row_lengths(lengths, steps=steps, batch=batch).clone(), steps)
        ragged = None if ragged.is_whole else ragged
    if resets is not None:
        marked = resets != 0
        starts = _resets_of_directions(layer, marked if ragged is None else marked & ragged.mask(), values)
        packed = [[start, *tensors] for start, tensors in zip(starts, packed, strict=True)]  # an input, after x
    fold, checkpoint = None, layer.checkpoint
    # To ask for the size of the dictionary would take a call.
    if lookups.data and vectors is not None and not checkpoint and not hooks_saved_tensors():
        fold = EmbeddingFold.of(layer, vectors, operations)
    operands = [(*own, *starts) for own, starts in zip(packed, states, strict=True)]
    calls = _Directions(operations, operands, ragged, fold, checkpoint)
    run_both = calls.run_both if ragged is None and not checkpoint else None
    results = _run_directions(layer, values, calls.run, gates, run_both)
    return results if precision is None else rounded(results, precision)


class _Directions(NamedTuple):
    """The directions of all levels of a call, each with its operands after x. The first level may be folded."""

    operations: Sequence[SequenceOperation]
    operands: Sequence[Operands]
    ragged: RaggedRows | None
    fold: EmbeddingFold | None
    checkpoint: Checkpoint

    def run(self, index: int, x: Tensor) -> CellResults:
        """Run one direction on the input of its level."""
        if self.fold is not None and index < len(self.fold):
            return self.fold.run(index, x, self.operands[index], self.ragged)
        if self.checkpoint:
            return run_checkpointed(self.operations[index], (x, *self.operands[index]), self.ragged, self.checkpoint)
        return run(self.operations[index], (x, *self.operands[index]), self.ragged)

    def run_both(self, index: int, x: Tensor) -> LevelResults:
        """Run a direction and the next one, for padded sequences."""
        if self.fold is not None and index < len(self.fold):
            return [self.run(index, x), self.run(index + 1, x)]
        pair = self.operations[index], self.operations[index + 1]
        return run_pair(pair, ((x, *self.operands[index]), (x, *self.operands[index + 1])))


def _run_step(
    layer: LayerInterface,
    values: Tensor,
    hx: Tensor | Sequence[Tensor] | None,
    precision: Precision | None = None,
) -> LayerResults | None:
    """One step of all levels, with initial states that fit; None for parameters that do not.

    With a `precision` the arguments have the dtype of its arrays, and the parameters are converted to it.
    """
    count, none = len(layer.packed_cells), (None,) * len(layer.state_shapes)
    operations = [cell.one_step(values.dtype, of_layer=True) for cell in layer.packed_cells]
    packed: list[list[Tensor]] = []
    for index in range(count):
        own = layer.packed_parameters(index)
        packed.append(own if precision is None else converted(layer.packed_cells[index].made, own, precision.dtype))
    if not all(operation.takes(own) for operation, own in zip(operations, packed, strict=True)):
        return None

    def run_level(index: int, x: Tensor) -> CellResults:
        states = none if hx is None else _listed(hx)
        if count > 1:
            states = [None if state is None else state.narrow(0, index, 1) for state in states]
        return operations[index].run((x, *packed[index], *states))

    return _run_directions(layer, values, run_level, gates=False)


def _is_for_engine(layer: LayerInterface) -> bool:
    """Whether the engine may run a layer, and nothing is drawn."""
    loops = layer._newton is None  # pyright: ignore[reportPrivateUsage] (its property would be a call more)
    return loops and layer.backend in _ENGINE and not (layer.training and layer.trace.noises)


def _resets_of_directions(layer: LayerInterface, resets: Tensor, like: Tensor) -> list[Tensor]:
    """The input of resets of every direction of every level, (time, batch), from the steps that start anew."""
    forward = resets.to(like.dtype)
    if not layer.bidirectional:
        return [forward] * len(layer.packed_cells)
    return [forward, backward_resets(forward)] * (len(layer.packed_cells) // 2)


def _conversions(layer: LayerInterface, input: Tensor, hx: Tensor | Sequence[Tensor] | None) -> Precision | None:
    """The dtypes of a call that converts its arguments; None where these do not fit one another."""
    states = _listed(hx)
    tensors = [input, *states, *layer.parameters()]
    if not all(isinstance(tensor, Tensor) for tensor in tensors):  # pyright: ignore[reportUnnecessaryIsInstance]
        return None
    if len({tensor.dtype for tensor in tensors}) > 1 and not torch.is_autocast_enabled("cpu"):
        return None
    precision = precision_of(layer, input, states)
    return None if isinstance(precision, str) else precision


def _listed(hx: Tensor | Sequence[Tensor] | None) -> list[Tensor]:
    """All initial states."""
    return [] if hx is None else [hx] if isinstance(hx, Tensor) else list(hx)


def rounded(results: LayerResults, precision: Precision) -> LayerResults:
    """The results of a layer in the dtype that its caller gets."""
    first, pairs = precision.results[0], zip(results.finals, precision.results, strict=True)
    finals = tuple([final.to(dtype) for final, dtype in pairs])
    return LayerResults(
        results.output.to(first), finals, {name: gate.to(first) for name, gate in results.gates.items()}
    )


def _operations(
    layer: LayerInterface, dtype: torch.dtype, products: OperandDtype, gates: bool, resets: bool
) -> list[SequenceOperation] | None:
    """The operation of every direction of every level; None where the generic path has not made one yet."""
    cells = layer.packed_cells
    operations = cells[0].made.get((dtype, products, gates, resets))
    if operations is None:
        operations = list[SequenceOperation]()
        for cell in cells:
            operation = cell.made.get(("operation", (True, False, gates, resets), dtype, products))
            if operation is None or len(operation.inputs) > 1 + resets:
                return None
            operations.append(operation)
        cells[0].made[dtype, products, gates, resets] = operations
    return operations


def _initial_states(
    layer: LayerInterface, hx: Tensor | Sequence[Tensor] | None, values: Tensor
) -> Sequence[Sequence[Tensor | None]] | None:
    """The initial states of every direction of every level, or None where they do not fit."""
    shapes, count = layer.state_shapes, len(layer.packed_cells)
    if hx is None:
        return [(None,) * len(shapes)] * count
    states = [hx] if isinstance(hx, Tensor) else list(hx)
    if len(states) != len(shapes):
        return None
    for state, shape in zip(states, shapes, strict=True):
        fits = isinstance(state, Tensor) and state.is_cpu and state.dtype is values.dtype  # pyright: ignore[reportUnnecessaryIsInstance]
        is_dense = fits and state.layout is STRIDED and not state.is_nested
        if not is_dense or state.shape != (count, values.shape[1], *shape):
            return None
    return [[state[index] for state in states] for index in range(count)]


def call_generic(
    layer: LayerInterface,
    backend: str,
    arguments: CallArguments,
    packed: Sequence[Sequence[Tensor]],
    *,
    gates: bool = False,
    precision: Precision | None = None,
) -> LayerResults:
    """Generic path: any arguments by any backend; `packed` are the parameters of every direction. The engine computes
    them in a `precision`.
    """
    if precision is not None:
        arguments, packed = arguments.converted(precision), [precision.as_computed(tensors) for tensors in packed]
    trace = layer.trace
    names = [state.name for state in trace.states]
    resets = arguments.resets
    starts = None if resets is None else _resets_of_directions(layer, resets, arguments.values)

    def call_of(index: int, values: Tensor) -> CellCall:
        cell, (steps, batch) = layer.packed_cells[index], values.shape[:2]
        inputs = {trace.inputs[0].name: values}
        if any(leaf.name == MASK for leaf in trace.inputs):
            inputs[MASK] = values.new_ones(steps, batch)
        if starts is not None:
            inputs[RESET] = starts[index]
        return CellCall(
            cell,
            inputs,
            packed[index],
            {name: None if arguments.states is None else arguments.states[n][index] for n, name in enumerate(names)},
            noises=draw(backend, cell, values) if layer.training else None,
            active=arguments.active,
            ragged=arguments.ragged,
            gates=gates,
            products=precision.products if precision else None,
            checkpoint=layer.checkpoint,
            newton=layer.newton if backend == "newton" else None,
        )

    def run_direction(index: int, values: Tensor) -> CellResults:
        return run_direction_of(layer, index, backend, call_of(index, values))

    def run_both(index: int, values: Tensor) -> LevelResults:  # an alias: Dynamo evaluates it
        return run_both_directions(backend, (call_of(index, values), call_of(index + 1, values)))

    together = run_both if backend == "triton" else None
    results = _run_directions(layer, arguments.values, run_direction, gates, together)
    return results if precision is None else rounded(results, precision)


def _run_directions(
    layer: LayerInterface,
    values: Tensor,
    run_direction: Callable[[int, Tensor], CellResults],
    gates: bool,
    run_both: Callable[[int, Tensor], LevelResults] | None = None,
) -> LayerResults:
    """Run all directions, given by their index, of all levels; each level reads the output of the one below it.

    `run_both` runs a direction and the next one.
    """
    across = 2 if layer.bidirectional else 1
    together = across == 2 and run_both is not None
    results: list[CellResults] = []
    for index in range(0, len(layer.packed_cells), across if together else 1):
        if index and index % across == 0:
            values = _side_by_side(results[-across:])
            if layer.dropout:
                values = drop(values, layer.dropout, layer.training, layer.dropout_per)
        results += run_both(index, values) if together and run_both else [run_direction(index, values)]
    end = 1 + len(layer.state_shapes)
    if len(results) == 1:
        output, finals = results[0][0], results[0][1:end]
    else:
        output = _side_by_side(results[-across:])
        finals = tuple([torch.cat([result[number] for result in results]) for number in range(1, end)])
    return LayerResults(output, finals, _named_gates(layer, results) if gates else {})


def _side_by_side(results: Sequence[CellResults]) -> Tensor:
    """The output of a level: the features of its directions beside each other."""
    return results[0][0] if len(results) == 1 else torch.cat([result[0] for result in results], -1)


def _named_gates(layer: LayerInterface, results: Sequence[CellResults]) -> dict[str, Tensor]:
    """Every gate of every direction by its name."""
    named: dict[str, Tensor] = {}
    for cell, (level, suffix), result in zip(layer.packed_cells, layer.directions(), results, strict=True):
        prefix = f"l{level}{suffix}." if len(results) > 1 else ""
        gates = cell.named_gates(result[1 + len(layer.state_shapes) :])
        named |= {prefix + name: gate for name, gate in gates.items()}
    return named
