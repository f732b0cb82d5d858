"""What can be exported, as a model file: a path, a model file that was read, or a layer or model of torch."""

import os
import sys

from gatewright import model_file
from gatewright.errors import OptionError
from gatewright.model_file import ModelFile


def as_model_file(model: object) -> ModelFile:
    """The model file of what was given. Only a layer or model that is there already needs torch.

    Raises ModelFileError for a file that cannot be read, OptionError for what is no model.
    """
    if isinstance(model, ModelFile):
        return model
    if isinstance(model, str | os.PathLike):
        return model_file.load(model)
    if "torch" in sys.modules:
        from gatewright.nn import Recurrent, layer_records
        from gatewright.nn.records import stored_tensors
        from gatewright.tasks.model import Model

        if isinstance(model, Model):
            return model.kept()
        if isinstance(model, Recurrent):
            tensors, kinds = stored_tensors(model)
            return ModelFile(tensors, layer_records(model), task="", narrow=kinds)
    raise OptionError(
        "what is to be exported is no model of Gatewright",
        expected="the path of a model file or of a run's folder, a ModelFile, a layer of gw.nn, or a model that "
        "gatewright.tasks.model.load_model gave",
        got=type(model).__name__,
        do="give a layer of gw.nn; what is around it in a module of one's own is not exported",
    )
