"""The kernels of a Program's run on a chip that need not be there: how each is launched, and what it takes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch

from gatewright.backends.triton.chips import Chip
from gatewright.backends.triton.choice import resources_of
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind, KernelText
from gatewright.backends.triton.program_run import ProgramRun
from gatewright.backends.triton.resources import (
    WHOLE_NUMBERS,
    KernelAssembly,
    LaunchOptions,
    Memory,
    Resources,
    compile_kernel,
)
from gatewright.backends.triton.scan_kernel import SPANS, ScanPhase
from gatewright.backends.triton.scan_launch import FEATURES, ScanKernel, number_of_spans
from gatewright.backends.triton.scan_stage import scan_stage
from gatewright.backends.triton.step_kernel import ADVANCE
from gatewright.backends.triton.stepped import ADVANCE_OPTIONS, BEGIN_TILE
from gatewright.backends.triton.tiles import elementwise_tile, step_tile
from gatewright.schedule.fused import FusedScan, PassPart
from gatewright.schedule.program import Phase

_ABSENT = (ArgumentKind.LENGTHS, ArgumentKind.START)


@dataclass(frozen=True)
class RunKernel:
    """A kernel of a run of all steps by all rows, from states that are zero.

    `place` says where in the run it is launched, and how often.
    """

    place: str
    text: KernelText
    options: LaunchOptions
    precision: KernelPrecision
    chip: Chip
    rounded: frozenset[Argument] = frozenset()
    """The arrays that are as products round them: matrices, and copies."""

    @property
    def memory(self) -> Memory:
        """The dtypes of its arrays; None of those that are left out."""
        memory = _memory(self.text.arguments, self.precision)
        memory |= {array: self.precision.operands for array in self.rounded if array in memory}
        return memory | {SPANS: None} if self.options.constants.get("PHASE") == ScanPhase.WHOLE else memory

    @cached_property
    def resources(self) -> Resources:
        """What a program of it takes: compiled, or read from the cache on disk."""
        return resources_of(self.text, self.chip, self.precision, self.options, self.memory)

    @cached_property
    def compiled(self) -> KernelAssembly:
        """It compiled for the chip."""
        return compile_kernel(self.text, self.chip, self.precision, self.options, self.memory)


def kernels_of(run: ProgramRun, chip: Chip, steps: int, batch: int) -> tuple[RunKernel, ...]:
    """The kernels of a run, in the order of their launches; a kernel that is launched again is there once."""
    return tuple(_Kernels(run, chip).of_run(steps, batch))


def loop_kernels(run: ProgramRun, chip: Chip, batch: int) -> tuple[RunKernel, ...]:
    """The kernels of the loop alone, in the form that is chosen on a chip."""
    return tuple(_Kernels(run, chip).of_loop(batch))


def scan_kernels(run: ProgramRun, chip: Chip) -> tuple[RunKernel, ...]:
    """The kernels of all scans, for whole rows and for spans of time."""
    kernels, scans = _Kernels(run, chip), (part for part in run.parts if isinstance(part, FusedScan))
    return tuple(kernel for part in scans for spans in (1, 2) for kernel in kernels.of_scan(part, spans))


def resident_obstacle(run: ProgramRun, chip: Chip) -> str:
    """Why the loop is not resident on a chip; empty where it is."""
    return run.resident.obstacle_on(chip, _memory(run.resident.arguments, run.precision))


class _Kernels:
    def __init__(self, run: ProgramRun, chip: Chip) -> None:
        self.run, self.chip = run, chip
        self.constants: dict[str, int | bool] = {"BACKWARDS": run.backwards, "RAGGED": False}

    @cached_property
    def rounded(self) -> frozenset[Argument]:
        """Of the arrays of the stepped form, those that are as products round them."""
        copies = (argument for argument in self.run.stepped.table if argument.kind is ArgumentKind.COPY)
        return self.run.rounded_matrices.union(copies)

    def _kernel(self, place: str, text: KernelText, options: LaunchOptions) -> RunKernel:
        every = LaunchOptions({**self.constants, **options.constants}, options.warps, options.stages)
        rounded = self.rounded if text.by_table else frozenset[Argument]()
        return RunKernel(place, text, every, self.run.precision, self.chip, rounded)

    def of_run(self, steps: int, batch: int) -> Iterator[RunKernel]:
        """All kernels; torch computes the products beside them."""
        for part in self.run.parts:
            if isinstance(part, FusedScan):
                tiles = batch * -(-self._scan(part).size // FEATURES)
                yield from self.of_scan(part, number_of_spans(tiles, steps, self.chip.processors))
            elif part.phase is Phase.LOOP:
                yield from self.of_loop(batch)
            else:
                yield from self.of_pass(part, steps * batch)

    def of_pass(self, part: PassPart, lines: int) -> Iterator[RunKernel]:
        """The kernels of stages without scans over all steps at once."""
        kernels = self.run.pass_kernels(part)
        for group, text in zip(kernels.groups, kernels.texts, strict=True):
            if any(stage.stores for stage in group.stages):
                yield self._kernel(f"{part.phase} the loop", text, elementwise_tile(group, self.run.sizes, lines))

    def _scan(self, part: FusedScan) -> ScanKernel:
        run = self.run
        scan = scan_stage(run.program, part)
        return ScanKernel(scan, run.sizes, run.precision, backwards=run.backwards, features=FEATURES)

    def of_scan(self, part: FusedScan, spans: int) -> Iterator[RunKernel]:
        """The kernels of scans, in so many spans of time."""
        kernel = self._scan(part)
        for phase in (ScanPhase.WHOLE,) if spans == 1 else (ScanPhase.TOTALS, ScanPhase.RESULTS):
            memory = _memory(kernel.text.arguments, self.run.precision)
            memory |= {SPANS: None} if phase is ScanPhase.WHOLE else {}
            options = kernel.options_on(self.chip, memory, phase)
            place = "scan" if spans == 1 else f"scan in {spans} spans, {phase.name.lower()}"
            yield self._kernel(place, kernel.text, options)
            if phase is ScanPhase.TOTALS:
                carry = LaunchOptions({"BH": kernel.features}, 1)
                yield self._kernel(f"scan in {spans} spans, between them", kernel.carry_text, carry)

    def of_loop(self, batch: int) -> Iterator[RunKernel]:
        """The kernels of the loop: one for all steps where it fits on the chip, else one for each stage and step."""
        if not self.run.program.loop:
            return
        resident, stepped = self.run.resident, self.run.stepped
        options = resident.options_on(self.chip, _memory(resident.arguments, self.run.precision))
        if options is not None:
            yield self._kernel("the loop, once", resident.kernel, options)
            return
        dtypes = dict.fromkeys(stepped.table, self.run.dtype)
        dtypes |= dict.fromkeys(self.rounded, getattr(torch, self.run.precision.operands))
        arrays = {argument: torch.empty(0, dtype=dtype, device="meta") for argument, dtype in dtypes.items()}
        yield self._kernel("before the first step", stepped.begin, BEGIN_TILE)
        for group, text in zip(stepped.groups, stepped.texts, strict=True):
            tile = step_tile(self.run.program, group, self.run.sizes, arrays, batch, self.chip)
            aligned = LaunchOptions({**tile.constants, "ALIGNMENT": 16}, tile.warps, tile.stages)
            yield self._kernel("the loop, every step", text, aligned)
        yield self._kernel("after several steps", ADVANCE, ADVANCE_OPTIONS)


def _memory(arguments: Iterable[Argument], precision: KernelPrecision) -> dict[Argument, str | None]:
    dtypes = {argument: WHOLE_NUMBERS.get(argument.kind, precision.numbers) for argument in arguments}
    return {argument: None if argument.kind in _ABSENT else dtype for argument, dtype in dtypes.items()}
