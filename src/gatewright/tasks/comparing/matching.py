"""The hidden size with which a cell has about as many parameters as another."""

from dataclasses import replace
from typing import Any

import torch

from gatewright.tasks.cell_spec import read_cell
from gatewright.tasks.recipe import Recipe
from gatewright.tasks.run_data import Sizes


def count_parameters(recipe: Recipe, sizes: Sizes) -> int:
    """How many numbers the recipe's network learns; it is built without memory for them."""
    with torch.device("meta"):
        network = recipe.network(sizes, read_cell(recipe.cell))
    return sum(parameter.numel() for parameter in network.parameters())


def matched(recipe: Recipe, sizes: Sizes, parameters: int) -> Recipe:
    """The recipe with the hidden size that brings its number of parameters closest to `parameters`.

    That number grows with the size. Of two sizes that are equally close the smaller one is taken.
    """
    below, above = 1, 2
    while _count(recipe, sizes, above) < parameters:
        below, above = above, 2 * above
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if _count(recipe, sizes, middle) < parameters else (below, middle)
    hidden = min((below, above), key=lambda size: abs(_count(recipe, sizes, size) - parameters))
    return _sized(recipe, hidden)


def _count(recipe: Recipe, sizes: Sizes, hidden: int) -> int:
    return count_parameters(_sized(recipe, hidden), sizes)


def _sized(recipe: Recipe, hidden: int) -> Recipe:
    change: dict[str, Any] = {"hidden": hidden}
    return replace(recipe, **change)
