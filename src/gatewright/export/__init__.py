"""Saved models for other runtimes.

    gw.export.onnx("runs/text", "text.onnx", states=True)
    gw.export.c99("runs/text", "text.c")

`onnx` writes a file of the format that many runtimes read, `c99` a pair of C files that run step by step and need
nothing: the whole of a recipe's model, or a recurrent layer.
"""

from gatewright.export.to_c99 import CFiles, c99
from gatewright.export.to_onnx import OnnxFile, onnx

__all__ = ["CFiles", "OnnxFile", "c99", "onnx"]
