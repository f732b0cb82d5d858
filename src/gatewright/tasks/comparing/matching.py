"""The hidden size with which a cell has about as many parameters as another."""

from bisect import bisect_left
from dataclasses import replace

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

    def count(size: int) -> int:
        return count_parameters(replace(recipe, hidden=size), sizes)

    above = 2
    while count(above) < parameters:
        above *= 2
    enough = bisect_left(range(above), parameters, lo=2, key=count)  # the smallest size with as many parameters
    return replace(recipe, hidden=min((enough - 1, enough), key=lambda size: abs(count(size) - parameters)))
