"""Saved models for other runtimes.

    gw.export.onnx("runs/text", "text.onnx", states=True)

`onnx` writes a file of the format that many runtimes read: the whole of a recipe's model, or a recurrent layer.
"""

from gatewright.export.to_onnx import OnnxFile, onnx

__all__ = ["OnnxFile", "onnx"]
