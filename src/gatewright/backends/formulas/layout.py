"""Breaking formulas that are too long for a line: rather at a sum than at a product, and outside of brackets."""

from collections.abc import Callable
from dataclasses import dataclass
from unicodedata import combining


def columns(text: str) -> int:
    """The columns that a text takes in a terminal; accents take none."""
    return sum(not combining(character) for character in text)


@dataclass(frozen=True, slots=True)
class Breaks:
    """Before which signs a formula may be broken, and how wide its text is."""

    sums: tuple[str, ...]
    products: tuple[str, ...]
    width_of: Callable[[str], int]
    deepest: int | None = None  # the number of brackets that may be open at a break; None: any


def rows(text: str, width: int, breaks: Breaks) -> list[str]:
    """A formula cut into rows of at most `width`, where it can be."""
    cut: list[str] = []
    while breaks.width_of(text) > width:
        places = [place for place in _places(text, breaks) if breaks.width_of(text[: place[1]]) <= width]
        if not places:
            break
        # the outermost place is the best; of those the last, but no row is left nearly empty
        outermost = [place for place in places if breaks.width_of(text[: place[1]]) > width // 3] or places
        _, index = min(outermost, key=lambda place: (place[0], -place[1]))
        cut.append(text[:index])
        text = text[index + 1 :]  # without the space before the sign
    return [*cut, text]


def _places(text: str, breaks: Breaks) -> list[tuple[int, int]]:
    """Where a formula may be broken: how bad that is, and the index of the space before the sign."""
    depth, places = 0, list[tuple[int, int]]()
    for index, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if breaks.deepest is not None and depth > breaks.deepest:
            continue
        if index and text.startswith(breaks.sums, index):
            places.append((2 * depth, index))
        elif index and text.startswith(breaks.products, index):
            places.append((2 * depth + 1, index))
    return places
