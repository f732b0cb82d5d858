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
from gatewright.backends.triton.resources import WHOLE_NUMBERS, LaunchOptions, Memory, Resources, compile_kernel
from gatewright.backends.triton.scan_kernel import ScanPhase
from gatewright.backends.triton.scan_launch import FEATURES, WARPS, ScanKernel, chunk_of, number_of_spans
from gatewright.backends.triton.scan_stage import scan_stage
from gatewright.backends.triton.step_kernel import ADVANCE
from gatewright.backends.triton.stepped import BEGIN_TILE
from gatewright.backends.triton.tiles import elementwise_tile, step_tile
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

    @property
    def memory(self) -> Memory:
        """The dtypes of its arrays; None of those that are left out."""
        return _memory(self.text.arguments, self.precision)

    @cached_property
    def resources(self) -> Resources:
        """What a program of it takes: compiled, or read from the cache on disk."""
        return resources_of(self.text, self.chip, self.precision, self.options, self.memory)

    @cached_property
    def assembly(self) -> str:
        """PTX, or AMD's assembly: compiled for the chip."""
        return compile_kernel(self.text, self.chip, self.precision, self.options, self.memory).assembly


def kernels_of(run: ProgramRun, chip: Chip, steps: int, batch: int) -> tuple[RunKernel, ...]:
    """The kernels of a run, in the order of their launches; a kernel that is launched again is there once."""
    kernels = _Kernels(run, chip)
    return (
        *kernels.of_pass(Phase.BEFORE, steps * batch),
        *kernels.of_scans(steps, batch),
        *kernels.of_loop(batch),
        *kernels.of_pass(Phase.AFTER, steps * batch),
    )


def loop_kernels(run: ProgramRun, chip: Chip, batch: int) -> tuple[RunKernel, ...]:
    """The kernels of the loop alone, in the form that is chosen on a chip."""
    return tuple(_Kernels(run, chip).of_loop(batch))


def resident_obstacle(run: ProgramRun, chip: Chip) -> str:
    """Why the loop is not resident on a chip; empty where it is."""
    return run.resident.obstacle_on(chip, _memory(run.resident.arguments, run.precision))


class _Kernels:
    def __init__(self, run: ProgramRun, chip: Chip) -> None:
        self.run, self.chip = run, chip
        self.constants: dict[str, int | bool] = {"BACKWARDS": run.backwards, "RAGGED": False}

    def _kernel(self, place: str, text: KernelText, options: LaunchOptions) -> RunKernel:
        every = LaunchOptions({**self.constants, **options.constants}, options.warps, options.stages)
        return RunKernel(place, text, every, self.run.precision, self.chip)

    def of_pass(self, phase: Phase, lines: int) -> Iterator[RunKernel]:
        """The kernels of a pass over all steps at once; torch computes its products, and all of it beside scans."""
        if self.run.program.scan or not dict(self.run.program.passes())[phase]:
            return
        kernels = self.run.pass_kernels(phase)
        for group, text in zip(kernels.groups, kernels.texts, strict=True):
            yield self._kernel(f"{phase} the loop", text, elementwise_tile(group, self.run.sizes, lines))

    def of_scans(self, steps: int, batch: int) -> Iterator[RunKernel]:
        """The kernels of scans, in spans of time where rows and features are few."""
        run = self.run
        for stage in (stage for stage in run.program.scan if stage.scans):
            scan = scan_stage(run.program, stage)
            chunk = chunk_of(scan)
            kernel = ScanKernel(scan, run.sizes, run.precision, backwards=run.backwards, chunk=chunk, features=FEATURES)
            tiles = batch * -(-kernel.size // kernel.features)
            spans = number_of_spans(tiles, steps, self.chip.processors)
            for phase in (ScanPhase.WHOLE,) if spans == 1 else (ScanPhase.TOTALS, ScanPhase.RESULTS):
                constants = {"C": chunk, "BH": kernel.features, "PHASE": int(phase)}
                place = "scan" if spans == 1 else f"scan in {spans} spans, {phase.name.lower()}"
                yield self._kernel(place, kernel.text, LaunchOptions(constants, WARPS))
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
        arrays = {argument: torch.empty(0, dtype=self.run.dtype, device="meta") for argument in stepped.table}
        yield self._kernel("before the first step", stepped.begin, BEGIN_TILE)
        for group, text in zip(stepped.groups, stepped.texts, strict=True):
            tile = step_tile(self.run.program, group, self.run.sizes, arrays, batch, self.chip)
            aligned = LaunchOptions({**tile.constants, "ALIGNMENT": 16}, tile.warps, tile.stages)
            yield self._kernel("the loop, every step", text, aligned)
        yield self._kernel("after several steps", ADVANCE, LaunchOptions())


def _memory(arguments: Iterable[Argument], precision: KernelPrecision) -> Memory:
    dtypes = {one: WHOLE_NUMBERS.get(one.kind, precision.numbers) for one in arguments}
    return {argument: None if argument.kind in _ABSENT else dtype for argument, dtype in dtypes.items()}
