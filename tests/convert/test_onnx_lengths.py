"""Lengths of rows in ONNX: given to the graph, or numbers in the file; read, run, proved, written again, or refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gatewright import convert
from gatewright.convert import onnx_files
from gatewright.errors import ConversionError
from tests.convert.onnx_models import HIDDEN, INPUTS, arrays_of, model_of, saved
from tests.convert.test_onnx_operators import COUNTS, GIVEN, runtime

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

NOTE = (
    "lengths are given to the graph as 'sequence_lens', which OpenVINO 2026.4 does not heed in layers of one direction"
)


def with_lengths(path: Path, direction: str = "forward", op: str = "LSTM") -> Path:
    """A layer whose lengths are an input of the graph."""
    given = ("X", "sequence_lens")
    return saved(path, model_of(op, arrays_of(op, COUNTS[direction]), given=given, outputs=("Y",), direction=direction))


@pytest.mark.parametrize("direction", COUNTS)
@pytest.mark.parametrize("op", ["RNN", "GRU", "LSTM"])
def test_lengths_that_are_an_input_stay_one(op: str, direction: str, tmp_path: Path) -> None:
    path = with_lengths(tmp_path / "one.onnx", direction, op)
    report = convert.convert(path, tmp_path / "again.onnx")
    assert NOTE in report.notes
    # The lengths that the runtime is given differ from row to row.
    assert {name for name in report.differences if "ONNX Runtime" in name} == {
        "one.onnx, run by ONNX Runtime",
        "again.onnx, run by ONNX Runtime",
    }
    assert [one.name for one in onnx.load(tmp_path / "again.onnx").graph.input] == ["input", "lengths"]
    wanted = runtime(path, X=GIVEN, sequence_lens=np.array([7, 4], np.int32))[0]
    got = onnx_files.run(tmp_path / "again.onnx", GIVEN, lengths=[7, 4])
    np.testing.assert_array_equal(got, wanted.swapaxes(1, 2).reshape(7, 2, -1))
    assert not got[4:, 1].any()


def test_files_without_a_place_for_lengths_say_so(tmp_path: Path) -> None:
    report = convert.convert(with_lengths(tmp_path / "one.onnx"), tmp_path / "out.npz", target_layout="torch")
    assert "the file has no input for the lengths of rows: give them to what runs it, or all rows are whole" in (
        report.notes
    )


@pytest.mark.parametrize("direction", COUNTS)
def test_lengths_that_stand_in_the_file_are_read_and_written(direction: str, tmp_path: Path) -> None:
    arrays = arrays_of("GRU", COUNTS[direction]) | {"sequence_lens": np.array([7, 4], np.int32)}
    path = saved(tmp_path / "one.onnx", model_of("GRU", arrays, outputs=("Y",), direction=direction))
    network = convert.read(path)
    assert network.lengths == (7, 4)
    wanted = runtime(path, X=GIVEN)[0].swapaxes(1, 2).reshape(7, 2, -1)
    np.testing.assert_allclose(convert.run(network, GIVEN), wanted, atol=2e-6)
    report = convert.convert(path, tmp_path / "again.onnx")
    assert "again.onnx, run by ONNX Runtime" in report.differences
    np.testing.assert_array_equal(onnx_files.run(tmp_path / "again.onnx", GIVEN), wanted)
    with pytest.raises(ConversionError) as caught:
        convert.convert(path, tmp_path / "out.npz", target_layout="torch")
    assert str(caught.value) == (
        "the lengths of the rows stand in the file, and files of torch keep none\n"
        "  expected: lengths that are an input of the graph, or none\n"
        "  got: rows of 7, 4 steps\n"
        "  do: write ONNX, or make sequence_lens an input of the graph"
    )


def test_the_last_state_of_each_row_is_that_at_its_end(tmp_path: Path) -> None:
    arrays = arrays_of("GRU", 2) | {"sequence_lens": np.array([2, 5], np.int32)}
    path = saved(tmp_path / "one.onnx", model_of("GRU", arrays, outputs=("", "Y_h"), direction="bidirectional"))
    network = convert.read(path)
    wanted = runtime(path, X=GIVEN)[0].swapaxes(0, 1).reshape(2, -1)
    np.testing.assert_allclose(convert.run(network, GIVEN), wanted, atol=2e-6)
    convert.write(network, tmp_path / "again.onnx")
    np.testing.assert_allclose(onnx_files.run(tmp_path / "again.onnx", GIVEN), wanted, atol=2e-6)


def two_layers(second: str, *nodes: onnx.NodeProto) -> onnx.ModelProto:
    """Two GRUs, of which the first reads the lengths `l`, and the other what is called `second`."""
    arrays = arrays_of("GRU", 1)
    above = {f"{name}2": one for name, one in arrays_of("GRU", 1, seed=1).items()}
    above["W2"] = np.random.default_rng(2).standard_normal((1, 3 * HIDDEN, HIDDEN)).astype(np.float32)
    weights = [numpy_helper.from_array(one, name) for name, one in {**arrays, **above, "one": np.array([1])}.items()]
    nodes = (
        *nodes,
        helper.make_node("GRU", ["x", "W", "R", "B", "l"], ["Y"], name="first", hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["Y", "one"], ["steps"]),
        helper.make_node("GRU", ["steps", "W2", "R2", "B2", second], ["Z"], name="second", hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["Z", "one"], ["out"]),
    )
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["time", "batch", INPUTS])]
    given += [helper.make_tensor_value_info(name, TensorProto.INT32, ["batch"]) for name in ("l", "k")]
    end = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "graph", given, [end], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_two_layers_of_the_same_lengths_are_read(tmp_path: Path) -> None:
    model = two_layers("l")
    del model.graph.input[2]
    network = convert.read(path := saved(tmp_path / "one.onnx", model))
    wanted = runtime(path, x=GIVEN, l=np.array([7, 4], np.int32))[0]
    np.testing.assert_allclose(convert.run(network, GIVEN, lengths=[7, 4]), wanted, atol=2e-6)


@pytest.mark.parametrize(
    ("second", "reason"),
    [("", "its rows end elsewhere than those of the layers below"), ("k", "its lengths are 'k', .* below 'l'")],
)
def test_two_layers_of_different_lengths_are_refused(second: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=reason) as caught:
        convert.read(saved(tmp_path / "one.onnx", two_layers(second)))
    assert "node 'second' (GRU)" in str(caught.value)


@pytest.mark.parametrize(
    ("lengths", "reason"),
    [
        (np.array([[7, 4]], np.int32), "do not fit the batch"),
        (np.array([7.0, 4.0], np.float32), "do not fit the batch"),
        (np.array([7, 0], np.int32), "are no numbers of steps"),
        (np.array([], np.int32), "are no numbers of steps"),
    ],
    ids=str,
)
def test_numbers_that_are_no_lengths_are_refused(lengths: np.ndarray, reason: str, tmp_path: Path) -> None:
    model = model_of("GRU", arrays_of("GRU", 1) | {"sequence_lens": lengths})
    with pytest.raises(ConversionError, match=f"its sequence_lens {reason}"):
        convert.read(saved(tmp_path / "one.onnx", model))


def test_lengths_that_the_graph_computes_are_refused(tmp_path: Path) -> None:
    model = two_layers("l", helper.make_node("Slice", ["k", "one", "one"], ["cut"]))
    model.graph.node[1].input[4] = "cut"
    with pytest.raises(ConversionError, match="its sequence_lens are computed in the graph"):
        convert.read(saved(tmp_path / "one.onnx", model))


@pytest.mark.parametrize("batch", [2, "batch"])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.FLOAT])
def test_graphs_of_any_type_and_of_fixed_shapes_are_asked_for_a_proof(
    kind: int, batch: int | str, tmp_path: Path
) -> None:
    model = model_of("GRU", arrays_of("GRU", 1), outputs=("Y",), batch=batch, linear_before_reset=1)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    weights = [
        numpy_helper.from_array(numpy_helper.to_array(one).astype(dtype), one.name) for one in model.graph.initializer
    ]
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)
    for one in (*model.graph.input, *model.graph.output):
        one.type.tensor_type.elem_type = kind
    if batch == 2:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 5
    path = saved(tmp_path / "one.onnx", model)
    report = convert.convert(path, tmp_path / "out.npz", target_layout="torch")
    if kind == TensorProto.DOUBLE:
        assert any("one.onnx: not proved by ONNX Runtime: " in note and "double" in note for note in report.notes)
    else:
        assert report.differences["one.onnx, run by ONNX Runtime"] < (4e-3 if kind == TensorProto.FLOAT16 else 1e-5)


def test_a_graph_that_is_given_states_is_proved_with_zeros(tmp_path: Path) -> None:
    arrays = arrays_of("GRU", 1)
    info = helper.make_tensor_value_info("initial_h", TensorProto.FLOAT, [1, "batch", HIDDEN])
    model = model_of("GRU", {**arrays, "initial_h": np.zeros((1, 1, HIDDEN), np.float32)}, linear_before_reset=1)
    model.graph.input.append(info)
    model.graph.initializer.remove(next(one for one in model.graph.initializer if one.name == "initial_h"))
    report = convert.convert(saved(tmp_path / "one.onnx", model), tmp_path / "out.npz", target_layout="torch")
    assert "initial states are given to the graph as 'initial_h': they are zero here" in report.notes
    assert "one.onnx, run by ONNX Runtime" in report.differences
