"""What is kept from one stage to another, and what is computed again where it is needed."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from gatewright.lang.ops import Op
from gatewright.schedule.program import Work, needs_whole, operands
from gatewright.trace.ir import Equation, Var

CHEAP = frozenset(
    {Op.NEG, Op.ABS, Op.SIGN, Op.ADD, Op.SUB, Op.MUL, Op.MAXIMUM, Op.MINIMUM, Op.LESS, Op.WHERE, Op.RELABEL, Op.EXPAND}
)
"""What is computed again where it is needed, rather than kept, if what it is made of is at hand."""
CHEAPER_THAN_MEMORY = CHEAP | {Op.DIV}
"""What is computed again rather than kept for all steps: that long a sequence goes to memory and comes back."""

Home = tuple[int, int, int, str]
"""The stage that computes a value: pass, level, kind (reductions come first, then scalars, then vectors), axis."""

Works = Mapping[str, Work]
"""What is computed, by the name of its result, in order."""


def choose_kept(works: Works, homes: Mapping[str, Home], asked: Iterable[str]) -> dict[str, Var]:
    """Everything that is kept, in the order of the works: what is asked for, what is needed whole, and what is used
    outside of its home and is dear to compute again.
    """
    kept = {name for name in asked if name in works}
    abroad: set[str] = set()
    near: set[str] = set()  # used in another stage of the same pass, where what is kept may stay in a cache
    for name, work in works.items():
        made = {value.name for value in operands(work) if isinstance(value, Var) and value.name in works}
        if needs_whole(work):
            kept |= made
        else:
            others = {other for other in made if homes[other] != homes[name]}
            abroad |= others
            near |= {other for other in others if homes[other][0] == homes[name][0]}
    cheap = {name: CHEAP if name in near else CHEAPER_THAN_MEMORY for name in abroad}
    kept |= {name for name in abroad if not _is_cheap(works[name], cheap[name])}
    kept |= _fewer(works, cheap, kept)
    sources = _Sources(works, kept)
    for name in works:
        if sources.of(name, cheap.get(name, CHEAP)) and name in abroad:
            sources.keep(name)
    return {name: work.target for name, work in works.items() if name in kept}


def _is_cheap(work: Work, cheap: Collection[Op]) -> bool:
    return isinstance(work, Equation) and work.op in cheap


def _fewer(works: Works, abroad: Mapping[str, frozenset[Op]], kept: set[str]) -> set[str]:
    """What several cheap values are made of, to be kept in place of the values where that is fewer."""
    sources = _Sources(works, kept)
    made = Counter(sources.of(name, abroad[name]) for name in works if name in abroad)
    return set().union(*(names for names, count in made.items() if len(names) < count))


class _Sources:
    """The dear values that a value is made of and that are not kept: without any it can be computed again.

    Ask for values in the order of the works.
    """

    def __init__(self, works: Works, kept: set[str]) -> None:
        self._works, self._kept = works, kept
        self._found: dict[tuple[str, frozenset[Op]], frozenset[str]] = {}

    def of(self, name: str, cheap: frozenset[Op]) -> frozenset[str]:
        """The sources of a value, where the ops in `cheap` are done again."""
        todo = [name]
        while todo:
            key = (todo[-1], cheap)
            work = self._works[todo[-1]]
            made = [v.name for v in operands(work) if isinstance(v, Var) and v.name in self._works]
            if key[0] in self._kept or not _is_cheap(work, cheap):
                self._found[key] = frozenset() if key[0] in self._kept else frozenset({key[0]})
                todo.pop()
            elif missing := [other for other in made if (other, cheap) not in self._found]:
                todo += missing
            else:
                self._found[key] = frozenset[str]().union(*(self._found[other, cheap] for other in made))
                todo.pop()
        return self._found[name, cheap]

    def keep(self, name: str) -> None:
        """Keep a value, so that it is a source of nothing."""
        self._kept.add(name)
        for cheap in (CHEAP, CHEAPER_THAN_MEMORY):
            self._found[name, cheap] = frozenset()
