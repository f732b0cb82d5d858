"""A trained model: the recipe with its settings, and the network; kept in one file that needs nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gatewright import __version__, model_file
from gatewright.errors import GatewrightError, ModelFileError, OptionError
from gatewright.model_file import ModelFile
from gatewright.nn import layer_records
from gatewright.tasks import recipes
from gatewright.tasks.columns import reading_settings
from gatewright.tasks.folder import absolute
from gatewright.tasks.recipe import Recipe, Sizes


@dataclass(frozen=True)
class Model:
    """A network, and the recipe that it was made by."""

    recipe: Recipe
    sizes: Sizes
    network: nn.Module
    source: object = None
    """The data that it was trained on, where it was not the recipe's own; a model file keeps a name, a path, or
    `IN_MEMORY`."""
    prompts: tuple[str, ...] = ()  # what a model of a text may be given to continue
    signature: Mapping[str, Any] = field(default_factory=dict[str, Any])  # what inputs and outputs mean

    def reading(self, settings: Mapping[str, Any]) -> "Model":
        """The same model, whose recipe reads what it is given with these settings of columns and files.

        Raises OptionError for any other setting, which is part of what was trained.
        """
        allowed = reading_settings(type(self.recipe))
        wrong = next((name for name in settings if name not in allowed), None)
        if wrong is not None:
            raise OptionError(
                f"setting {wrong!r} cannot be changed for a trained model of the recipe {self.recipe.name!r}",
                expected="one of " + ", ".join(allowed) if allowed else "no setting",
                do="leave it out",
            )
        return replace(self, recipe=self.recipe.restored({**self.recipe.settings(), **settings}))

    def save(self, path: Path) -> None:
        """Write the model file."""
        model_file.save(path, self.kept())

    def kept(self) -> ModelFile:
        """What the model file holds."""
        tensors = {name: one.detach().cpu().numpy() for name, one in self.network.state_dict().items()}
        settings = {
            "recipe": self.recipe.settings(),
            "inputs": self.sizes.inputs,
            "outputs": self.sizes.outputs,
            "classes": self.sizes.classes,
            "variables": self.sizes.variables,
            "signature": dict(self.signature),
            "data": absolute(self.source),
            **({"prompts": self.prompts} if self.prompts else {}),
            **self.recipe.described(),
        }
        return ModelFile(
            tensors=tensors,
            layers=layer_records(self.network),
            task=self.recipe.name,
            settings=settings,
            vocabulary=self.sizes.vocabulary,
            seed=self.recipe.seed,
            version=__version__,
        )


def load_model(path: Path) -> Model:
    """The model of a file, or of the folder of a run, ready to be used.

    Its cell is built from the equations in the file, wherever it came from. Raises ModelFileError for a file that is
    no model of a recipe.
    """
    kept = model_file.load(path)
    try:
        made = recipes.get(kept.task).reopened(kept.settings["recipe"])
        classes, variables = (kept.settings.get(name) for name in ("classes", "variables"))
        sizes = Sizes(
            kept.settings["inputs"],
            kept.settings["outputs"],
            kept.vocabulary,
            classes and tuple(classes),
            variables and tuple(variables),
        )
        network = made.network(sizes, kept.layers[0].trace)
        network.load_state_dict({name: torch.from_numpy(one) for name, one in kept.tensors.items()})
    except (GatewrightError, LookupError, TypeError, RuntimeError) as error:
        raise ModelFileError(
            f"{path} is not a model that this version's recipes can rebuild",
            got=f"task {kept.task!r}, gatewright {kept.version}: {error}",
            do="use the version that it was trained with, or train it again",
        ) from error
    settings = kept.settings
    return Model(made, sizes, network.eval(), settings.get("data"), _prompts(made, kept), settings.get("signature", {}))


def _prompts(made: Recipe, kept: ModelFile) -> tuple[str, ...]:
    """Those of the file; a file of an earlier version has them among the recipe's settings."""
    earlier = str(getattr(made, "prompts", "")).split("|")
    return tuple(kept.settings.get("prompts", ())) or tuple(filter(None, earlier))
