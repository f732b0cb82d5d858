"""The stepped form of a Program's loop: a kernel a stage and step. It runs any size; the launches are what it costs.

A CUDA graph takes most of that away: it holds the kernels of several steps and is launched as one. Its kernels take no
pointers, which a graph would keep for good, but read them from a table in device memory, so that one graph serves all
tensors of a shape, and sequences of any length. The same kernels run without a graph.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from gatewright.axes import bind
from gatewright.backends.triton.chips import chip_of
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind, stays_aligned
from gatewright.backends.triton.launch import element_type, on_device, pointers
from gatewright.backends.triton.load import kernel
from gatewright.backends.triton.resources import LaunchOptions, constants_of
from gatewright.backends.triton.stage_kernel import LENGTHS, needed_elsewhere, stage_groups
from gatewright.backends.triton.step_graphs import StepGraphCache
from gatewright.backends.triton.step_kernel import (
    ADVANCE,
    FIRST_ADDRESS,
    begin_text,
    carried_states,
    step_text,
    table_slots,
)
from gatewright.backends.triton.tiles import grid_of, step_tile
from gatewright.backends.triton.value_places import copied_arrays
from gatewright.schedule.program import Program

BEGIN_TILE = LaunchOptions({"BM": 4, "BN": 128})
"""Of the kernel before the first step."""
ADVANCE_OPTIONS = LaunchOptions(warps=1)
"""Of the kernel after several steps. Of several warps one might read what another one has stored already."""
WITHIN_A_STEP = (ArgumentKind.ROW, ArgumentKind.COPY)
"""The arrays that a loop makes for itself."""
SHAPES_KEPT = 64
"""Numbers of rows, dtypes and devices for which it is known how kernels are launched."""


@dataclass(frozen=True, slots=True)
class _StepKernel:
    """A kernel of a step, ready to launch."""

    function: Any
    grid: tuple[int, int]
    constants: dict[str, Any]


class SteppedLoop:
    """The loop of a Program as a kernel a stage and step."""

    def __init__(
        self,
        program: Program,
        sizes: Mapping[str, int],
        precision: KernelPrecision,
        *,
        backwards: bool = False,
        graphs: StepGraphCache | None = None,
    ) -> None:
        self.program, self.sizes, self.precision, self.backwards = program, sizes, precision, backwards
        self.groups = stage_groups(program.loop, sizes, products_loaded=False)
        self.carried, copied = carried_states(program), copied_arrays(program, precision)
        self.table = table_slots(program, self.groups, self.carried, sizes, copied)
        self.texts = tuple(
            step_text(
                program, group, sizes, f"stage_{number}",
                kept=needed_elsewhere(self.groups, group, copied), copied=copied, table=self.table,
            )
            for number, group in enumerate(self.groups)
        )  # fmt: skip
        self.begin = begin_text(self.carried, sizes, self.table, "begin")
        rows = ((argument, prod(bind(program.shapes.get(argument.name, ()), sizes))) for argument in self.table)
        self._aligned = frozenset(argument for argument, row in rows if stays_aligned(argument, row))
        self._graphs = graphs or StepGraphCache()
        self._kernels: dict[tuple[object, ...], list[_StepKernel]] = {}

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """The arrays that a caller gives."""
        return tuple(argument for argument in self.begin.arguments if argument.kind not in WITHIN_A_STEP)

    def run(self, arrays: Mapping[Argument, Tensor | None], steps: int, batch: int) -> None:
        """Take all steps. `arrays` are those of `arguments`. A START that is absent or None is zeros; without LENGTHS
        all rows take all steps.
        """
        if not batch or not self.texts:
            return
        everything = with_step_arrays(self.program, self.sizes, self.table, self.precision, arrays, batch)
        like = next(iter(everything.values()))
        device = like.device
        with on_device(like):
            shape, kernels = self._ready(everything, batch)
            table = partial(torch.zeros, FIRST_ADDRESS + len(self.table), dtype=torch.int64, device=device)
            with self._graphs.steps(device, shape, table, partial(self._launch, kernels, batch)) as loop:
                self._begin(everything, loop.table, steps, batch)
                loop.take(steps)

    def _ready(self, arrays: Mapping[Argument, Tensor], batch: int) -> tuple[tuple[object, ...], Sequence[_StepKernel]]:
        """The kernels of a step for arrays such as these, and all that they depend on."""
        known = {argument: arrays[argument] for argument in self.table if argument in arrays}
        aligned = all(array.data_ptr() % 16 == 0 for argument, array in known.items() if argument in self._aligned)
        dtypes = ((argument, array.dtype) for argument, array in known.items())
        shape = (next(iter(arrays.values())).device, batch, aligned, *dtypes)
        if shape not in self._kernels:
            if len(self._kernels) >= SHAPES_KEPT:
                self._kernels.clear()
            self._kernels[shape] = self._kernels_for(arrays, batch, aligned=aligned)
        return shape, self._kernels[shape]

    def _kernels_for(self, arrays: Mapping[Argument, Tensor], batch: int, *, aligned: bool) -> list[_StepKernel]:
        chip = chip_of(next(iter(arrays.values())).device)
        common = {
            **constants_of(self.precision, chip),
            "BACKWARDS": self.backwards,
            "RAGGED": LENGTHS in arrays,
            "ALIGNMENT": 16 if aligned else 1,
        }
        kernels: list[_StepKernel] = []
        for group, text in zip(self.groups, self.texts, strict=True):
            tile = step_tile(self.program, group, self.sizes, arrays, batch, chip)
            types = {
                f"E{number}": element_type(arrays[argument].dtype if argument in arrays else torch.int32)
                for number, argument in enumerate(text.arguments)
            }
            constants = {**types, **common, **tile.keywords()}
            kernels.append(_StepKernel(kernel(text), grid_of(tile, group, self.sizes, batch), constants))
        return kernels

    def _begin(self, arrays: Mapping[Argument, Tensor], table: Tensor, steps: int, batch: int) -> None:
        widest = max((self.sizes[state.shape[0]] for state in self.carried if state.shape), default=1)
        grid = (-(-batch // BEGIN_TILE.constants["BM"]), -(-widest // BEGIN_TILE.constants["BN"]))
        ragged = LENGTHS in arrays
        kernel(self.begin)[grid](
            *pointers(self.begin.arguments, arrays),
            table,
            steps,
            batch,
            **constants_of(self.precision),
            BACKWARDS=self.backwards,
            RAGGED=ragged,
            **BEGIN_TILE.keywords(),
        )

    def _launch(self, kernels: Sequence[_StepKernel], batch: int, table: Tensor, count: int) -> None:
        """So many steps, from where the table says."""
        for step in range(count):
            for step_kernel in kernels:
                step_kernel.function[step_kernel.grid](table, step, batch, **step_kernel.constants)
        kernel(ADVANCE)[(1,)](table, count, **ADVANCE_OPTIONS.keywords())


def with_step_arrays(
    program: Program,
    sizes: Mapping[str, int],
    arguments: Iterable[Argument],
    precision: KernelPrecision,
    arrays: Mapping[Argument, Tensor | None],
    batch: int,
) -> dict[Argument, Tensor]:
    """The arrays that are there, and memory for what is kept within a step or from one to the next."""
    present = {argument: array for argument, array in arrays.items() if array is not None}
    device, states = next(iter(present.values())).device, {state.name for state in program.trace.states}
    own: dict[Argument, Tensor] = {}
    for argument in arguments:
        if argument.kind in WITHIN_A_STEP and argument not in present:
            copies = argument.kind is ArgumentKind.COPY
            lines = 2 * batch if copies and argument.name in states else batch
            dtype = getattr(torch, precision.operands if copies else precision.numbers)
            own[argument] = torch.empty(lines, *bind(program.shapes[argument.name], sizes), dtype=dtype, device=device)
    return own | present
