"""Identifiers of C for the names of a Trace."""

import re
from collections.abc import Iterable

_WORDS = """
    auto break case char const continue default do double else enum extern float for goto if inline int long
    register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
    alignas alignof and asm bool catch class compl concept consteval constexpr constinit decltype delete explicit
    export false friend mutable namespace new noexcept not nullptr operator or private protected public requires
    template this throw true try typeid typename using virtual wchar_t xor
"""
KEYWORDS = frozenset(_WORDS.split())
"""Those of C and of C++."""
PARAMETERS = frozenset({"state", "symbol", "x", "y"})


def identifier(name: str) -> str:
    """W.r -> W_r, h' -> h_new; what no identifier may hold becomes an underscore."""
    text = re.sub(r"\W", "_", name.replace("'", "_new"), flags=re.ASCII)
    return text if text[:1].isalpha() else f"t{text}"


class Names:
    """Gives out identifiers, each once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(KEYWORDS | PARAMETERS) | set(taken)

    def take(self, wanted: str) -> str:
        """The identifier that is wanted, or one like it."""
        name, number = wanted, 2
        while name in self._taken:
            name, number = f"{wanted}{number}", number + 1
        self._taken.add(name)
        return name
