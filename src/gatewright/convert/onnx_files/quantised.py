"""ONNX Runtime's LSTM with weights of eight bits, read as ONNX's LSTM with dequantised weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.convert.onnx_files.values import ConstantValue, Value, arrays_of
from gatewright.errors import ConversionError

Array = NDArray[Any]
DOMAIN, OPERATOR = "com.microsoft", "DynamicQuantizeLSTM"
BEFORE_SCALES = 8
"""The operands that ONNX's LSTM has too; after them are scale and zero point of W, and those of R."""


def dequantised(operands: Sequence[Value | None]) -> list[Value | None]:
    """The operands of ONNX's LSTM. Both matrices lie the other way round, with a scale for each column, or for all.

    Raises ConversionError where the scales do not fit.
    """
    padded = [*operands, *[None] * 12][:12]
    numbers = arrays_of(padded)
    dense: list[Value | None] = list(padded[:BEFORE_SCALES])
    for place, scales in ((1, numbers[8:10]), (2, numbers[10:12])):
        dense[place] = ConstantValue(_matrix("W" if place == 1 else "R", numbers[place], *scales))
    return dense


def _matrix(name: str, weight: Array | None, scale: Array | None, zero: Array | None) -> Array:
    if weight is None or scale is None or zero is None or weight.ndim != 3 or weight.dtype.kind not in "iu":
        raise ConversionError(f"its {name}, or the scale or zero point of that, is no constant of the file")
    for array in (scale, zero):
        if array.shape not in (weight.shape[:1], (weight.shape[0], 1), (weight.shape[0], weight.shape[2])):
            raise ConversionError(
                f"a scale or zero point does not fit its {name}",
                expected=f"{weight.shape[:1]} or {(weight.shape[0], weight.shape[2])}",
                got=str(array.shape),
            )
    factor, offset = (array.reshape(len(weight), 1, -1) for array in (scale, zero))
    exact = (weight.astype(np.float32) - offset.astype(np.float32)) * factor.astype(np.float32)
    return np.ascontiguousarray(exact.swapaxes(1, 2))
