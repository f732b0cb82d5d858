"""A trained model: the recipe with its settings, and the network; saved as one self-contained file."""

import reprlib
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
from gatewright.nn.records import stored_tensors
from gatewright.tasks import recipes
from gatewright.tasks.columns import reading_settings
from gatewright.tasks.recipe import Recipe
from gatewright.tasks.run_data import Sizes
from gatewright.tasks.training.run_folder import absolute
from gatewright.untrusted.kinds import MISSING, Count, Misfit, misfit


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
        tensors, kinds = stored_tensors(self.network)
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
            narrow=kinds,
        )


_KINDS: Mapping[str, Any] = {
    "recipe": dict[str, Any],
    "inputs": Count,
    "outputs": Count,
    "classes": list[str] | None,
    "variables": list[str] | None,
    "signature": dict[str, Any],
    "prompts": list[str],
    "data": str | None,
}
"""What a model file holds of a recipe's model."""

_LATER = frozenset({"classes", "variables", "signature", "prompts", "data"})  # what earlier versions did not keep
_BUILDING = (GatewrightError, LookupError, TypeError, ValueError, OverflowError, RuntimeError, MemoryError)


def load_model(path: Path) -> Model:
    """The model of a file, or of the folder of a run, ready to be used.

    Its cell is built from the equations in the file, wherever it came from. What the file says is checked before it is
    used. Raises ModelFileError for a file that is no model of a recipe.
    """
    kept = model_file.load(path)
    wrong = misfit(kept.settings, _KINDS, optional=_LATER)
    if wrong is None:
        try:
            recipe, sizes = recipes.get(kept.task).reopened(kept.settings["recipe"]), _sizes(kept)
            signature = kept.settings.get("signature", {})
            wrong = _sizes_misfit(sizes) or _layers_misfit(recipe, kept) or recipe.misfit(signature, sizes)
            if wrong is None:
                network = _network(recipe, sizes, kept)
                return Model(recipe, sizes, network, kept.settings.get("data"), _prompts(recipe, kept), signature)
        except _BUILDING as error:
            raise _cannot_be_rebuilt(path, None, f"task {kept.task!r}, gatewright {kept.version}: {error}") from error
    expected, got = wrong
    raise _cannot_be_rebuilt(path, expected, got if got == MISSING else reprlib.repr(got))


def _cannot_be_rebuilt(path: Path, expected: str | None, got: str) -> ModelFileError:
    return ModelFileError(
        f"{path} is not a model that this version's recipes can rebuild",
        expected=expected,
        got=got,
        do="use the version that it was trained with, or train it again",
    )


def _sizes(kept: ModelFile) -> Sizes:
    named = {name: tuple(names) for name in ("classes", "variables") if (names := kept.settings.get(name)) is not None}
    return Sizes(kept.settings["inputs"], kept.settings["outputs"], kept.vocabulary, **named)


def _sizes_misfit(sizes: Sizes) -> Misfit | None:
    """Names that are not as many as the numbers that they are of, or that are alike."""
    counts = {"vocabulary": sizes.inputs, "variables": sizes.inputs, "classes": sizes.outputs}
    for name, count in counts.items():
        names = getattr(sizes, name)
        if names is not None and not len(names) == len(set(names)) == count:
            return f"{name}: {count} different names", list(names)
    return None


def _layers_misfit(recipe: Recipe, kept: ModelFile) -> Misfit | None:
    """Other layers than the file holds; they would be made before it is seen that the weights do not fit them."""
    numbers = [layer.num_layers for layer in kept.layers]
    return None if numbers == [recipe.layers] else (f"layers: {recipe.layers} in a row", numbers)


def _network(recipe: Recipe, sizes: Sizes, kept: ModelFile) -> nn.Module:
    """The network with the weights of the file.

    It is made without memory first: a file could ask for more than there is. Raises RuntimeError where weights do not
    fit.
    """
    trace = kept.layers[0].trace
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in recipe.network(sizes, trace).state_dict().items()}
    stored = {name: tensor.shape for name, tensor in kept.tensors.items()}
    wrong = next((name for name in {**shapes, **stored} if shapes.get(name) != stored.get(name)), None)
    if wrong is not None:
        raise RuntimeError(f"the shape of {wrong!r} is {stored.get(wrong)} and not {shapes.get(wrong)}")
    network = recipe.network(sizes, trace)
    network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in kept.tensors.items()})
    return network.eval()


def _prompts(recipe: Recipe, kept: ModelFile) -> tuple[str, ...]:
    """Those of the file; a file of an earlier version has them among the recipe's settings."""
    earlier = str(getattr(recipe, "prompts", "")).split("|")
    return tuple(kept.settings.get("prompts", ())) or tuple(filter(None, earlier))
