"""Graphs around the operators, as exporters write them: what is read of them, and what is refused by name."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from gatewright import convert
from gatewright.convert import onnx_files
from gatewright.errors import ConversionError
from gatewright.network import (
    Activation,
    BatchNorm,
    Dense,
    Embedding,
    LayerNorm,
    Network,
    OneHot,
    RecurrentPart,
    Reshape,
    Reverse,
    TakeStep,
)
from tests.convert.onnx_models import HIDDEN, INPUTS, arrays_of, saved

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

FEATURES = np.random.default_rng(2).standard_normal((6, 3, INPUTS)).astype(np.float32)
SYMBOLS = np.random.default_rng(3).integers(0, 7, (6, 3))


class Model(torch.nn.Module):
    """A recurrent layer between what models have around it."""

    def __init__(self, kind: str, *, embed: bool = False, last: str = "", head: bool = True, **options: Any) -> None:
        super().__init__()
        self.scale = None if (scale := options.pop("scale", None)) is None else torch.tensor(scale)
        self.embed = torch.nn.Embedding(7, INPUTS) if embed else torch.nn.Identity()
        self.layer = getattr(torch.nn, kind)(INPUTS, 5, **options)
        self.dropout = torch.nn.Dropout(0.5)
        self.head = torch.nn.Linear(5 * (1 + self.layer.bidirectional), 2) if head else torch.nn.Identity()
        self.last = last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Every step or the last."""
        if self.scale is not None:
            x = (x - self.scale[0]) / self.scale[1]
        every, final = self.layer(self.embed(x))
        final = final[0] if isinstance(final, tuple) else final
        match self.last:
            case "step":
                every = every[:, -1] if self.layer.batch_first else every[-1]
            case "mean":
                every = every.mean(int(self.layer.batch_first))
            case "greatest":
                every = every.amax(int(self.layer.batch_first))
            case "state":
                every = final[-1]
            case "states":
                every = torch.cat([final[-2], final[-1]], -1)
        return torch.tanh(self.head(self.dropout(every))) if isinstance(self.head, torch.nn.Linear) else every


def exported(path: Path, model: torch.nn.Module, example: torch.Tensor, **options: Any) -> Path:
    """The file that PyTorch's exporter writes, which warns of itself."""
    axes = {"x": {0: "first", 1: "second"}} if options.pop("dynamic", True) else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(), (example,), str(path), dynamo=False, input_names=["x"], dynamic_axes=axes, **options
        )
    return path


MODELS: dict[str, dict[str, Any]] = {
    "rnn": {"kind": "RNN"},
    "relu": {"kind": "RNN", "nonlinearity": "relu", "bias": False},
    "gru of symbols": {"kind": "GRU", "embed": True},
    "two layers both ways": {"kind": "GRU", "num_layers": 2, "bidirectional": True},
    "lstm, batch first": {"kind": "LSTM", "batch_first": True, "num_layers": 2, "dropout": 0.1},
    "lstm of symbols, batch first, both ways": {
        "kind": "LSTM",
        "batch_first": True,
        "bidirectional": True,
        "embed": True,
    },
    "the last step": {"kind": "GRU", "last": "step", "batch_first": True},
    "the last state": {"kind": "LSTM", "last": "state", "num_layers": 2},
    "both last states": {"kind": "LSTM", "last": "states", "bidirectional": True},
    "the mean": {"kind": "GRU", "last": "mean", "bidirectional": True},
    "the greatest, batch first": {"kind": "LSTM", "last": "greatest", "batch_first": True},
    "scaled": {"kind": "GRU", "scale": [[0.5, -1.0, 2.0], [0.3, 2.0, 7.0]]},
    "no head": {"kind": "LSTM", "head": False},
}


@pytest.mark.parametrize("dynamic", [True, False], ids=["dynamic", "static"])
@pytest.mark.parametrize("case", MODELS)
def test_what_pytorch_exports_is_read_and_written_again(case: str, dynamic: bool, tmp_path: Path) -> None:
    torch.manual_seed(4)
    options = MODELS[case]
    model = Model(**options)
    inputs = SYMBOLS if options.get("embed") else FEATURES
    example = torch.from_numpy(inputs.swapaxes(0, 1) if options.get("batch_first") else inputs)
    path = exported(tmp_path / "model.onnx", model, example, dynamic=dynamic)
    wanted = model(example).detach().numpy()
    wanted = wanted.swapaxes(0, 1) if options.get("batch_first") and wanted.ndim == 3 else wanted
    network = convert.read(path)
    np.testing.assert_allclose(convert.run(network, inputs), wanted, atol=1e-6)
    np.testing.assert_allclose(onnx_files.run(path, inputs), wanted, atol=1e-6)
    convert.write(network, tmp_path / "again.onnx")
    np.testing.assert_allclose(onnx_files.run(tmp_path / "again.onnx", inputs), wanted, atol=1e-6)


def test_weights_that_were_not_put_together_are_put_together(tmp_path: Path) -> None:
    torch.manual_seed(4)
    model = Model("LSTM", bidirectional=True)
    path = exported(tmp_path / "model.onnx", model, torch.from_numpy(FEATURES), do_constant_folding=False)
    assert {"Slice", "Concat"} <= {node.op_type for node in onnx.load(path).graph.node}
    wanted = model(torch.from_numpy(FEATURES)).detach().numpy()
    np.testing.assert_allclose(convert.run(convert.read(path), FEATURES), wanted, atol=1e-6)


def test_states_that_are_given_are_told_of(tmp_path: Path) -> None:
    class Stateful(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.GRU(INPUTS, 5, num_layers=2)

        def forward(self, x: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.layer(x, h)

    model, path = Stateful().eval(), tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = (torch.from_numpy(FEATURES), torch.zeros(2, 3, 5))
        torch.onnx.export(model, example, str(path), dynamo=False, input_names=["x", "h"], output_names=["y", "h_n"])
    network = convert.read(path)
    assert network.notes == (
        "initial states are given to the graph as 'h': they are zero here",
        "output 'h_n' is not read",
    )
    np.testing.assert_allclose(convert.run(network, FEATURES), model(*example)[0].detach().numpy(), atol=1e-6)


def network_of(*around: str) -> Network:
    """A network with a recurrent layer that PyTorch could have, and parts around it."""
    generator = np.random.default_rng(5)

    def random(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape).astype(np.float32)

    gates = "rzn"
    directions = tuple(
        {f"W.{gate}": random(4, INPUTS) for gate in gates}
        | {f"U.{gate}": random(4, 4) for gate in gates}
        | {f"b.{gate}": random(4) for gate in gates}
        | {"bh.n": random(4)}
        for _ in range(2)
    )
    made: dict[str, Any] = {
        "symbols": Embedding(random(7, INPUTS)),
        "units": OneHot(INPUTS),
        "first": Dense(random(INPUTS, INPUTS), random(INPUTS), "tanh"),
        "both": RecurrentPart(convert.CellConfig("gru", reset="after"), directions),
        "backwards": RecurrentPart(convert.CellConfig("gru", reset="before"), directions[:1], backwards=True),
        "last": RecurrentPart(convert.CellConfig("gru", reset="before"), directions, returns="last"),
        "softmax": Dense(random(5, 8), None, "softmax"),
        "elu": Dense(random(5, 4), random(5), "elu"),
        "hard": Dense(random(5, 4), random(5), "hard_sigmoid_theano"),
        "relu": Activation("relu"),
        "slow": Activation("hard_sigmoid_keras3"),
        "turn": Reverse(),
        "middle": TakeStep(2),
        "flat": Reshape((6 * 8,)),
        "behind": Dense(random(2, 6 * 8), random(2)),
        "sum": RecurrentPart(convert.CellConfig("gru", reset="after"), directions, merge="sum"),
        "mean": RecurrentPart(convert.CellConfig("gru", reset="after"), directions, merge="ave", returns="last"),
        "scale": BatchNorm(random(8), random(8) ** 2, 1e-3, random(8), random(8)),
        "norm": LayerNorm(1e-3, random(8), random(8)),
    }
    return Network(tuple(made[name] for name in around))


@pytest.mark.parametrize(
    "around",
    [
        ("both", "softmax"),
        ("symbols", "last"),
        ("units", "last", "softmax"),
        ("first", "backwards", "elu", "slow"),
        ("backwards", "relu", "hard"),
        ("slow", "both"),
        ("turn", "both", "scale", "turn", "norm"),
        ("both", "middle", "softmax"),
        ("sum", "elu"),
        ("mean", "hard"),
        ("both", "flat", "behind", "relu"),
    ],
    ids=str,
)
def test_a_network_is_written_for_any_batch_and_any_number_of_steps(around: tuple[str, ...], tmp_path: Path) -> None:
    network, path = network_of(*around), tmp_path / "model.onnx"
    convert.write(network, path)
    generator = np.random.default_rng(6)
    again = convert.read(path)
    for steps, batch in ((6, 1) if {"flat", "middle"} & {*around} else (1, 1), (6, 3)):
        inputs = generator.integers(0, INPUTS, (steps, batch))
        if around[0] not in ("symbols", "units"):
            inputs = generator.standard_normal((steps, batch, INPUTS)).astype(np.float32)
        wanted = convert.run(network, inputs)
        np.testing.assert_allclose(onnx_files.run(path, inputs), wanted, atol=1e-6)
        # Statistics of training are taken together with what follows them, in single precision.
        np.testing.assert_allclose(convert.run(again, inputs), wanted, atol=1e-7 if "scale" in around else 1e-12)


def graph_of(*nodes: onnx.NodeProto, output: str = "out", **more: np.ndarray) -> onnx.ModelProto:
    """A GRU and what is behind it. Constants: those of the GRU, `matrix`, `vector`, and `more`."""
    generator = np.random.default_rng(7)
    arrays = arrays_of("GRU", 1) | more
    arrays |= {"matrix": generator.standard_normal((HIDDEN, 2)), "vector": generator.standard_normal(2)}
    arrays = {name: array.astype(np.float32) if array.dtype.kind == "f" else array for name, array in arrays.items()}
    layer = helper.make_node("GRU", ["X", "W", "R", "B"], ["Y", "Y_h"], name="layer", hidden_size=HIDDEN)
    flat = helper.make_node("Squeeze", ["Y", "one"], ["steps"], name="flat")
    weights = [numpy_helper.from_array(array, name) for name, array in {**arrays, "one": np.array([1])}.items()]
    given = helper.make_tensor_value_info("X", TensorProto.FLOAT, ["time", "batch", INPUTS])
    end = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    graph = helper.make_graph([layer, flat, *nodes], "graph", [given], [end], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def node(op: str, *inputs: str, name: str = "here", out: str = "out", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [out], name=name, **attributes)


REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "an operator of something else": (lambda: graph_of(node("Sin", "steps")), "here.*Sin.*no part of a network"),
    "somebody's own operator": (lambda: graph_of(node("Fast", "steps", domain="mine")), "here.*none of ONNX's"),
    "a function that is none of ours": (
        lambda: graph_of(node("Mul", "steps", "steps", out="square"), node("Neg", "square")),
        "'out': it computes a function of each number that is none of those that are known",
    ),
    "a sum of unlike streams": (
        lambda: graph_of(
            node("Tanh", "steps", out="tanh"), node("Add", "steps", "tanh", out="sum"), node("Erf", "sum")
        ),
        "'out': it computes a function of each number",
    ),
    "a second reader of a product": (
        lambda: graph_of(
            node("MatMul", "steps", "matrix", out="product", name="product"),
            node("Add", "product", "vector", out="sum", name="sum"),
            node("Tanh", "product"),
        ),
        "'out': .*the network branches",
    ),
    "two heads in a row from one value": (
        lambda: graph_of(
            node("MatMul", "steps", "matrix", out="one head", name="first"), node("MatMul", "steps", "matrix")
        ),
        "here.*the network branches",
    ),
    "a softmax over time": (
        lambda: graph_of(node("MatMul", "steps", "matrix", out="p", name="p"), node("Softmax", "p", axis=0)),
        "here.*another axis",
    ),
    "a step that is kept as an axis": (
        lambda: graph_of(
            node("Slice", "steps", "start", "end", "time"),
            start=np.array([-1]),
            end=np.array([2**62]),
            time=np.array([0]),
        ),
        "axis of one step|its axes are",
    ),
    "a matrix that is computed": (lambda: graph_of(node("MatMul", "steps", "steps")), "here.*matrix is no constant"),
    "a transposed product": (lambda: graph_of(node("Gemm", "steps", "matrix", transA=1)), "here.*scales or transposes"),
    "a shape that mixes": (
        lambda: graph_of(node("Reshape", "steps", "shape"), shape=np.array([-1, HIDDEN])),
        "output 'out': its axes are 0 \\* 1, features",
    ),
    "dropout in training": (
        lambda: graph_of(node("Dropout", "steps", "ratio", "training"), ratio=np.array(0.5), training=np.array(True)),
        "here.*at random",
    ),
    "a mean of features": (
        lambda: graph_of(node("ReduceMean", "steps", axes=[2], keepdims=0)),
        "here.*another axis than time",
    ),
    "a mean that keeps its axis": (lambda: graph_of(node("ReduceMean", "steps", axes=[0])), "here.*or keeps it"),
    "a difference from what is no vector": (
        lambda: graph_of(node("Sub", "steps", "matrix")),
        "here.*bias does not fit",
    ),
    "a constant less the steps": (lambda: graph_of(node("Sub", "vector", "steps")), "here.*does not read what flows"),
    "a division by zero": (
        lambda: graph_of(node("Div", "steps", "zeros"), zeros=np.zeros(HIDDEN, np.float32)),
        "here.*divides by zero",
    ),
    "no output of the network": (lambda: graph_of(output="W"), "no output of the graph"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_network_is_refused_with_the_name_of_the_node(case: str, tmp_path: Path) -> None:
    model, reason = REFUSED[case]
    with pytest.raises(ConversionError, match=reason):
        convert.read(saved(tmp_path / "model.onnx", model()))


def test_a_graph_without_recurrent_operators_is_refused(tmp_path: Path) -> None:
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])
    model = helper.make_model(helper.make_graph([node("Identity", "x")], "graph", [info], [out]))
    with pytest.raises(ConversionError, match="no recurrent operator"):
        convert.read(saved(tmp_path / "model.onnx", model))


def test_the_last_step_of_two_directions_is_not_their_last_states(tmp_path: Path) -> None:
    torch.manual_seed(4)
    model = Model("GRU", bidirectional=True, last="step")
    path = exported(tmp_path / "model.onnx", model, torch.from_numpy(FEATURES))
    network = convert.read(path)
    assert TakeStep(-1) in network.parts
    wanted = model(torch.from_numpy(FEATURES)).detach().numpy()
    np.testing.assert_allclose(convert.run(network, FEATURES), wanted, atol=1e-6)
    convert.write(network, tmp_path / "again.onnx")
    np.testing.assert_allclose(onnx_files.run(tmp_path / "again.onnx", FEATURES), wanted, atol=1e-6)


def beside(path: Path, location: str = "weights") -> onnx.ModelProto:
    """A model whose weights lie in another file."""
    onnx.save(graph_of(output="steps"), path, save_as_external_data=True, location="weights", size_threshold=60)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for one in tensor.external_data:
            one.value = location if one.key == "location" else one.value
    return model


def test_weights_in_a_file_beside_it_are_read(tmp_path: Path) -> None:
    model = beside(tmp_path / "model.onnx")
    network = convert.read(saved(tmp_path / "model.onnx", model))
    np.testing.assert_allclose(
        convert.run(network, FEATURES), onnx_files.run(tmp_path / "model.onnx", FEATURES), atol=1e-6
    )


@pytest.mark.parametrize("location", ["../weights", "/etc/hostname", "folder/weights", "", "..", "link", "none"])
def test_no_file_elsewhere_is_read(location: str, tmp_path: Path) -> None:
    model = beside(tmp_path / "model.onnx", location)
    (tmp_path / "link").symlink_to(tmp_path / "weights")
    path = tmp_path / "again.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ConversionError, match="which is not beside this one"):
        convert.read(path)


@pytest.mark.parametrize("what", ["cut short", "too far", "not a number", "read again and again"])
def test_weights_that_are_not_where_they_should_be_are_refused(what: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = beside(path)
    match what:
        case "cut short":
            (tmp_path / "weights").write_bytes((tmp_path / "weights").read_bytes()[:100])
        case "read again and again":
            for _ in range(3):
                model.graph.initializer.extend(list(model.graph.initializer))
        case _:
            for one in model.graph.initializer[0].external_data:
                one.value = {"too far": "9999999", "not a number": "-4"}[what] if one.key == "offset" else one.value
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ConversionError, match="where it should be|does not hold"):
        convert.read(path)


def test_a_mask_is_refused_in_writing(tmp_path: Path) -> None:
    network = network_of("both")
    with pytest.raises(ConversionError, match="know no mask"):
        convert.write(Network((convert.Masking(0.0), *network.parts)), tmp_path / "model.onnx")
