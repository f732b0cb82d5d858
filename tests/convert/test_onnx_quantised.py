"""ONNX Runtime's LSTM with weights of eight bits: refused, or read as the numbers that they stand for."""

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from gatewright import convert
from gatewright.errors import ConversionError
from tests.convert.onnx_models import arrays_of, model_of, saved
from tests.convert.test_onnx_operators import COUNTS, GIVEN, runtime

quantization = pytest.importorskip("onnxruntime.quantization", reason="ONNX Runtime is not installed")


def quantised(folder: Path, direction: str, *, per_channel: bool) -> tuple[Path, Path]:
    """A model, and what ONNX Runtime makes of it."""
    whole = saved(folder / "whole.onnx", model_of("LSTM", arrays_of("LSTM", COUNTS[direction]), direction=direction))
    logging.disable(logging.WARNING)
    try:
        quantization.quantize_dynamic(whole, folder / "small.onnx", per_channel=per_channel)
    finally:
        logging.disable(logging.NOTSET)
    return whole, folder / "small.onnx"


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("direction", COUNTS)
def test_weights_of_eight_bits_are_read_where_that_is_asked_for(
    direction: str, per_channel: bool, tmp_path: Path
) -> None:
    whole, small = quantised(tmp_path, direction, per_channel=per_channel)
    network = convert.read(small, dequantise=True)
    (layer,), (exact,) = network.recurrent, convert.read(whole).recurrent
    steps = [numpy_helper.to_array(one) for one in onnx.load(small).graph.initializer if one.name.endswith("_scale")]
    for got, want in zip(layer.directions, exact.directions, strict=True):
        for name in got:
            assert np.abs(got[name] - want[name]).max() <= 0.51 * max(float(one.max()) for one in steps)
    wanted = runtime(small, X=GIVEN)[0].swapaxes(1, 2).reshape(7, 2, -1)
    far = np.abs(convert.run(network, GIVEN) - wanted).max()
    assert 1e-5 < far < 0.05  # the runtime rounds what it multiplies with
    report = convert.convert(small, tmp_path / "again.onnx", overrides={"dequantise": True})
    assert "again.onnx, run by ONNX Runtime" in report.differences
    assert report.notes[0] == "weights of eight bits are read as the numbers that they stand for"
    unproved = "it rounds to eight bits what it multiplies the weights of eight bits with"
    assert f"small.onnx: not proved by ONNX Runtime: {unproved}" in report.notes


def test_weights_of_eight_bits_are_refused_where_nobody_asks_for_them(tmp_path: Path) -> None:
    _, small = quantised(tmp_path, "forward", per_channel=False)
    with pytest.raises(ConversionError) as caught:
        convert.read(small)
    assert str(caught.value) == (
        f"{small}: node 'layer_quant' (DynamicQuantizeLSTM): its weights are of eight bits, "
        "and the runtime rounds what it multiplies them with too\n"
        "  expected: an LSTM whose outputs can be computed exactly\n"
        "  do: convert the model that it was made from, or read their dequantised values: dequantise=True"
    )


def test_scales_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    _, small = quantised(tmp_path, "forward", per_channel=True)
    model = onnx.load(small)
    scale = next(one for one in model.graph.initializer if one.name == "W_scale")
    scale.CopyFrom(numpy_helper.from_array(np.ones((1, 5), np.float32), "W_scale"))
    with pytest.raises(ConversionError, match="a scale or zero point does not fit its W"):
        convert.read(saved(small, model), dequantise=True)
