"""Runs a stage of scans on torch tensors: which form of its kernel, with how many spans, in which tiles."""

from collections.abc import Mapping

import torch
from torch import Tensor

from gatewright.backends.triton.chips import Chip, chip_of
from gatewright.backends.triton.choice import first_that_fits
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind
from gatewright.backends.triton.launch import element_type, memory_of, on_device, pointers
from gatewright.backends.triton.load import is_interpreted, kernel
from gatewright.backends.triton.program_memory import ProgramMemory
from gatewright.backends.triton.resources import LaunchOptions, Memory
from gatewright.backends.triton.scan_kernel import LENGTHS, SPANS, ScanPhase, carry_text, scan_text
from gatewright.backends.triton.scan_stage import ScanStage, product_array

LONGEST_CHUNK = 64
CHUNKS = (LONGEST_CHUNK, 32, 16, 8)
"""Steps that one associative scan joins: the most with which all values of a chunk find registers."""
FEATURES = 32  # of a program: 128 bytes of float32, which a warp reads at once
WARPS = 4
INTERPRETED_TILE = (4, 8)  # the interpreter computes one element after the other
PROGRAMS_A_PROCESSOR = 4  # what hides the time that memory takes to answer
FEWEST_SPANS = 3  # spans read the inputs twice: that pays where it makes so many programs of one
SHORTEST_SPAN = 4 * LONGEST_CHUNK
_LARGEST_OFFSET = 2**31 - 1  # offsets within a chunk are int32


class ScanKernel:
    """The kernels of a stage of scans, for tensors of any length and batch.

    `text` scans, and `carry_text` is between the phases of spans. `arguments` are the pointers that a caller gives.
    `chunk` and `features` are the steps and features of a tile.
    """

    def __init__(
        self,
        scan: ScanStage,
        sizes: Mapping[str, int],
        precision: KernelPrecision | None = None,
        *,
        backwards: bool = False,
        chunk: int | None = None,
        features: int | None = None,
    ) -> None:
        self.scan, self.backwards = scan, backwards
        self.precision = precision or KernelPrecision()
        self.size = sizes[scan.shape[0]] if scan.shape else 1
        self.chunk = chunk
        self.features = (features or (INTERPRETED_TILE[1] if is_interpreted() else FEATURES)) if scan.shape else 1
        self.text, self.carry_text = scan_text(scan, sizes), carry_text(scan, sizes)
        self.arguments = tuple(argument for argument in self.text.arguments if argument != SPANS)
        self._chosen: dict[tuple[object, ...], LaunchOptions] = {}

    def run(
        self, arrays: Mapping[Argument, Tensor | None], steps: int, batch: int, *, spans: int | None = None
    ) -> None:
        """Compute and store everything for all steps.

        `arrays` has a contiguous tensor for every argument; None for starts that are zeros, and for lengths that all
        rows take. `spans` cuts time into so many pieces that run at once, at most one a step; without it the number is
        that of `spans`. Arrays of magnitudes are (spans, batch, ...): zero where a span has no steps.
        """
        first = next(array for array in arrays.values() if array is not None)
        blocks = -(-self.size // self.features)
        if not batch or not blocks:
            return
        spans = min(self.spans(steps, batch, first.device) if spans is None else spans, max(steps, 1))
        length = max(-(-steps // spans), 1)
        grid = (batch, blocks, spans)
        with on_device(first):
            if spans == 1:
                self._launch(ScanPhase.WHOLE, arrays, grid, steps, length)
                return
            dtype = getattr(torch, self.precision.numbers)
            memory = torch.empty((spans, self.scan.span_values, batch, self.size), dtype=dtype, device=first.device)
            arrays = {**arrays, SPANS: memory}
            self._launch(ScanPhase.TOTALS, arrays, grid, steps, length)
            starts = pointers(self.carry_text.arguments, arrays)
            number = element_type(dtype)
            kernel(self.carry_text)[grid[:2]](
                *starts, spans, batch, A=number, BH=self.features, **LaunchOptions(warps=1).keywords()
            )
            self._launch(ScanPhase.RESULTS, arrays, grid, steps, length)

    def spans(self, steps: int, batch: int, device: torch.device) -> int:
        """How many pieces of time run at once on a device."""
        return number_of_spans(batch * -(-self.size // self.features), steps, chip_of(device).processors)

    def _launch(
        self,
        phase: ScanPhase,
        arrays: Mapping[Argument, Tensor | None],
        grid: tuple[int, int, int],
        steps: int,
        length: int,
    ) -> None:
        batch = grid[0]
        # offsets within a chunk are int32; those of chunks are int64
        longest = max(min(LONGEST_CHUNK, _LARGEST_OFFSET // (batch * self.size)), 1)
        like = next(array for array in arrays.values() if array is not None)
        memory = memory_of(self.text.arguments, arrays)
        key = (phase, longest, like.device, *memory.values())
        if key not in self._chosen:
            self._chosen[key] = self.options_on(chip_of(like.device) if like.is_cuda else None, memory, phase, longest)
        options = self._chosen[key]
        kernel(self.text)[grid](
            *pointers(self.text.arguments, arrays),
            steps,
            batch,
            length,
            A=element_type(getattr(torch, self.precision.numbers)),
            **options.keywords(),
        )

    def options_on(
        self, chip: Chip | None, memory: Memory, phase: ScanPhase, longest: int = LONGEST_CHUNK
    ) -> LaunchOptions:
        """The longest chunk with which nothing is spilled on a chip, or the shortest one; without a chip the one of the
        interpreter, in which nothing can be compiled."""
        possible = (self.chunk,) if self.chunk else CHUNKS if chip else INTERPRETED_TILE[:1]
        chunks = [chunk for chunk in possible if chunk <= longest] or [1]
        constants: dict[str, int | bool] = {
            "BH": self.features, "BACKWARDS": self.backwards, "RAGGED": memory.get(LENGTHS) is not None,
            "PHASE": int(phase),
        }  # fmt: skip
        candidates = [LaunchOptions({"C": chunk, **constants}, WARPS) for chunk in chunks]
        if chip is None or is_interpreted() or len(candidates) == 1:
            return candidates[0]
        fitting = first_that_fits(self.text, chip, self.precision, candidates, memory)
        return fitting[0] if fitting else candidates[-1]

    def run_in(self, memory: ProgramMemory, products: Mapping[str, Tensor]) -> None:
        """Compute the stage on the tensors of a run; `products` are what the products of the stage gave."""
        given = {
            Argument(ArgumentKind.SEQUENCE, product_array(name)): tensor.contiguous()
            for name, tensor in products.items()
        }
        others = tuple(argument for argument in self.arguments if argument not in given)
        self.run({**given, **memory.arguments(others)}, memory.steps, memory.batch)


def number_of_spans(programs: int, steps: int, processors: int) -> int:
    """How many pieces of time run at once: as many as fill the GPU, unless there are few or they are short."""
    wanted = -(-PROGRAMS_A_PROCESSOR * processors // max(programs, 1))
    spans = min(wanted, steps // SHORTEST_SPAN)
    return spans if spans >= FEWEST_SPANS else 1
