"""Equations in ASCII, for comments in code that any compiler and editor may read."""

import re
import unicodedata

from gatewright.backends.formulas import unicode
from gatewright.backends.formulas.naming import GREEK
from gatewright.trace.ir import Trace

WIDTH = 66  # of what is written with mathematical signs; in ASCII it is wider
_SIGNS = {
    "ₜ₋₁": "[t-1]",
    "ₜ": "[t]",
    "⊙": "*",
    "·": "*",
    "−": "-",
    "ᵀ": "^T",
    "²": "^2",
    "√": "sqrt",
    "∼": "~",
    "≠": "!=",
    "≥": ">=",
    "≤": "<=",
    "∞": "infinity",
    "𝟏": "1",
    "⎧": "{",
    "⎩": "{",
    "\u0303": "_tilde",
    "\u0302": "_hat",
    "\u030c": "_check",
    **{letter: name for name, letter in GREEK.items()},
    "σ(": "sigmoid(",
}
_ABOVE = str.maketrans("⁰¹³⁴⁵⁶⁷⁸⁹⁻", "013456789-")
_BELOW = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


def equations(trace: Trace) -> str:
    """One step of a cell, a line for each value that has a name."""
    lines = [_ascii(line).partition(" = ") for line in unicode.equations(trace, WIDTH).splitlines()]
    broad = max((len(left.rstrip()) for left, sign, _ in lines if sign and not left.startswith("where ")), default=0)
    return "\n".join(_aligned(left, sign, right, broad) for left, sign, right in lines)


def _aligned(left: str, sign: str, right: str, broad: int) -> str:
    if sign:
        return f"{left.rstrip():<{broad}} = {right}"
    return " " * (broad + 3) + left.lstrip() if left.startswith(" ") else left


def _ascii(text: str) -> str:
    text = re.sub(r"[⁰¹³⁴⁵⁶⁷⁸⁹⁻]+", lambda match: "^" + match[0].translate(_ABOVE), text)
    for sign in sorted(_SIGNS, key=len, reverse=True):
        text = text.replace(sign, _SIGNS[sign])
    text = unicodedata.normalize("NFKD", text.translate(_BELOW))
    return text.encode("ascii", "replace").decode()
