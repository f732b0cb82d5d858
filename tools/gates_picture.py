"""Draws docs/gates.svg: what update gates of a trained character model do while it reads a sentence.

    gatewright train text --data python-docs --set hidden=128 epochs=3 --out runs/text
    python -m tools.gates_picture runs/text

Each line is one unit. A unit is chosen by what its gate follows over a longer text: the gate with the largest
correlation to "this is a space", and so on. The picture is committed; it is not made by `make docs`, as a trained
network is not the same on every machine.
"""

import sys
from collections.abc import Callable, Iterator
from html import escape
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import gatewright as gw
from tests.paths import ROOT

SENTENCE = "The function returns a list of all names in the module, or None."
CORPUS = ROOT / "README.md"  # prose that the model has not read
FEATURES: dict[str, Callable[[str, str], bool]] = {  # of a letter and the one before it
    "at spaces": lambda letter, _: letter == " ",
    "at word starts": lambda letter, before: letter.isalpha() and before == " ",
    "at vowels": lambda letter, _: letter in "aeiou",
    "at e": lambda letter, _: letter == "e",
    "at t": lambda letter, _: letter == "t",
    "at n": lambda letter, _: letter == "n",
    "at capitals": lambda letter, _: letter.isupper(),
    "after vowels": lambda _, before: before in "aeiou",
    "at punctuation": lambda letter, _: letter in ".,;:!?",
}
SHOWN = 4  # features: those that a unit follows most
HEADING = (
    "A GRU reads English, letter by letter. "
    "Dark: the unit's gate is open, and it takes in something new. Pale: it keeps what it holds."
)
LEFT, TOP, WIDTH, HEIGHT = 250, 64, 13.0, 26
LOW, HIGH = np.array([240, 243, 248]), np.array([23, 78, 166])  # pale to dark blue: readable without colours too

Array = NDArray[np.float64]


def openness(run: str, text: str) -> Array:
    """How much of each unit is replaced at each character, (characters, units): 1 where all of it is."""
    layer = gw.inspect.observe(run, text=text).layer()
    signs = layer.roles.signs()
    gate = next(iter(signs))
    values = layer.gates[gate][: len(text), 0].astype(np.float64)
    return 1 - values if signs[gate] > 0 else values


def chosen_units(run: str) -> Iterator[tuple[str, int, float]]:
    """For each feature the unit that follows it most, and their correlation over a text."""
    text = " ".join(CORPUS.read_text(encoding="utf-8").split())[:2000]
    values = openness(run, text)
    best = list[tuple[float, str, int]]()
    for label, is_there in FEATURES.items():
        feature = np.array([is_there(letter, before) for before, letter in pairwise(" " + text)], np.float64)
        scores = [np.corrcoef(feature, unit)[0, 1] if unit.std() > 0.02 else 0.0 for unit in values.T]
        best.append((max(scores), label, int(np.argmax(scores))))
    by_unit = {unit: (label, score) for score, label, unit in sorted(best)}  # a unit's best feature comes last
    for unit, (label, score) in sorted(by_unit.items(), key=lambda item: -item[1][1])[:SHOWN]:
        yield f"opens {label}", unit, score
    unit = next(int(unit) for unit in np.argsort(values.mean(0)) if int(unit) not in by_unit)
    yield "keeps longest", unit, float(values[:, unit].mean())


def picture(run: str) -> str:
    """The SVG."""
    values = openness(run, SENTENCE)
    width = LEFT + WIDTH * len(SENTENCE) + 16
    units = list(chosen_units(run))
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {TOP + HEIGHT * len(units) + 34}" '
            'font-family="Helvetica, Arial, sans-serif" font-size="13" role="img">'
        ),
        "<title>Update gates of some units of a GRU while it reads a sentence</title>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="16" y="26" font-size="15" fill="#111">{escape(HEADING)}</text>',
    ]
    parts += [letter(x, TOP - 8, sign) for x, sign in enumerate(SENTENCE)]
    for row, (label, unit, score) in enumerate(units):
        top = TOP + HEIGHT * row
        shown = f"mean {score:.2f}" if label.startswith("keeps") else f"r = {score:.2f}"
        parts.append(f'<text x="16" y="{top + 17}" fill="#333">unit {unit} {label}, {shown}</text>')
        scaled = (values[:, unit] - values[:, unit].min()) / max(np.ptp(values[:, unit]), 0.25)
        parts += [square(x, top, share) for x, share in enumerate(scaled)]
    note = "Each line is scaled to its own range. r: correlation over 2,000 letters of another text."
    parts += [f'<text x="16" y="{TOP + HEIGHT * len(units) + 22}" font-size="11" fill="#666">{note}</text>', "</svg>"]
    return "\n".join(parts) + "\n"


def letter(column: int, baseline: float, sign: str) -> str:
    """A character above its column."""
    x = LEFT + WIDTH * (column + 0.5)
    return (
        f'<text x="{x:.1f}" y="{baseline}" text-anchor="middle" font-family="monospace" font-size="15" '
        f'fill="#111">{escape(sign)}</text>'
    )


def square(column: int, top: float, share: float) -> str:
    """A gate's value as a rectangle."""
    red, green, blue = (LOW + (HIGH - LOW) * share).round().astype(int)
    x = LEFT + WIDTH * column
    colour = f"#{red:02x}{green:02x}{blue:02x}"
    return f'<rect x="{x:.1f}" y="{top}" width="{WIDTH - 1}" height="{HEIGHT - 4}" fill="{colour}"/>'


if __name__ == "__main__":
    Path(ROOT / "docs" / "gates.svg").write_text(picture(sys.argv[1]), encoding="utf-8")
