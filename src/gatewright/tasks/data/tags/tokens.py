"""How plain text becomes tokens that are like those of a training set."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gatewright.errors import OptionError

_CLITIC = r"n['’]t|['’](?:s|re|ve|ll|d|m)"
_SIGNS = (
    r"https?://\S+|www\.\S+|[@#]\w+"  # what stands together on the web
    r"|(?:\w\.){2,}"  # U.S.
    r"|\d+(?:[.,:/]\d+)*"  # 3.5, 10,000, 12:30
    r"|\w+(?:[-'’.&]\w+)*"
    r"|\.{2,}|[^\w\s]"
)
_WORDS = re.compile(_SIGNS)
_PARTED = re.compile(rf"\w+?(?={_CLITIC}\b)|{_CLITIC}\b|{_SIGNS}", re.IGNORECASE)
_FEW = 0.02


@dataclass(frozen=True)
class Tokenising:
    """A way to divide text, which leaves the case of letters as it is."""

    name: str
    about: str
    divide: Callable[[str], list[str]]


TOKENISINGS: Mapping[str, Tokenising] = {
    way.name: way
    for way in (
        Tokenising("spaces", "at white space", str.split),
        Tokenising("signs", "into words and single signs", _WORDS.findall),
        Tokenising("contractions", "into words and single signs, and do n't, it 's, we 'll", _PARTED.findall),
    )
}


def tokenising(sentences: Iterable[Sequence[str]]) -> Tokenising:
    """The way that is likely to divide text as those sentences were divided.

    "spaces" where signs hang on words, "contractions" where n't and 's are tokens of their own, otherwise "signs".
    """
    tokens = [token for sentence in sentences for token in sentence]
    hanging = sum(len(token) > 2 and token[-1] in ",;:!?" and token[-2].isalnum() for token in tokens)
    single = sum(len(token) == 1 and not token.isalnum() for token in tokens)
    if hanging > _FEW * len(tokens) or not single:
        return TOKENISINGS["spaces"]
    parted = {"n't", "'s"} & {token.lower() for token in tokens}
    return TOKENISINGS["contractions" if parted else "signs"]


def named_tokenising(name: str) -> Tokenising:
    """The way of that name."""
    if name not in TOKENISINGS:
        raise OptionError(f"text cannot be divided by {name!r}", expected="one of " + ", ".join(TOKENISINGS))
    return TOKENISINGS[name]
