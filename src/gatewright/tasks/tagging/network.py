"""The network of tags: recurrent layers, and a conditional random field or a softmax."""

from typing import Any

from gatewright.tasks.data.tags.schemes import Scheme, Transitions
from gatewright.tasks.network import RecipeNetwork
from gatewright.tasks.run_data import Sizes
from gatewright.tasks.tagging.chain_crf import ChainCrf


class TagNetwork(RecipeNetwork):
    """A `RecipeNetwork`; with output "crf" its outputs are the emissions of `crf`, a conditional random field.

    With "softmax" the outputs are logits of each step's label, and `crf` is None.
    """

    def __init__(self, cell: Any, sizes: Sizes, *, output: str, scheme: Scheme, **options: Any) -> None:
        super().__init__(cell, sizes, **options)
        allowed = Transitions.of(sizes.classes or (), scheme)
        self.crf = ChainCrf(allowed) if output == "crf" else None
