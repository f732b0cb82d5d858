"""A Trace run over a sequence by torch, operation by operation, on any device.

Autograd, vmap and double backward work because every operation is torch's own. What does not depend on a state is
done for all time steps at once; products of one vector with several matrices are done as one.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gatewright.axes import bind
from gatewright.backends.base import ArrayRules, PreparedEquation, execute, prepare
from gatewright.backends.torch_rules import rules
from gatewright.lang.ops import Op
from gatewright.lang.symbol import Redraw
from gatewright.trace.analysis import depends_on_state, shared
from gatewright.trace.ir import Atom, Equation, Literal, Trace, Var, names_of

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class EagerRun:
    """What a cell gave over a sequence. Sequences are (time, batch, features)."""

    output: Tensor  # the first state after every step
    finals: dict[str, Tensor]  # every state after the last step: (batch, features)
    gates: dict[str, Tensor]


def run(
    trace: Trace,
    inputs: Tensors,
    params: Tensors,
    states: Tensors,
    *,
    sizes: Mapping[str, int],
    noises: Tensors | None = None,
    active: Tensor | None = None,
    gates: bool = False,
) -> EagerRun:
    """Run a cell over a sequence. Its gradient is autograd's.

    `inputs` are (time, batch, features) and `states` (batch, features). `noises` are random values by name, drawn by
    `draw`; without them the cell is evaluated with their means. Where `active` (time, batch) is False a row keeps its
    states, and whatever stands in the inputs there, NaN too, reaches no result and no gradient. `gates` asks for every
    gate at every step.
    """
    like = next(iter(inputs.values()))
    if active is not None:  # a NaN that torch.where leaves out would come back in the gradient, as 0 * NaN
        inputs = {name: sequence.masked_fill(~_widened(active, sequence.dim()), 0) for name, sequence in inputs.items()}
    values: dict[str, Any] = {**params, **inputs}
    values |= noises or {n.var.name: like.new_full(bind(n.var.shape, sizes), n.probability) for n in trace.noises}
    stepwise = depends_on_state(trace)
    before = [equation for equation in trace.equations if equation.target.name not in stepwise]
    inside = [equation for equation in trace.equations if equation.target.name in stepwise]
    table = rules(like)
    fixed = shared(trace)
    calls = [calls for part in (before, inside) for calls in _joined(part, fixed, table, sizes)]
    stacked_before, once, stacked_inside, stepwise = calls
    execute([*stacked_before, *once, *stacked_inside], values)
    return _EagerLoop(trace, stepwise, values, sizes, like.shape[:2], gates).run(states, active)


def draw(trace: Trace, sizes: Mapping[str, int], steps: int, batch: int, like: Tensor) -> dict[str, Tensor]:
    """Draw every random value of a cell for a whole sequence with torch's generator: (time, batch, features)."""
    drawn: dict[str, Tensor] = {}
    numbers = like.dtype if like.dtype.itemsize >= 4 else torch.float32  # narrower ones would round the probability
    for noise in trace.noises:
        shape = (steps if noise.per == Redraw.STEP else 1, batch, *bind(noise.var.shape, sizes))
        values = torch.rand(shape, dtype=numbers, device=like.device) < noise.probability
        drawn[noise.var.name] = values.to(like.dtype).expand(steps, *shape[1:])
    return drawn


def _widened(rows: Tensor, rank: int) -> Tensor:
    """A tensor with axes of one element after, so that it has `rank` axes."""
    return rows[(..., *(None,) * (rank - rows.dim()))]


class _EagerLoop:
    """The part that goes step by step."""

    def __init__(
        self,
        trace: Trace,
        calls: list[PreparedEquation],
        values: dict[str, Any],
        sizes: Mapping[str, int],
        extent: Sequence[int],
        gates: bool,
    ) -> None:
        self.trace, self.calls, self.values, self.sizes = trace, calls, values, sizes
        self.steps, self.batch = extent
        self.shown = trace.gates if gates else ()
        ranks = {value.name: len(value.shape) for value in trace.values()}
        timed = {name for name, rank in ranks.items() if name in values and values[name].dim() > rank + 1}
        read = {arg for call in calls for arg in call.args if isinstance(arg, str)}
        read |= names_of(trace.next_states)
        self.timed = {name: values[name].unbind(0) for name in timed & read}
        self.fixed = {name: value for name, value in values.items() if name not in timed}

    def run(self, states: Tensors, active: Tensor | None) -> EagerRun:
        """All steps, one after the other."""
        current = dict(states)
        first = self.trace.states[0]
        outputs: list[Tensor] = []
        inner = {call.target for call in self.calls}
        history: dict[str, list[Tensor]] = {name: [] for name, value in self.shown if value.name in inner}
        for t in range(self.steps):
            values = self.fixed | current | {name: steps[t] for name, steps in self.timed.items()}
            execute(self.calls, values)
            current = self._advance(values, current, None if active is None else active[t])
            outputs.append(current[first.name])
            for name, value in self.shown:
                if name in history:
                    history[name].append(values[value.name])
        like = current[first.name]
        output = torch.stack(outputs) if outputs else like.new_zeros((0, *like.shape))
        return EagerRun(output, current, {name: self._gate(value, history.get(name)) for name, value in self.shown})

    def _gate(self, gate: Var, steps: list[Tensor] | None) -> Tensor:
        """One gate at every step, whether it was computed in the loop or for all steps at once."""
        shape = (self.batch, *bind(gate.shape, self.sizes))
        if steps:
            return torch.stack([step.expand(shape) for step in steps])
        if gate.name in self.values:
            return self.values[gate.name].expand(self.steps, *shape)
        return next(iter(self.values.values())).new_zeros((0, *shape))

    def _advance(self, values: Tensors, current: Tensors, active: Tensor | None) -> dict[str, Tensor]:
        after: dict[str, Tensor] = {}
        for state, value in self.trace.updates():
            before = current[state.name]
            new = before.new_full((), value.value) if isinstance(value, Literal) else values[value.name]
            if new.shape != before.shape:
                new = new.expand_as(before)
            if active is not None:
                new = torch.where(_widened(active, before.dim()), new, before)
            after[state.name] = new
        return after


def _joined(
    equations: list[Equation], fixed: Collection[str], table: ArrayRules, sizes: Mapping[str, int]
) -> tuple[list[PreparedEquation], list[PreparedEquation]]:
    """Prepared equations in which products of one vector with several matrices have become one product.

    The matrices are stacked by the first list of calls, which is to run once, before the second.
    """
    groups = _groups(equations, fixed)
    stacks: list[PreparedEquation] = []
    calls: list[PreparedEquation] = []
    for equation, call in zip(equations, prepare(equations, table, sizes), strict=True):
        group = groups.get(equation.target.name)
        if group is None:
            calls.append(call)
        elif group[0] is equation:
            stack, product = _product(group)
            stacks.append(stack)
            calls.append(product)
            calls += [PreparedEquation(e.target.name, itemgetter(i), (product.target,)) for i, e in enumerate(group)]
    return stacks, calls


def _groups(equations: list[Equation], fixed: Collection[str]) -> dict[str, list[Equation]]:
    """For each product that can be done together with others, all of them.

    Their matrices come from outside, and are fixed: the same for all rows and steps.
    """
    ready = set(fixed) - {equation.target.name for equation in equations}
    groups: dict[tuple[Atom, str], list[Equation]] = {}
    for equation in equations:
        if equation.op is Op.MATMUL and _name(equation.args[0]) in ready:
            groups.setdefault((equation.args[1], equation.target.shape[0]), []).append(equation)
    return {equation.target.name: group for group in groups.values() if len(group) > 1 for equation in group}


def _product(group: list[Equation]) -> tuple[PreparedEquation, PreparedEquation]:
    count, vector = len(group), _name(group[0].args[1])
    name = f"{' '.join(_name(equation.args[0]) for equation in group)} @ {vector}"
    matrices = tuple(_name(equation.args[0]) for equation in group)
    stack = PreparedEquation(f"stacked {name}", lambda *matrices: torch.cat(matrices), matrices)
    product = PreparedEquation(name, lambda matrix, v: F.linear(v, matrix).chunk(count, -1), (stack.target, vector))
    return stack, product


def _name(atom: Atom) -> str:
    return "" if isinstance(atom, Literal) else atom.name
