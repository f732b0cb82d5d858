"""Runs a stage of scans on torch tensors: which form of its kernel, with how many spans, in which tiles."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind
from gatewright.backends.triton.load import kernel
from gatewright.backends.triton.scan_kernel import LENGTHS, ScanPhase, carry_text, scan_text
from gatewright.backends.triton.scan_stage import ScanStage

CHUNK = 64  # steps that one associative scan joins
FEATURES = 32  # of a program: 128 bytes of float32, which a warp reads at once
WARPS = 4
PROGRAMS_A_PROCESSOR = 4  # what hides the time that memory takes to answer
FEWEST_SPANS = 3  # spans read the inputs twice: that pays where it makes so many programs of one
SHORTEST_SPAN = 4 * CHUNK
_LARGEST_OFFSET = 2**31 - 1  # offsets within a chunk are int32


class ScanKernel:
    """The kernels of a stage of scans, for tensors of any length and batch.

    `arguments` are the pointers. `chunk` and `features` are the tile of a program; the interpreter, which computes one
    element after the other, is faster with smaller ones.
    """

    def __init__(
        self,
        scan: ScanStage,
        sizes: Mapping[str, int],
        precision: KernelPrecision | None = None,
        *,
        backwards: bool = False,
        chunk: int = CHUNK,
        features: int = FEATURES,
    ) -> None:
        self.scan, self.backwards = scan, backwards
        self.precision = precision or KernelPrecision()
        self.size = sizes[scan.shape[0]] if scan.shape else 1
        self.chunk, self.features = chunk, features if scan.shape else 1
        self._text, self._carry_text = scan_text(scan, sizes), carry_text(scan, sizes)
        self.arguments: tuple[Argument, ...] = self._text.arguments

    def run(
        self, arrays: Mapping[Argument, Tensor | None], steps: int, batch: int, *, spans: int | None = None
    ) -> None:
        """Compute and store everything for all steps.

        `arrays` has a contiguous tensor for every argument; None for starts that are zeros, and for lengths that all
        rows take. `spans` cuts time into so many pieces that run at once; without it the number follows from the GPU.
        """
        device = next(array for array in arrays.values() if array is not None).device
        blocks = -(-self.size // self.features)
        if not batch or not blocks:
            return
        if spans is None:
            spans = number_of_spans(batch * blocks, steps, processors(device))
        if self.scan.magnitudes and spans > 1:
            spans = 1  # the largest magnitude of a row is that of one program
        length = max(-(-steps // spans), 1)
        spans = max(-(-steps // length), 1)
        if spans == 1:
            self._launch(ScanPhase.WHOLE, arrays, None, (batch, blocks, 1), steps, length)
            return
        dtype = getattr(torch, self.precision.numbers)
        memory = torch.empty((spans, self.scan.span_values, batch, self.size), dtype=dtype, device=device)
        self._launch(ScanPhase.TOTALS, arrays, memory, (batch, blocks, spans), steps, length)
        starts = [arrays[argument] for argument in self._carry_text.arguments]
        kernel(self._carry_text)[(batch, blocks)](
            *starts, memory, spans, batch, A=self._number(), BH=self.features, num_warps=1
        )
        self._launch(ScanPhase.RESULTS, arrays, memory, (batch, blocks, spans), steps, length)

    def _launch(
        self,
        phase: ScanPhase,
        arrays: Mapping[Argument, Tensor | None],
        memory: Tensor | None,
        grid: tuple[int, int, int],
        steps: int,
        length: int,
    ) -> None:
        batch = grid[0]
        chunk = self.chunk
        while chunk > 1 and chunk * batch * self.size > _LARGEST_OFFSET:
            chunk //= 2
        kernel(self._text)[grid](
            *(arrays[argument] for argument in self.arguments),
            memory,
            steps,
            batch,
            length,
            A=self._number(),
            C=chunk,
            BH=self.features,
            BACKWARDS=self.backwards,
            RAGGED=arrays[LENGTHS] is not None,
            PHASE=int(phase),
            num_warps=WARPS,
            num_stages=1,
        )

    def _number(self) -> Any:
        import triton.language as tl

        return getattr(tl, self.precision.numbers)

    def stored(self) -> tuple[str, ...]:
        """The sequences that the kernel writes."""
        return tuple(
            store.name
            for store in self.scan.stage.stores
            if Argument(ArgumentKind.SEQUENCE, store.name) in self.arguments
        )


def number_of_spans(programs: int, steps: int, processors: int) -> int:
    """How many pieces of time run at once: as many as fill the GPU, unless there are few or they are short."""
    wanted = -(-PROGRAMS_A_PROCESSOR * processors // max(programs, 1))
    spans = min(wanted, steps // SHORTEST_SPAN)
    return spans if spans >= FEWEST_SPANS else 1


def processors(device: torch.device) -> int:
    """The multiprocessors of a device; 1 for the interpreter, on a CPU."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1
