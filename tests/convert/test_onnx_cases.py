"""ONNX's own cases of its recurrent operators: our reading, run by the reference, gives what they expect."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from gatewright import convert
from gatewright.network import run_layer
from tests.convert.onnx_models import saved, with_constants

Array = NDArray[Any]

SHARED = (
    "gru_batchwise", "gru_defaults", "gru_seq_length", "gru_with_initial_bias",
    "lstm_batchwise", "lstm_defaults", "lstm_with_initial_bias", "lstm_with_peepholes",
    "rnn_seq_length", "simple_rnn_batchwise", "simple_rnn_defaults", "simple_rnn_with_initial_bias",
)  # fmt: skip


def outputs_of(path: Path, inputs: Array, names: list[str], *, batch_first: bool) -> dict[str, Array]:
    """Y, Y_h and Y_c in the operator's axes, as our reading of the file has them."""
    (layer,) = convert.read(path, "onnx").recurrent
    found = run_layer(layer, inputs.swapaxes(0, 1) if batch_first else inputs)
    every = np.stack([one.output for one in found], axis=1)  # (time, directions, batch, hidden)
    finals = {name: np.stack([one.finals[name] for one in found]) for name in found[0].finals}
    results = {"Y": every, "Y_h": finals["h"], **({"Y_c": finals["c"]} if "c" in finals else {})}
    if batch_first:
        results = {name: np.moveaxis(one, -2, 0) for name, one in results.items()}
    return {name: results[name] for name in names}


def assert_case(model: onnx.ModelProto, inputs: Mapping[str, Array], outputs: Mapping[str, Array], path: Path) -> None:
    """Our reading of a case, with all of its inputs but X as constants of the file, gives its outputs."""
    x = inputs["X"]
    (node,) = model.graph.node
    batch_first = any(one.name == "layout" and one.i for one in node.attribute)
    saved(path, with_constants(model, {name: array for name, array in inputs.items() if name != "X"}))
    got = outputs_of(path, x, list(outputs), batch_first=batch_first)
    assert outputs
    for name, wanted in outputs.items():
        assert got[name].shape == wanted.shape
        np.testing.assert_allclose(got[name], wanted, rtol=2e-6, atol=2e-7, err_msg=name)


@pytest.mark.parametrize("case", SHARED)
def test_a_case_of_the_standard_gives_what_it_expects(case: str, shared_weights: Path, tmp_path: Path) -> None:
    folder = shared_weights / "onnx-node" / f"test_{case}"
    model = onnx.load(folder / "model.onnx")
    names = {"input": [one.name for one in model.graph.input], "output": [one.name for one in model.graph.output]}
    tensors = {
        kind: {
            name: numpy_helper.to_array(onnx.load_tensor(str(folder / "test_data_set_0" / f"{kind}_{index}.pb")))
            for index, name in enumerate(named)
        }
        for kind, named in names.items()
    }
    assert_case(model, tensors["input"], tensors["output"], tmp_path / "case.onnx")


def packaged(op: str, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, onnx.NodeProto, list[Array], list[Array]]]:
    """The cases of an operator that the installed package makes."""
    module = import_module(f"onnx.backend.test.case.node.{op.lower()}")
    found: list[tuple[str, onnx.NodeProto, list[Array], list[Array]]] = []
    monkeypatch.setattr(
        module, "expect", lambda node, inputs, outputs, name: found.append((name, node, inputs, outputs))
    )
    np.random.seed(0)
    for name, make in vars(getattr(module, op)).items():
        if name.startswith("export"):
            make.__func__()
    return found


@pytest.mark.parametrize("op", ["GRU", "LSTM", "RNN"])
def test_every_case_of_the_installed_package_gives_what_it_expects(
    op: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cases = packaged(op, monkeypatch)
    assert len(cases) >= 4
    for name, node, inputs, outputs in cases:
        given = dict(zip([one for one in node.input if one], inputs, strict=True))
        expected = dict(zip([one for one in node.output if one], outputs, strict=True))
        infos = [
            onnx.helper.make_tensor_value_info(one, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for one, a in given.items()
        ]
        ends = [onnx.helper.make_tensor_value_info(one, onnx.TensorProto.FLOAT, a.shape) for one, a in expected.items()]
        graph = onnx.helper.make_graph([node], name, infos, ends)
        assert_case(onnx.helper.make_model(graph), given, expected, tmp_path / f"{name}.onnx")
