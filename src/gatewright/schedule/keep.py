"""Which values are stored for later stages, and which are computed again where they are used."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from gatewright.lang.ops import Op
from gatewright.schedule.program import Phase, Work, needs_whole, operands
from gatewright.trace.ir import Equation, Var, names_of

CHEAP = frozenset(
    {Op.NEG, Op.ABS, Op.SIGN, Op.ADD, Op.SUB, Op.MUL, Op.MAXIMUM, Op.MINIMUM, Op.LESS, Op.WHERE, Op.RELABEL, Op.EXPAND}
)
"""Ops that are computed again where they are needed, if their operands are at hand: cheaper than a store and a load."""
CHEAPER_THAN_MEMORY = CHEAP | {Op.DIV}
"""Between passes divisions are computed again too: a sequence over all steps goes to memory and comes back, which takes
longer."""

Works = Mapping[str, Work]
"""What is computed, by the name of its result, in order."""


class StageKind(IntEnum):
    """What a stage computes. Of the stages of one level they run in this order: vectors may use all others."""

    REDUCTIONS = 0
    SCALARS = 1
    VECTORS = 2


@dataclass(frozen=True, slots=True)
class StageKey:
    """The stage that computes a value. A stage uses values of lower levels as a whole, and its own unit by unit."""

    phase: Phase
    level: int
    kind: StageKind
    axis: str


def choose_kept(works: Works, stages: Mapping[str, StageKey], asked: Iterable[str]) -> dict[str, Var]:
    """Everything that is kept, in the order of the works: what is asked for, what is needed whole, and what another
    stage uses and is dear to compute again.
    """
    kept = {name for name in asked if name in works}
    outside: set[str] = set()  # used in another stage than the one that computes it
    near: set[str] = set()  # used in another stage of the same pass, where what is kept may stay in a cache
    for name, work in works.items():
        used = names_of(operands(work)) & works.keys()
        if needs_whole(work):
            kept |= used
        else:
            others = {other for other in used if stages[other] != stages[name]}
            outside |= others
            near |= {other for other in others if stages[other].phase is stages[name].phase}
    cheap = {name: CHEAP if name in near else CHEAPER_THAN_MEMORY for name in outside}
    kept |= {name for name in outside if not _is_cheap(works[name], cheap[name])}
    kept |= _fewer(works, cheap, kept)
    sources = _Sources(works, kept)
    for name in works:
        # computing this one again would need costly values that are not kept: keep the cheap one in their place
        if sources.of(name, cheap.get(name, CHEAP)) and name in outside:
            sources.keep(name)
    return {name: work.target for name, work in works.items() if name in kept}


def _is_cheap(work: Work, cheap: Collection[Op]) -> bool:
    return isinstance(work, Equation) and work.op in cheap


def _fewer(works: Works, cheap: Mapping[str, frozenset[Op]], kept: set[str]) -> set[str]:
    """What several cheap values are made of, to be kept in place of the values where that is fewer."""
    sources = _Sources(works, kept)
    counts = Counter(sources.of(name, cheap[name]) for name in works if name in cheap)
    return set().union(*(names for names, count in counts.items() if len(names) < count))


class _Sources:
    """The dear values that a value is made of and that are not kept: without any it can be computed again.

    Ask for values in the order of the works.
    """

    def __init__(self, works: Works, kept: set[str]) -> None:
        self._works, self._kept = works, kept
        self._sources: dict[tuple[str, frozenset[Op]], frozenset[str]] = {}

    def of(self, name: str, cheap: frozenset[Op]) -> frozenset[str]:
        """The sources of a value, where the ops in `cheap` are done again."""
        todo = [name]
        while todo:
            key = (todo[-1], cheap)
            work = self._works[todo[-1]]
            used = [v.name for v in operands(work) if isinstance(v, Var) and v.name in self._works]
            if key[0] in self._kept or not _is_cheap(work, cheap):
                self._sources[key] = frozenset() if key[0] in self._kept else frozenset({key[0]})
                todo.pop()
            elif missing := [other for other in used if (other, cheap) not in self._sources]:
                todo += missing
            else:
                self._sources[key] = frozenset[str]().union(*(self._sources[other, cheap] for other in used))
                todo.pop()
        return self._sources[name, cheap]

    def keep(self, name: str) -> None:
        """Keep a value, so that it is a source of nothing."""
        self._kept.add(name)
        for cheap in (CHEAP, CHEAPER_THAN_MEMORY):
            self._sources[name, cheap] = frozenset()
