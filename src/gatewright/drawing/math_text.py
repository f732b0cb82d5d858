"""Names and short formulas as text with raised and lowered parts, for SVG."""

from dataclasses import replace
from html import escape

from gatewright.backends.formulas import unicode
from gatewright.backends.formulas.naming import GREEK, Word, word
from gatewright.backends.formulas.tree import Name, StepIndex, Tree
from gatewright.backends.formulas.typeset import columns, write
from gatewright.untrusted.printable import printable

_DOWN, _UP = "\ue000", "\ue001"  # private letters around what is lowered
_TIMES = {StepIndex.NONE: "", StepIndex.NOW: "t", StepIndex.BEFORE: "t−1"}
_ACCENTS = {"tilde": "\u0303", "hat": "\u0302", "check": "\u030c"}
_LONGEST = 16  # printed letters of a label
_NARROW, _SMALL = 0.56, 0.72  # the mean width of a letter in em, and the size of a lowered one


def spell(name: Name) -> str:
    """A name, with marks around its index."""
    spelled = word(_clean(name.identifier))
    below = ",".join([*map(_flat, spelled.below), *filter(None, [_TIMES[name.time]])])
    return _shortened(_head(spelled), _LONGEST) + (f"{_DOWN}{_shortened(below, _LONGEST)}{_UP}" if below else "")


def formula(tree: Tree) -> str:
    """A formula, with marks around its indices."""
    return write(tree, replace(unicode.NOTATION, name=spell)).text


def width(marked: str, size: float) -> float:
    """About how wide a text is in a font of that size."""
    return sum(columns(text) * _NARROW * size * (_SMALL if lowered else 1) for text, lowered in _runs(marked))


def plain(marked: str) -> str:
    """The text without its marks."""
    return "".join(f"_{text}" if lowered else text for text, lowered in _runs(marked))


def tspans(marked: str, size: float) -> str:
    """The content of an SVG `text` element; single letters are italic, words upright."""
    parts: list[str] = []
    shift = 0.0
    for text, lowered in _runs(marked):
        new = 0.28 * size if lowered else 0.0
        move = f' dy="{new - shift:.1f}"' if new != shift else ""
        small = f' font-size="{_SMALL * size:.1f}"' if lowered else ""
        italic = ' font-style="italic"' if columns(text) == 1 and text.isalpha() and not lowered else ""
        parts.append(f"<tspan{move}{small}{italic}>{safe(text)}</tspan>")
        shift = new
    return "".join(parts)


def safe(text: str) -> str:
    """Any text as content of an element or of an attribute of XML: also without characters that XML does not have."""
    return escape(_clean(text), quote=True).replace("'", "&#39;")


def _clean(text: str) -> str:
    allowed = "".join(letter for letter in text if letter not in (_DOWN, _UP, "\ufffe", "\uffff"))
    return printable(allowed)


def _runs(marked: str) -> list[tuple[str, bool]]:
    """The parts of a marked text, and whether each is lowered."""
    runs: list[tuple[str, bool]] = []
    for part in marked.split(_DOWN):
        lowered, mark, after = part.partition(_UP)
        runs += [(lowered, True), (after, False)] if mark else [(part, False)]
    return [run for run in runs if run[0]]


def _head(spelled: Word) -> str:
    letters = GREEK.get(spelled.letters, spelled.letters)
    if not spelled.accent:
        return letters
    return letters + _ACCENTS[spelled.accent] if len(letters) == 1 else f"{letters}_{spelled.accent}"


def _flat(spelled: Word) -> str:
    return ",".join([_head(spelled), *map(_flat, spelled.below)])


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
