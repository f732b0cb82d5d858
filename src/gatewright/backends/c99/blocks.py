"""The order of a step's loops: what can be computed element by element in one loop, and what has to be whole before."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from gatewright.axes import Shape
from gatewright.backends.c99.parts import CellPart
from gatewright.lang.ops import Op
from gatewright.schedule.gather import gather
from gatewright.schedule.passes import axis_classes
from gatewright.schedule.program import Phase, Product, Reduction, Work, operands
from gatewright.trace.ir import Atom, Equation, Trace, Var, names_of, renamed


class BlockKind(IntEnum):
    """What a block computes. Of one level, blocks come in this order."""

    PRODUCTS = 0
    SUMS = 1
    SCALARS = 2
    VECTORS = 3
    MATRICES = 4


@dataclass(frozen=True, slots=True)
class StateUpdate:
    """The new value of a state, put in the place of the old one."""

    state: Var
    value: Atom


@dataclass(slots=True)
class Block:
    """Products, sums, or one loop over the elements of a shape. Its stores come last: nothing needs the old values
    after them.
    """

    kind: BlockKind
    shape: Shape
    works: list[Work] = field(default_factory=list[Work])
    stores: list[StateUpdate] = field(default_factory=list[StateUpdate])

    def reads(self) -> Iterator[Atom]:
        """Every value that is used here."""
        for work in self.works:
            yield from read_by(work)
        yield from (store.value for store in self.stores)


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """A step's blocks in order; which values are arrays, and which are written only where they are used."""

    trace: Trace
    blocks: tuple[Block, ...]
    arrays: frozenset[str]
    inlined: frozenset[str]
    stored: frozenset[str]  # values that only become a state's
    late: tuple[StateUpdate, ...]  # in the end: of values whose states are needed until then, or that no loop computes


def read_by(work: Work) -> Iterator[Atom]:
    """What is computed from, matrices included."""
    yield from operands(work)
    if isinstance(work, Product):
        yield from (Var(term.matrix, ("", "")) for term in work.terms)


def is_sum(work: Work) -> bool:
    """Whether a work adds up all elements of a value."""
    return isinstance(work, Reduction) or (isinstance(work, Equation) and work.op in (Op.SUM, Op.MEAN))


Key = tuple[int, BlockKind, Shape]


class BlockPlanner:
    """Lays out one step of a cell."""

    def __init__(self, part: CellPart) -> None:
        self.trace = trace = _with_gates_named(part.trace)
        self.kept = part.kept()
        written = list(dict.fromkeys((trace.states[0], *self.kept)))
        new_values = dict(trace.updates())
        self.new_values = {state: new_values[state] for state in written}
        changing = names_of(trace.values()) - names_of(trace.params)
        works = gather(trace, self.new_values.values(), dict.fromkeys(changing, Phase.LOOP), matrices=True).works
        self.works = {work.target.name: work for work in works}
        self.classes = axis_classes(trace)
        self.keys: dict[str, Key] = {}  # a key depends on those of the operands, which come first
        for name, work in self.works.items():
            self.keys[name] = self._key(work)
        self._defer()

    def plan(self) -> BlockPlan:
        """The blocks in order, and where each value is written."""
        blocks: dict[Key, Block] = {}
        for name, work in self.works.items():
            key = self.keys[name]
            blocks.setdefault(key, Block(key[1], key[2])).works.append(work)
        late = self._place_stores(blocks)
        ordered = [blocks[key] for key in sorted(blocks, key=lambda key: key[:2])]
        uses, outside = self._uses(ordered, late)
        arrays = {
            name
            for name, work in self.works.items()
            if work.target.shape and (isinstance(work, Product) or name in outside)
        }
        crowded = {name for block in ordered if len(block.stores) > 1 for name in _named(s.value for s in block.stores)}
        single = {name for block in ordered if len(block.stores) == 1 for name in _named(s.value for s in block.stores)}
        once = {
            name
            for name, work in self.works.items()
            if isinstance(work, Equation) and not is_sum(work) and uses[name] == 1 and name not in outside | crowded
        }
        stored = frozenset(once & single)
        inlined = frozenset(name for name in once - stored if not is_named(name))
        return BlockPlan(self.trace, tuple(ordered), frozenset(arrays), inlined, stored, tuple(late))

    def _key(self, work: Work) -> Key:
        level = max((self._after(work, value) for value in read_by(work)), default=0)
        shape = work.target.shape
        if isinstance(work, Product):
            return level, BlockKind.PRODUCTS, ()
        if is_sum(work):
            return level, BlockKind.SUMS, ()
        return level, BlockKind(BlockKind.SCALARS + len(shape)), self._class(shape)

    def _after(self, work: Work, value: Atom) -> int:
        """The first level in which `work` may stand, as far as this operand goes."""
        key = self.keys.get(value.name) if isinstance(value, Var) else None
        if key is None:
            return 0
        level, kind, _ = key
        if is_sum(work):
            return level + (kind > BlockKind.SUMS)
        return level + (isinstance(work, Product) or (isinstance(work, Equation) and work.op is Op.TRANSPOSE))

    def _defer(self) -> None:
        """What has no name and is used in one later loop over the same elements is computed there: 1 - z beside n."""
        users: dict[str, list[str]] = {}
        for name, work in self.works.items():
            for read in _named(read_by(work)):
                users.setdefault(read, []).append(name)
        wanted = set(_named(self.new_values.values()))
        for name, work in reversed(self.works.items()):
            if not isinstance(work, Equation) or is_sum(work) or is_named(name) or name in wanted:
                continue
            keys = {self.keys[user] for user in users.get(name, ())}
            if len(keys) == 1 and (key := keys.pop())[1:] == self.keys[name][1:]:
                self.keys[name] = key

    def _class(self, shape: Shape) -> Shape:
        return tuple(self.classes.get(axis, axis) for axis in shape)

    def _place_stores(self, blocks: dict[Key, Block]) -> list[StateUpdate]:
        """Put each new value into the loop that computes it; what has to wait for the end of the step is returned."""
        homes = {state: self._store_key(state, value) for state, value in self.new_values.items()}
        for key in filter(None, homes.values()):
            blocks.setdefault(key, Block(key[1], key[2]))
        places = {key: place for place, key in enumerate(sorted(blocks, key=lambda key: key[:2]))}
        last_read = {name: places[key] for key in places for name in _named(blocks[key].reads())}
        wanted_late = {value for state, value in self.new_values.items() if homes[state] is None}
        late: list[StateUpdate] = []
        for state, value in self.new_values.items():
            key = homes[state]
            waits = key is None or state in wanted_late or last_read.get(state.name, -1) > places[key]
            if value != state:
                (late if key is None or waits else blocks[key].stores).append(StateUpdate(state, value))
        return late

    def _store_key(self, state: Var, value: Atom) -> Key | None:
        """The loop that can store a state's new value: that which computes it, or goes along it at the same level."""
        if not isinstance(value, Var) or value.name not in self.keys or value.shape != state.shape:
            return None
        level, _, _ = self.keys[value.name]
        return level, BlockKind(BlockKind.SCALARS + len(state.shape)), self._class(state.shape)

    def _uses(self, blocks: list[Block], late: list[StateUpdate]) -> tuple[Counter[str], set[str]]:
        """How often each value is used, and which are used outside of the loop that computes them."""
        uses: Counter[str] = Counter()
        outside = set(_named(store.value for store in late))
        uses.update(outside)
        for block in blocks:
            here = {work.target.name for work in block.works}
            for name in _named(block.reads()):
                uses[name] += 1
                if name not in here:
                    outside.add(name)
        return uses, outside


def is_named(name: str) -> bool:
    """Whether the user, or a gate, gave a value its name."""
    return not name.startswith("%") and "+" not in name


def _named(atoms: Iterable[Atom]) -> list[str]:
    return [atom.name for atom in atoms if isinstance(atom, Var)]


def _with_gates_named(trace: Trace) -> Trace:
    taken = names_of(trace.values())
    names: Mapping[str, str] = {
        value.name: gate for gate, value in trace.gates if not is_named(value.name) and gate not in taken
    }
    return renamed(trace, names)
