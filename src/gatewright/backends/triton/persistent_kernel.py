"""The persistent form of a Program's loop: one launch for all steps, whose programs stay and wait for each other.

The programs that share a tile of rows divide the features among them. What one of them computes and another one needs
goes through memory, and a barrier among them stands between. All of them must be on processors at the same time: the
launch is cooperative, with at most one program a processor. Nothing chooses this form by itself: no GPU has measured it
against the stepped form.
"""

from collections.abc import Collection, Iterator, Mapping

import torch
from torch import Tensor

from gatewright.backends.triton.chips import chip_of
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind, KernelText
from gatewright.backends.triton.launch import on_device, pointers
from gatewright.backends.triton.load import kernel
from gatewright.backends.triton.resources import LaunchOptions, constants_of
from gatewright.backends.triton.stage_kernel import (
    LENGTHS,
    PRECISION_CONSTANTS,
    TIME_CONSTANTS,
    StageGroup,
    StageWriter,
    constants,
    kernel_head,
)
from gatewright.backends.triton.step_kernel import carried_states, start_lines
from gatewright.backends.triton.stepped import WITHIN_A_STEP, with_step_arrays
from gatewright.backends.triton.tiles import step_tile
from gatewright.backends.triton.value_places import COPY_LINES, copied_arrays, copied_place, stored_place
from gatewright.backends.triton.writer import indented
from gatewright.schedule.program import Product, Program, Reduction, Stage, operands
from gatewright.trace.ir import names_of

COUNTERS = Argument(ArgumentKind.COUNTERS, "counters")
"""One for each tile of rows: how often programs have arrived at its barriers. Past 2**31 it goes on below zero."""

# All threads of a program have stored before one of them counts; what they load afterwards was stored before others
# counted. Release and acquire order memory between processors, the barriers of a program order its own threads.
BARRIER = '''
@triton.jit
def grid_barrier(counter, goal):
    """Wait until all programs of a tile of rows have arrived `goal` times in all."""
    tl.debug_barrier()
    tl.atomic_add(counter, 1, sem="release", scope="gpu")
    while tl.atomic_add(counter, 0, sem="acquire", scope="gpu") - goal < 0:
        pass
    tl.debug_barrier()
'''


def persistent_text(program: Program, sizes: Mapping[str, int], copied: Collection[Argument] = ()) -> KernelText:
    """The kernel of a Program's loop. Products read copies of the `copied` arrays.

    Its grid is (G, tiles of rows). It takes the pointers in `arguments`, T, B, and the constants A, D, P, EMULATED,
    BACKWARDS, RAGGED, BM, BN, BK, G. A START may be None: the state is zero then. LENGTHS is None where not RAGGED.
    """
    return _PersistentWriter(program, sizes, copied).text()


class _PersistentWriter:
    def __init__(self, program: Program, sizes: Mapping[str, int], copied: Collection[Argument]) -> None:
        self.program, self.sizes, self.copied = program, sizes, copied
        stores = [store for stage in program.loop for store in stage.stores]
        places = [stored_place(program, store)[0] for store in stores]
        written = {place.argument for stored in places for place in (stored, copied_place(stored))}
        self.writer = StageWriter(program, sizes, copied=copied, volatile=written)
        self.kept = {store.name for store in stores}
        self.stored: set[str] = set()  # in this step
        self.unseen: set[str] = set()  # of it, what a program may not have seen of others

    def text(self) -> KernelText:
        """Write all stages down, with barriers between them."""
        kernel_writer = self.writer.kernel
        step = [
            "t = steps - 1 - s if BACKWARDS else s",
            "active = in_batch & (t < length) if RAGGED else in_batch",
            "lead = tl.cast(t, tl.int64) * B",
            "before = lead + B if BACKWARDS else lead",
            "after = lead if BACKWARDS else lead + B",
            *(COPY_LINES if self.copied else ()),
        ]
        for stage in self.program.loop:
            step += self._stage(stage)
        step += _barrier()  # a step reads what the one before stored, and stores over what it read
        carried = carried_states(self.program)
        starts = [Argument(ArgumentKind.START, state.name) for state in carried]
        for state in carried:
            kernel_writer.pointer(ArgumentKind.STATE, state.name)
        for start in starts:
            kernel_writer.pointer(start.kind, start.name)
        widest = max((self.sizes[state.shape[0]] for state in carried if state.shape), default=1)
        body = [
            "own = tl.program_id(0)",
            "counter = counters + tl.program_id(1)",
            "rows = tl.program_id(1) * BM + tl.arange(0, BM)",
            "in_batch = rows < B",
            "steps = T",
            "if RAGGED:",
            "    length = tl.load(lengths + rows, mask=in_batch, other=0)",
            "    steps = tl.max(length, 0)",
            "active = in_batch",
            f"for tile in range(own, {_tiles(widest)}, G):",
            *indented(start_lines(carried, self.sizes, kernel_writer.arguments, "tile")),
            "goal = 0",
            *_barrier(),
            # addresses of all stages, computed before the loop and kept through it, would take more registers than
            # there are
            "for s in tl.range(0, steps, disable_licm=True):",
            *indented(step),
        ]
        pointers = [*kernel_writer.arguments.values(), "lengths", "counters"]
        numbers = ["T", "B", *constants(*PRECISION_CONSTANTS, *TIME_CONSTANTS, "BM", "BN", "BK", "G")]
        head = [*BARRIER.splitlines(), "", "", *kernel_head("persistent", pointers, numbers)]
        text = kernel_writer.text(head, body)
        return KernelText("persistent", text, (*kernel_writer.arguments, LENGTHS, COUNTERS))

    def _stage(self, stage: Stage) -> Iterator[str]:
        if self._whole_reads(stage) & self.unseen:
            yield from _barrier()
            self.unseen.clear()
        elif names_of(stage.reads()) & self.stored:
            yield "tl.debug_barrier()"  # another thread of the program may have stored what this one loads
        # a program computes scalars for itself: all of them store the same number, which saves a barrier
        group = StageGroup((stage,), whole=stage.axis is None)
        if stage.reductions:
            yield from self.writer.reduction_lines(stage)
        else:
            lines = self.writer.group_lines(group, self.kept)
            work = [*self.writer.feature_lines(group, "tile"), *lines]
            if group.whole:
                yield from work
            else:
                yield f"for tile in range(own, {_tiles(self.sizes[group.axes()[0]])}, G):"
                yield from indented(work)
        values = names_of(store.value for store in stage.stores)
        self.stored |= values
        self.unseen |= set() if group.whole else values

    def _whole_reads(self, stage: Stage) -> frozenset[str]:
        works = [work for work in stage.works() if isinstance(work, Product | Reduction)]
        return names_of(value for work in works for value in operands(work))


def _tiles(size: int) -> str:
    return f"({size} + BN - 1) // BN"


def _barrier() -> list[str]:
    return ["goal += G", "grid_barrier(counter, goal)"]


class PersistentLoop:
    """The loop of a Program as one cooperative launch."""

    def __init__(
        self,
        program: Program,
        sizes: Mapping[str, int],
        precision: KernelPrecision,
        *,
        backwards: bool = False,
        programs: int | None = None,
    ) -> None:
        """`programs` is how many divide the features of a tile of rows; by default as many as there are processors."""
        self.program, self.sizes, self.precision, self.backwards = program, sizes, precision, backwards
        self.programs = programs
        self.kernel = persistent_text(program, sizes, copied_arrays(program, precision))

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """The arrays that a caller gives."""
        own = (*WITHIN_A_STEP, ArgumentKind.COUNTERS)
        return tuple(argument for argument in self.kernel.arguments if argument.kind not in own)

    def run(self, arrays: Mapping[Argument, Tensor | None], steps: int, batch: int) -> None:
        """Take all steps. `arrays` are those of `arguments`. A START that is absent or None is zeros; without LENGTHS
        all rows take all steps.

        Raises ValueError where there are more tiles of rows than processors: they could not wait for each other; and on
        chips of AMD.
        """
        if not batch or not self.program.loop:
            return
        everything = with_step_arrays(self.program, self.sizes, self.kernel.arguments, self.precision, arrays, batch)
        like = next(iter(everything.values()))
        tile, programs = self.layout(everything, batch)
        grid = (programs, -(-batch // tile.constants["BM"]))
        everything.setdefault(COUNTERS, torch.zeros(grid[1], dtype=torch.int32, device=like.device))
        cooperative = {"launch_cooperative_grid": True} if like.is_cuda else {}
        with on_device(like):
            kernel(self.kernel)[grid](
                *pointers(self.kernel.arguments, everything), steps, batch,
                **constants_of(self.precision), BACKWARDS=self.backwards, RAGGED=LENGTHS in everything,
                G=programs, **tile.keywords(), **cooperative,
            )  # fmt: skip

    def layout(self, arrays: Mapping[Argument, Tensor], batch: int) -> tuple[LaunchOptions, int]:
        """The tile that all stages share, and the number of programs of a tile of rows."""
        chip = chip_of(next(iter(arrays.values())).device)
        if chip.backend != "cuda":
            # a barrier of a program waits for what its threads store to shared memory, not to global memory, and the
            # thread that counts for all of them waits for its own stores only (gfx942's assembly)
            raise ValueError(f"the persistent form does not run on {chip.name}: use the stepped form")
        groups = [StageGroup((stage,), whole=stage.axis is None) for stage in self.program.loop]
        tiles = [step_tile(self.program, group, self.sizes, arrays, batch, chip) for group in groups if group.products]
        tile = max(tiles, key=_extent, default=LaunchOptions({"BM": 16, "BN": 16, "BK": 16}))
        available = chip.processors // -(-batch // tile.constants["BM"])
        if not available:
            raise ValueError(f"{batch} rows have more tiles than a GPU has processors: use the stepped form")
        widest = max((self.sizes[axis] for group in groups for axis in group.axes()), default=1)
        return tile, min(self.programs or available, -(-widest // tile.constants["BN"]))


def _extent(tile: LaunchOptions) -> tuple[int, int]:
    return tile.constants["BM"] * tile.constants["BN"], tile.constants["BK"]
