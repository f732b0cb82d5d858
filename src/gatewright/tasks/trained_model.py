"""What recipes and predictors see of a trained model. Needs no torch when it is loaded."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from gatewright.tasks.run_data import Sizes

if TYPE_CHECKING:
    from torch import nn


class TrainedModel(Protocol):
    """A network with the recipe that made it; `gatewright.tasks.model.Model` documents the attributes.

    A recipe takes trained models, and a model has a recipe. This interface keeps the two modules from importing each
    other.
    """

    @property
    def recipe(self) -> Any: ...
    @property
    def sizes(self) -> Sizes: ...
    @property
    def network(self) -> "nn.Module": ...
    @property
    def source(self) -> object: ...
    @property
    def prompts(self) -> tuple[str, ...]: ...
    @property
    def signature(self) -> Mapping[str, Any]: ...
