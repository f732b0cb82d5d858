"""Identifiers as mathematicians write them: c_tilde is a c with a tilde, W.r a W with index r, zeta a Greek letter."""

import re
from dataclasses import dataclass

from gatewright.lang.param import Param

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
