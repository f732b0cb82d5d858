"""The parity matrix: which cells are run on which numbers, the float64 oracle, and each backend's answer.

A backend joins by a row in `BACKENDS`: a function from a Problem and a dtype to the Results.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from gatewright import cells
from gatewright.axes import Shape, bind
from gatewright.backends import numpy_ref, torch_eager
from gatewright.lang import Cell, Op, layer_norm, masked, recurrent_dropout, residual, zoneout
from gatewright.nn.engine import sequence_function
from gatewright.nn.engine.autograd import widened
from gatewright.nn.engine.device_operation import DeviceOperation
from gatewright.nn.engine.differentiable import differentiable
from gatewright.nn.packed_cell import gate_name
from gatewright.nn.sequence import RaggedRows, step_mask, zero_padding
from gatewright.packing import Packed
from gatewright.trace import Trace, trace_cell
from tests.cells import cases

# No size is a multiple of another, nor of the width of a vector register.
SIZES = {"input": 3, "hidden": 5, "projection": 2, "context": 4, "input_rank": 2, "hidden_rank": 3}
EXTENTS = {  # steps, batch: lengths of the rows; any order, none at all, and 0
    (0, 1): [None],
    (0, 3): [None, (0, 0, 0)],
    (1, 1): [None, (0,)],
    (1, 3): [None, (1, 0, 1)],
    (7, 1): [None, (4,)],
    (7, 3): [None, (3, 0, 7)],
}

FEWER_EXTENTS = {(1, 1): [None], (7, 3): [(3, 0, 7)]}
TRANSFORMERS: Mapping[str, Callable[[Cell], Cell]] = {
    "masked": masked,
    "zoneout": zoneout(0.3),
    "recurrent_dropout": recurrent_dropout(0.4, per="sequence"),
    "layer_norm": layer_norm,
    "residual": residual,
}

Arrays = dict[str, np.ndarray]
Results = dict[str, Any]


def variations() -> Iterator[tuple[str, Cell]]:
    """Every cell of the catalogue as it is, with the options that its paper gives it, and under each transformer."""
    for case in cases.ALL:
        yield case.cell.label, case.cell
    for name, cell in cells.CATALOGUE.items():
        for word, transformer in TRANSFORMERS.items():
            yield f"{word}({name})", transformer(cell)
    yield "recurrent_dropout(gru, per=step)", recurrent_dropout(0.4, per="step")(cells.gru)
    yield "all at once", masked(zoneout(0.2)(recurrent_dropout(0.3)(layer_norm(residual(cells.gru)))))


CELLS: Mapping[str, Cell] = dict(variations())


def kind(trace: Trace) -> tuple[frozenset[Op], tuple[Shape, ...]]:
    """What a cell is made of: its operations, and the axes of its states."""
    return frozenset(equation.op for equation in trace.equations), tuple(state.shape for state in trace.states)


def models() -> Iterator[str]:
    """Of the cells of each kind the one with the longest step."""
    traces = {name: trace_cell(cell) for name, cell in cells.CATALOGUE.items()}
    for each in {kind(trace) for trace in traces.values()}:
        alike = [name for name, trace in traces.items() if kind(trace) == each]
        yield max(alike, key=lambda name: len(traces[name].equations))


MODELS = frozenset(models())
# A transformer does to every cell what it does to the model of its kind, so that the others meet it on fewer sizes.
SLICED = {f"{word}({name})" for name in cells.CATALOGUE if name not in MODELS for word in TRANSFORMERS}


@dataclass(frozen=True)
class Problem:
    """Everything that goes into a cell over a sequence, and what the loss says of what comes out.

    The numbers are those of float32, so that every dtype computes with the same.
    """

    trace: Trace
    sizes: Mapping[str, int]
    steps: int
    batch: int
    inputs: Arrays
    params: Arrays
    states: Arrays
    noises: Arrays
    d_output: np.ndarray
    d_finals: Arrays
    lengths: tuple[int, ...] | None = None
    chunk: int | None = None  # run in pieces of so many steps, each from the states that the one before ended with
    truncate: bool = False  # and let no gradient flow from one piece to the one before

    @property
    def width(self) -> int:
        """The roundings in a step, as `tolerance` counts them.

        A normalisation divides what is left of a sum by its spread, which enlarges what was rounded before.
        """
        return 256 if any(equation.op is Op.MEAN for equation in self.trace.equations) else 64

    def pieces(self, length: int) -> list["Problem"]:
        """The same problem in pieces of at most that many steps; their states are to be handed on."""
        bounds = [*range(0, self.steps, length), self.steps] if self.steps else [0, 0]
        return [self._piece(slice(*ends)) for ends in pairwise(bounds)]

    def _piece(self, steps: slice) -> "Problem":
        count = steps.stop - steps.start
        left = self.lengths and tuple(min(max(one - steps.start, 0), count) for one in self.lengths)
        return replace(
            self,
            steps=count,
            inputs={name: array[steps] for name, array in self.inputs.items()},
            noises={name: array[steps] for name, array in self.noises.items()},
            d_output=self.d_output[steps],
            lengths=left,
            chunk=None,
            truncate=False,
        )


def sizes_for(trace: Trace) -> dict[str, int]:
    """Sizes under which the cell's equations fit: where the input is added to a vector, it is as wide."""
    sizes = dict(SIZES)
    for equation in trace.equations:
        if equation.op == "relabel":
            (before,), (after,) = equation.args[0].shape, equation.target.shape
            sizes[before] = sizes[after]
    return {axis: sizes[axis] for axis in trace.axes()}


def problem(cell: Cell, steps: int, batch: int, seed: int, **changes: Any) -> Problem:
    """Random numbers of the order of 1 for a cell; the same for every backend and dtype."""
    rng, trace = np.random.default_rng(seed), trace_cell(cell)
    sizes = sizes_for(trace)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32).astype(np.float64)

    inputs = {v.name: normal(steps, batch, *bind(v.shape, sizes)) for v in trace.inputs}
    if "mask" in inputs:
        inputs["mask"] = (inputs["mask"] > -0.5).astype(np.float64)
        inputs["mask"][:1, :1] = 0
    shapes = {v.name: bind(v.shape, sizes) for v in trace.params}
    states = {v.name: normal(batch, *bind(v.shape, sizes)) for v in trace.states}
    if "m" in states:
        states["n"] = 1 + np.abs(states["n"])  # sLSTM's normaliser is never below 1
    return Problem(
        trace, sizes, steps, batch, inputs,
        params={name: normal(*shape) / 2 ** len(shape) for name, shape in shapes.items()},
        states=states,
        noises=numpy_ref.draw(trace, sizes, steps, batch, rng),
        d_output=normal(steps, batch, *bind(trace.states[0].shape, sizes)),
        d_finals={v.name: normal(batch, *bind(v.shape, sizes)) for v in trace.states},
        **changes,
    )  # fmt: skip


def numpy_results(given: Problem, dtype: str) -> Results:
    """What the reference gives: in float64 it is the oracle."""
    inputs, params, states, noises, finals = (
        {name: array.astype(dtype) for name, array in arrays.items()}
        for arrays in (given.inputs, given.params, given.states, given.noises, given.d_finals)
    )
    run = numpy_ref.run(given.trace, inputs, params, states, lengths=given.lengths, noises=noises)
    gradients = numpy_ref.gradient(
        given.trace,
        inputs,
        params,
        states,
        d_outputs={given.trace.states[0].name: given.d_output.astype(dtype)},
        d_finals=finals,
        lengths=given.lengths,
        noises=noises,
        truncate=given.chunk if given.truncate else None,
    )
    return {
        "output": run.output, "finals": run.finals, "gates": run.gates,
        "d_inputs": gradients.inputs, "d_params": gradients.params, "d_states": gradients.states,
    }  # fmt: skip


@dataclass(frozen=True)
class TorchRun:
    """What a backend of torch gives for the tensors of a problem, before any gradient is taken."""

    output: torch.Tensor
    finals: Mapping[str, torch.Tensor]
    gates: Mapping[str, torch.Tensor]


Named = Mapping[str, torch.Tensor]


def eager_run(given: Problem, inputs: Named, params: Named, states: Named, noises: Named) -> TorchRun:
    """By the eager backend, in pieces if the problem says so."""
    lengths = None if given.lengths is None else torch.tensor(given.lengths)
    active = None if lengths is None else step_mask(lengths, given.steps, torch.bool)
    outputs, gates, current, start = [], [], states, 0
    for piece in given.pieces(given.chunk or max(given.steps, 1)):
        if start and given.truncate:
            current = {name: state.detach() for name, state in current.items()}
        steps = slice(start, start + piece.steps)
        run = torch_eager.run(
            given.trace, {name: one[steps] for name, one in inputs.items()}, params, current, sizes=given.sizes,
            noises={name: one[steps] for name, one in noises.items()},
            active=None if active is None else active[steps], gates=True,
        )  # fmt: skip
        outputs.append(run.output)
        gates.append(run.gates)
        current, start = run.finals, steps.stop

    def joined(pieces: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat(pieces) if lengths is None else zero_padding(torch.cat(pieces), lengths)

    return TorchRun(joined(outputs), current, {name: joined([one[name] for one in gates]) for name in gates[0]})


def triton_run(given: Problem, inputs: Named, params: Named, states: Named, noises: Named) -> TorchRun:
    """By Triton's kernels, in the interpreter."""
    emits = tuple((gate_name(name), value) for name, value in given.trace.gates)
    drawn = tuple(noise.var for noise in given.trace.noises)  # are given here: kernels draw others than the oracle
    trace = replace(given.trace, inputs=(*given.trace.inputs, *drawn), noises=(), emits=emits)
    spec = differentiable(trace, given.sizes, next(iter(states.values())).dtype, engine="triton")
    layout = tuple(Packed(param.name, (param.name,)) for param in spec.trace.params)
    named = {**inputs, **noises, **params, **states}
    ragged = None if given.lengths is None else RaggedRows(torch.tensor(given.lengths), given.steps)
    operation = DeviceOperation(spec, layout)
    output, *others = sequence_function.run(operation, [named[name] for name in spec.operands], ragged)
    count = len(given.trace.states)
    finals = {state.name: end[0] for state, end in zip(given.trace.states, others[:count], strict=True)}
    gates = {
        name: widened(emitted, (given.steps, given.batch, *bind(gate.shape, given.sizes)))
        for (name, gate), emitted in zip(given.trace.gates, others[count:], strict=True)
    }
    return TorchRun(output, finals, gates)


def torch_results(
    given: Problem, dtype: str, run: Callable[..., TorchRun] = eager_run, *, twice: bool = False
) -> Results:
    """What a run and torch's autograd give; `twice` with the gradients of the squares of all gradients."""

    def tensors(arrays: Mapping[str, np.ndarray], gradient: bool = False) -> dict[str, torch.Tensor]:
        return {
            name: torch.tensor(a, dtype=getattr(torch, dtype), requires_grad=gradient) for name, a in arrays.items()
        }

    inputs, params, states = (tensors(one, gradient=True) for one in (given.inputs, given.params, given.states))
    d_output, d_finals, noises = tensors({"": given.d_output})[""], tensors(given.d_finals), tensors(given.noises)
    ran = run(given, inputs, params, states, noises)
    loss = (ran.output * d_output).sum() + sum((ran.finals[name] * d).sum() for name, d in d_finals.items())
    leaves = [*inputs.values(), *params.values(), *states.values()]
    flows = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True, create_graph=twice)
    if twice:
        squares = sum((flow * flow).sum() for flow in flows)
        flows = torch.autograd.grad(squares, leaves, allow_unused=True, materialize_grads=True)
    flow = iter(flows)
    d_inputs, d_params, d_states = ({name: next(flow) for name in one} for one in (inputs, params, states))
    return {
        "output": ran.output, "finals": dict(ran.finals), "gates": dict(ran.gates),
        "d_inputs": d_inputs, "d_params": d_params, "d_states": d_states,
    }  # fmt: skip


def triton_results(given: Problem, dtype: str, *, twice: bool = False) -> Results:
    """What Triton's kernels give in the interpreter."""
    with np.errstate(all="ignore"):
        return torch_results(given, dtype, triton_run, twice=twice)


@lru_cache(maxsize=16)
def _found(name: str, steps: int, batch: int, changes: tuple[tuple[str, Any], ...]) -> tuple[Problem, Results]:
    given = problem(CELLS[name], steps, batch, seed=zlib.crc32(f"{name} {steps} {batch}".encode()), **dict(changes))
    return given, numpy_results(given, "float64")


def with_oracle(name: str, steps: int, batch: int, **changes: Any) -> tuple[Problem, Results]:
    """A problem and the oracle's answer to it."""
    return _found(name, steps, batch, tuple(sorted(changes.items())))


BACKENDS: Mapping[str, Callable[[Problem, str], Results]] = {
    "torch": torch_results,
    "numpy": numpy_results,
    "triton": triton_results,
}
QUICK_BACKENDS = ("torch", "numpy")  # that run every cell in every test run; Triton's interpreter takes seconds a cell
