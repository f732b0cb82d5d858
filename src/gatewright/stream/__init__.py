"""Step-by-step inference of a saved model, without any framework.

    stream = gw.stream.open("model.safetensors")
    y = stream.step(x)  # x (input,) -> y (hidden,); the state is carried

`open` reads the recurrent layers of a model file, `from_parameters` takes a cell and arrays.
"""

from gatewright.stream.layers import from_parameters, open
from gatewright.stream.stream import Stream

__all__ = ["Stream", "from_parameters", "open"]
