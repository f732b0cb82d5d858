"""From a Trace to a Program: which pass and stage computes each value, and what is kept from one to another."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from gatewright.axes import Shape
from gatewright.schedule.check import check
from gatewright.schedule.gather import gather
from gatewright.schedule.keep import StageKey, StageKind, choose_kept
from gatewright.schedule.passes import axis_classes, choose_passes, phases
from gatewright.schedule.program import (
    Choices,
    Phase,
    Product,
    Program,
    Reduction,
    Scan,
    Stage,
    Storage,
    Store,
    Time,
    Work,
    needs_whole,
    operands,
)
from gatewright.schedule.scan import ScannedStates, find_scans, in_order
from gatewright.schedule.sums import Lifted, lift_sums
from gatewright.trace.analysis import needed, shared
from gatewright.trace.ir import Atom, Equation, Trace, Var, names_of


def plan(trace: Trace, choices: Choices | None = None) -> Program:
    """Lay a trace out over a sequence.

    With `Choices(time=Time.SCAN)` the states that an associative scan can compute are known before the loop, in which
    the others are left; where there are none, there is no loop.

    Raises TraceError for what no schedule can do: matrices of single rows that are not summed.
    """
    scanned = find_scans(trace) if (choices or Choices()).time is Time.SCAN else ScannedStates(trace)
    lifted = lift_sums(scanned.trace)
    kept: list[Atom] = [value for _, value in trace.emits]
    kept += [operand for total in lifted.row_sums for operand in (total.left, total.right) if operand is not None]
    return _StagePlanner(trace, scanned, lifted, kept).program()


@dataclass(slots=True)
class _Draft:
    """A stage that is being filled."""

    works: dict[str, Work]
    stores: list[Store]


class _StagePlanner:
    def __init__(self, trace: Trace, scanned: ScannedStates, lifted: Lifted, kept: Sequence[Atom]) -> None:
        self.trace, self.scanned, self.lifted = trace, scanned, lifted
        self.kept = {value.name: value for value in kept if isinstance(value, Var)}
        self.states = {state.name: state for state in trace.states}
        self.next = {s.name: new for s, new in trace.updates()}
        self.next.update(scanned.new_values)
        roots = [*self.next.values(), *kept, *scanned.coefficients()]
        gathered = gather(scanned.trace, roots, phases(scanned))
        works = in_order(gathered.works, scanned) if scanned.new_values else gathered.works
        self.works = {work.target.name: work for work in works}
        self.order = {name: index for index, name in enumerate(self.works)}
        self.shared = shared(scanned.trace)
        self.alias = axis_classes(trace)
        carries = bool(trace.states) and not scanned.new_values  # a trace without states has no loop
        has_loop = carries or any(gathered.phases[name] is Phase.LOOP for name in self.works)
        self.default_pass = Phase.LOOP if has_loop else Phase.AFTER
        early = names_of(scanned.new_values.values())
        self.passes = choose_passes(works, gathered.phases, early, self.default_pass)
        # in reverse, so that a value which is the new value of two states belongs to the first of them
        self.new_values = {
            value.name: name
            for name, value in reversed(self.next.items())
            if isinstance(value, Var) and value.name in self.works
        } | {scan.target.name: scan.state.name for scan in scanned.scans}
        self.keys: dict[str, StageKey] = {}
        self.stored: dict[str, Var] = {}
        self.drafts: dict[StageKey, _Draft] = {}

    def program(self) -> Program:
        """Fill all stages and write the Program down."""
        for name, work in self.works.items():
            self.keys[name] = self._key(work)
            self.drafts.setdefault(self.keys[name], _Draft({}, [])).works[name] = work
        self.stored = choose_kept(self.works, self.keys, {*self.kept, *names_of(self.next.values())})
        for draft in self.drafts.values():
            self._recompute_in(draft)
            self._prune(draft)  # after it: what other stages compute again may be needed here no more
        prologue = self._prologue()
        once = [*self.trace.params, *(equation.target for equation in prologue)]
        storage = self._storage(once)
        self._add_stores(storage)
        stages: dict[Phase, list[Stage]] = {phase: [] for phase in Phase}
        filled = (key for key, draft in self.drafts.items() if draft.stores)
        for key in sorted(filled, key=attrgetter("level", "kind", "axis")):
            stages[key.phase].append(self._stage(key))
        known = [*self.trace.leaves(), *once, *self.stored.values()]
        program = Program(
            trace=self.trace,
            storage=storage,
            shapes={value.name: value.shape for value in known},
            new_values=self.new_values,
            prologue=prologue,
            before=tuple(stages[Phase.BEFORE]),
            scan=tuple(stages[Phase.SCAN]),
            loop=tuple(stages[Phase.LOOP]),
            after=tuple(stages[Phase.AFTER]),
            row_sums=tuple(self.lifted.row_sums),
            epilogue=tuple(self.lifted.epilogue),
            sums=tuple(self.lifted.sums),
        )
        check(program)
        return program

    def _prologue(self) -> tuple[Equation, ...]:
        """The equations on parameters whose results are used; a transposed matrix is read as it lies."""
        used = [value for work in self.works.values() for value in operands(work)]
        used += [arg for equation in self.lifted.epilogue for arg in equation.args]
        used += [*self.next.values(), *self.kept.values()]
        matrices = {term.matrix for work in self.works.values() if isinstance(work, Product) for term in work.terms}
        once = [equation for equation in self.scanned.trace.equations if equation.target.name in self.shared]
        wanted = needed(once, names_of(used) | matrices)
        return tuple(equation for equation in once if equation.target.name in wanted)

    def _key(self, work: Work) -> StageKey:
        phase = self.passes[work.target.name]
        level = max((self._first_level(work, value, phase) for value in operands(work)), default=0)
        if isinstance(work, Reduction):
            return StageKey(phase, level, StageKind.REDUCTIONS, "")
        return self._key_along(work.target.shape, phase, level)

    def _key_along(self, shape: Shape, phase: Phase, level: int) -> StageKey:
        axis = self.alias.get(shape[0], shape[0]) if shape else ""
        return StageKey(phase, level, StageKind.VECTORS if axis else StageKind.SCALARS, axis)

    def _first_level(self, work: Work, value: Atom, phase: Phase) -> int:
        """The first level of the pass `phase` that may compute `work`, as far as this operand goes."""
        if not isinstance(value, Var):
            return 0
        is_scanned = value.name in self.scanned.new_values
        key = self._key_of_new_state(value.name) if is_scanned else self.keys.get(value.name)
        if key is None or key.phase is not phase:
            return 0
        # a scan must have gone over all steps before another work of the pass can use its result at any step
        of_other_steps = phase is Phase.SCAN and value.name in self.scanned.known
        return key.level + (1 if needs_whole(work) or of_other_steps else 0)

    def _key_of_new_state(self, state: str) -> StageKey:
        """The stage that gives a state its new value. That value may be a number, or a leaf."""
        value, shape = self.next[state], self.states[state].shape
        name = value.name if isinstance(value, Var) else ""
        if name in self.keys:
            return self.keys[name]
        if state not in self.scanned.new_values:
            return self._key_along(shape, self.default_pass, 0)
        if name not in self.scanned.new_values:
            return self._key_along(shape, Phase.BEFORE, 0)
        source = self._key_of_new_state(name)
        return self._key_along(shape, Phase.SCAN, source.level + 1 if source.phase is Phase.SCAN else 0)

    def _storage(self, once: Iterable[Var]) -> dict[str, Storage]:
        trace = self.trace
        storage = dict.fromkeys((v.name for v in trace.inputs), Storage.INPUT)
        storage |= dict.fromkeys((noise.var.name for noise in trace.noises), Storage.RANDOM)
        storage |= dict.fromkeys((v.name for v in trace.states), Storage.STATE)
        storage |= dict.fromkeys((v.name for v in once), Storage.SHARED)
        readers: dict[str, set[Phase]] = {}
        for key, draft in self.drafts.items():
            for value in (value for work in draft.works.values() for value in operands(work)):
                if isinstance(value, Var):
                    readers.setdefault(value.name, set()).add(key.phase)
        for name in self.stored:
            # what only the loop reads needs a buffer for one step, which stays in a cache, not one for all steps
            loop_only = self.passes[name] is Phase.LOOP and readers.get(name, set()) <= {Phase.LOOP}
            within_step = loop_only and name not in self.kept
            is_new = name in self.new_values
            storage[name] = Storage.NEW if is_new else Storage.ROW if within_step else Storage.SEQUENCE
        return storage

    def _add_stores(self, storage: Mapping[str, Storage]) -> None:
        for name, value in self.stored.items():
            if name not in self.new_values:
                self.drafts[self.keys[name]].stores.append(Store(value, name, storage[name]))
        for state, value in self.next.items():
            draft = self.drafts.setdefault(self._key_of_new_state(state), _Draft({}, []))
            draft.stores.append(Store(value, state, Storage.STATE))

    def _recompute_in(self, draft: _Draft) -> None:
        """Add to a stage the cheap equations whose results it needs and that are not kept."""
        todo = [value for work in draft.works.values() for value in operands(work)]
        while todo:
            value = todo.pop()
            work = self.works.get(value.name) if isinstance(value, Var) else None
            if work and work.target.name not in draft.works and work.target.name not in self.stored:
                draft.works[work.target.name] = work
                todo.extend(operands(work))

    def _prune(self, draft: _Draft) -> None:
        """Leave in a stage, in order, what is kept or used there: what is computed again elsewhere may not be."""
        needed = {name for name in draft.works if name in self.stored}
        for name in sorted(draft.works, key=self.order.__getitem__, reverse=True):
            if name in needed:
                needed |= names_of(operands(draft.works[name]))
        draft.works = {
            name: draft.works[name] for name in sorted(draft.works, key=self.order.__getitem__) if name in needed
        }

    def _stage(self, key: StageKey) -> Stage:
        draft = self.drafts[key]
        return Stage(
            axis=key.axis or None,
            products=tuple(work for work in draft.works.values() if isinstance(work, Product)),
            equations=tuple(work for work in draft.works.values() if isinstance(work, Equation)),
            reductions=tuple(work for work in draft.works.values() if isinstance(work, Reduction)),
            scans=tuple(work for work in draft.works.values() if isinstance(work, Scan)),
            stores=tuple(draft.stores),
        )
