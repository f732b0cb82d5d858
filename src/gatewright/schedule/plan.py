"""From a Trace to a Program: which pass and stage computes each value, and what is kept from one to another."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gatewright.axes import Shape
from gatewright.schedule.check import check
from gatewright.schedule.choices import Choices, Time
from gatewright.schedule.gather import gather
from gatewright.schedule.keep import Home, choose_kept
from gatewright.schedule.passes import axis_classes, choose_passes
from gatewright.schedule.phases import AFTER, BEFORE, IN_TIME, LOOP, SCAN, phases
from gatewright.schedule.program import (
    Place,
    Product,
    Program,
    Reduction,
    Scan,
    Stage,
    Store,
    Work,
    needs_whole,
    operands,
)
from gatewright.schedule.scan import Ahead, in_order, look_ahead
from gatewright.schedule.sums import Lifted, lift_sums
from gatewright.trace.analysis import shared
from gatewright.trace.ir import Atom, Equation, Trace, Var

_REDUCES, _SCALARS, _VECTORS = 0, 1, 2


def plan(trace: Trace, choices: Choices | None = None) -> Program:
    """Lay a trace out over a sequence.

    With `Choices(time=Time.SCAN)` the states that an associative scan can compute are known before the loop, in which
    the others are left; where there are none, there is no loop.

    Raises TraceError for what no schedule can do: matrices of single rows that are not summed.
    """
    ahead = look_ahead(trace) if (choices or Choices()).time is Time.SCAN else Ahead(trace)
    lifted = lift_sums(ahead.trace)
    kept: list[Atom] = [value for _, value in trace.emits]
    kept += [operand for one in lifted.row_sums for operand in (one.left, one.right) if operand is not None]
    return _Planner(trace, ahead, lifted, kept).program()


@dataclass(slots=True)
class _Draft:
    """A stage that is being filled."""

    works: dict[str, Work]
    stores: list[Store]


class _Planner:
    def __init__(self, trace: Trace, ahead: Ahead, lifted: Lifted, kept: Sequence[Atom]) -> None:
        self.trace, self.ahead, self.lifted = trace, ahead, lifted
        self.kept = {value.name: value for value in kept if isinstance(value, Var)}
        self.states = {state.name: state for state in trace.states}
        self.next = {s.name: new for s, new in zip(trace.states, trace.next_states, strict=True)}
        self.next.update(ahead.news)
        coefficients = (value for scan in ahead.scans for value in (scan.slope, scan.offset))
        gathered = gather(ahead.trace, [*self.next.values(), *kept, *coefficients], phases(ahead))
        works = in_order(gathered.works, ahead) if ahead.news else gathered.works
        self.works = {work.target.name: work for work in works}
        self.order = {name: index for index, name in enumerate(self.works)}
        self.shared = shared(ahead.trace)
        self.alias = axis_classes(trace)
        has_loop = not ahead.news or any(gathered.phases[name] == LOOP for name in self.works)
        self.rest = LOOP if has_loop else AFTER
        known = (value.name for value in ahead.news.values() if isinstance(value, Var))
        self.passes = choose_passes(works, gathered.phases, known, self.rest)
        self.news = {
            value.name: name
            for name, value in reversed(self.next.items())
            if isinstance(value, Var) and value.name in self.works
        } | {scan.target.name: scan.state.name for scan in ahead.scans}
        self.homes: dict[str, Home] = {}
        self.stored: dict[str, Var] = {}
        self.drafts: dict[Home, _Draft] = {}

    def program(self) -> Program:
        """Fill all stages and write the Program down."""
        for name, work in self.works.items():
            self.homes[name] = self._home(work)
            self.drafts.setdefault(self.homes[name], _Draft({}, [])).works[name] = work
        news = (value.name for value in self.next.values() if isinstance(value, Var))
        self.stored = choose_kept(self.works, self.homes, [*self.kept, *news])
        for draft in self.drafts.values():
            self._recompute_in(draft)
            self._prune(draft)
        prologue = self._prologue()
        once = [*self.trace.params, *(equation.target for equation in prologue)]
        places = self._places(once)
        self._add_stores(places)
        stages: dict[int, list[Stage]] = {phase: [] for phase in IN_TIME}
        for home in sorted(home for home, draft in self.drafts.items() if draft.stores):
            stages[home[0]].append(self._stage(home))
        known = [*self.trace.leaves(), *once, *self.stored.values()]
        program = Program(
            trace=self.trace,
            places=places,
            shapes={value.name: value.shape for value in known},
            news=self.news,
            prologue=prologue,
            before=tuple(stages[BEFORE]),
            scan=tuple(stages[SCAN]),
            loop=tuple(stages[LOOP]),
            after=tuple(stages[AFTER]),
            row_sums=tuple(self.lifted.row_sums),
            epilogue=tuple(self.lifted.epilogue),
            sums=tuple(self.lifted.sums),
        )
        check(program)
        return program

    def _prologue(self) -> tuple[Equation, ...]:
        """The equations on parameters whose results are used; a transposed matrix is read as it lies."""
        used = [value for work in self.works.values() for value in operands(work)]
        used += [arg for one in self.lifted.epilogue for arg in one.args]
        used += [*self.next.values(), *self.kept.values()]
        needed = {value.name for value in used if isinstance(value, Var)}
        needed |= {term.matrix for work in self.works.values() if isinstance(work, Product) for term in work.terms}
        chosen: list[Equation] = []
        for equation in reversed(self.ahead.trace.equations):
            if equation.target.name in self.shared and equation.target.name in needed:
                needed |= {arg.name for arg in equation.args if isinstance(arg, Var)}
                chosen.append(equation)
        return tuple(reversed(chosen))

    def _home(self, work: Work) -> Home:
        now = self.passes[work.target.name]
        level = max((self._after(work, value, now) for value in operands(work)), default=0)
        if isinstance(work, Reduction):
            return now, level, _REDUCES, ""
        axis = self._axis(work.target.shape)
        return now, level, _VECTORS if axis else _SCALARS, axis

    def _after(self, work: Work, value: Atom, now: int) -> int:
        """The first level of pass `now` that may compute `work`, as far as this operand goes."""
        if not isinstance(value, Var):
            return 0
        of_other_steps = now == SCAN and value.name in self.ahead.given
        home = self._home_of_new(value.name) if value.name in self.ahead.news else self.homes.get(value.name)
        if home is None or home[0] != now:
            return 0
        return home[1] + (1 if needs_whole(work) or of_other_steps else 0)

    def _home_of_new(self, state: str) -> Home:
        """The stage that gives a state its new value. One that is a leaf may become a number, or another leaf."""
        value = self.next[state]
        name = value.name if isinstance(value, Var) else ""
        if name in self.homes:
            return self.homes[name]
        axis = self._axis(self.states[state].shape)
        kind = _VECTORS if axis else _SCALARS
        if state not in self.ahead.news:
            return self.rest, 0, kind, axis
        if name not in self.ahead.news:
            return BEFORE, 0, kind, axis
        now, level, *_ = self._home_of_new(name)
        return SCAN, level + 1 if now == SCAN else 0, kind, axis

    def _axis(self, shape: Shape) -> str:
        return self.alias.get(shape[0], shape[0]) if shape else ""

    def _places(self, once: Iterable[Var]) -> dict[str, Place]:
        trace = self.trace
        places = dict.fromkeys((v.name for v in trace.inputs), Place.INPUT)
        places |= dict.fromkeys((noise.var.name for noise in trace.noises), Place.INPUT)
        places |= dict.fromkeys((v.name for v in trace.states), Place.STATE)
        places |= dict.fromkeys((v.name for v in once), Place.SHARED)
        readers: dict[str, set[int]] = {}
        for home, draft in self.drafts.items():
            for value in (value for work in draft.works.values() for value in operands(work)):
                if isinstance(value, Var):
                    readers.setdefault(value.name, set()).add(home[0])
        for name in self.stored:
            within = self.passes[name] == LOOP and readers.get(name, set()) <= {LOOP} and name not in self.kept
            places[name] = Place.NEW if name in self.news else Place.ROW if within else Place.SEQUENCE
        return places

    def _add_stores(self, places: Mapping[str, Place]) -> None:
        for name, value in self.stored.items():
            if name not in self.news:
                self.drafts[self.homes[name]].stores.append(Store(value, name, places[name]))
        for state, value in self.next.items():
            draft = self.drafts.setdefault(self._home_of_new(state), _Draft({}, []))
            draft.stores.append(Store(value, state, Place.STATE))

    def _recompute_in(self, draft: _Draft) -> None:
        """Add to a stage the cheap equations whose results it needs and that are not kept."""
        todo = [value for work in draft.works.values() for value in operands(work)]
        while todo:
            value = todo.pop()
            if not isinstance(value, Var) or value.name not in self.works:
                continue
            if value.name in draft.works or value.name in self.stored:
                continue
            work = self.works[value.name]
            draft.works[value.name] = work
            todo.extend(operands(work))

    def _prune(self, draft: _Draft) -> None:
        """Leave in a stage, in order, what is kept or used there: what is computed again elsewhere may not be."""
        needed = {name for name in draft.works if name in self.stored}
        for name in sorted(draft.works, key=self.order.__getitem__, reverse=True):
            if name in needed:
                needed |= {value.name for value in operands(draft.works[name]) if isinstance(value, Var)}
        draft.works = {
            name: draft.works[name] for name in sorted(draft.works, key=self.order.__getitem__) if name in needed
        }

    def _stage(self, home: Home) -> Stage:
        draft = self.drafts[home]
        return Stage(
            axis=home[3] or None,
            products=tuple(work for work in draft.works.values() if isinstance(work, Product)),
            equations=tuple(work for work in draft.works.values() if isinstance(work, Equation)),
            reductions=tuple(work for work in draft.works.values() if isinstance(work, Reduction)),
            scans=tuple(work for work in draft.works.values() if isinstance(work, Scan)),
            stores=tuple(draft.stores),
        )
