"""A Program run over a sequence of torch tensors, on any device: its passes one after the other.

What torch does well stays with torch: large products before and after the loop, sums over rows and steps, equations of
parameters. Kernels run the loop, and everything around those products. As `gatewright.schedule.interpret` does with
NumPy, torch's operations can run every stage too: where no kernel can.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol
from typing import Literal as OneOf

import numpy as np
import torch
from torch import Tensor

from gatewright.axes import bind
from gatewright.backends.base import PreparedEquation, execute, prepare
from gatewright.backends.torch_rules import rules
from gatewright.backends.triton.batched_products import adjacent, multiply, stacked, sum_outer
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument
from gatewright.backends.triton.launch import check_extents, without_autocast
from gatewright.backends.triton.pass_kernels import PassKernels
from gatewright.backends.triton.persistent_kernel import PersistentLoop
from gatewright.backends.triton.program_memory import ProgramMemory, widened
from gatewright.backends.triton.resident_loop import ResidentLoop
from gatewright.backends.triton.scan_launch import ScanKernel
from gatewright.backends.triton.scan_stage import scan_stage
from gatewright.backends.triton.stepped import SteppedLoop
from gatewright.backends.triton.support import device_obstacle
from gatewright.lang.ops import Op
from gatewright.schedule.program import Phase, Product, Program, RowSum, Scan, Stage, Storage
from gatewright.trace.ir import Atom, Equation, Literal, Var


@dataclass(frozen=True, slots=True)
class ProgramTensors:
    """What a Program gave, by name.

    - `states` (time + 1, batch, ...). Where rows end early, slots that no step has written are zero.
    - `emits` (time, batch, ...): zero in padding.
    - `sums` (...).
    """

    states: dict[str, Tensor]
    emits: dict[str, Tensor]
    sums: dict[str, Tensor]


LoopForm = OneOf["resident", "stepped", "persistent", "torch"]
"""How the loop is run: by one of three forms of kernels, or by torch's operations."""


class LoopKernel(Protocol):
    """The kernels of a loop, in one of their forms."""

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """The arrays that a caller gives."""
        ...

    def run(self, arrays: Mapping[Argument, Tensor | None], steps: int, batch: int) -> None:
        """Take all steps."""
        ...


class ProgramRun:
    """A Program with its sizes, its dtypes and its direction in time, ready to run on tensors of any extent."""

    def __init__(
        self,
        program: Program,
        sizes: Mapping[str, int],
        precision: KernelPrecision | None = None,
        *,
        backwards: bool = False,
    ) -> None:
        self.program, self.sizes, self.backwards = program, sizes, backwards
        self.precision = precision or KernelPrecision()
        self.dtype: torch.dtype = getattr(torch, self.precision.numbers)
        self._passes: dict[Phase, PassKernels] = {}
        self._scans: dict[int, ScanKernel] = {}
        self._prepared: dict[tuple[torch.device, int], list[PreparedEquation]] = {}
        self._counted = -1  # the most rows for which `check_extents` was asked

    def runs_kernels(self, device: torch.device) -> bool:
        """Whether kernels run on a device; else torch's operations do."""
        return device_obstacle(device, self.dtype) is None

    @cached_property
    def resident(self) -> ResidentLoop:
        """The loop as one kernel for each tile of rows."""
        return ResidentLoop(self.program, self.sizes, self.precision, backwards=self.backwards)

    @cached_property
    def stepped(self) -> SteppedLoop:
        """The loop as a kernel a stage and step."""
        return SteppedLoop(self.program, self.sizes, self.precision, backwards=self.backwards)

    @cached_property
    def persistent(self) -> PersistentLoop:
        """The loop as one kernel whose programs wait for each other. Only a caller chooses it."""
        return PersistentLoop(self.program, self.sizes, self.precision, backwards=self.backwards)

    def pass_kernels(self, phase: Phase) -> PassKernels:
        """The kernels of a pass over all steps at once."""
        if phase not in self._passes:
            stages = dict(self.program.passes())[phase]
            self._passes[phase] = PassKernels(
                self.program, stages, self.sizes, self.precision, backwards=self.backwards
            )
        return self._passes[phase]

    @torch.no_grad()
    def run(
        self,
        inputs: Mapping[str, Tensor],
        params: Mapping[str, Tensor],
        starts: Mapping[str, Tensor | None],
        lengths: Tensor | None = None,
        *,
        form: LoopForm | None = None,
    ) -> ProgramTensors:
        """Run all passes, the loop in the given form. By default it is resident where its matrices fit on the chip, and
        stepped elsewhere; where no kernel can run, torch's operations do.

        - `inputs` (time, batch, ...), `params` (...), in the dtype of the numbers. What stands in padding reaches
          nothing. Of random values `inputs` has the seeds (time, batch); see `random_values`.
        - `starts` (batch, ...): the states before the first step that is taken; None is zeros.
        - `lengths` (batch,), int32, on the device: the number of steps that each row takes. Backwards in time, a row
          begins at its last step.

        Raises ShapeError for more rows or features than kernels can count.
        """
        program, like = self.program, next(iter(inputs.values()))
        if form is None and not self.runs_kernels(like.device):
            form = "torch"
        if form != "torch" and like.shape[1] > self._counted:
            check_extents(program, self.sizes, like.shape[1])
            self._counted = like.shape[1]
        memory = ProgramMemory(program, self.sizes, self.dtype, inputs, starts, lengths, backwards=self.backwards)
        memory.shared.update(params)
        # the interpreter computes with NumPy, in padded lanes too: what comes of those is never stored
        quiet = np.errstate(all="ignore") if form != "torch" and memory.device.type == "cpu" else nullcontext()
        with without_autocast(memory.device), quiet:
            self.compute(program.prologue, memory.shared, memory)
            stages = _TorchStages(self, memory)
            self._run_pass(Phase.BEFORE, form, stages)
            self._run_scans(form, stages)
            self._run_loop(form, stages)
            self._run_pass(Phase.AFTER, form, stages)
            return ProgramTensors(memory.states, self._emits(memory), self._sums(memory))

    def _run_pass(self, phase: Phase, form: LoopForm | None, stages: "_TorchStages") -> None:
        if form == "torch" or self.program.scan:  # kernels of these passes do not know every value that scans give
            stages.run(dict(self.program.passes())[phase])
            return
        memory, kernels = stages.memory, self.pass_kernels(phase)
        kernels.run(memory.arguments(kernels.arguments), memory.steps, memory.batch, stages.products)

    def _run_scans(self, form: LoopForm | None, stages: "_TorchStages") -> None:
        if form == "torch":
            stages.run(self.program.scan)
            return
        memory = stages.memory
        for stage in self.program.scan:
            if not stage.scans:
                stages.run([stage])
                continue
            results = zip(stage.products, stages.products(stage.products), strict=True)
            kernel = self._scan_kernel(stage)
            kernel.run_in(memory, {product.target.name: result for product, result in results})

    def _scan_kernel(self, stage: Stage) -> ScanKernel:
        key = id(stage)  # of the Program, which lives as long as this
        if key not in self._scans:
            scan = scan_stage(self.program, stage)
            self._scans[key] = ScanKernel(scan, self.sizes, self.precision, backwards=self.backwards)
        return self._scans[key]

    def _run_loop(self, form: LoopForm | None, stages: "_TorchStages") -> None:
        memory = stages.memory
        if not self.program.loop:
            return
        if form == "torch":
            for t in reversed(range(memory.steps)) if self.backwards else range(memory.steps):
                memory.rows = {}
                stages.run(self.program.loop, t)
        else:
            loop = self._loop(form, memory)
            loop.run(memory.arguments(loop.arguments), memory.steps, memory.batch)
        memory.rows = {}

    def _loop(self, form: LoopForm | None, memory: ProgramMemory) -> LoopKernel:
        if form == "persistent":
            return self.persistent
        is_resident = form == "resident" or (
            form is None and self.resident.options(memory.arguments(self.resident.arguments)) is not None
        )
        return self.resident if is_resident else self.stepped

    def compute(self, equations: tuple[Equation, ...], values: dict[str, Any], memory: ProgramMemory) -> None:
        """Compute equations by torch's operations; the results are added to the values."""
        if not equations:
            return
        key = (memory.device, id(equations))  # of the Program, which lives as long as this
        calls = self._prepared.get(key)
        if calls is None:
            like = torch.empty((), dtype=self.dtype, device=memory.device)
            calls = self._prepared[key] = prepare(equations, rules(like), self.sizes)
        execute(calls, values)

    def _emits(self, memory: ProgramMemory) -> dict[str, Tensor]:
        trace = self.program.trace
        return {name: self._emitted(value, trace.output_shape(name, value), memory) for name, value in trace.emits}

    def _emitted(self, value: Atom, shape: tuple[str, ...], memory: ProgramMemory) -> Tensor:
        loaded: Any = value.value if isinstance(value, Literal) else memory.load(value)
        full = memory.spread(loaded, value, (memory.steps, memory.batch, *bind(shape, self.sizes)))
        is_stored = isinstance(value, Var) and self.program.storage[value.name] is Storage.SEQUENCE
        if memory.active is None or is_stored:
            return full
        return torch.where(widened(memory.active, full.dim()), full, 0.0)

    def _sums(self, memory: ProgramMemory) -> dict[str, Tensor]:
        """What is added up over rows and steps."""
        program, values = self.program, dict[str, Any](memory.shared)
        for group in _grouped(program.row_sums, self.sizes):
            targets = [total.target.name for total in group]
            values |= zip(targets, self._row_sums(group, memory), strict=True)
        self.compute(program.epilogue, values, memory)
        totals: dict[str, Tensor] = {}
        for name, value in program.sums:
            total: Any = value.value if isinstance(value, Literal) else values[value.name]
            totals[name] = memory.spread(total, value, bind(program.trace.output_shape(name, value), self.sizes))
        return totals

    def _row_sums(self, group: Sequence[RowSum], memory: ProgramMemory) -> Iterable[Tensor]:
        """The sums of a group with one right factor: as one product where the left factors lie side by side."""
        lefts = [self._factor(total.left, memory) for total in group]
        right = group[0].right
        blocks = [left.unsqueeze(0) for left in lefts] if (view := adjacent(lefts)) is None else [view]
        if right is None:
            return (total for block in blocks for total in block.sum((1, 2)).unbind(0))
        factor = self._factor(right, memory)
        return (total for block in blocks for total in sum_outer(block, factor, self.precision).unbind(0))

    def _factor(self, value: Var, memory: ProgramMemory) -> Tensor:
        """A factor of a sum at all steps: zero in padding, where a state may still have a value."""
        return self._emitted(value, value.shape, memory)


def _grouped(row_sums: Sequence[RowSum], sizes: Mapping[str, int]) -> list[list[RowSum]]:
    groups: dict[tuple[str, tuple[int, ...]], list[RowSum]] = {}
    for total in row_sums:
        right = "" if total.right is None else total.right.name
        groups.setdefault((right, bind(total.left.shape, sizes)), []).append(total)
    return list(groups.values())


class _TorchStages:
    """Stages by torch's operations, at one step or at all steps at once."""

    def __init__(self, run: ProgramRun, memory: ProgramMemory) -> None:
        self.owner, self.memory = run, memory
        self._matrices: dict[tuple[str, ...], Tensor] = {}

    def run(self, stages: Sequence[Stage], t: int | None = None) -> None:
        """Compute stages at step t, or at all steps."""
        memory = self.memory
        for stage in stages:
            values = memory.loaded(stage, t)
            self._multiply(stage.products, values)
            for reduction in stage.reductions:
                vector = values[reduction.vector.name]
                values[reduction.target.name] = vector.sum(-1) if reduction.op is Op.SUM else vector.mean(-1)
            self.owner.compute(stage.equations, values, memory)
            values |= {scan.target.name: self._scan(scan, values) for scan in stage.scans}
            for store in stage.stores:
                memory.store(store, values, t)

    def _multiply(self, products: Sequence[Product], values: dict[str, Any]) -> None:
        """The products of a stage; those of one vector are one product."""
        memory = self.memory
        groups: dict[tuple[str, bool, tuple[int, ...]], list[str]] = {}
        for term in (term for product in products for term in product.terms):
            shape = tuple(memory.shared[term.matrix].shape)
            names = groups.setdefault((term.vector.name, term.transposed, shape), [])
            if term.matrix not in names:
                names.append(term.matrix)
        results: dict[tuple[str, bool, str], Tensor] = {}
        for (vector, transposed, _), names in groups.items():
            key = tuple(names)
            if key not in self._matrices:
                self._matrices[key] = stacked([memory.shared[name] for name in names])
            parts = multiply(values[vector], self._matrices[key], self.owner.precision, transposed=transposed)
            results |= {(vector, transposed, name): part for name, part in zip(names, parts.unbind(0), strict=True)}
        for product in products:
            first, *others = (results[term.vector.name, term.transposed, term.matrix] for term in product.terms)
            values[product.target.name] = sum(others, start=first)

    def products(self, products: Sequence[Product]) -> list[Tensor]:
        """Products at all steps, (time, batch, features), each contiguous."""
        memory = self.memory
        vectors = {term.vector for product in products for term in product.terms}
        values = {vector.name: memory.load(vector) for vector in vectors}
        self._multiply(products, values)
        return [values[product.target.name].contiguous() for product in products]

    def _scan(self, scan: Scan, values: Mapping[str, Any]) -> Tensor:
        """The new value of a state at every step."""
        memory = self.memory
        shape = memory.states[scan.state.name][1:].shape
        slope, offset = (
            memory.spread(value.value if isinstance(value, Literal) else values[value.name], value, tuple(shape))
            for value in (scan.slope, scan.offset)
        )
        if memory.active is not None:  # through padding a row carries what it has
            active = widened(memory.active, len(shape))
            slope, offset = torch.where(active, slope, 1.0), torch.where(active, offset, 0.0)
        first = memory.start(scan.state.name)
        if memory.backwards:
            return scanned(slope.flip(0), offset.flip(0), first).flip(0)
        return scanned(slope, offset, first)


def scanned(slope: Tensor, offset: Tensor, first: Tensor) -> Tensor:
    """The states slope * state + offset, step after step along the first axis, from the state `first`.

    Two steps are one, of the slope a2 * a1 and the offset a2 * b1 + b2: each turn joins twice as many.
    """
    slope, offset = slope.clone(), offset.clone()
    offset[:1] += slope[:1] * first
    reach = 1
    while reach < len(slope):
        offset = torch.cat([offset[:reach], torch.addcmul(offset[reach:], slope[reach:], offset[:-reach])])
        slope = torch.cat([slope[:reach], slope[reach:] * slope[:-reach]])
        reach *= 2
    return offset
