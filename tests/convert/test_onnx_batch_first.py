"""Recurrent operators of `layout=1`, which ONNX Runtime does not run: held to ONNX's own reference."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from gatewright import convert
from gatewright.errors import ConversionError
from tests.convert.onnx_models import HIDDEN, INPUTS, arrays_of, saved

ROWS, STEPS = 2, 6
GIVEN = np.random.default_rng(1).standard_normal((ROWS, STEPS, INPUTS)).astype(np.float32)
CONSTANTS = {
    "axis1": np.array([1]),
    "axis2": np.array([2]),
    "kept": np.array([0, 0, -1]),
    "flat": np.array([0, -1]),
    "fixed": np.array([ROWS, STEPS, HIDDEN]),
    "last": np.array(-1),
    "other": np.array([ROWS, STEPS * HIDDEN, 1]),
}
Steps = list[tuple[str, list[str], str, dict[str, Any]]]
BEHIND: dict[str, Steps] = {
    "squeezed": [("Squeeze", ["Y", "axis2"], "y", {})],
    "reshaped": [("Reshape", ["Y", "kept"], "y", {})],
    "side by side": [("Reshape", ["Y", "flat"], "y", {})],
    "flattened": [("Flatten", ["Y"], "y", {"axis": 1})],
    "the last step": [("Squeeze", ["Y", "axis2"], "s", {}), ("Gather", ["s", "last"], "y", {"axis": 1})],
    "the last state": [("Squeeze", ["Y_h", "axis1"], "y", {})],
    "time first": [("Transpose", ["Y"], "t", {"perm": [1, 2, 0, 3]}), ("Squeeze", ["t", "axis1"], "y", {})],
}
BOTH: dict[str, Steps] = {
    "reshaped": BEHIND["reshaped"],
    "side by side": BEHIND["side by side"],
    "flattened": BEHIND["flattened"],
    "the last states": [("Reshape", ["Y_h", "flat"], "y", {})],
}


def graph(op: str, behind: Steps, count: int, *, fixed: bool = False, initial: bool = False) -> onnx.ModelProto:
    """A layer that reads (batch, time, features), and nodes behind it."""
    arrays = arrays_of(op, count, initial=initial) | CONSTANTS
    arrays = {name: one.swapaxes(0, 1) if name.startswith("initial") else one for name, one in arrays.items()}
    arrays |= {name: np.repeat(one, ROWS, 0) for name, one in arrays.items() if name.startswith("initial")}
    states = [name if name in arrays else "" for name in ("initial_h", "initial_c")][: 1 + (op == "LSTM")]
    layer = helper.make_node(
        op, ["x", "W", "R", "B", "", *states], ["Y", "Y_h"], name="layer", hidden_size=HIDDEN, layout=1,
        direction="bidirectional" if count == 2 else "forward",
    )  # fmt: skip
    nodes = [helper.make_node(kind, given, [out], name=out, **more) for kind, given, out, more in behind]
    weights = [numpy_helper.from_array(np.array(one, order="C"), name) for name, one in arrays.items()]
    sizes = [ROWS, STEPS, INPUTS] if fixed or initial else ["batch", "time", INPUTS]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)
    made = helper.make_graph([layer, *nodes], "graph", [given], [helper.make_empty_tensor_value_info("y")], weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("op", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("case", BEHIND)
def test_a_layer_that_has_the_batch_first_is_read(case: str, op: str, initial: bool, tmp_path: Path) -> None:
    model = graph(op, BEHIND[case], 1, initial=initial)
    (wanted,) = ReferenceEvaluator(model).run(None, {"x": GIVEN})
    assert isinstance(wanted, np.ndarray)
    network = convert.read(saved(tmp_path / "one.onnx", model))
    got = convert.run(network, GIVEN.swapaxes(0, 1))
    wanted = wanted.swapaxes(0, 1) if wanted.ndim == 3 and case != "time first" else wanted
    np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("case", BOTH)
def test_two_directions_that_have_the_batch_first_are_read(case: str, tmp_path: Path) -> None:
    """ONNX's reference runs one direction alone: the two are held to a layer of each."""
    model = graph("GRU", BOTH[case], 2)
    arrays = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    halves = [
        convert.read(saved(tmp_path / "half.onnx", _half(model, arrays, place, case == "the last states")))
        for place in (0, 1)
    ]
    x = GIVEN.swapaxes(0, 1)
    wanted = np.concatenate([convert.run(one, x) for one in halves], axis=-1)
    if case in ("side by side", "flattened"):
        wanted = wanted.swapaxes(0, 1).reshape(ROWS, -1)
    got = convert.run(convert.read(saved(tmp_path / "one.onnx", model)), x)
    np.testing.assert_allclose(got, wanted, atol=1e-12)


def _half(model: onnx.ModelProto, arrays: dict[str, np.ndarray], place: int, final: bool) -> onnx.ModelProto:
    """One direction of a layer by itself."""
    half = graph("GRU", BEHIND["the last state" if final else "squeezed"], 1)
    for one in half.graph.initializer:
        if one.name in "WRB":
            one.CopyFrom(numpy_helper.from_array(arrays[one.name][place : place + 1], one.name))
    direction = next(one for one in half.graph.node[0].attribute if one.name == "direction")
    direction.s = b"reverse" if place else b"forward"
    return half


def test_a_proof_says_why_there_is_none(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    path = saved(tmp_path / "one.onnx", graph("GRU", BEHIND["squeezed"], 1))
    report = convert.convert(path, tmp_path / "again.onnx")
    assert report.notes == (
        "one.onnx: not proved by ONNX Runtime: it does not run recurrent operators of layout=1, the batch first",
    )
    assert "again.onnx, run by ONNX Runtime" in report.differences


def test_a_reshape_that_mixes_names_the_axes(tmp_path: Path) -> None:
    model = graph("GRU", [("Reshape", ["Y", "other"], "y", {})], 1)
    with pytest.raises(ConversionError) as caught:
        convert.read(saved(tmp_path / "one.onnx", model))
    assert caught.value.got == f"axes batch, time, directions, features to ({ROWS}, {STEPS * HIDDEN}, 1)"
