"""`torch.ops.gatewright.run`: a Trace over a sequence as one operation of a graph that torch compiles or exports.

    results = torch.ops.gatewright.run(key, values)

The key is a text with everything that defines the operation: the sizes, the dtype, the direction in time, and the
Trace. So an exported program runs in any process that has imported gatewright.nn, even if the layer was never created
there. (A hash into a registry would be shorter, but the registry of a new process is empty.)

    {"gatewright": 1, "backwards": false, "dtype": "float32", "saves": false, "sizes": {"hidden": 8, "input": 4}}
    gatewright-trace 1
    cell "gru"
    ...

A key with `"products": "bfloat16"` has products whose operands are rounded to that dtype. A key with
`"engine": "triton"` runs Triton's kernels: on a GPU, or on a CPU in Triton's interpreter. Other keys run on a CPU.

`values` are inputs, random values (their seeds, for Triton's kernels), parameters and states. The results are states
(time + 1, batch, ...), what each step emits, what is summed, and, if it saves, what its gradient reads. `values`
determine the number of steps and rows.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch._decomp import register_decomposition  # pyright: ignore[reportPrivateUsage]
from torch.utils.flop_counter import register_flop_formula

from gatewright.axes import bind
from gatewright.backends.triton.random_values import with_drawn
from gatewright.backends.triton.support import device_obstacle
from gatewright.errors import OptionError, TraceError
from gatewright.lang.ops import Op
from gatewright.nn.engine.backward import Backward
from gatewright.nn.engine.differentiable import DTYPES, Differentiable, EngineName, OperandDtype, sum_shape
from gatewright.nn.engine.mapped import mapped
from gatewright.nn.engine.operation_of_trace import operation_of_trace
from gatewright.nn.graphs.looped import loop_of, run_looped, scanned
from gatewright.trace.text import parse, to_text

_FORMAT = 1
_SHOWN = 200
_DTYPES = {name: dtype for dtype, name in DTYPES.items()}
_OPTIONS: tuple[tuple[EngineName, OperandDtype], ...] = (
    ("llvm", None),
    ("llvm", "bfloat16"),
    ("triton", None),
    ("triton", "bfloat16"),
    ("triton", "float16"),
    ("triton", "tf32"),
    ("triton", "tf32x3"),
)
"""Each engine with each dtype that operands of its products may be rounded to."""


@dataclass(frozen=True, slots=True)
class GraphOperation:
    """The operation that a key defines."""

    spec: Differentiable
    saves: bool
    ran: Differentiable  # spec, or the step of it that saves

    def gradients(
        self, values: Mapping[str, Tensor], results: Mapping[str, Tensor], flows: Mapping[str, Tensor | None]
    ) -> dict[str, Tensor]:
        """The gradient by every operand by its name; `flows` are the gradients by the results."""
        states = {state.name: results[state.name] for state in self.spec.trace.states}
        saved = {name: result for name, result in results.items() if name not in self.spec.results}
        if any(flows[name] is not None for name in saved):  # a second derivative: the first has read what was saved
            return Backward(self.ran, values, states, list(flows.values())).differentiable(run)
        backward = Backward(self.spec, values, states, [flows[name] for name in self.spec.results])
        if not self.saves or not set(self.spec.pair(backward.seeded).saved) <= set(saved):
            return backward.differentiable(run)
        derived = _reading_saved(self.spec, backward.seeded)
        return backward.gradients(derived.trace, run(derived, {**backward.operands(derived.trace), **saved}))


@lru_cache(maxsize=1024)
def key_of(spec: Differentiable, saves: bool = False) -> str:
    """The key of an operation.

    Raises TraceError where the trace has a name that its text cannot hold.
    """
    head = {
        "gatewright": _FORMAT,
        "backwards": spec.backwards,
        "dtype": DTYPES[spec.dtype],
        "saves": saves,
        "sizes": dict(sorted(spec.sizes.items())),
    }
    if spec.products:
        head["products"] = spec.products
    if spec.engine != "llvm":  # a key of the CPU engine is the same in every version
        head["engine"] = spec.engine
    return f"{json.dumps(head)}\n{to_text(spec.trace)}"


@lru_cache(maxsize=1024)
def operation(key: str) -> GraphOperation:
    """The operation of a key, created from its text.

    Raises TraceError where the key is damaged, or was written by a version that this one cannot read.
    """
    first, _, text = key.partition("\n")
    head = _read_head(first)
    spec = Differentiable(
        parse(text), head["sizes"], _DTYPES[head["dtype"]], head["backwards"], head["products"], head["engine"]
    )
    saves, sizes = head["saves"], spec.sizes
    if any(axis not in sizes for axis in spec.trace.axes()):
        raise _damaged("a size for every axis of the trace", str(sizes))
    if not saves:
        return GraphOperation(spec, saves, spec)
    saving = spec.pair(spec.output_state).forward
    return GraphOperation(spec, saves, spec.with_trace(saving, backwards=spec.backwards))


def _read_head(line: str) -> dict[str, Any]:
    """The first line of a key, with its options."""
    try:
        head: Any = json.loads(line)
    except ValueError:
        head = None
    match head:
        case {
            "gatewright": 1,
            "backwards": bool(),
            "dtype": "float32" | "float64",
            "saves": bool(),
            "sizes": dict(sizes),
            **others,
        } if all(type(size) is int and size > 0 for size in sizes.values()):
            head = {"engine": "llvm", "products": None, **head}
            if (head["engine"], head["products"]) in _OPTIONS and others.keys() <= {"engine", "products"}:
                return head
        case _:
            pass
    raise _damaged('{"gatewright": 1, "backwards": ..., "dtype": ..., "saves": ..., "sizes": ...}', line)


def _damaged(expected: str, got: str) -> TraceError:
    return TraceError(
        "the key of gatewright::run cannot be read",
        expected=expected,
        got=repr(got[:_SHOWN]),
        do="export the model again with this version of Gatewright",
    )


@lru_cache(maxsize=1024)
def _reading_saved(spec: Differentiable, seeded: frozenset[str]) -> Differentiable:
    """The gradient that reads what the forward run has saved."""
    return spec.with_trace(spec.pair(seeded).backward, backwards=not spec.backwards)


@torch.library.custom_op("gatewright::run", mutates_args=(), device_types=("cpu", "cuda"))
def run_op(key: str, values: list[Tensor]) -> list[Tensor]:
    """Run the kernels of a key on values; see the module."""
    spec = operation(key).ran
    for device in {value.device for value in values}:
        check_device(spec, device)
    ran = operation_of_trace(spec)
    return list(ran.results(ran.forward(values, saves=False)))


def check_device(spec: Differentiable, device: torch.device) -> None:
    """Raise OptionError unless the kernels of an operation run on a device: its graph may come from another machine."""
    if spec.engine == "triton":
        obstacle = device_obstacle(device, spec.dtype)
    else:
        obstacle = None if device.type == "cpu" else f"the tensors are on {device.type}"
    if obstacle is not None:
        raise OptionError(
            f"a graph holds kernels for {spec.trace.name!r} that cannot run here",
            expected="a GPU, with triton installed" if spec.engine == "triton" else "tensors on the CPU",
            got=obstacle,
            do="compile or export the model where it is to run",
        )


def run(spec: Differentiable, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As gatewright.nn.engine.sequence_function.run_named, as a node of a graph."""
    results = run_op(key_of(spec), [values[name] for name in spec.operands])
    return dict(zip(spec.results, results, strict=True))


@run_op.register_fake
def _shaped(key: str, values: list[Tensor]) -> list[Tensor]:
    spec = operation(key).ran
    trace, sizes, (steps, batch) = spec.trace, spec.sizes, values[0].shape[:2]
    shapes = [(steps + 1, batch, *bind(state.shape, sizes)) for state in trace.states]
    shapes += [(steps, batch, *bind(trace.output_shape(name, value), sizes)) for name, value in trace.emits]
    shapes += [sum_shape(spec, name) for name, _ in trace.sums]
    return [values[0].new_empty(shape, dtype=spec.dtype) for shape in shapes]


def _keep(ctx: Any, inputs: tuple[str, list[Tensor]], output: list[Tensor]) -> None:
    ctx.key, values = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*values, *output)


def _backward(ctx: Any, grads: list[Tensor | None]) -> tuple[None, list[Tensor | None]]:
    called = operation(ctx.key)
    values = dict(zip(called.ran.operands, ctx.saved_tensors, strict=False))
    results = dict(zip(called.ran.results, ctx.saved_tensors[len(values) :], strict=True))
    gradients = called.gradients(values, results, dict(zip(called.ran.results, grads, strict=True)))
    wanted = zip(called.ran.operands, ctx.needs_input_grad[1], strict=True)
    return None, [gradients.get(name) if needed else None for name, needed in wanted]


run_op.register_autograd(_backward, setup_context=_keep)


@run_op.register_vmap
def _(info: Any, in_dims: tuple[None, list[int | None]], key: str, values: list[Tensor]) -> tuple[Any, Any]:
    return mapped(run, operation(key).ran, info.batch_size, in_dims[1], values)


@register_decomposition(torch.ops.gatewright.run.default)
def _(key: str, values: list[Tensor]) -> list[Tensor]:
    """The operation as torch's own, for torch.onnx.export of a program that torch.export made."""
    if not torch.onnx.is_in_onnx_export():
        return _shaped(key, values)  # also called for fake tensors of unknown sizes
    spec = operation(key).ran
    named = dict(zip(spec.operands, values, strict=True))
    if spec.engine == "triton":
        named = with_drawn(spec.trace, spec.sizes, named, spec.dtype)
    outputs = run_looped(loop_of(spec, all_states=True), named, scanned)
    first = {name: named[name][None] for name in outputs.finals}
    order = -1 if spec.backwards else 1
    states = [torch.cat([first[s.name], outputs.states[s.name]][::order]) for s in spec.trace.states]
    return [*states, *(outputs.emits[name] for name, _ in spec.trace.emits)]


@register_flop_formula(torch.ops.gatewright.run)
def products(key: str, values: Sequence[torch.Size], *_: Any, **__: Any) -> int:
    """The floating point operations of the products that `gatewright::run` computes, for FlopCounterMode.

    A product of a matrix and a vector has two for each number of the matrix, in every step of every row; so has the
    gradient by a matrix, a sum of outer products. `values` are shapes; the first is that of a sequence.
    """
    ran = operation(key).ran
    steps, batch = values[0][:2]
    counted = (equation for equation in ran.trace.equations if equation.op in (Op.MATMUL, Op.OUTER))
    matrices = (equation.args[0] if equation.op is Op.MATMUL else equation.target for equation in counted)
    return sum(2 * steps * batch * prod(bind(matrix.shape, ran.sizes)) for matrix in matrices)
