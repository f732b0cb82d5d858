"""A cell over a sequence as a loop of torch's own operations within a graph, for any number of steps.

It serves graphs that are to run without the engine: ONNX files, and traces of torch.jit.trace with backend="torch".
What depends on no state is computed for all steps before the loop, and what only reads states for all steps after it.
The loop is torch's `scan` in a graph of torch.export. In a graph of torch.jit.trace it is a loop of TorchScript,
compiled once for a cell.
"""

import linecache
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch._higher_order_ops.scan import scan_op  # pyright: ignore[reportPrivateUsage]

from gatewright.axes import bind
from gatewright.backends.base import execute, prepare
from gatewright.backends.decompose import decompose
from gatewright.backends.onnx.regroup import regrouped
from gatewright.backends.torch_rules import rules
from gatewright.lang.ops import Op
from gatewright.nn.engine.differentiable import Differentiable
from gatewright.trace.analysis import Split, reads, shared, split
from gatewright.trace.ir import Atom, Literal, Trace, Var


@contextmanager
def unrecorded() -> Generator[None, None, None]:
    """Hide operations from torch.jit.trace. Sizes are plain numbers within, and can be compared."""
    state = torch._C._get_tracing_state()  # pyright: ignore[reportPrivateUsage]
    torch._C._set_tracing_state(None)  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage]
    try:
        yield
    finally:
        torch._C._set_tracing_state(state)  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage]


_OPS = frozenset(rules(torch.empty(()))) - {Op.SOFTPLUS}  # ONNX has no operator for torch.logaddexp
Tensors = list[Tensor]
Step = Callable[[Tensors, Tensors, Tensors], tuple[Tensors, Tensors]]
"""(states, elements of the sequences, fixed values) to (new states, kept values of this step)."""
Drive = Callable[["StepLoop", Step, Tensors, Tensors, Tensors], tuple[Tensors, Tensors]]
"""Runs all steps: (states, sequences, fixed values) to (the last states, kept values as sequences)."""


@dataclass(frozen=True)
class StepLoop:
    """A spec as a loop, by names.

    - `trace`: the step, in which sums are split by when their terms are known; `parts` are its equations.
    - `carried`: the new value of every state whose old value is read.
    - `timed` and `fixed`: what the loop reads, different at each step or the same.
    - `kept`: values of the loop and states before a step that are needed after the loop, with their shapes.
    """

    spec: Differentiable
    trace: Trace
    parts: Split
    carried: dict[str, Atom]
    timed: list[str]
    fixed: list[str]
    kept: dict[str, tuple[int, ...]]


@lru_cache(maxsize=256)
def loop_of(spec: Differentiable, *, all_states: bool = False) -> StepLoop:
    """A spec as a loop that returns the first state at every step, or all states."""
    trace = decompose(spec.trace, _OPS)
    if not trace.emits:
        trace = regrouped(trace, _OPS)
    parts, read, once = split(trace), reads(trace), shared(trace)
    carried = {state.name: new for state, new in trace.updates() if state.name in read}
    inner = {equation.target.name for equation in parts.loop} | set(carried)
    atoms = [*(arg for equation in parts.loop for arg in equation.args), *carried.values()]
    outside = dict.fromkeys(atom.name for atom in atoms if isinstance(atom, Var) and atom.name not in inner)
    later = [arg for equation in parts.after for arg in equation.args]
    later += [*trace.next_states] if all_states else [trace.next_states[0]]
    later += [new for state, new in trace.updates() if state.name not in carried]
    later += [value for _, value in trace.emits]
    kept = {atom.name: bind(atom.shape, spec.sizes) for atom in later if isinstance(atom, Var) and atom.name in inner}
    timed, fixed = ([name for name in outside if (name in once) is is_fixed] for is_fixed in (False, True))
    return StepLoop(spec, trace, parts, carried, timed, fixed, kept)


def _step_of(loop: StepLoop, like: Tensor) -> Step:
    """One step as a function that torch's scan can trace. Its results have one row for each row of the batch."""
    calls = prepare(loop.parts.loop, rules(like), loop.spec.sizes)
    names = [*loop.carried, *loop.timed, *loop.fixed]
    news = [new.value if isinstance(new, Literal) else new.name for new in loop.carried.values()]
    kept = list(loop.kept.items())

    def step(states: Tensors, elements: Tensors, fixed: Tensors) -> tuple[Tensors, Tensors]:
        operands = [*states, *(elements if loop.timed else []), *fixed]  # a sequence that only counts steps has no name
        values: dict[str, Any] = dict(zip(names, operands))  # noqa: B905
        execute(calls, values)
        rows = states[0].flatten(1)[:, 0]
        ends = [
            _full(values[new] if isinstance(new, str) else new, old)
            for new, old in zip(news, states)  # noqa: B905
        ]
        results = [_full(values[name], rows[(..., *(None,) * len(shape))].expand(-1, *shape)) for name, shape in kept]
        return ends, results

    return step


def _full(value: Any, like: Tensor) -> Tensor:
    """A value in the shape of `like`, in memory of its own."""
    if not isinstance(value, Tensor):
        return torch.full_like(like, value)
    return (value if value.dim() == like.dim() else value.expand_as(like)).clone()


@dataclass(frozen=True)
class LoopOutputs:
    """The states after each step (time, batch, ...), every state after the last step, what is emitted."""

    states: dict[str, Tensor]
    finals: dict[str, Tensor]
    emits: dict[str, Tensor]


def run_looped(loop: StepLoop, values: Mapping[str, Tensor], drive: Drive) -> LoopOutputs:
    """Run a spec on values by name, in its direction in time: inputs (time, batch, ...), parameters, states."""
    trace, sizes = loop.trace, loop.spec.sizes
    parts = loop.parts
    like = values[trace.inputs[0].name]
    first = {state.name: values[state.name] for state in trace.states}
    known: dict[str, Any] = {name: value for name, value in values.items() if name not in first}
    table = rules(like)
    execute(prepare(parts.before, table, sizes), known)
    finals: dict[str, Tensor] = {}
    if loop.carried:
        carried = [first[name] for name in loop.carried]
        sequences = [known[name] for name in loop.timed] or [like]
        lasts, kept = drive(loop, _step_of(loop, like), carried, sequences, [known[name] for name in loop.fixed])
        finals = dict(zip(loop.carried, lasts, strict=True))
        known |= zip(loop.kept, kept, strict=True)
    execute(prepare(parts.after, table, sizes), known)

    def sequence(value: Atom, shape: Sequence[str]) -> Tensor:
        whole = value.value if isinstance(value, Literal) else known[value.name]
        target = like[:, :, 0][(..., *(None,) * len(shape))].expand(-1, -1, *bind(tuple(shape), sizes))
        return _full(whole, target)

    states = {
        state.name: sequence(new, state.shape)
        for state, new in trace.updates()
        if isinstance(new, Literal) or new.name in known
    }
    for name in first.keys() - finals.keys():
        ordered = [states[name], first[name][None]] if loop.spec.backwards else [first[name][None], states[name]]
        finals[name] = torch.cat(ordered)[0 if loop.spec.backwards else -1]
    return LoopOutputs(states, finals, {name: sequence(value, value.shape) for name, value in trace.emits})


def scanned(loop: StepLoop, step: Step, states: Tensors, sequences: Tensors, fixed: Tensors) -> tuple[Tensors, Tensors]:
    """Run all steps by torch's operator scan, one node in a graph. It refuses tensors that share memory."""
    states, sequences, own = ([x.clone() for x in tensors] for tensors in (states, sequences, fixed))

    counts = (len(states), len(states) + len(sequences))

    def combine(*operands: Tensor) -> Tensors:
        carried, elements, fixed = operands[: counts[0]], operands[counts[0] : counts[1]], operands[counts[1] :]
        ends, results = step(list(carried), list(elements), list(fixed))
        return [*ends, *results]

    # torch's public `scan` caches what it has compiled for the fixed sizes of an earlier export, and a file would hold
    # those sizes. The operator after it is traced at each call.
    results = scan_op(combine, states, _in_order(loop, sequences), tuple(own))
    return list(results[: counts[0]]), _in_order(loop, results[counts[0] :])


def _in_order(loop: StepLoop, sequences: Sequence[Tensor]) -> Tensors:
    return [x.flip(0) if loop.spec.backwards else x for x in sequences]


def scripted(
    loop: StepLoop, step: Step, states: Tensors, sequences: Tensors, fixed: Tensors
) -> tuple[Tensors, Tensors]:
    """Run all steps by a loop of TorchScript, which torch.jit.trace records as a loop."""
    counts = (len(states), len(sequences), len(fixed))
    key = (loop.spec, states[0].dtype, states[0].device)
    if key not in _SCRIPTS:
        with unrecorded(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit.trace has shown it
            examples = [x.detach() for x in (*states, *(whole[0] for whole in sequences), *fixed)]
            _SCRIPTS[key] = _scripted(loop, step, examples, counts)
    results = _SCRIPTS[key](*states, *sequences, *fixed)
    return list(results[: counts[0]]), list(results[counts[0] :])


_SCRIPTS: dict[Any, Any] = {}
"""Compiled loops by spec, dtype and device. Never removed: a graph that calls one does not keep it alive."""


def _scripted(loop: StepLoop, step: Step, examples: Tensors, counts: tuple[int, int, int]) -> Any:
    states, sequences, fixed = ([f"{kind}{place}" for place in range(n)] for kind, n in zip("hxp", counts, strict=True))
    kept = [f"y{place}" for place in range(len(loop.kept))]

    def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
        last = len(tensors) - counts[2]
        news, results = step(list(tensors[: counts[0]]), list(tensors[counts[0] : last]), list(tensors[last:]))
        return (*news, *results)

    flat.__name__ = f"step_{len(_SCRIPTS)}"  # a saved file refers to functions by name
    traced = torch.jit.trace(flat, tuple(examples), check_trace=False)
    name = f"loop_{len(_SCRIPTS)}"
    time = "steps - 1 - step" if loop.spec.backwards else "step"
    elements = [f"{name}[{time}]" for name in sequences]
    flip = ".flip(0)" if loop.spec.backwards else ""
    lines = [
        f"def {name}({', '.join(f'{name}: Tensor' for name in (*states, *sequences, *fixed))}):",
        *(f"    all_{name}: list[Tensor] = []" for name in kept),
        f"    steps = {sequences[0]}.size(0)",
        "    for step in range(steps):",
        f"        {', '.join((*states, *kept))}, = traced({', '.join((*states, *elements, *fixed))})",
        *(f"        all_{name}.append({name})" for name in kept),
        f"    return ({', '.join((*states, *(f'torch.stack(all_{name}){flip}' for name in kept)))},)",
    ]
    file = f"<{name} of gatewright>"
    linecache.cache[file] = (0, None, [f"{line}\n" for line in lines], file)  # torch.jit.script reads it
    namespace: dict[str, Any] = {"__name__": __name__, "traced": traced, "torch": torch, "Tensor": Tensor}
    exec(compile("\n".join(lines), file, "exec"), namespace)
    return torch.jit.script(namespace[name])
