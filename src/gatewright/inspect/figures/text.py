"""A text coloured by one unit: Karpathy, Johnson & Fei-Fei 2015, 1506.02078, figure 2."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gatewright.errors import OptionError
from gatewright.inspect.activity.activations import Activations
from gatewright.inspect.figures.scales import part_of_row, scale_of, visible
from gatewright.tasks.picture import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST = 1200  # symbols; a page of a text
_HEIGHT, _WIDTH = 0.23, 0.105  # of a line and of a letter, in inches


def text_figure(
    activations: Activations,
    value: str,
    unit: int,
    *,
    layer: str | None = None,
    row: int = 0,
    steps: tuple[int, int] | None = None,
    columns: int = 96,
) -> "Figure":
    """The symbols of a row, each on the colour of a unit's gate or state when it had just been read.

    `steps`: the first step and the one after the last, by default the first 1,200. `columns`: letters a line. Raises
    OptionError for a row without symbols, and for a layer, value, unit, row or steps that do not exist.
    """
    activity = activations.layer(layer)
    if activations.symbols is None or activations.patch > 1 or not activations.has_steps_of(activity):
        raise OptionError("the steps have no symbols to colour", do="draw gates_figure")
    start, stop = part_of_row(activity, row, steps, _MOST)
    values = activity.unit(value, unit)[start:stop, row]
    scale = scale_of(activity, value, activity.values(value)[..., unit])
    symbols = activations.symbols[row][start:stop]
    places = list(_layout(symbols, columns))
    lines = places[-1][1] + 1
    used = max(column + width for column, _, width in places)
    figure = new_figure(max(4.5, used * _WIDTH + 0.3), lines * _HEIGHT + 1.25)
    axes: Any = figure.subplots()
    _draw(axes, symbols, places, values, scale)
    axes.set(xlim=(0, used), ylim=(lines, 0))
    axes.axis("off")
    axes.set_title(f"{value} of unit {unit}, layer {activity.name}, after each symbol", fontsize=10, loc="left")
    bar = figure.colorbar(axes.collections[0], ax=axes, orientation="horizontal", aspect=60, shrink=0.5, pad=0.02)
    bar.set_label("0: shut, 1: open" if scale["vmin"] == 0 else "value", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return figure


def _layout(symbols: Sequence[str], columns: int) -> Iterator[tuple[int, int, int]]:
    """Column, line and width of each symbol. Lines end at line breaks, and at spaces where the text is of letters."""
    letters = all(len(symbol) <= 1 for symbol in symbols)
    column = line = 0
    for place, symbol in enumerate(symbols):
        width = 1 if letters else len(visible(symbol)) + 1
        word = 0
        if letters and place and symbols[place - 1].isspace():  # the word that begins here stays whole
            word = next((n for n, letter in enumerate(symbols[place : place + 24]) if letter.isspace()), 0)
        if column and column + max(width, word) > columns:
            column, line = 0, line + 1
        yield column, line, width
        column += width
        if symbol == "\n":
            column, line = 0, line + 1


def _draw(axes: Any, symbols: Sequence[str], places: list[tuple[int, int, int]], values: Any, scale: Any) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    boxes = [Rectangle((column, line + 0.04), width, 0.92) for column, line, width in places]
    background = PatchCollection(boxes, cmap=scale["cmap"], linewidth=0)
    background.set_clim(scale["vmin"], scale["vmax"])
    background.set_array(values)
    axes.add_collection(background)
    colours = background.to_rgba(values)
    for symbol, (column, line, width), colour in zip(symbols, places, colours, strict=True):
        # Luminance by the weights of Rec. 709: black letters on light colours, white ones on dark.
        light = float(colour[:3] @ (0.2126, 0.7152, 0.0722)) > 0.5
        text = visible(symbol, space=" ")
        ink = "black" if light else "white"
        axes.text(
            column + width / 2, line + 0.52, text, ha="center", va="center", color=ink, fontsize=8.5, family="monospace"
        )
