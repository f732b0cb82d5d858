"""Checkpoints of TensorFlow: what their variables are, and, where TensorFlow is installed, its own files."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewright import convert
from gatewright.convert.tensorflow_checkpoint import network_of
from gatewright.errors import ConversionError
from tests.convert.keras_models import INPUTS, UNITS, drawn, kernels

PATH = Path("model.index")
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def variables(place: str, arrays: dict[str, Any]) -> dict[str, Any]:
    return {f"{place}/{name}{VALUE}": array for name, array in arrays.items()}


def test_the_layers_of_a_keras_model_are_numbered_by_their_places() -> None:
    pytest.importorskip("h5py")
    both = {**kernels("LSTM"), "kernel": drawn(INPUTS, 4 * UNITS)}
    arrays = {
        **variables("layer_with_weights-10/cell", kernels("GRU", inputs=2 * UNITS)),
        **variables("layer_with_weights-2/forward_layer/cell", kernels("LSTM")),
        **variables("layer_with_weights-2/backward_layer/cell", both),
        **variables("layer_with_weights-11", {"kernel": drawn(UNITS, 2), "bias": drawn(2)}),
        **variables("optimizer/_variables", {"1": drawn(3)}),
        f"layer_with_weights-10/cell/kernel/.OPTIMIZER_SLOT/optimizer/m{VALUE}": drawn(4),
    }
    network = network_of(PATH, arrays, {})
    below, above = network.recurrent
    assert network.layout == "tf2"
    assert (below.cell_config.family, above.cell_config.family, above.cell_config.reset) == ("lstm", "gru", "after")
    np.testing.assert_array_equal(below.directions[1]["W.i"], both["kernel"][:, :UNITS].T)
    assert set(network.rest) == {
        "layer_with_weights-11/kernel",
        "layer_with_weights-11/bias",
        "optimizer/_variables/1",
    }
    assert network.assumed["gate"][0] == "sigmoid"


def test_cells_one_above_the_other_are_layers() -> None:
    cells = [kernels("LSTM"), kernels("LSTM", inputs=UNITS, seed=3)]
    arrays = {k: v for i, one in enumerate(cells) for k, v in variables(f"model/_NUMBERED/cell/cells/{i}", one).items()}
    arrays = {name.replace("_NUMBERED", "layer_with_weights-0"): array for name, array in arrays.items()}
    first, second = network_of(PATH, arrays, {}).recurrent
    assert (first.inputs, second.inputs) == (INPUTS, UNITS)


def test_attributes_of_a_model_do_not_tell_their_order() -> None:
    arrays = variables("encoder/cell", kernels("GRU")) | variables("decoder/cell", kernels("GRU", inputs=UNITS))
    with pytest.raises(ConversionError, match="do not tell in which order they follow one another"):
        network_of(PATH, arrays, {})
    network = network_of(PATH, arrays, {"prefix": ("encoder", "decoder")})
    assert [one.inputs for one in network.recurrent] == [INPUTS, UNITS]


def test_variables_by_name_are_those_of_tensorflow_1() -> None:
    arrays = {"rnn/basic_lstm_cell/kernel": drawn(INPUTS + UNITS, 4 * UNITS), "rnn/basic_lstm_cell/bias": drawn(16)}
    network = network_of(PATH, arrays, {})
    assert (network.layout, network.recurrent[0].cell_config.forget_bias) == ("tf1", 1.0)


def test_a_checkpoint_without_tensorflow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    path = tmp_path / "model.index"
    with pytest.raises(ConversionError, match="there is no file"):
        convert.read(path)
    path.write_bytes(b"")
    with pytest.raises(ConversionError) as raised:
        convert.read(path)
    assert str(raised.value) == (
        f"{path} is a checkpoint of TensorFlow, and TensorFlow is not installed\n"
        "  do: pip install 'gatewright[tensorflow]', or save the model as .keras or .h5 where it was made"
    )


def test_checkpoints_are_not_written(tmp_path: Path) -> None:
    arrays = {"rnn/basic_lstm_cell/kernel": drawn(INPUTS + UNITS, 4 * UNITS), "rnn/basic_lstm_cell/bias": drawn(16)}
    with pytest.raises(ConversionError, match="checkpoints of TensorFlow are read, and not written"):
        convert.write(network_of(PATH, arrays, {}), tmp_path / "m.index")
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_tensorflow_wrote(tmp_path: Path) -> None:
    tensorflow = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    kernel, bias = drawn(INPUTS + UNITS, 4 * UNITS), drawn(16)
    held = {"rnn/basic_lstm_cell/kernel": kernel, "rnn/basic_lstm_cell/bias": bias}
    tensorflow.raw_ops.SaveV2(
        prefix=str(tmp_path / "m"), tensor_names=list(held), shape_and_slices=["", ""], tensors=list(held.values())
    )
    tensorflow.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(tmp_path / "m")], destination_prefix=str(tmp_path / "whole")
    )
    network = convert.read(tmp_path / "whole.index")
    np.testing.assert_array_equal(network.recurrent[0].directions[0]["W.i"], kernel[:INPUTS, :UNITS].T)
    (tmp_path / "whole.index").write_bytes((tmp_path / "whole.index").read_bytes()[:40])
    with pytest.raises(ConversionError, match="cannot be read"):
        convert.read(tmp_path / "whole.index")
