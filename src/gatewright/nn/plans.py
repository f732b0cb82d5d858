"""The plan of a layer: its backend, and a summary of its Programs, before anything is compiled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch

from gatewright.axes import HIDDEN, bind
from gatewright.backends.llvm.parallel import openmp
from gatewright.backends.llvm.parallel.work_partition import partition_work
from gatewright.backends.llvm.runtime.amx_support import amx_support
from gatewright.backends.llvm.runtime.engine import Engine, KernelOrigin
from gatewright.backends.llvm.runtime.runner import contention
from gatewright.backends.triton.chips import Chip
from gatewright.backends.triton.load import is_interpreted
from gatewright.backends.triton.newton import NewtonReport
from gatewright.backends.triton.program_run import ProgramRun
from gatewright.backends.triton.run_kernels import loop_kernels, resident_obstacle
from gatewright.nn.backends import Plan
from gatewright.nn.engine.differentiable import Differentiable, EngineName, OperandDtype, differentiable
from gatewright.nn.engine.operation_of_trace import device_run
from gatewright.schedule.program import Phase, Program, Stage
from gatewright.threads import get_num_threads
from gatewright.trace import Trace, Var, recurrence

_PASSES = {
    Phase.BEFORE: "before the loop",
    Phase.SCAN: "in scans",
    Phase.LOOP: "in the loop",
    Phase.AFTER: "after the loop",
}
_WIDTH = 17  # of the first column


@dataclass(frozen=True, slots=True)
class KernelPlan:
    """How the kernels for an extent are made.

    - `layout`: the tiles of every stage, as in `loop0 16 lanes, 4x2x1 of 3`: vectors of 16 numbers; 4 rows by 2 vectors
      by 1 chain of sums, for 3 products at the same time. Products of bfloat16 numbers by AMX are `in AMX tiles`.
      `before in loop0`: one thread computes the products `before` the loop inside that stage, for a single row.
    - `target`: the processor that they are made for, as LLVM calls it; `vector_bits` wide are its vectors.
    - `threads`: how many threads run them at most, and `divided` how: `loop: units over 2` where two threads compute
      half the units of every row each, and meet in every step; `rows` where each computes all units of half the rows.
    - `pool`: why these are threads of Gatewright's own pool; empty where they are PyTorch's OpenMP threads.
    - `alone`: for how many seconds more one thread does all the work, because other work used the processors in the
      last run on several.
    - `found`: where the next call finds them: "in memory", "on disk", or "compiled by the first call".
    - `no_amx`: why products in bfloat16 do without AMX on a processor that has it; empty where they use it, and where
      there is none.
    """

    layout: str
    target: str
    vector_bits: int
    threads: int
    divided: str
    alone: float
    found: KernelOrigin
    pool: str = ""
    no_amx: str = ""

    def __str__(self) -> str:
        threads = f"{self.threads} threads ({self.divided})" if self.threads > 1 else "1 thread"
        if self.threads > 1 and self.pool:
            threads += f" of Gatewright's own pool since {self.pool}"
        if self.threads > 1 and self.alone:
            threads += f", 1 for the next {1000 * self.alone:.0f} ms since other work uses the processors"
        head = f"{self.target}, {self.vector_bits} bits, {threads}; {self.found}"
        head += f"; AMX is off since {self.no_amx}" if self.no_amx else ""
        return "\n  ".join([head, *dict.fromkeys(self.layout.split("; "))])


@dataclass(frozen=True)
class LayerPlan(Plan):
    """Which backend runs a layer, why, and what it does; as a string, a few lines.

        llvm: compiled for this processor
          before the loop  3 products, 1 stage
          in the loop      3 products, 1 stage
          gradient         3 products in the loop; 3 products, 10 sums after it
          saved for it     4 x 16 numbers a step and row, and the states

    Between two stages every unit of a row waits for the others. A loop that a scan could compute is marked; the engine
    keeps the loop, since it does the least work. The numbers are those of a training step in each direction
    of the first layer; the sums go over all rows and steps. `program` and `gradient` are the Programs behind the
    summary. Where neither of our engines runs they are None, and the summary is the first line alone. Layers with int8
    products have no gradient. With bfloat16 `products`, a single step of up to `float32_steps` rows multiplies in
    float32. Where Newton's iterations solve all steps, `newton_reports` tell how the last call went, a line for each
    direction of each level.

    On a `chip` Triton's kernels run. Then the summary also tells whether the loop is resident, one launch for all
    steps, and what it takes, or why it is not; to find out, kernels are compiled that are not on disk yet.

          the loop         resident: 134 registers a thread, 0 bytes spilled, 76 KiB of shared memory, 4 warps
          its loop         2 kernels a step; as one for all steps, its matrices take 768 KiB of shared memory, and ...
    """

    trace: Trace
    sizes: tuple[Mapping[str, int], ...]  # of each layer
    dtype: torch.dtype
    products: OperandDtype = None
    float32_steps: int = 0
    newton_reports: tuple[NewtonReport, ...] = ()
    chip: Chip | None = None

    @cached_property
    def program(self) -> Program | None:
        """The forward run."""
        if self.backend == "triton":
            return self.run().program
        return self.engine().program if self.backend == "llvm" else None

    @cached_property
    def gradient(self) -> Program | None:
        """The gradient by the output."""
        if self.backend == "triton":
            return self.run(gradient=True).program
        return self.engine(gradient=True).program if self.backend == "llvm" and self.products != "int8" else None

    @cached_property
    def saved(self) -> Mapping[str, int]:
        """The values that a training step saves beside the states, and their size in numbers a step and row."""
        if self.gradient is None:
            return {}
        spec = self._spec(0, self.products)
        pair = spec.pair(spec.output_state)
        values = (value for name, value in pair.forward.emits if name in pair.saved)
        return {value.name: prod(bind(value.shape, spec.sizes)) for value in values if isinstance(value, Var)}

    def kernels(
        self, steps: int, batch: int, *, gradient: bool = False, layer: int = 0, ragged: bool = False
    ) -> KernelPlan | None:
        """The kernels of a layer for `steps` steps of `batch` rows; None where another backend runs.

        Kernels for `ragged` batches, which have `lengths`, skip the steps that rows do not take.
        """
        if self.backend != "llvm":
            return None
        is_float32_step = steps == 1 and batch <= self.float32_steps and not ragged
        spec = self._spec(layer, None if is_float32_step else self.products)
        engine = spec.whole_gradient if gradient else spec.inference
        packs = engine.prefers_packing(steps, batch, ragged=ragged)
        designed = engine.design(steps, batch, ragged=ragged, packs=packs)
        target = designed.target
        partition = partition_work(designed.cost, (steps, batch), get_num_threads(), steps * batch)
        return KernelPlan(
            layout=designed.layout,
            target=f"{target.name} ({target.cpu})",
            vector_bits=8 * target.vector_bytes,
            threads=partition.threads,
            divided=str(partition),
            alone=contention.seconds_left() if partition.threads > 1 else 0.0,
            found=engine.origin(steps, batch, ragged=ragged, packs=packs),
            pool=openmp.obstacle() if partition.threads > 1 else "",
            no_amx=amx_support(target).obstacle if engine.products == "bfloat16" else "",
        )

    def __str__(self) -> str:
        lines = [super().__str__()]
        lines += [f"  {'last call':{_WIDTH}}{report}" for report in self.newton_reports]
        if self.program:
            done = {phase: _done(stages) for phase, stages in self.program.passes() if stages}
            if Phase.LOOP in done and recurrence(self.program.trace).is_parallel:
                done[Phase.LOOP] += "; elementwise, a scan may compute it"
            lines += [f"  {_PASSES[phase]:{_WIDTH}}{text}" for phase, text in done.items()]
            lines += self._form(gradient=False)
        if self.gradient:
            lines += [f"  {'gradient':{_WIDTH}}{_gradient_done(self.gradient)}", *self._form(gradient=True)]
            lines += [f"  {'saved for it':{_WIDTH}}{self._saved()}"]
        return "\n".join(lines)

    def engine(self, layer: int = 0, *, gradient: bool = False) -> Engine:
        """The compiled engine of a layer, or of its gradient by the output."""
        spec = self._spec(layer, self.products)
        return spec.whole_gradient if gradient else spec.inference

    def run(self, layer: int = 0, *, gradient: bool = False) -> ProgramRun:
        """What Triton's kernels run of a layer, or of its gradient by the output."""
        return device_run(self._spec(layer, self.products, "triton"), gradient=gradient)

    def _spec(self, layer: int, products: OperandDtype, engine: EngineName = "llvm") -> Differentiable:
        return differentiable(self.trace, self.sizes[layer], self.dtype, products=products, engine=engine)

    def _form(self, *, gradient: bool) -> list[str]:
        """How the kernels of a loop are launched, and why."""
        run = self.run(gradient=gradient) if self.chip else None
        if run is None or self.chip is None or not run.program.loop:
            return []
        what = "its loop" if gradient else "the loop"
        return [f"  {what:{_WIDTH}}{_form(run, self.chip)}"]

    def _saved(self) -> str:
        hidden, total = self.sizes[0][HIDDEN], sum(self.saved.values())
        if not total:
            return "the states"

        def counted(numbers: int) -> str:
            return f"{numbers // hidden} x {hidden}" if numbers % hidden == 0 else str(numbers)

        narrow_values = self._spec(0, self.products).narrow_values if self.backend == "llvm" else ()
        narrow = sum(self.saved[name] for name in narrow_values)
        of_these = f", {counted(narrow)} of them in bfloat16" if narrow else ""
        return f"{counted(total)} numbers a step and row{of_these}, and the states"


def _form(run: ProgramRun, chip: Chip) -> str:
    """How the loop of a run is launched on a chip, and why."""
    obstacle = resident_obstacle(run, chip)
    if obstacle:
        return f"{_counted(len(run.stepped.groups), 'kernel', 'kernels')} a step; as one for all steps, {obstacle}"
    if is_interpreted():
        return "resident, if it compiles without spills: Triton's interpreter is on"
    return f"resident: {loop_kernels(run, chip, 1)[0].resources}"


def _gradient_done(program: Program) -> str:
    after = [_products(program.after)] if _count(program.after) else []
    after += [_counted(len(program.row_sums), "sum", "sums")] if program.row_sums else []
    loop = [f"{_products(program.loop)} in the loop"] if _count(program.loop) else []
    loop += [f"{_products(program.scan)} in scans" if _count(program.scan) else "scans"] if program.scan else []
    return "; ".join([*loop, *([f"{', '.join(after)} after it"] if after else [])]) or "no products"


def _done(stages: Sequence[Stage]) -> str:
    """The products, and how often the units of a row wait for each other: once between two stages."""
    return f"{_products(stages) if _count(stages) else 'no products'}, {_counted(len(stages), 'stage', 'stages')}"


def _count(stages: Sequence[Stage]) -> int:
    return sum(len(product.terms) for stage in stages for product in stage.products)


def _products(stages: Sequence[Stage]) -> str:
    return _counted(_count(stages), "product", "products")


def _counted(number: int, singular: str, plural: str) -> str:
    return f"{number} {singular if number == 1 else plural}"
