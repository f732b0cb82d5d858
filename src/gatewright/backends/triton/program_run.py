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
from gatewright.backends.triton.batched_products import adjacent, converted_together, multiply, stacked, sum_outer
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind
from gatewright.backends.triton.launch import check_extents, without_autocast
from gatewright.backends.triton.pass_kernels import PassKernels
from gatewright.backends.triton.persistent_kernel import PersistentLoop
from gatewright.backends.triton.program_memory import ProgramMemory, widened
from gatewright.backends.triton.resident_loop import ResidentLoop
from gatewright.backends.triton.scan_launch import ScanKernel
from gatewright.backends.triton.scan_stage import scan_stage
from gatewright.backends.triton.stepped import SteppedLoop
from gatewright.backends.triton.support import device_obstacle
from gatewright.backends.triton.torch_scan import coupled_scan
from gatewright.lang.ops import Op
from gatewright.schedule.fused import FusedScan, PassPart, program_parts
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
        self._passes: dict[int, PassKernels] = {}  # by the id of a part, which lives as long as this
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

    @cached_property
    def parts(self) -> tuple[FusedScan | PassPart, ...]:
        """What is computed one after the other by kernels."""
        return program_parts(self.program)

    def pass_kernels(self, part: PassPart) -> PassKernels:
        """The kernels of stages that have no scans, for all steps at once."""
        if id(part) not in self._passes:
            self._passes[id(part)] = PassKernels(
                self.program, part.stages, self.sizes, self.precision, backwards=self.backwards
            )
        return self._passes[id(part)]

    def scan_kernel(self, part: FusedScan) -> ScanKernel:
        """The kernel of scans and of what is computed with them."""
        if id(part) not in self._scans:
            scan = scan_stage(self.program, part)
            self._scans[id(part)] = ScanKernel(scan, self.sizes, self.precision, backwards=self.backwards)
        return self._scans[id(part)]

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
            if form == "torch":
                self._run_torch(stages)
            else:
                for part in self.parts:
                    self._run_part(part, form, stages)
            return ProgramTensors(memory.states, self._emits(memory), self._sums(memory))

    def _run_torch(self, stages: "_TorchStages") -> None:
        memory = stages.memory
        for phase, of_phase in self.program.passes():
            if phase is not Phase.LOOP:
                stages.run(of_phase)
                continue
            for t in reversed(range(memory.steps)) if self.backwards else range(memory.steps):
                memory.rows = {}
                stages.run(of_phase, t)
            memory.rows = {}

    def _run_part(self, part: FusedScan | PassPart, form: LoopForm | None, stages: "_TorchStages") -> None:
        memory = stages.memory
        if isinstance(part, FusedScan):
            products = part.stage.products
            results = zip(products, stages.products(products), strict=True)
            self.scan_kernel(part).run_in(memory, {product.target.name: result for product, result in results})
        elif part.phase is Phase.LOOP:
            loop = self._loop(form, memory)
            arrays = memory.arguments(loop.arguments)
            if loop is not self.resident:  # which reads each matrix once; the others read them at every step
                matrices = {
                    one: array for one, array in arrays.items() if array is not None and one in self.rounded_matrices
                }
                arrays |= converted_together(matrices, getattr(torch, self.precision.operands))
            loop.run(arrays, memory.steps, memory.batch)
            memory.rows = {}
        else:
            kernels = self.pass_kernels(part)
            kernels.run(memory.arguments(kernels.arguments), memory.steps, memory.batch, stages.products)

    @cached_property
    def rounded_matrices(self) -> frozenset[Argument]:
        """The matrices that kernels of steps are given as products round them: half the bytes of every step."""
        if self.precision.operands == self.precision.numbers:
            return frozenset()
        products = (product for stage in self.program.loop for product in stage.products)
        return frozenset(Argument(ArgumentKind.SHARED, term.matrix) for product in products for term in product.terms)

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
        """Products at all steps, (time, batch, features), each contiguous. Those that the Program stores are kept."""
        memory = self.memory
        vectors = {term.vector for product in products for term in product.terms}
        values = {vector.name: memory.load(vector) for vector in vectors}
        self._multiply(products, values)
        results = [values[product.target.name].contiguous() for product in products]
        for product, result in zip(products, results, strict=True):
            if memory.program.storage.get(product.target.name) is Storage.SEQUENCE:
                if memory.active is not None:
                    result.masked_fill_(~widened(memory.active, result.dim()), 0.0)
                memory.sequences[product.target.name] = result
        return results

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
        return coupled_scan([[slope]], [offset], [first], backwards=memory.backwards)[0]
