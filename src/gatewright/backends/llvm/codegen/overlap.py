"""Products of the pass before the loop, computed inside the loop of a single row.

A step of one row waits for the recurrent matrix, which streams from the second or third cache: the units that multiply
are idle half of the time. The products of the input matrix with all steps are the opposite: they are bound by
multiplying, and read little. So the loop takes both. While it goes through one block of steps, it computes the products
of the next block. Each sum is added up in the same order as without this, so the bits are the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gatewright.backends.llvm.codegen.accumulate import Accumulator, Sums, SumsBeside
from gatewright.backends.llvm.codegen.buffers import Cursor, Memory
from gatewright.backends.llvm.codegen.panels import column_of
from gatewright.backends.llvm.codegen.stage import Design, StageEmitter
from gatewright.backends.llvm.codegen.tiles import Tile
from gatewright.backends.llvm.emit.emitter import Emitter, Index
from gatewright.backends.llvm.emit.vector_type import Value
from gatewright.schedule.program import Stage
from gatewright.trace.ir import Equation, Var

_ROWS, _BLOCKS = 8, 2
"""The tile of the input's products. Fewer rows would read their matrix more often, more would leave more steps to
compute before the loop; with both sums of the state and these, 27 registers are used."""
_MOST_PARTS = 6
"""Each turn of the inner loop takes as many elements of the state: more are more code, and no faster."""
_LEAST_SHARE = 8
"""The products of the input are overlapped if they are at least this part of the recurrent ones: no more time than
theirs can be saved."""
MOST_BYTES = 16 * 1024 * 1024
"""The most that both matrices may take: half of a third cache of 32 MiB. With an overlap the input matrix is read once
for every block of steps; without it once for all steps. So both must stay in a cache."""


@dataclass(frozen=True, slots=True)
class LoopOverlap:
    """Which products are computed inside which loop.

    Steps are taken in blocks. Each group of the streamed matrix in each step of a block is a slot, in which one part of
    a tile for the next block is accumulated.
    """

    stage: int  # the stage of the loop whose matrix streams
    slots: int  # in one step: the groups of this matrix
    designs: tuple[Design, ...]  # the stages of the pass before, each of one product and all of one shape

    @property
    def steps(self) -> int:
        """The steps of a block: the rows of a tile."""
        return self.designs[0].tile.rows

    @property
    def groups(self) -> int:
        """The groups of each product: its tiles for a block of steps."""
        return self.designs[0].panels[0].groups

    @property
    def parts(self) -> int:
        """How many slots a tile takes, so that multiplying is spread over the steps; 0 if there are too few slots."""
        return min(_MOST_PARTS, self.steps * self.slots // (self.groups * len(self.designs)))

    @property
    def taken(self) -> int:
        """How many slots of a block are taken: the first ones."""
        return self.groups * len(self.designs) * self.parts


def overlap_tile(streamed: Design, registers: int) -> Tile | None:
    """The tile of the products to be overlapped with a stage; None if there are too few registers for both."""
    tile = Tile(_ROWS, _BLOCKS)
    sums = streamed.tile.blocks * streamed.bundle
    return tile if sums + tile.registers(1) <= registers else None


def overlap_of(
    loop: Sequence[Design], streamed: int, before: Sequence[Design], number_bytes: int
) -> LoopOverlap | None:
    """The overlap of the stages of the pass before with a streamed stage of the loop, if they fit together and if it
    saves time."""
    if any(not _is_plain(design) for design in (loop[streamed], *before)):
        return None
    own, first = loop[streamed].panels[0], before[0].panels[0]
    if any(replace(design.panels[0], key=first.key, parts=first.parts) != first for design in before[1:]):
        return None
    is_enough = _LEAST_SHARE * first.depth * len(before) >= own.depth * len(own.parts)
    both = sum(panel.size for design in (*loop, *before) for panel in design.panels) * number_bytes
    overlap = LoopOverlap(streamed, own.groups, tuple(before))
    return overlap if overlap.parts and is_enough and both <= MOST_BYTES else None


def _is_plain(design: Design) -> bool:
    """Whether the products of a stage are sums of one chain, of one vector and one panel of plain numbers."""
    if len(design.panels) != 1 or design.tile.chains > 1:
        return False
    panel = design.panels[0]
    is_packed = design.unpacked is None and not design.is_amx and not panel.has_pairs and not panel.has_whole_numbers
    return is_packed and Accumulator.is_one_chain(panel.depth)


def split_by_product(stage: Stage) -> tuple[Stage, ...] | None:
    """A stage for each product, with the equations and stores that follow from it.

    Returns None if an equation or a store follows from several products, or from none.
    """
    owner = {product.target.name: number for number, product in enumerate(stage.products)}
    equations: list[list[Equation]] = [[] for _ in stage.products]
    for equation in stage.equations:
        numbers = {owner[arg.name] for arg in equation.args if isinstance(arg, Var) and arg.name in owner}
        if len(numbers) != 1:
            return None
        owner[equation.target.name] = number = numbers.pop()
        equations[number].append(equation)
    owners = [owner.get(store.value.name) if isinstance(store.value, Var) else None for store in stage.stores]
    if None in owners:
        return None
    return tuple(
        Stage(
            stage.axis,
            (product,),
            tuple(equations[number]),
            tuple(store for store, of in zip(stage.stores, owners, strict=True) if of == number),
        )
        for number, product in enumerate(stage.products)
    )


class ProductsAhead:
    """Emits the products of an overlap, slot by slot."""

    def __init__(self, scalar: Emitter, memory: Memory, overlap: LoopOverlap, steps: Value, batch: Value) -> None:
        """There are at least two blocks of `steps`, and `batch` is 1."""
        self._e, self._memory, self._overlap = scalar, memory, overlap
        self._steps, self._batch = steps, batch
        self._stages = [StageEmitter(scalar, memory, design) for design in overlap.designs]
        for stage in self._stages:
            stage.prepare()
        tile, lanes = self._stages[0].tile, self._stages[0].lanes
        places = [(0, row, block) for row in range(tile.rows) for block in range(tile.blocks)]
        kept = scalar.reserve_numbers(len(places) * lanes, "kept_sums")
        # the sums of a tile from one of its parts to the next
        self._kept = {place: scalar.address(kept, number * lanes) for number, place in enumerate(places)}
        self._first = self._slots_before = self._taken = scalar.index(0)

    def begin_step(self, step: Value) -> None:
        """Emit what all slots of a step share."""
        e, overlap = self._e, self._overlap
        block = e.div_index(step, overlap.steps, "block")
        following = e.add_index(e.mul_index(block, overlap.steps), overlap.steps, "following")
        # The last block overlaps the one before it: some steps are computed twice, with the same bits.
        self._first = e.index(e.smaller_index(following, e.add_index(self._steps, -overlap.steps), "first_ahead"))
        in_block = e.add_index(e.add_index(step, overlap.steps), e.mul_index(following, -1), "in_block")
        self._slots_before = e.index(e.mul_index(in_block, overlap.slots, "slots_before"))
        has_following = e.compare_index("<", following, self._steps, "has_following")
        self._taken = e.choose_index(has_following, overlap.taken, 0, "taken")

    def emit(
        self,
        own: Accumulator,
        group: Value,
        cursors: Sequence[Cursor],
        walked: Value,
        meanwhile: Callable[[Index], None],
    ) -> Sums:
        """Emit the sums of a group of the streamed matrix, with those of its slot beside them. `walked` groups of this
        step came before."""
        e, overlap, stage = self._e, self._overlap, self._stages[0]
        slot = e.add_index(self._slots_before, walked, "slot")
        is_taken = e.compare_index("<", slot, self._taken, "is_taken")
        # A slot that is not taken has the addresses of the first one, and no elements.
        tile, part = self._divided(e.choose_index(is_taken, slot, 0, "slot"), overlap.parts)
        number, tile_group = self._divided(tile, overlap.groups)
        wide, depth = stage.emitter, stage.panels[0].depth
        length = -(-depth // overlap.parts)
        start = e.mul_index(part, length, "start")
        stop = e.smaller_index(e.add_index(start, length), depth)
        beside = SumsBeside(
            stage.accumulator(),
            self._memory.pointer_among([stage.panels[0].key for stage in self._stages], number),
            e.index(tile_group),
            self._cursors(),
            (start, e.choose_index(is_taken, stop, start, "stop")),
            self._sums_before(wide, part),
            overlap.parts,
        )
        sums, ahead = own.sums_beside(group, cursors, meanwhile, beside)
        with e.when(e.compare_index("<", part, overlap.parts - 1), "keep_sums"):
            for place, address in self._kept.items():
                wide.store(ahead[place], address)
        last_part = e.choose_index(is_taken, part, -1)
        with e.when(e.compare_index("==", last_part, overlap.parts - 1), "tile_ends"):
            blocks = [e.add_index(e.mul_index(tile_group, stage.tile.blocks), j) for j in range(stage.tile.blocks)]
            columns = [column_of(e, block, stage.lanes, stage.units) for block in blocks]
            for index, of_product in enumerate(self._stages):
                with e.when(e.compare_index("==", number, index), "product"):
                    # new cursors: they keep addresses that were computed in another branch
                    of_product.emit_equations(ahead, columns, self._cursors())
        return sums

    def _sums_before(self, wide: Emitter, part: Index) -> Sums:
        """The sums of a tile before one of its parts."""
        is_first = wide.compare_index("==", part, 0, "is_first")
        return {place: wide.select(is_first, 0.0, wide.load(address)) for place, address in self._kept.items()}

    def _divided(self, number: Index, by: int) -> tuple[Index, Index]:
        """The quotient of a number, and what is left."""
        quotient = self._e.div_index(number, by)
        return quotient, self._e.add_index(number, self._e.mul_index(quotient, -by))

    def _cursors(self) -> list[Cursor]:
        """The rows of a tile: steps of the next block."""
        e = self._e
        lines = [e.index(e.add_index(self._first, row, "line")) for row in range(self._overlap.steps)]
        return [Cursor(line=line, row=line, batch=self._batch) for line in lines]
