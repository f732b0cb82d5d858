"""Two nodes of one direction each that read the same: one layer of two directions, or a branch that is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from gatewright import convert
from gatewright.convert import onnx_files
from gatewright.errors import ConversionError
from tests.convert.onnx_models import HIDDEN, arrays_of, saved
from tests.convert.test_onnx_forms import GIVEN, graph, node, with_constants
from tests.convert.test_onnx_operators import runtime

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")


def two_nodes(*behind: onnx.NodeProto, backwards_first: bool = False, **other: Any) -> onnx.ModelProto:
    """A node of each direction, both of `x`; what they give is `fore`, `fore_h`, `aft`, `aft_h`."""
    model = graph()
    arrays = {f"{name}2": array for name, array in arrays_of("GRU", 1, seed=5).items()}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    options = {"hidden_size": HIDDEN, "direction": "reverse", **other}
    layers = [
        node("fore, fore_h = GRU(x, W, R, B)", hidden_size=HIDDEN),
        node("aft, aft_h = GRU(x, W2, R2, B2)", **options),
    ]
    del model.graph.node[:]
    model.graph.node.extend([*(layers[::-1] if backwards_first else layers), *behind])
    return with_constants(model)


SQUEEZED = [node("fore_steps = Squeeze(fore, i_1)"), node("aft_steps = Squeeze(aft, i_1)")]
TWO: dict[str, onnx.ModelProto] = {
    "side by side": two_nodes(*SQUEEZED, node("y = Concat(fore_steps, aft_steps)", axis=2)),
    "backwards first": two_nodes(*SQUEEZED, node("y = Concat(fore_steps, aft_steps)", axis=-1), backwards_first=True),
    "along their own axis": two_nodes(
        node("both = Concat(fore, aft)", axis=1), node("turned = Transpose(both)", perm=[0, 2, 1, 3]),
        node("y = Reshape(turned, sides)"),
    ),
    "the last states": two_nodes(
        node("a = Squeeze(fore_h, i_0)"), node("b = Squeeze(aft_h, i_0)"), node("y = Concat(a, b)", axis=1),
    ),
    "their sum": two_nodes(*SQUEEZED, node("y = Add(aft_steps, fore_steps)")),
    "the sum of the same step": two_nodes(
        *SQUEEZED, node("a = Slice(fore_steps, i_1, i_2, i_0)"), node("b = Slice(aft_steps, i_1, i_2, i_0)"),
        node("c = Squeeze(a, i_0)"), node("d = Squeeze(b, i_0)"), node("y = Add(c, d)"),
    ),
    "other activations": two_nodes(
        *SQUEEZED, node("y = Concat(fore_steps, aft_steps)", axis=2), activations=["HardSigmoid", "Relu"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TWO)
def test_a_node_of_each_direction_is_one_layer(case: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "one.onnx", TWO[case])
    network = convert.read(path)
    (layer,) = network.recurrent
    assert (len(network.parts) - (case == "the sum of the same step"), len(layer.directions)) == (1, 2)
    (wanted,) = runtime(path, x=GIVEN)
    np.testing.assert_allclose(convert.run(network, GIVEN), wanted, rtol=2e-5, atol=2e-6)
    convert.write(network, tmp_path / "again.onnx")
    np.testing.assert_allclose(onnx_files.run(tmp_path / "again.onnx", GIVEN), wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (two_nodes(*SQUEEZED, node("y = Identity(aft_steps)")), "one of two directions"),
        (two_nodes(*SQUEEZED, node("y = Identity(fore_steps)")), "one of two directions"),
        (two_nodes(*SQUEEZED, node("y = Concat(aft_steps, fore_steps)", axis=2)), "forwards first"),
        (two_nodes(*SQUEEZED, node("y = Identity(aft_steps)"), linear_before_reset=1), "of another kind or size"),
        (two_nodes(*SQUEEZED, node("y = Identity(aft_steps)"), direction="forward"), "the network branches"),
    ],
    ids=["the second", "the first", "in the wrong order", "of another kind", "forwards too"],
)
def test_nodes_that_are_not_one_layer_are_refused(model: onnx.ModelProto, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=reason):
        convert.read(saved(tmp_path / "one.onnx", model))
