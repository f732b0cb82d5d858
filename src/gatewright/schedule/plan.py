"""From a Trace to a Program: which pass and stage computes each value, and what is kept from one to another."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gatewright.axes import Shape
from gatewright.lang.ops import Op
from gatewright.schedule.gather import AFTER, BEFORE, LOOP, Gathered, gather
from gatewright.schedule.program import Place, Product, Program, Reduction, Stage, Store, Work
from gatewright.schedule.sums import Lifted, lift_sums
from gatewright.trace.analysis import shared
from gatewright.trace.ir import Atom, Equation, Trace, Var

CHEAP = frozenset(
    {Op.NEG, Op.ABS, Op.SIGN, Op.ADD, Op.SUB, Op.MUL, Op.MAXIMUM, Op.MINIMUM, Op.LESS, Op.WHERE, Op.RELABEL, Op.EXPAND}
)
"""What is computed again where it is needed, rather than kept, if what it is made of is at hand."""

_REDUCES, _SCALARS, _VECTORS = 0, 1, 2
_Home = tuple[int, int, int, str]
"""The stage that computes a value: pass, level, kind (reductions come first, then scalars, then vectors), axis."""


def plan(trace: Trace) -> Program:
    """Lay a trace out over a sequence.

    Raises TraceError for what no schedule can do: matrices of single rows that are not summed.
    """
    lifted = lift_sums(trace)
    kept: list[Atom] = [value for _, value in trace.emits]
    kept += [operand for one in lifted.row_sums for operand in (one.left, one.right) if operand is not None]
    gathered = gather(trace, [*trace.next_states, *kept])
    return _Planner(trace, lifted, gathered, kept).program()


@dataclass(slots=True)
class _Draft:
    """A stage that is being filled."""

    works: dict[str, Work]
    stores: list[Store]


class _Planner:
    def __init__(self, trace: Trace, lifted: Lifted, gathered: Gathered, kept: Sequence[Atom]) -> None:
        self.trace, self.lifted, self.gathered = trace, lifted, gathered
        self.kept = {value.name: value for value in kept if isinstance(value, Var)}
        self.works = {work.target.name: work for work in gathered.works}
        self.order = {name: index for index, name in enumerate(self.works)}
        self.shared = shared(trace)
        self.alias = _axis_classes(trace)
        self.passes = _passes(gathered)
        self.news = {
            value.name: state.name
            for state, value in reversed(list(zip(trace.states, trace.next_states, strict=True)))
            if isinstance(value, Var) and value.name in self.works
        }
        self.homes: dict[str, _Home] = {}
        self.stored: dict[str, Var] = {}
        self.drafts: dict[_Home, _Draft] = {}

    def program(self) -> Program:
        """Fill all stages and write the Program down."""
        for name, work in self.works.items():
            self.homes[name] = self._home(work)
            self.drafts.setdefault(self.homes[name], _Draft({}, [])).works[name] = work
        self._choose_stored()
        for home in self.drafts:
            self._recompute_in(home)
        places = self._places()
        self._add_stores(places)
        stages: dict[int, list[Stage]] = {BEFORE: [], LOOP: [], AFTER: []}
        for home in sorted(self.drafts):
            stages[home[0]].append(self._stage(home))
        shapes = {leaf.name: leaf.shape for leaf in self.trace.leaves()}
        shapes |= {name: value.shape for name, value in self.stored.items()}
        return Program(
            trace=self.trace,
            places=places,
            shapes=shapes,
            news=self.news,
            prologue=self._prologue(),
            before=tuple(stages[BEFORE]),
            loop=tuple(stages[LOOP]),
            after=tuple(stages[AFTER]),
            row_sums=tuple(self.lifted.row_sums),
            epilogue=tuple(self.lifted.epilogue),
            sums=tuple(self.lifted.sums),
        )

    def _prologue(self) -> tuple[Equation, ...]:
        """The equations on parameters that any work, or any sum, uses; a transposed matrix is read as it lies."""
        needed = {value.name for work in self.works.values() for value in _operands(work) if isinstance(value, Var)}
        needed |= {term.matrix for w in self.works.values() if isinstance(w, Product) for term in w.terms}
        needed |= {arg.name for one in self.lifted.epilogue for arg in one.args if isinstance(arg, Var)}
        needed |= {value.name for value in self.trace.next_states if isinstance(value, Var)}
        chosen: list[Equation] = []
        for equation in reversed(self.trace.equations):
            if equation.target.name in self.shared and equation.target.name in needed:
                needed |= {arg.name for arg in equation.args if isinstance(arg, Var)}
                chosen.append(equation)
        return tuple(reversed(chosen))

    def _home(self, work: Work) -> _Home:
        now = self.passes[work.target.name]
        level = max((self._after(work, value, now) for value in _operands(work)), default=0)
        if isinstance(work, Reduction):
            return now, level, _REDUCES, ""
        axis = self._axis(work.target.shape)
        return now, level, _VECTORS if axis else _SCALARS, axis

    def _after(self, work: Work, value: Atom, now: int) -> int:
        """The first level of pass `now` that may compute `work`, as far as this operand goes."""
        home = self.homes.get(value.name) if isinstance(value, Var) else None
        if home is None or home[0] != now:
            return 0
        whole = isinstance(work, Product | Reduction)  # needs the value of all units, not only its own
        return home[1] + (1 if whole else 0)

    def _axis(self, shape: Shape) -> str:
        return self.alias.get(shape[0], shape[0]) if shape else ""

    def _choose_stored(self) -> None:
        """Mark what is kept: what is asked for, whole operands, and what crosses stages and is dear to compute
        again."""
        self.stored = {name: value for name, value in self.kept.items() if name in self.works}
        crossing: dict[str, Var] = {}
        for name, work in self.works.items():
            for value in _operands(work):
                if not isinstance(value, Var) or value.name not in self.works:
                    continue
                if isinstance(work, Product | Reduction):
                    self.stored[value.name] = value
                elif self.homes[value.name] != self.homes[name]:
                    crossing[value.name] = value
        for value in self.trace.next_states:
            if isinstance(value, Var) and value.name in self.works:
                self.stored[value.name] = value
        self.stored |= {name: value for name, value in crossing.items() if not self._is_cheap(name)}
        self._keep_sources([name for name in crossing if not self._at_hand(name)])
        for name in sorted(crossing, key=self.order.__getitem__):
            if not self._at_hand(name):
                self.stored[name] = crossing[name]
        # a Program does not depend on the order of a set
        self.stored = {name: self.stored[name] for name in sorted(self.stored, key=self.order.__getitem__)}

    def _keep_sources(self, names: Iterable[str]) -> None:
        """Keep what several cheap values are made of in place of the values, where that is fewer."""
        groups: dict[frozenset[str], list[str]] = {}
        for name in names:
            groups.setdefault(frozenset(self._sources(name)), []).append(name)
        for sources, made in groups.items():
            if len(sources) < len(made):
                self.stored |= {source: self.works[source].target for source in sources}

    def _sources(self, name: str) -> set[str]:
        """The dear values that a cheap one is made of and that are not kept."""
        if name not in self.works or name in self.stored:
            return set()
        if not self._is_cheap(name):
            return {name}
        return set().union(*(self._sources(v.name) for v in _operands(self.works[name]) if isinstance(v, Var)))

    def _is_cheap(self, name: str) -> bool:
        work = self.works[name]
        return isinstance(work, Equation) and work.op in CHEAP

    def _at_hand(self, name: str) -> bool:
        """Whether a value can be computed again from leaves and from what is kept, by cheap operations."""
        work = self.works.get(name)
        if work is None or name in self.stored:
            return True
        return self._is_cheap(name) and all(
            self._at_hand(value.name) for value in _operands(work) if isinstance(value, Var)
        )

    def _places(self) -> dict[str, Place]:
        trace = self.trace
        places = dict.fromkeys((v.name for v in trace.inputs), Place.INPUT)
        places |= dict.fromkeys((noise.var.name for noise in trace.noises), Place.INPUT)
        places |= dict.fromkeys((v.name for v in trace.states), Place.STATE)
        places |= dict.fromkeys(sorted(self.shared), Place.SHARED)
        readers: dict[str, set[int]] = {}
        for home, draft in self.drafts.items():
            for value in (value for work in draft.works.values() for value in _operands(work)):
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
        for state, value in zip(self.trace.states, self.trace.next_states, strict=True):
            home = self.homes.get(value.name) if isinstance(value, Var) else None
            if home is None:  # a state that stays, or becomes an input or a number
                home = (LOOP, 0, _VECTORS if state.shape else _SCALARS, self._axis(state.shape))
            self.drafts.setdefault(home, _Draft({}, [])).stores.append(Store(value, state.name, Place.STATE))

    def _recompute_in(self, home: _Home) -> None:
        """Add to a stage the cheap equations whose results it needs and that are not kept."""
        draft = self.drafts[home]
        todo = [value for work in draft.works.values() for value in _operands(work)]
        while todo:
            value = todo.pop()
            if not isinstance(value, Var) or value.name not in self.works:
                continue
            if value.name in draft.works or value.name in self.stored:
                continue
            work = self.works[value.name]
            draft.works[value.name] = work
            todo += _operands(work)

    def _stage(self, home: _Home) -> Stage:
        draft = self.drafts[home]
        works = sorted(draft.works.values(), key=lambda work: self.order[work.target.name])
        return Stage(
            axis=home[3] or None,
            products=tuple(work for work in works if isinstance(work, Product)),
            equations=tuple(work for work in works if isinstance(work, Equation)),
            reductions=tuple(work for work in works if isinstance(work, Reduction)),
            stores=tuple(draft.stores),
        )


def _operands(work: Work) -> list[Atom]:
    if isinstance(work, Product):
        return [term.vector for term in work.terms]
    if isinstance(work, Reduction):
        return [work.vector]
    return list(work.args)


def _passes(gathered: Gathered) -> dict[str, int]:
    """The pass that computes each value.

    Elementwise work goes into the loop, where its operands are at hand anyway, unless a product before the loop needs
    it, or it only dresses such a product; or it needs a product that comes after the loop.
    """
    phases, passes = gathered.phases, dict[str, int]()
    wanted: set[str] = set()
    for work in reversed(gathered.works):
        name = work.target.name
        if phases[name] == BEFORE and (name in wanted or not isinstance(work, Equation)):
            wanted |= _names(_operands(work))
    dressed: set[str] = set()
    late: set[str] = set()
    for work in gathered.works:
        name, used = work.target.name, _names(_operands(work))
        whole = not isinstance(work, Equation)
        if phases[name] == BEFORE and (whole or used & dressed):
            dressed.add(name)
        if (phases[name] == AFTER and whole) or used & late:
            late.add(name)
        passes[name] = AFTER if name in late else BEFORE if name in dressed | wanted else LOOP
    return passes


def _names(values: Iterable[Atom]) -> set[str]:
    return {value.name for value in values if isinstance(value, Var)}


def _axis_classes(trace: Trace) -> dict[str, str]:
    """Axes that are used for one another have one size, so that one stage can go along both."""
    classes: dict[str, str] = {}
    for equation in trace.equations:
        if equation.op is Op.RELABEL:
            (before,), (after,) = equation.args[0].shape, equation.target.shape
            first, second = sorted((classes.get(before, before), classes.get(after, after)))
            classes = {axis: first if name == second else name for axis, name in classes.items()}
            classes |= {before: first, after: first, second: first}
    return classes
