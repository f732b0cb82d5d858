"""How threads share the units of a pass: which columns each computes, and where they need a barrier.

Every thread goes through all steps and rows, but computes its own columns only. It needs no barrier for as long as it
reads nothing that another one computes. Sums of features are cheap, so every thread computes all of them for itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from gatewright.schedule.program import Program, Stage, Storage, needs_whole, operands
from gatewright.trace.ir import Var


@dataclass(frozen=True, slots=True)
class StageTiles:
    """A stage, the lanes of its vectors, and how many of these a tile is wide, or None for a stage without products.

    Whether it `rounds` the vectors that it multiplies: into memory that all threads share, and use again in every step.
    """

    stage: Stage
    lanes: int
    blocks: int | None
    rounds: bool = False


@dataclass(frozen=True, slots=True)
class ColumnPieces:
    """A stage's columns in pieces of `blocks` vectors; every thread has a range of them. Stages with equal pieces are
    shared in the same way."""

    axis: str
    blocks: int
    pieces: int


@dataclass(frozen=True, slots=True)
class UnitPartition:
    """How threads share the units of a pass.

    - `columns`: of each stage, or None where every thread computes the whole.
    - `barriers_before`: the stages before which all threads wait for one another, and `in_rows` how many of these do so
      in every row.
    - `barrier_at_end`: whether they do at the end of a step.
    """

    columns: tuple[ColumnPieces | None, ...]
    barriers_before: frozenset[int]
    in_rows: int
    barrier_at_end: bool

    @property
    def pieces(self) -> int:
        """How many threads have something to do."""
        return max((columns.pieces for columns in self.columns if columns), default=1)

    @property
    def barriers(self) -> int:
        """How many barriers a step of one row has."""
        return len(self.barriers_before) + self.barrier_at_end


def partition_units(
    program: Program, sizes: Mapping[str, int], stages: Sequence[StageTiles], *, repeats: bool
) -> UnitPartition:
    """How threads share the units of a pass, which `repeats` in every step if it is the loop."""
    columns = _columns(sizes, stages)
    accesses = [_StageAccess(program, tiles, own) for tiles, own in zip(stages, columns, strict=True)]
    before: set[int] = set()
    since: list[_StageAccess] = []  # the stages after the last barrier
    for number, access in enumerate(accesses):
        if any(access.must_wait_for(earlier) for earlier in since):
            before.add(number)
            since = []
        since.append(access)
    # The next step begins with the stages before the first barrier, while other threads may still be in this step's
    # stages after the last one.
    first = accesses[: min(before, default=len(accesses))]
    at_end = repeats and any(access.must_wait_for_last_step(earlier) for access in first for earlier in since)
    in_rows = [n for n in before if n and stages[n - 1].blocks is None and stages[n].blocks is None]
    return UnitPartition(columns, frozenset(before), len(in_rows), at_end)


def _columns(sizes: Mapping[str, int], stages: Sequence[StageTiles]) -> tuple[ColumnPieces | None, ...]:
    blocks = {tiles.stage.axis: tiles.blocks for tiles in reversed(stages) if tiles.blocks}
    columns: list[ColumnPieces | None] = []
    for tiles in stages:
        axis = tiles.stage.axis
        if axis is None or tiles.stage.reductions:
            columns.append(None)
            continue
        if tiles.blocks:
            blocks[axis] = tiles.blocks  # the stages that follow are cut as these products are
        width = blocks.get(axis, 1)
        columns.append(ColumnPieces(axis, width, ceil(ceil(sizes[axis] / tiles.lanes) / width)))
    return tuple(columns)


class _StageAccess:
    """What a stage reads and stores, and which columns of it one thread computes."""

    def __init__(self, program: Program, tiles: StageTiles, columns: ColumnPieces | None) -> None:
        stage, self._columns = tiles.stage, columns
        computed = {work.target.name for work in stage.works()}
        self._whole: set[tuple[Storage, str]] = set()  # each unit needs all units of these
        self._own: set[tuple[Storage, str]] = set()
        reads = [(needs_whole(work), value) for work in stage.works() for value in operands(work)]
        reads += [(False, store.value) for store in stage.stores]
        for whole, value in reads:
            storage = program.storage.get(value.name) if isinstance(value, Var) else None
            if isinstance(value, Var) and storage and (whole or value.name not in computed):
                key = (storage, program.new_values[value.name] if storage is Storage.NEW else value.name)
                (self._whole if whole else self._own).add(key)
        self._stores = {(store.storage, store.name) for store in stage.stores}
        if tiles.rounds:
            vectors = {term.vector.name for product in stage.products for term in product.terms}
            self._stores |= {(Storage.ROW, f"{vector} rounded") for vector in vectors}

    def must_wait_for(self, earlier: "_StageAccess") -> bool:
        """Whether this stage reads what another thread may not have stored yet, within one step."""
        stored = {(Storage.NEW if storage is Storage.STATE else storage, name) for storage, name in earlier._stores}
        return self._reads_from_others(earlier, stored)

    def must_wait_for_last_step(self, earlier: "_StageAccess") -> bool:
        """The same for a stage of the step before.

        Also whether this stage overwrites what another thread may still read: a buffer that lives for one step has the
        same memory in every step.
        """
        overwritten = {key for key in self._stores if key[0] is Storage.ROW}
        if overwritten & (earlier._whole | earlier._own | earlier._stores):
            return True
        return self._reads_from_others(earlier, {key for key in earlier._stores if key[0] is Storage.STATE})

    def _reads_from_others(self, earlier: "_StageAccess", stored: set[tuple[Storage, str]]) -> bool:
        if earlier._columns is None:
            return False  # every thread has computed all of it
        return bool(stored & self._whole) or (self._columns != earlier._columns and bool(stored & self._own))
