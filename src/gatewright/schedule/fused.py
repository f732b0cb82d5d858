"""Which stages around a scan one kernel can compute together with it, so that what is between them stays in registers.

Before a scan that is what its coefficients are made of, from products on; after it, what is elementwise in the states
that it gives, and in these states as they were before each step. Sums over features, and products of what is computed
here, need whole vectors: they stay outside.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from gatewright.schedule.passes import axis_classes
from gatewright.schedule.program import Phase, Program, Stage, Storage, Store, operands
from gatewright.trace.analysis import needed
from gatewright.trace.ir import Equation, Var, names_of


@dataclass(frozen=True, slots=True)
class FusedScan:
    """A stage of scans and what is computed with it.

    - `stage`: what comes before the scans, the scans, and the stores of everything.
    - `after`: the equations that need what the scans give.
    - `shifted`: the states of these scans that are read as they were before each step.
    """

    stage: Stage
    after: tuple[Equation, ...] = ()
    shifted: tuple[Var, ...] = ()


@dataclass(frozen=True, slots=True)
class PassPart:
    """Stages of one pass, one after the other, none of them with scans."""

    phase: Phase
    stages: tuple[Stage, ...]


def program_parts(program: Program) -> tuple[FusedScan | PassPart, ...]:
    """All stages of a Program in an order in which they can be computed, each scan with what it is fused with."""
    fusion = _Fusion(program)
    parts: list[FusedScan | PassPart] = []
    for place, (phase, stage) in enumerate(fusion.stages):
        last = parts[-1] if parts else None
        if stage.scans:
            parts.append(fusion.fused(place))
        elif fusion.moved[place] != place:
            continue
        elif isinstance(last, PassPart) and last.phase is phase:
            parts[-1] = PassPart(phase, (*last.stages, stage))
        else:
            parts.append(PassPart(phase, (stage,)))
    return tuple(parts)


class _Fusion:
    """Which stage goes to the place of which scans.

    `moved` has, for each stage, the place at which it is computed: its own, or that of the scans that it is fused with.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.stages = [(phase, stage) for phase, stages in program.passes() for stage in stages]
        self.moved = list(range(len(self.stages)))
        self._alias = axis_classes(program.trace)
        self._reads = [frozenset(self._read(stage)) for _, stage in self.stages]
        self._gives = [frozenset(store.name for store in stage.stores) for _, stage in self.stages]
        for place, (_, stage) in enumerate(self.stages):
            if stage.scans:
                self._gather(place)

    def fused(self, place: int) -> FusedScan:
        """The scans at a place with everything that has moved there."""
        scan = self.stages[place][1]
        early, late = self._members(place, before=True), self._members(place, before=False)
        members = [*early, scan, *late]
        stores = tuple(store for stage in members for store in stage.stores if self._is_needed(store, place))
        known = {work.target.name for stage in (*early, scan) for work in stage.works()}
        after = _once(equation for stage in late for equation in stage.equations if equation.target.name not in known)
        before = _once(equation for stage in (*early, scan) for equation in stage.equations)
        wanted = [store.value for store in stores]
        after = _without(after, names_of(wanted))
        wanted += [value for work in (*after, *scan.scans) for value in operands(work)]
        before = _without(before, names_of(wanted))
        used = names_of([*wanted, *(value for equation in before for value in equation.args)])
        products = tuple(
            product for stage in (*early, scan) for product in stage.products if product.target.name in used
        )
        read = names_of([*(value for equation in after for value in equation.args), *(store.value for store in stores)])
        shifted = tuple(part.state for part in scan.scans if part.state.name in read)
        return FusedScan(replace(scan, products=products, equations=before, stores=stores), after, shifted)

    def _gather(self, place: int) -> None:
        """Move to the scans at a place what can be computed there."""
        for number in reversed(range(place)):
            if self._can_wait(number, place):
                self.moved[number] = place
        for number in range(place + 1, len(self.stages)):
            if self._can_follow(number, place):
                self.moved[number] = place

    def _can_wait(self, number: int, place: int) -> bool:
        """Whether an earlier stage can be computed with the scans at a place: that gives them something, and nobody
        needs it before, or whole."""
        if not self._is_alike(number, place):
            return False
        gives, members = self._gives[number], self._numbers(place)
        between = [other for other, moved in enumerate(self.moved) if number < moved < place]
        used = frozenset[str]().union(*(self._reads[member] for member in members))
        states = {store.name for store in self.stages[number][1].stores if store.storage is Storage.STATE}
        return (
            bool(gives & used)
            and not any(gives & self._reads[other] for other in between)
            and not any(gives & self._multiplied(member) for member in members)
            and not states & used
        )

    def _can_follow(self, number: int, place: int) -> bool:
        """Whether a later stage can be computed with the scans at a place: all else that it reads is there by then."""
        stage = self.stages[number][1]
        if stage.products or not self._is_alike(number, place):
            return False
        members, reads = self._numbers(place), self._reads[number]
        given = frozenset[str]().union(*(self._gives[member] for member in members))
        scanned = {scan.state.name for scan in self.stages[place][1].scans}
        carried = {
            store.name for member in (*members, number) for store in self.stages[member][1].stores
            if store.storage is Storage.STATE and store.name not in scanned
        }  # fmt: skip
        old = names_of(value for value in stage.reads() if isinstance(value, Var) and value.name in carried)
        is_late = any(
            gives & reads and other not in members and other != number and self.moved[other] >= place
            for other, gives in enumerate(self._gives)
        )
        return bool(given & reads) and not old and not is_late

    def _is_alike(self, number: int, place: int) -> bool:
        """Whether a stage is elementwise along the axis of the scans at a place, and has not moved elsewhere."""
        (phase, stage), scan = self.stages[number], self.stages[place][1]
        if phase is Phase.LOOP or stage.scans or stage.reductions or self.moved[number] != number:
            return False
        own, axis = stage.axis, scan.axis
        return own is not None and axis is not None and self._alias.get(own, own) == self._alias.get(axis, axis)

    def _read(self, stage: Stage) -> Iterator[str]:
        """The names under which others store what a stage reads: of states, whichever their slot."""
        own = {work.target.name for work in stage.works()}
        for value in stage.reads():
            if isinstance(value, Var) and value.name not in own:
                yield self.program.new_values.get(value.name, value.name)

    def _multiplied(self, number: int) -> frozenset[str]:
        products = self.stages[number][1].products
        vectors = names_of(term.vector for product in products for term in product.terms)
        return frozenset(self.program.new_values.get(name, name) for name in vectors)

    def _numbers(self, place: int) -> list[int]:
        return [number for number, moved in enumerate(self.moved) if moved == place]

    def _members(self, place: int, *, before: bool) -> list[Stage]:
        numbers = (number for number in self._numbers(place) if number != place and (number < place) is before)
        return [self.stages[number][1] for number in numbers]

    def _is_needed(self, store: Store, place: int) -> bool:
        """Whether anything but the stages that are computed with the scans at a place reads what is stored."""
        if store.storage is Storage.STATE:
            return True
        program = self.program
        summed = (value for total in program.row_sums for value in (total.left, total.right) if value)
        if store.name in names_of([*summed, *(value for _, value in program.trace.emits)]):
            return True
        return any(store.name in self._reads[other] for other, moved in enumerate(self.moved) if moved != place)


def _once(equations: Iterable[Equation]) -> tuple[Equation, ...]:
    """Equations without those that are there already: several stages compute cheap values again."""
    return tuple({equation.target.name: equation for equation in equations}.values())


def _without(equations: Sequence[Equation], wanted: Iterable[str]) -> tuple[Equation, ...]:
    """Equations without those that nothing wanted is made of."""
    used = needed(equations, wanted)
    return tuple(equation for equation in equations if equation.target.name in used)
