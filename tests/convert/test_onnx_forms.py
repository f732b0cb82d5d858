"""Nodes around recurrent operators in the forms that exporters give them: each read as what ONNX Runtime computes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
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
    RecurrentPart,
    Reshape,
    Reverse,
    TakeStep,
)
from tests.convert.onnx_models import HIDDEN, INPUTS, arrays_of, saved
from tests.convert.test_onnx_operators import runtime

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

STEPS, ROWS = 6, 3
GIVEN = np.random.default_rng(1).standard_normal((STEPS, ROWS, INPUTS)).astype(np.float32)
GENERATOR = np.random.default_rng(8)
CONSTANTS: dict[str, Any] = {
    "matrix": GENERATOR.standard_normal((HIDDEN, 2)),
    "wide": GENERATOR.standard_normal((2 * HIDDEN, 2)),
    "bias": GENERATOR.standard_normal(2),
    "gain": GENERATOR.standard_normal(HIDDEN),
    "shift": GENERATOR.standard_normal(HIDDEN),
    "spread": GENERATOR.random(HIDDEN) + 0.5,
    "half": np.array(0.5),
    "two": np.array(2.0),
    "root": np.array(np.sqrt(2)),
    "unit": np.array(1.0),
    "three": np.array(3.0),
    "six": np.array(6.0),
    "i_-1": np.array([-1]),
    "i_0": np.array([0]),
    "i_1": np.array([1]),
    "i_2": np.array([2]),
    "end": np.array([2**31 - 1]),
    "start": np.array([-(2**31)]),
    "rows": np.array([-1, HIDDEN]),
    "back": np.array([STEPS, ROWS, 2]),
    "flat": np.array([-1, STEPS * HIDDEN]),
    "place": np.array(2),
    "free": np.array([0, 1]),
    "out_size": np.array([2]),
    "ones": np.array([1, 1]),
    "lengths": np.full(ROWS, STEPS),
}


def node(text: str, **attributes: Any) -> onnx.NodeProto:
    """One node: `out, out = Op(in, in)`; an operand that is left out is `-`."""
    outputs, _, call = text.partition(" = ")
    op, _, inputs = call.removesuffix(")").partition("(")
    named = ["" if one == "-" else one for one in inputs.split(", ")]
    return helper.make_node(op, named, outputs.split(", "), name=outputs, **attributes)


def graph(
    *nodes: onnx.NodeProto,
    direction: str = "forward",
    x: str = "x",
    fixed: bool = False,
    opset: int = 20,
    op: str = "GRU",
) -> onnx.ModelProto:
    """Nodes around a layer of `x`, which gives `every` and `final`; of one direction, `steps` is without its axis."""
    count = 1 + (direction == "bidirectional")
    layer = node(f"every, final = {op}({x}, W, R, B)", hidden_size=HIDDEN, direction=direction)
    squeeze = [node("steps = Squeeze(every, i_1)")] if count == 1 else []
    before = [one for one in nodes if x in one.output or one.name.startswith("before")]
    arrays = {**CONSTANTS, **arrays_of(op, count)}
    arrays = {name: np.asarray(one, np.float32) if one.dtype.kind == "f" else one for name, one in arrays.items()}
    weights = [numpy_helper.from_array(one, name) for name, one in arrays.items()]
    sizes = [STEPS, ROWS, INPUTS] if fixed else ["time", "batch", INPUTS]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)
    end = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    behind = [one for one in nodes if one not in before]
    made = helper.make_graph([*before, layer, *squeeze, *behind], "graph", [given], [end], weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def with_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every constant that was named after it was made."""
    held = {one.name for one in model.graph.initializer}
    for name, array in CONSTANTS.items():
        if name not in held:
            kept = np.asarray(array, np.float32) if array.dtype.kind == "f" else array
            model.graph.initializer.append(numpy_helper.from_array(kept, name))
    return model


GELU = [
    node("part = Div(steps, root)"),
    node("erf = Erf(part)"),
    node("more = Add(erf, unit)"),
    node("twice = Mul(steps, more)"),
    node("y = Mul(twice, half)"),
]
TENSORDOT = [
    node("sizes = Shape(steps)"),
    node("kept = Gather(sizes, free)"),
    node("count = ReduceProd(kept)", keepdims=0),
    node("alone = Unsqueeze(count, i_0)"),
    node("two_axes = Concat(alone, hidden_size)", axis=0),
    node("below = Reshape(steps, two_axes)"),
    node("product = MatMul(below, matrix)"),
    node("three_axes = Concat(kept, out_size)", axis=0),
    node("again = Reshape(product, three_axes)"),
    node("y = Add(again, bias)"),
]
CONSTANTS["hidden_size"] = np.array([HIDDEN])
BOTH_ENDS = [
    node("one_way = Slice(every, i_0, i_1, i_1)"),
    node("one_steps = Squeeze(one_way, i_1)"),
    node("other_way = Slice(every, i_1, i_2, i_1)"),
    node("other_steps = Squeeze(other_way, i_1)"),
]
WHOLE: dict[str, tuple[onnx.ModelProto, list[type[Any]]]] = {
    "the last step up to an int32": (
        graph(node("last = Slice(steps, i_-1, end, i_0)"), node("y = Squeeze(last, i_0)")), [RecurrentPart],
    ),
    "the third step": (graph(node("y = Gather(steps, place)", axis=0)), [RecurrentPart, TakeStep]),
    "the last step behind a turn": (
        graph(
            node("turned = Slice(steps, i_-1, start, i_0, i_-1)"), node("last = Slice(turned, i_-1, end, i_0)"),
            node("y = Squeeze(last, i_0)"),
        ),
        [RecurrentPart, Reverse, TakeStep],
    ),
    "the first step of a layer that goes backwards": (
        graph(node("first = Slice(steps, i_0, i_1, i_0)"), node("y = Squeeze(first, i_0)"), direction="reverse"),
        [RecurrentPart],
    ),
    "both ends of two directions": (
        graph(
            *BOTH_ENDS,
            node("one_end = Slice(one_steps, i_-1, end, i_0)"), node("one_last = Squeeze(one_end, i_0)"),
            node("other_end = Slice(other_steps, i_0, i_1, i_0)"), node("other_last = Squeeze(other_end, i_0)"),
            node("y = Concat(one_last, other_last)", axis=1), direction="bidirectional",
        ),
        [RecurrentPart],
    ),
    "the sum of two directions": (
        graph(*BOTH_ENDS, node("y = Add(one_steps, other_steps)"), direction="bidirectional"), [RecurrentPart],
    ),
    "the mean of two directions": (
        graph(
            *BOTH_ENDS, node("sum = Add(other_steps, one_steps)"), node("y = Mul(sum, half_each)"),
            direction="bidirectional",
        ),
        [RecurrentPart],
    ),
    "the product of two directions": (
        graph(*BOTH_ENDS, node("y = Mul(one_steps, other_steps)"), direction="bidirectional"), [RecurrentPart],
    ),
    "a dense layer of all steps below one another": (graph(*TENSORDOT), [RecurrentPart, Dense]),
    "the same of fixed sizes": (
        graph(
            node("below = Reshape(steps, rows)"), node("product = MatMul(below, matrix)"),
            node("again = Reshape(product, back)"), node("y = Relu(again)"), fixed=True,
        ),
        [RecurrentPart, Dense],
    ),
    "steps side by side": (
        graph(node("turned = Transpose(steps)", perm=[1, 0, 2]), node("y = Flatten(turned)"), fixed=True),
        [RecurrentPart, Reshape],
    ),
    "steps side by side, by a Reshape": (
        graph(node("turned = Transpose(steps)", perm=[1, 0, 2]), node("y = Reshape(turned, flat)"), fixed=True),
        [RecurrentPart, Reshape],
    ),
    "steps in reverse by a Slice": (
        graph(node("b = Slice(x, i_-1, start, i_0, i_-1)"), node("y = Identity(steps)"), x="b"),
        [Reverse, RecurrentPart],
    ),
    "steps in reverse by ReverseSequence": (
        graph(
            node("before_sizes = Shape(x)"), node("before_rows = Slice(before_sizes, i_1, i_2)"),
            node("before_count = Slice(before_sizes, i_0, i_1)"),
            node("before_all = Expand(before_count, before_rows)"),
            node("b = ReverseSequence(x, before_all)", time_axis=0, batch_axis=1), node("y = Identity(steps)"), x="b",
        ),
        [Reverse, RecurrentPart],
    ),
    "outputs in reverse": (
        graph(node("y = ReverseSequence(steps, lengths)", time_axis=0, batch_axis=1), fixed=True),
        [RecurrentPart, Reverse],
    ),
    "a scale and a shift": (
        graph(node("scaled = Mul(steps, gain)"), node("y = Add(scaled, shift)")), [RecurrentPart, BatchNorm],
    ),
    "a batch normalisation": (
        graph(
            node("turned = Transpose(steps)", perm=[1, 2, 0]),
            node("norm = BatchNormalization(turned, gain, shift, shift, spread)", epsilon=1e-3),
            node("y = Transpose(norm)", perm=[2, 0, 1]),
        ),
        [RecurrentPart, BatchNorm],
    ),
    "a layer normalisation": (
        graph(node("y = LayerNormalization(steps, gain, shift)", epsilon=1e-3)), [RecurrentPart, LayerNorm],
    ),
    "a GELU of several nodes": (graph(*GELU), [RecurrentPart, Activation]),
    "a SiLU of two nodes": (
        graph(node("gate = Sigmoid(steps)"), node("y = Mul(steps, gate)")), [RecurrentPart, Activation],
    ),
    "a hard sigmoid of several nodes": (
        graph(node("more = Add(steps, three)"), node("kept = Clip(more, zero, six)"), node("y = Div(kept, six)")),
        [RecurrentPart, Activation],
    ),
}  # fmt: skip
CONSTANTS |= {"sides": np.array([0, 0, 2 * HIDDEN]), "zero": np.array(0.0), "half_each": np.full(HIDDEN, 0.5)}


@pytest.mark.parametrize("case", WHOLE)
def test_the_form_is_read_as_the_runtime_computes_it(case: str, tmp_path: Path) -> None:
    model, parts = WHOLE[case]
    path = saved(tmp_path / "one.onnx", with_constants(model))
    network = convert.read(path)
    assert [type(part) for part in network.parts] == parts
    (wanted,) = runtime(path, x=GIVEN)
    np.testing.assert_allclose(convert.run(network, GIVEN), wanted, rtol=2e-5, atol=2e-6)


ACTIVATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "Elu": ({"alpha": 0.5}, "elu(0.5)"),
    "Gelu": ({}, "gelu"),
    "HardSigmoid": ({"alpha": 0.3, "beta": 0.4}, "hard_sigmoid(0.3,0.4)"),
    "LeakyRelu": ({}, "leaky_relu(0.01)"),
    "LogSoftmax": ({"axis": -1}, "log_softmax"),
    "Softplus": ({}, "softplus"),
    "Softsign": ({}, "softsign"),
    "ThresholdedRelu": ({"alpha": 0.1}, "thresholded_relu(0.1)"),
}


@pytest.mark.parametrize("behind", ["a layer", "a dense layer"])
@pytest.mark.parametrize("op", ACTIVATIONS)
def test_activations_are_read_and_written_with_their_numbers(op: str, behind: str, tmp_path: Path) -> None:
    attributes, name = ACTIVATIONS[op]
    dense = behind == "a dense layer"
    product = [node("product = MatMul(steps, matrix)")] if dense else []
    model = graph(*product, node(f"y = {op}({'product' if dense else 'steps'})", **attributes))
    path = saved(tmp_path / "one.onnx", model)
    network = convert.read(path)
    last = network.parts[-1]
    assert name == (
        last.activation if isinstance(last, Dense) else last.function if isinstance(last, Activation) else ""
    )
    (wanted,) = runtime(path, x=GIVEN)
    np.testing.assert_allclose(convert.run(network, GIVEN), wanted, rtol=2e-5, atol=2e-6)
    report = convert.convert(path, tmp_path / "again.onnx")
    assert {"one.onnx, run by ONNX Runtime", "again.onnx, run by ONNX Runtime"} < set(report.differences)
    np.testing.assert_allclose(onnx_files.run(tmp_path / "again.onnx", GIVEN), wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("bounds", "name"),
    [("steps, zero, half", "clip(0.0,0.5)"), ("steps, zero", "relu"), ("steps, -, half", "clip(-inf,0.5)")],
)
def test_a_clip_may_be_without_a_bound(bounds: str, name: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "one.onnx", with_constants(graph(node(f"y = Clip({bounds})"))))
    network = convert.read(path)
    last = network.parts[-1]
    assert isinstance(last, Activation)
    assert last.function == name
    (wanted,) = runtime(path, x=GIVEN)
    np.testing.assert_allclose(convert.run(network, GIVEN), wanted, atol=2e-6)
    convert.write(network, tmp_path / "again.onnx")
    np.testing.assert_allclose(onnx_files.run(tmp_path / "again.onnx", GIVEN), wanted, atol=2e-6)


def test_symbols_that_the_graph_compares_are_symbols(tmp_path: Path) -> None:
    """What Keras 3 has before an embedding: symbols below 0 are counted from the end."""
    nodes = [
        node("more = Add(s, seven)"), node("below = Less(s, nought)"), node("held = Not(below)"),
        node("kept = Cast(held)", to=TensorProto.INT32), node("moved = Cast(below)", to=TensorProto.INT32),
        node("one = Mul(s, kept)"), node("other = Mul(moved, more)"), node("both = Add(other, one)"),
        node("x = Gather(table, both)"),
    ]  # fmt: skip
    model = graph(node("y = Identity(steps)"))
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *kept])
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("s", TensorProto.INT32, ["time", "batch"]))
    table = np.random.default_rng(3).standard_normal((7, INPUTS)).astype(np.float32)
    beside = {"table": table, "seven": np.array(7, np.int32), "nought": np.array(0, np.int32)}
    model.graph.initializer.extend(numpy_helper.from_array(one, name) for name, one in beside.items())
    path = saved(tmp_path / "one.onnx", model)
    network = convert.read(path)
    first = network.parts[0]
    assert isinstance(first, Embedding)
    np.testing.assert_array_equal(first.weight, table)
    symbols = np.random.default_rng(3).integers(0, 7, (STEPS, ROWS)).astype(np.int32)
    np.testing.assert_allclose(convert.run(network, symbols), runtime(path, s=symbols)[0], atol=2e-6)


REFUSED: dict[str, tuple[onnx.ModelProto, str]] = {
    "a part of each row turned round": (
        graph(node("y = ReverseSequence(steps, some)", time_axis=0, batch_axis=1)), "reverses a part of each row",
    ),
    "some steps reversed": (graph(node("y = Slice(steps, i_-1, i_1, i_0, i_-1)")), "it reverses a part of the steps"),
    "rows mixed": (graph(node("y = Flatten(steps)"), fixed=True), "mixes rows of the batch"),
    "statistics of the batch": (
        graph(
            node("turned = Transpose(steps)", perm=[1, 2, 0]),
            node("y, m, v = BatchNormalization(turned, gain, shift, shift, spread)", training_mode=1),
        ),
        "statistics from the batch",
    ),
    "a normalisation of steps": (
        graph(node("y = LayerNormalization(steps, gain, shift)", axis=0)), "more than the last axis",
    ),
    "the last step of one direction with the first of the same": (
        graph(
            *BOTH_ENDS, node("a = Slice(one_steps, i_0, i_1, i_0)"), node("first = Squeeze(a, i_0)"),
            node("b = Slice(other_steps, i_-1, end, i_0)"), node("last = Squeeze(b, i_0)"),
            node("y = Concat(first, last)", axis=1), direction="bidirectional",
        ),
        "not the two directions of one layer",
    ),
    "no step": (
        graph(node("none = Slice(steps, i_-1, i_0, i_0)"), node("y = Squeeze(none, i_0)")), "neither a direction",
    ),
    "an operand that is left out": (
        graph(node("cut = Slice(-, i_0, i_1)"), node("y = Add(steps, cut)")), "reads nothing",
    ),
    "too many operands": (graph(node("y = Neg(steps, steps)")), "more or fewer operands"),
    "bounds in the wrong order": (graph(node("y = Clip(steps, half, zero)")), "lower bound is above the upper"),
    "a loop": (
        helper.make_model(
            helper.make_graph(
                [helper.make_node("Scan", ["x"], ["y"], name="cell", num_scan_inputs=1, body=helper.make_graph(
                    [node("b = Identity(a)")], "body",
                    [helper.make_tensor_value_info("a", TensorProto.FLOAT, [2])],
                    [helper.make_tensor_value_info("b", TensorProto.FLOAT, [2])],
                ))],
                "graph", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 2])],
                [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 2])],
            )
        ),
        "node 'cell' \\(Scan\\): its layer is a loop over nodes",
    ),
}  # fmt: skip
CONSTANTS["some"] = np.array([3, 2, 1])


@pytest.mark.parametrize("case", REFUSED)
def test_forms_that_compute_something_else_are_refused(case: str, tmp_path: Path) -> None:
    model, reason = REFUSED[case]
    with pytest.raises(ConversionError, match=reason):
        convert.read(saved(tmp_path / "one.onnx", with_constants(model)))
