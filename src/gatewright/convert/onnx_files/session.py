"""Graphs in ONNX Runtime."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

ERRORS = 3
"""ONNX Runtime's number for writing errors, which are raised too, and nothing else."""


def session_of(path: Path) -> "InferenceSession":
    """A session that runs a file on the CPU. Raises ModuleNotFoundError where onnxruntime is missing."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
