"""What is kept from one stage to another, and what is computed again where it is needed."""

from collections.abc import Collection, Iterable, Mapping

from gatewright.lang.ops import Op
from gatewright.schedule.program import Work, needs_whole, operands
from gatewright.trace.ir import Equation, Var

CHEAP = frozenset(
    {Op.NEG, Op.ABS, Op.SIGN, Op.ADD, Op.SUB, Op.MUL, Op.MAXIMUM, Op.MINIMUM, Op.LESS, Op.WHERE, Op.RELABEL, Op.EXPAND}
)
"""What is computed again where it is needed, rather than kept, if what it is made of is at hand."""

Works = Mapping[str, Work]
"""What is computed, by the name of its result, in order."""


def choose_kept(works: Works, homes: Mapping[str, object], asked: Iterable[str]) -> dict[str, Var]:
    """Everything that is kept, in the order of the works: what is asked for, what is needed whole, and what is used
    outside of its home and is dear to compute again.
    """
    kept = {name for name in asked if name in works}
    abroad: set[str] = set()
    for name, work in works.items():
        made = {value.name for value in operands(work) if isinstance(value, Var) and value.name in works}
        if needs_whole(work):
            kept |= made
        else:
            abroad |= {other for other in made if homes[other] != homes[name]}
    kept |= {name for name in abroad if not is_cheap(works[name])}
    kept |= _fewer(works, abroad, kept)
    sources: dict[str, frozenset[str]] = {}
    for name, work in works.items():
        sources[name] = _sources(work, sources, kept)
        if name in abroad and sources[name]:
            kept.add(name)
            sources[name] = frozenset()
    return {name: work.target for name, work in works.items() if name in kept}


def is_cheap(work: Work) -> bool:
    """Whether a value is made by an operation that costs less than to keep it."""
    return isinstance(work, Equation) and work.op in CHEAP


def _fewer(works: Works, abroad: Collection[str], kept: Collection[str]) -> set[str]:
    """What several cheap values are made of, to be kept in place of the values where that is fewer."""
    sources: dict[str, frozenset[str]] = {}
    made: dict[frozenset[str], int] = {}
    for name, work in works.items():
        sources[name] = _sources(work, sources, kept)
        if name in abroad:
            made[sources[name]] = made.get(sources[name], 0) + 1
    return set().union(*(names for names, count in made.items() if len(names) < count))


def _sources(work: Work, sources: Mapping[str, frozenset[str]], kept: Collection[str]) -> frozenset[str]:
    """The dear values that a value is made of and that are not kept: without any it can be computed again."""
    if work.target.name in kept:
        return frozenset()
    if not is_cheap(work):
        return frozenset({work.target.name})
    none: frozenset[str] = frozenset()
    return none.union(*(sources.get(value.name, none) for value in operands(work) if isinstance(value, Var)))
