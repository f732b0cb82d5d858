"""Which values of a Trace are written as a letter, and as which. The rest is written where it is used.

Identifiers are written as mathematicians do: c_tilde is a c with a tilde, W.r a W with index r, zeta a Greek letter.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gatewright.lang.ops import Op
from gatewright.lang.param import Param
from gatewright.lang.symbol import Redraw
from gatewright.trace.analysis import reached
from gatewright.trace.ir import Equation, Trace, Var, names_of, renamed

_FREE = frozenset({Op.NEG, Op.TRANSPOSE, Op.EXPAND, Op.RELABEL})  # hardly longer than their operand
_SMALL = 1  # operations that may be written twice instead of being named
_LETTERS = "ausvqkwe"


def is_named(name: str) -> bool:
    """Whether a value is to be written as a letter."""
    return not name.startswith("%")


def named(trace: Trace) -> Trace:
    """The trace with a name for every value that is to be written as a letter; all others are unnamed.

    Named are what the user named, gates (by the gate's name), and what would be written out more than once and is
    more than one operation.
    """
    taken = names_of(trace.values())
    gates = {value.name: gate for gate, value in trace.gates if not is_named(value.name) and gate not in taken}
    trace = renamed(trace, gates)
    owners, letters = _owners(trace), Letters(names_of(trace.values()))
    return renamed(trace, {value: letters.next(owners[value]) for value in repeated(trace)})


def moving(trace: Trace) -> frozenset[str]:
    """The values that are another at every time step."""
    start = [*trace.inputs, *trace.states, *(noise.var for noise in trace.noises if noise.per == Redraw.STEP)]
    return reached(trace.equations, (value.name for value in start))


def repeated(trace: Trace, shown: Callable[[str], bool] = is_named) -> list[str]:
    """The values that would be written out more than once and are more than one operation, of those not `shown`."""
    costs: dict[str, int] = {}
    for equation in trace.equations:
        inner = sum(costs[arg.name] for arg in _operands(equation) if not shown(arg.name))
        costs[equation.target.name] = inner + (equation.op not in _FREE)
    written = dict.fromkeys(costs, 0)
    for value in _outputs(trace):
        written[value] = written.get(value, 0) + 1
    names: list[str] = []
    for equation in reversed(trace.equations):
        name = equation.target.name
        once = shown(name)
        if not once and written[name] > 1 and costs[name] > _SMALL:
            names.append(name)
            once = True
        for arg in _operands(equation):
            written[arg.name] = written.get(arg.name, 0) + (1 if once else written[name])
    return names[::-1]


def _owners(trace: Trace) -> dict[str, frozenset[str]]:
    """For every value the named values that it is written in, were nothing else named."""
    owners: dict[str, set[str]] = {}
    for equation in reversed(trace.equations):
        name = equation.target.name
        mine = {name} if is_named(name) else owners.get(name, set())
        for arg in _operands(equation):
            owners.setdefault(arg.name, set()).update(mine)
    return {name: frozenset(users) for name, users in owners.items()} | {
        name: frozenset() for name in _outputs(trace) if name not in owners
    }


class Letters:
    """Makes up names: a_r for a value that only r needs, else a letter that is free."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    def next(self, owners: frozenset[str] = frozenset()) -> str:
        """A name for a value that `owners` need."""
        owner = next(iter(owners)).removesuffix("'") if len(owners) == 1 else ""
        owner = "" if "(" in owner else owner
        tries = [f"{letter}_{owner}" if owner else letter for letter in _LETTERS]
        tries += [f"{first}{number}" for number in range(1, 1 + len(self._taken)) for first in tries]
        name = next(name for name in tries if name not in self._taken)
        self._taken.add(name)
        return name


def _operands(equation: Equation) -> list[Var]:
    return [arg for arg in equation.args if isinstance(arg, Var)]


def _outputs(trace: Trace) -> list[str]:
    return [value.name for value in trace.outputs() if isinstance(value, Var)]


ACCENTS = ("tilde", "hat", "check")

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ",
    "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ",
    "tau": "τ", "upsilon": "υ", "phi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ",
    "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
}  # fmt: skip
"""The letters that LaTeX has commands for, and their signs."""

_ENGLISH = {sign: name for name, sign in GREEK.items()}


@dataclass(frozen=True, slots=True)
class Word:
    """Letters (Greek ones by their English names), an accent over them, and the words below them."""

    letters: str
    accent: str = ""
    below: tuple["Word", ...] = ()


def word(identifier: str) -> Word:
    """Take an identifier apart: forget_gate is "forget" with "gate" below, b.hn is "b" with "hn" below."""
    space, gate = Param.parse(identifier)
    if gate:
        head = word(space)
        return Word(head.letters, head.accent, (*head.below, word(gate)))
    first, *others = [part for part in identifier.split("_") if part] or [identifier]
    accent = next((part for part in others if part in ACCENTS), "")
    if accent:
        others.remove(accent)
    match = re.fullmatch(r"(\D+)(\d+)", first)  # h1 is an h with a 1 below
    letters, digits = match.groups() if match else (first, "")
    below = [Word(_ENGLISH.get(part, part)) for part in [*filter(None, [digits]), *others]]
    return Word(_ENGLISH.get(letters, letters), accent, tuple(below))
