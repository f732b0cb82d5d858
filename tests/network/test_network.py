"""A network as a whole: what flows from part to part."""

import inspect
from pathlib import Path

import numpy as np
import pytest

from gatewright import convert, export
from gatewright.cell_config.config import CellConfig
from gatewright.convert import onnx_files
from gatewright.errors import ConversionError
from gatewright.export import onnx_check
from gatewright.network import Activation, Dense, LayerNorm, Network, Part, RecurrentPart, Reshape, run
from gatewright.network.part import Flow

INPUTS, HIDDEN = 3, 4


def recurrent() -> RecurrentPart:
    generator = np.random.default_rng(0)
    shapes = {"W.h": (HIDDEN, INPUTS), "U.h": (HIDDEN, HIDDEN), "b.h": (HIDDEN,)}
    arrays = {name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return RecurrentPart(CellConfig("rnn"), (arrays,))


def dense(inputs: int) -> Dense:
    return Dense(np.random.default_rng(inputs).standard_normal((2, inputs)).astype(np.float32))


def kinds(kind: type[Part] = Part) -> list[type[Part]]:
    below = [one for direct in kind.__subclasses__() for one in kinds(direct)]
    return below if inspect.isabstract(kind) else [kind, *below]


def test_every_part_declares_whether_it_needs_steps() -> None:
    assert len(kinds()) > 20
    assert [kind for kind in kinds() if not isinstance(getattr(kind, "needs_steps", None), bool)] == []
    assert not hasattr(Part, "needs_steps")


def test_what_is_known_of_what_each_part_reads() -> None:
    parts = (LayerNorm(1e-3), recurrent(), LayerNorm(1e-3), Reshape((3 * HIDDEN,)), dense(3 * HIDDEN))
    network = Network(parts)
    known = [(INPUTS, None), (INPUTS, None), (HIDDEN, True), (HIDDEN, True), (3 * HIDDEN, False), (2, False)]
    assert network.flows() == [Flow(*flow) for flow in known]
    assert (network.reads, network.output_width) == ((3, INPUTS), 2)


def test_steps_are_known_from_a_reshape_of_all_of_them_alone() -> None:
    parts = (recurrent(), Reshape((-1,)), Activation("relu"), Reshape((2, INPUTS)), recurrent(), Reshape((8,)))
    assert Network(parts).reads == (None, INPUTS)


NORMALISED = {
    "first": (LayerNorm(1e-3), recurrent()),
    "behind a layer": (recurrent(), LayerNorm(1e-3), dense(HIDDEN)),
    "last": (recurrent(), dense(HIDDEN), LayerNorm(1e-3)),
    "behind a Reshape": (recurrent(), Reshape((5 * HIDDEN,)), LayerNorm(1e-3), dense(5 * HIDDEN)),
}


@pytest.mark.parametrize("case", NORMALISED)
def test_a_norm_without_gain_and_bias_as_onnx(case: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    network = Network(NORMALISED[case])
    inputs = np.random.default_rng(1).standard_normal((5, 2, INPUTS)).astype(np.float32)
    wanted = run(network, inputs)
    convert.write(network, tmp_path / "converted.onnx")
    np.testing.assert_allclose(onnx_files.run(tmp_path / "converted.onnx", inputs), wanted, atol=1e-5)
    convert.write(network, tmp_path / "own.safetensors", "gatewright")
    export.onnx(tmp_path / "own.safetensors", tmp_path / "exported.onnx")
    np.testing.assert_allclose(onnx_files.run(tmp_path / "exported.onnx", inputs), wanted, atol=1e-5)


@pytest.mark.parametrize("first", [Reshape((12,)), Reshape((-1,)), Activation("tanh")], ids=str)
def test_rows_of_numbers_without_steps_as_onnx(first: Part, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    network = Network((first, Reshape((12,)), dense(12)))
    inputs = np.random.default_rng(1).standard_normal((3, 12)).astype(np.float32)
    convert.write(network, tmp_path / "own.safetensors", "gatewright")
    written = export.onnx(tmp_path / "own.safetensors", tmp_path / "rows.onnx")
    session = runtime.InferenceSession(written.path)
    np.testing.assert_allclose(session.run(None, {"input": inputs})[0], run(network, inputs), atol=1e-5)
    assert [one.shape[0] for one in (*session.get_inputs(), *session.get_outputs())] == ["batch", "batch"]
    if network.reads == (12,):
        assert all(one.fits for one in onnx_check.differences(tmp_path / "own.safetensors", written.path))


def test_a_norm_of_an_unknown_number_of_features_is_refused_as_onnx(tmp_path: Path) -> None:
    with pytest.raises(ConversionError) as caught:
        convert.write(Network((recurrent(), Reshape((-1,)), LayerNorm(1e-3))), tmp_path / "one.onnx")
    assert str(caught.value) == (
        "ONNX's LayerNormalization needs the number of features, which is not known here\n"
        "  got: a LayerNorm without gain and bias behind a Reshape that has a size of -1"
    )


def test_numbers_that_another_precision_cannot_hold_are_refused() -> None:
    large = Network((recurrent(), Dense(np.full((1, HIDDEN), 1e300))))
    with pytest.raises(ConversionError) as caught:
        large.of_type("float32")
    assert str(caught.value) == "the network has numbers that float32 cannot hold\n  do: leave dtype out"
    assert caught.value.in_shell() == "the network has numbers that float32 cannot hold\n  do: leave --dtype out"
