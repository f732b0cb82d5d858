"""A picture of a confusion matrix."""

from typing import Any

import numpy as np

from gatewright.tasks.answers.class_report import ClassReport
from gatewright.tasks.formatting import picture_text
from gatewright.tasks.picture import new_figure, picture

_WRITTEN = 20  # classes up to which each count is written into its cell
_LABELLED = 40  # classes up to which each has its name beside its row; beyond, some have
_LONGEST = 18  # letters of a name
_DARK = 0.55  # share from which on white letters are read better


def draw_confusion(report: ClassReport, title: str, suffix: str = ".png") -> bytes:
    """A row for each true class, a column for each predicted one: a PNG, or an SVG with suffix=".svg".

    A cell is as dark as the share of its row that it holds, so that small classes are seen as well as large ones.
    """
    count = len(report.classes)
    side = min(3.0 + 0.42 * min(count, _LABELLED), 14.0)
    figure = new_figure(1.1 * side + 1.2, side)
    axes: Any = figure.subplots()
    rows = report.confusion.sum(1, keepdims=True)
    shares = report.confusion / np.maximum(rows, 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), number in np.ndenumerate(report.confusion):
        if number and count <= _WRITTEN:
            colour = "white" if shares[row, column] > _DARK else "black"
            axes.text(column, row, f"{number:,}", ha="center", va="center", color=colour, fontsize=8)
    step = 1 + (count - 1) // _LABELLED
    places = list(range(0, count, step))
    classes = [report.classes[place] for place in places]
    names = [picture_text(name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…") for name in classes]
    axes.set_xticks(places, names, rotation=0 if max(map(len, names)) <= 3 else 90)
    axes.set_yticks(places, names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title, fontsize=11)
    figure.colorbar(image, label="share of the true class", fraction=0.046, pad=0.04)
    return picture(figure, suffix.lstrip("."))
