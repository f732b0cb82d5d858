"""The functions that steps call: how each op's function is spelled, and the text of those that C does not have."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gatewright.backends.c99.own_math import OWN, filled
from gatewright.backends.c99.parts import Math
from gatewright.backends.coefficients import Dtype
from gatewright.lang.ops import Op

PLAIN: Mapping[str, str] = {
    "sign": """
static inline REAL NAME_sign(REAL a)
{
    return a > 0 ? ONE : a < 0 ? -ONE : a;
}
""",
    "relu": """
static inline REAL NAME_relu(REAL a)
{
    return a < 0 ? ZERO : a;
}
""",
    "hard_sigmoid": """
static inline REAL NAME_hard_sigmoid(REAL a, REAL slope)
{
    const REAL y = slope * a + HALF;
    return y < 0 ? ZERO : y > 1 ? ONE : y;
}
""",
    "maximum": """
static inline REAL NAME_maximum(REAL a, REAL b)
{
    return a < b ? b : a;
}
""",
    "minimum": """
static inline REAL NAME_minimum(REAL a, REAL b)
{
    return b < a ? b : a;
}
""",
    "less": """
static inline REAL NAME_less(REAL a, REAL b)
{
    return a < b ? ONE : ZERO;
}
""",
}
"""Of a number that is none and another, maximum and minimum give the first."""

LIBM: Mapping[str, str] = {
    "sigmoid": """
static inline REAL NAME_sigmoid(REAL a)
{
    return ONE / (ONE + EXP(-a));
}
""",
    "softplus": """
static inline REAL NAME_softplus(REAL a)
{
    return (a > 0 ? a : ZERO) + LOG1P(EXP(-FABS(a)));
}
""",
}
DEFINED = frozenset({*OWN, *PLAIN, *LIBM})
"""What the file's own functions may be called, after its name."""
_LIBM_NAMES = {Op.ABS: "fabs", Op.EXP: "exp", Op.LOG: "log", Op.SQRT: "sqrt", Op.TANH: "tanh"}
_LIBM_MACROS = {"EXP": "exp", "LOG1P": "log1p", "FABS": "fabs"}


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions of one file."""

    name: str  # the file's own, in front of all that it defines
    dtype: Dtype
    math: Math

    @property
    def real(self) -> str:
        """The type of a number in C."""
        return "float" if self.dtype == "float32" else "double"

    def called(self, op: Op) -> str:
        """What is called for an op."""
        if self.math == "libm" and op in _LIBM_NAMES:
            return self._libm(_LIBM_NAMES[op])
        return f"{self.name}_{op.value}"

    def text(self, ops: Iterable[Op]) -> str:
        """The definitions of the functions that these ops call, each after those that it calls itself."""
        wanted = {op.value for op in ops}
        if self.math == "libm":
            texts = {**PLAIN, **LIBM}
        else:
            texts = {**OWN, **PLAIN}
            for name in reversed(list(OWN)):  # what a function needs stands before it
                if name in wanted:
                    wanted |= {other for other in OWN if re.search(rf"NAME_{other}\b", OWN[name])}
        return "".join(self._filled(text) for name, text in texts.items() if name in wanted)

    def _filled(self, text: str) -> str:
        literal = "{}f" if self.dtype == "float32" else "{}"
        words = {
            "REAL": self.real,
            **{word: literal.format(number) for word, number in _NUMBERS.items()},
            **{word: self._libm(function) for word, function in _LIBM_MACROS.items()},
        }
        return filled(text, self.dtype, words).replace("NAME_", f"{self.name}_")

    def _libm(self, function: str) -> str:
        return f"{function}f" if self.dtype == "float32" else function


_NUMBERS = {"ZERO": "0.0", "HALF": "0.5", "ONE": "1.0", "TWO": "2.0"}
