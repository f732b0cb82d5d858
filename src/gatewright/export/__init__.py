"""Saved models for other runtimes.

    gw.export.onnx("runs/text", "text.onnx", states=True)
    gw.export.c99("runs/text", "text.c")
    gw.export.safetensors("runs/text", "text.safetensors", weights="int8")

`onnx` writes a file of the format that many runtimes read, `c99` a pair of C files that run step by step and need
nothing: the whole of a recipe's model or of a converted one, or a recurrent layer. `safetensors` writes a model file of
a quarter or half of the size.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatewright.export.to_c99 import CFiles, c99
    from gatewright.export.to_onnx import OnnxFile, onnx
    from gatewright.export.to_safetensors import SafetensorsFile, safetensors

__all__ = ["CFiles", "OnnxFile", "SafetensorsFile", "c99", "onnx", "safetensors"]

_MODULES = {
    "CFiles": "to_c99",
    "OnnxFile": "to_onnx",
    "SafetensorsFile": "to_safetensors",
    "c99": "to_c99",
    "onnx": "to_onnx",
    "safetensors": "to_safetensors",
}
"""Each is loaded when it is asked for: who writes one kind of file does not load what writes another."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
