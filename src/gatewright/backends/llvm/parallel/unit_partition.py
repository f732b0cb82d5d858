"""How threads share the units of a pass: which columns each computes, and where they have to meet.

Every thread goes through all steps and rows, but computes its own columns only. It may go on without waiting for as
long as it reads nothing that another one computes. Sums of features are cheap, so every thread computes all of them
for itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from gatewright.backends.llvm.codegen.buffers import Bound
from gatewright.backends.llvm.codegen.stage import Design
from gatewright.schedule.program import Program, Stage, Storage, needs_whole, operands
from gatewright.trace.ir import Var


@dataclass(frozen=True, slots=True)
class Cut:
    """A stage's columns in pieces of `blocks` vectors, of which every thread has a range. Stages with equal cuts are
    shared in the same way."""

    axis: str
    blocks: int
    pieces: int


@dataclass(frozen=True, slots=True)
class Shared:
    """How the units of a pass are shared: the cut of every stage, or None where every thread does the whole; the
    stages before which all threads meet, and how many of these meet in every row; and whether they meet at the end of a
    step."""

    cuts: tuple[Cut | None, ...]
    before: frozenset[int]
    in_rows: int
    at_end: bool

    @property
    def pieces(self) -> int:
        """How many threads have something to do."""
        return max((cut.pieces for cut in self.cuts if cut), default=1)

    @property
    def meetings(self) -> int:
        """How often threads meet in a step of one row."""
        return len(self.before) + self.at_end


def share_units(bound: Bound, designs: Sequence[Design], *, repeats: bool) -> Shared:
    """How threads share the units of a pass, which `repeats` in every step if it is the loop."""
    cuts = _cuts(bound, designs)
    users = [_Use(bound.program, one.stage, cut) for one, cut in zip(designs, cuts, strict=True)]
    before: set[int] = set()
    since: list[_Use] = []  # what was done since the last meeting
    for number, user in enumerate(users):
        if any(user.waits_for(earlier) for earlier in since):
            before.add(number)
            since = []
        since.append(user)
    first = users[: min(before, default=len(users))]
    at_end = repeats and any(user.waits_for_last(earlier) for user in first for earlier in since)
    in_rows = [number for number in before if number and not designs[number - 1].panels and not designs[number].panels]
    return Shared(cuts, frozenset(before), len(in_rows), at_end)


def _cuts(bound: Bound, designs: Sequence[Design]) -> tuple[Cut | None, ...]:
    blocks = {one.stage.axis: one.tile.blocks for one in reversed(designs) if one.panels}
    found: list[Cut | None] = []
    for one in designs:
        axis = one.stage.axis
        if axis is None or one.stage.reductions:
            found.append(None)
            continue
        if one.panels:
            blocks[axis] = one.tile.blocks  # what follows is cut as these products are
        of_piece = blocks.get(axis, 1)
        found.append(Cut(axis, of_piece, ceil(ceil(bound.sizes[axis] / one.lanes) / of_piece)))
    return tuple(found)


class _Use:
    """What a stage reads and stores, and which columns of it one thread does."""

    def __init__(self, program: Program, stage: Stage, cut: Cut | None) -> None:
        self._cut = cut
        computed = {work.target.name for work in stage.works()}
        self._whole: set[tuple[Storage, str]] = set()  # of which each unit needs all units
        self._own: set[tuple[Storage, str]] = set()
        reads = [(needs_whole(work), value) for work in stage.works() for value in operands(work)]
        reads += [(False, store.value) for store in stage.stores]
        for whole, value in reads:
            storage = program.storage.get(value.name) if isinstance(value, Var) else None
            if isinstance(value, Var) and storage and (whole or value.name not in computed):
                key = (storage, program.new_values[value.name] if storage is Storage.NEW else value.name)
                # a number that one thread computes for all is as far away as a whole vector
                (self._whole if whole or not value.shape else self._own).add(key)
        self._stores = {(store.storage, store.name) for store in stage.stores}

    def waits_for(self, earlier: "_Use") -> bool:
        """Whether another thread may read too early what it stores itself, within one step."""
        stored = {(Storage.NEW if storage is Storage.STATE else storage, name) for storage, name in earlier._stores}
        return self._far(earlier, stored)

    def waits_for_last(self, earlier: "_Use") -> bool:
        """The same for a stage of the step before; and what lives for one step only must not be stored again while
        another thread still reads it."""
        again = {key for key in self._stores if key[0] is Storage.ROW}
        if again & (earlier._whole | earlier._own | earlier._stores):
            return True
        return self._far(earlier, {key for key in earlier._stores if key[0] is Storage.STATE})

    def _far(self, earlier: "_Use", stored: set[tuple[Storage, str]]) -> bool:
        if earlier._cut is None:
            return False  # every thread has done all of it
        return bool(stored & self._whole) or (self._cut != earlier._cut and bool(stored & self._own))
