"""What figures of activations have in common: colours, scales, and names of steps below an axis."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import OptionError
from gatewright.inspect.activity.activations import LayerActivations
from gatewright.inspect.measures.steps import share_gates
from gatewright.tasks.formatting import picture_text

SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Colours of lines (Okabe & Ito), told apart by everyone."""
GREY = "#666666"
_SIGNS = {"\n": "↵", "\t": "⇥", " ": "␣", "": "∅"}
_LONGEST = 10
_NAMED = 140  # steps up to which each has its name


def scale_of(layer: LayerActivations, name: str, values: NDArray[Any]) -> dict[str, Any]:
    """Colours of a gate or state: from 0 to 1 for what a sigmoid gives, else as far below 0 as above it."""
    if name in share_gates(layer):
        return {"cmap": "cividis", "vmin": 0.0, "vmax": 1.0}
    finite = values[np.isfinite(values)]
    largest = float(np.abs(finite).max(initial=0)) or 1.0
    return {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}


def visible(symbol: str, *, space: str = "␣") -> str:
    """A symbol as it is drawn: white space by a sign."""
    shown = space if symbol == " " else _SIGNS.get(symbol, symbol)
    return picture_text(shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…")


def part_of_row(layer: LayerActivations, row: int, steps: tuple[int, int] | None, most: int) -> tuple[int, int]:
    """The steps that are shown. Raises OptionError for a row or steps that do not exist."""
    if not 0 <= row < len(layer.lengths):
        raise OptionError(f"there is no row {row}", expected=f"0 to {len(layer.lengths) - 1}")
    length = int(layer.lengths[row])
    start, stop = (0, min(length, most)) if steps is None else steps
    if not 0 <= start < stop <= length:
        raise OptionError(f"row {row} has no steps {(start, stop)}", expected=f"two numbers from 0 to {length}")
    return start, stop


def name_steps(axes: Any, symbols: Sequence[str] | None, start: int, stop: int) -> None:
    """Names below the axis of steps: each symbol where they fit, else numbers."""
    if symbols is None or stop - start > _NAMED:
        axes.set_xlabel("step")
        return
    names = [visible(symbol) for symbol in symbols[start:stop]]
    long = max(map(len, names)) > 1
    size = 8 if stop - start <= 80 else 6.5
    axes.set_xticks(range(start, stop), names, rotation=90 if long else 0, fontsize=size)
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel("what is read, step by step")
