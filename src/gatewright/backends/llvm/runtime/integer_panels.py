"""Panels of whole numbers, written and read without their kernels: see `codegen.whole_numbers`, which writes the same.

Matrices that are whole numbers already go to their panels as they are, and can be read from there again: they need not
be kept in a second form.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.backends.llvm.codegen.panels import Panel
from gatewright.backends.llvm.emit.int8 import NUMBERS, OFFSET
from gatewright.int8 import Quantised


def write_panel(panel: Panel, matrices: Sequence[Quantised], memory: NDArray[np.uint8]) -> None:
    """Write the matrix of each part, (units, depth), to the memory of a panel."""
    words = _words_of(panel, memory)
    order = _unit_order(panel)
    for position, matrix in enumerate(matrices):
        numbers = np.zeros((panel.units, panel.words * NUMBERS), np.int8)
        numbers[:, : panel.depth] = matrix.numbers
        in_words = np.ascontiguousarray(numbers).view(np.int32)[order]  # (group, block, lane, word)
        words[:, : panel.words, position] = in_words.transpose(0, 3, 1, 2)
        words[:, panel.words, position] = matrix.scales.astype(np.float32).view(np.int32)[order]
        offsets = matrix.numbers.sum(1, dtype=np.int32) * np.int32(OFFSET)
        words[:, panel.words + 1, position] = offsets[order]


def read_panel(panel: Panel, position: int, memory: NDArray[np.uint8]) -> Quantised:
    """The matrix of one part of a panel."""
    words = _words_of(panel, memory)
    # Blocks overlap, and two groups may hold the same unit: each of them has the same numbers.
    order = _unit_order(panel).reshape(-1)
    numbers = np.empty((panel.units, panel.words), np.int32)
    numbers[order] = words[:, : panel.words, position].transpose(0, 2, 3, 1).reshape(-1, panel.words)
    scales = np.empty(panel.units, np.float32)
    scales[order] = words[:, panel.words, position].reshape(-1).view(np.float32)
    return Quantised(np.ascontiguousarray(numbers.view(np.int8)[:, : panel.depth]), scales)


def panel_order(panels: Sequence[Panel]) -> str:
    """What the contents of panels depend on, besides their matrices."""
    return "; ".join(
        f"{panel.units}x{panel.depth} by {panel.blocks}x{panel.lanes} of "
        + ",".join(part.matrix + ("'" if part.transposed else "") for part in panel.parts)
        for panel in panels
    )


def _words_of(panel: Panel, memory: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The words of a panel: (group, line, part, block, lane)."""
    shape = (panel.groups, panel.length, len(panel.parts), panel.blocks, panel.lanes)
    return memory[: 4 * panel.size].view(np.int32).reshape(shape)


def _unit_order(panel: Panel) -> NDArray[Any]:
    """The unit of every (group, block, lane): the last block overlaps the one before it, and a group may repeat it."""
    starts = np.minimum(np.arange(panel.groups * panel.blocks) * panel.lanes, panel.units - panel.lanes)
    units = starts[:, None] + np.arange(panel.lanes)
    return units.reshape(panel.groups, panel.blocks, panel.lanes)
