"""Sums of whole numbers, by a network that learned to add bit by bit."""

import torch

from gatewright.errors import OptionError
from gatewright.tasks.data import addition_arrays, from_bits
from gatewright.tasks.model import Model
from gatewright.tasks.recipes.adding import Adding


def add(model: Model, first: int, second: int) -> int:
    """What the network takes the sum to be; the numbers may have any number of bits."""
    if not isinstance(model.recipe, Adding):
        raise OptionError(
            f"this model was made by the recipe {model.recipe.name!r}, and cannot add",
            expected="a model of the recipe 'adding'",
            do="train one with: gatewright train adding",
        )
    bits = (first + second).bit_length() + 1
    inputs, _ = addition_arrays([(first, second)], bits)
    with torch.no_grad():
        outputs, _ = model.network(torch.from_numpy(inputs))
    return from_bits(model.recipe.objective().decide(outputs)[:, 0, 0].tolist())
