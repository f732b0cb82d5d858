"""Identifiers of C for the names of a Trace."""

import re
import unicodedata
from collections.abc import Iterable

_WORDS = """
    auto break case char const continue default do double else enum extern float for goto if inline int long
    register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
    alignas alignof and and_eq asm bitand bitor bool catch char8_t char16_t char32_t class co_await co_return co_yield
    compl concept const_cast consteval constexpr constinit decltype delete dynamic_cast explicit export false fortran
    friend mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public
    reinterpret_cast requires static_assert static_cast template this thread_local throw true try typeid typename
    typeof using virtual wchar_t xor xor_eq
"""
_MACROS = """
    EOF HUGE_VAL I INFINITY NAN NULL assert complex errno imaginary isfinite isinf isnan isnormal offsetof signbit
    stderr stdin stdout far i386 interface linux max min near small unix
"""
_TYPES = "int8_t int16_t int32_t int64_t ptrdiff_t size_t uint8_t uint16_t uint32_t uint64_t"
_FUNCTIONS = "exp fabs log log1p sqrt tanh"  # those that the code calls, for float with an f after
KEYWORDS = frozenset(_WORDS.split())
"""Those of C and of C++."""
RESERVED = (
    KEYWORDS
    | {*_MACROS.split(), *_TYPES.split()}
    | {f"{function}{end}" for function in _FUNCTIONS.split() for end in ("", "f")}
)
"""What no value may be called: keywords, and what headers of C, C++ and of some systems define."""
PARAMETERS = frozenset({"state", "symbol", "x", "y"})


def identifier(name: str) -> str:
    """W.r -> W_r, h' -> h_new, \u00e9 -> e; what no identifier may hold becomes an underscore."""
    letters = unicodedata.normalize("NFKD", name.replace("'", "_new"))
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    text = re.sub(r"\W", "_", plain, flags=re.ASCII)
    return text if text[:1].isalpha() else f"t{text}"


class Names:
    """Gives out identifiers, each once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(RESERVED) | set(taken)

    def take(self, wanted: str) -> str:
        """The identifier that is wanted, or one like it."""
        name = self.free(wanted)
        self._taken.add(name)
        return name

    def free(self, wanted: str) -> str:
        """The same, for a block of its own: what comes after the block may have it too."""
        name, number = wanted, 2
        while name in self._taken:
            name, number = f"{wanted}{number}", number + 1
        return name
