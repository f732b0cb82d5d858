"""The counts of Newton's iterations: a row for every cell, and numbers to be held that can be learnt."""

from benchmarks import newton_iterations
from benchmarks.newton_iterations import Extents


def test_scales() -> None:
    head, _, *rows = newton_iterations.scale_table(Extents(steps=20, seeds=1))
    cells = [row.strip("| ").split(" | ") for row in rows]
    assert head.count("scale") == len(newton_iterations.SCALES)
    assert [name for name, *_ in cells] == list(newton_iterations.CELLS)
    assert all(2 <= int(count) <= 21 for _, *counts in cells for count in counts)


def test_training_learns() -> None:
    before, after = newton_iterations.trained(newton_iterations.CELLS["diagonal GRU"], updates=60)[1]
    assert after < before / 2
