"""Figures of Matplotlib, and their content as files. Matplotlib is imported when a figure is begun."""

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of that size, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def picture(figure: "Figure", kind: str = "png", **settings: Any) -> bytes:
    """The content of a PNG or SVG file: equal figures are equal files. `settings` are those of Matplotlib."""
    from matplotlib import rc_context

    content = io.BytesIO()
    style: Any = {"svg.hashsalt": "gatewright", **settings}
    with rc_context(style):
        figure.savefig(content, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return content.getvalue()
