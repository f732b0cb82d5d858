"""The picture: how long each peer takes beside Gatewright, at each shape."""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.figures import median
from benchmarks.files import write_bytes
from benchmarks.names import JAX, LIBRARIES, ONNX_RUNTIME, OPENVINO, OURS, TORCH, Record

PANELS = {"forward": "forward", "training": "training step"}
# Okabe and Ito's colours, told apart also by those who see few; the marks tell them apart without any.
MARKS = {
    TORCH: ("#D55E00", "o"),
    ONNX_RUNTIME: ("#0072B2", "s"),
    OPENVINO: ("#009E73", "^"),
    JAX: ("#CC79A7", "D"),
}
INK, GRID = "#222222", "#DDDDDD"
SETTINGS = {"svg.hashsalt": "gatewright", "font.size": 10, "font.family": "DejaVu Sans"}


def has_points(result: Mapping[str, Any]) -> bool:
    """Whether there is something to draw."""
    return any(_ratios(record) for name in PANELS for record in result["sections"].get(name, []))


def write(path: Path, result: Mapping[str, Any]) -> None:
    """Draw the picture into a file, of the kind that its name ends with."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    panels = {title: records for name, title in PANELS.items() if (records := result["sections"].get(name))}
    rows = max(len(records) for records in panels.values())
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(4.6 * len(panels) + 0.8, 0.45 * rows + 1.6), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for place, (title, records) in enumerate(panels.items()):
            _panel(axes[place], title, records, named=place == 0)
        handles = {
            label: handle for one in axes for handle, label in zip(*one.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles), frameon=False)
        figure.supxlabel("time as a multiple of Gatewright's; right of the line, Gatewright is faster", fontsize=10)
        drawn = io.BytesIO()
        kind = path.suffix.removeprefix(".")
        figure.savefig(drawn, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    content = drawn.getvalue()
    write_bytes(path, re.sub(rb"[ \t]+\n", b"\n", content) if kind == "svg" else content)


def _panel(axes: Any, title: str, records: list[Record], *, named: bool) -> None:
    for place, (name, (colour, mark)) in enumerate(MARKS.items()):
        apart = 0.2 * (place - (len(MARKS) - 1) / 2)  # so that equal times do not hide each other
        points = [
            (found[name], row + apart) for row, record in enumerate(records) if name in (found := _ratios(record))
        ]
        if points:
            across, down = zip(*points, strict=True)
            axes.scatter(
                across, down, s=42, c=colour, marker=mark, label=name, zorder=3, edgecolors="white", linewidths=0.6
            )
    axes.set_xscale("log")
    axes.axvline(1, color=INK, linewidth=1.2, zorder=2)
    axes.set_title(f"GRU, {title}", fontsize=11)
    axes.set_yticks(range(len(records)), [record["shape"] for record in records] if named else [""] * len(records))
    axes.set_ylim(len(records) - 0.5, -0.5)
    if named:
        axes.set_ylabel("T, B, I, H")
    _scale(axes, [value for record in records for value in _ratios(record).values()])
    axes.grid(axis="x", color=GRID, linewidth=0.8, zorder=0)
    for row in range(1, len(records)):
        axes.axhline(row - 0.5, color=GRID, linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, colors=INK)


def _scale(axes: Any, values: list[float]) -> None:
    """Ticks at round multiples, as plain numbers."""
    from matplotlib.ticker import NullFormatter, NullLocator

    low, high = min([0.8, *values]) / 1.15, max([2.0, *values]) * 1.15
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200) if low <= tick <= high]
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _ratios(record: Record) -> dict[str, float]:
    ours = median(record, OURS)
    return {name: theirs / ours for name in LIBRARIES if ours and (theirs := median(record, name))}
