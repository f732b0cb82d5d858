"""Step-by-step inference of a saved model, without any framework.

    stream = gw.stream.open("model.safetensors")
    y = stream.step(x)  # x (input,) -> y (hidden,); the state is carried

`open` reads the recurrent layers of a model file, `from_parameters` takes a cell and arrays. What a model has besides
them is plain NumPy:

    tensors = gw.model_file.load("model.safetensors").tensors
    scores = tensors["head.weight"] @ stream.step(x) + tensors["head.bias"]
"""

from gatewright.stream.layers import from_parameters, open
from gatewright.stream.stream import Stream

__all__ = ["Stream", "from_parameters", "open"]
