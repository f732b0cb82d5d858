"""PyTorch's layers: read, run by the reference, and written again, held to PyTorch itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import cells, convert, model_file, nn
from gatewright.errors import ConversionError
from gatewright.lang import recurrent_dropout
from gatewright.model_file import ModelFile

LAYERS = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}
SHAPES: list[dict[str, Any]] = [{}, {"bias": False}, {"num_layers": 2, "bidirectional": True}]


def saved(path: Path, kind: str, **options: Any) -> torch.nn.Module:
    """A layer whose state dict lies at that path."""
    torch.manual_seed(3)
    layer = LAYERS[kind](3, 5, **options)
    torch.save(layer.state_dict(), path)
    return layer.double()


def outputs(layer: torch.nn.Module, inputs: np.ndarray) -> np.ndarray:
    """What PyTorch computes in float64."""
    return layer(torch.from_numpy(inputs))[0].detach().numpy()


@pytest.mark.parametrize("options", SHAPES, ids=str)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_state_dict_computes_what_the_layer_does(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    layer = saved(tmp_path / "layer.pt", kind, **options)
    inputs = np.random.default_rng(0).standard_normal((7, 2, 3))
    got = convert.run(convert.read(tmp_path / "layer.pt"), inputs)
    np.testing.assert_allclose(got, outputs(layer, inputs), atol=1e-7)  # the parameters are float32


@pytest.mark.parametrize("options", SHAPES, ids=str)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_state_dict_comes_back_bit_for_bit(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    saved(tmp_path / "layer.pt", kind, **options)
    convert.write(convert.read(tmp_path / "layer.pt", "torch"), tmp_path / "again.safetensors", "torch")
    before, after = (convert.files.read_arrays(tmp_path / name) for name in ("layer.pt", "again.safetensors"))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_projection_is_kept(tmp_path: Path) -> None:
    layer = saved(tmp_path / "layer.pt", "lstm", proj_size=2)
    inputs = np.random.default_rng(0).standard_normal((7, 2, 3))
    got = convert.run(convert.read(tmp_path / "layer.pt"), inputs)
    np.testing.assert_allclose(got, outputs(layer, inputs), atol=1e-7)


def test_a_reset_on_the_other_side_is_refused_with_the_reason(tmp_path: Path) -> None:
    saved(tmp_path / "layer.pt", "gru")
    with pytest.raises(ConversionError, match="resets the state before the recurrent product"):
        convert.convert(tmp_path / "layer.pt", tmp_path / "out.npz", target_layout="d2l")
    assert not (tmp_path / "out.npz").exists()


def test_dropout_of_training_is_no_part_of_what_is_converted(tmp_path: Path) -> None:
    """A trained network draws nothing, so that its cell is the one inside; and the folder of a run is enough."""
    torch.manual_seed(4)
    layer = nn.Recurrent(recurrent_dropout(0.2, per="sequence")(cells.gru(reset="after")), 3, 5)
    tensors = {name: one.detach().numpy() for name, one in layer.state_dict().items()}
    model_file.save(tmp_path / "run" / model_file.FILE_NAME, ModelFile(tensors, nn.layer_records(layer), task=""))
    convert.convert(tmp_path / "run", tmp_path / "layer.pt")
    torchs = torch.nn.GRU(3, 5)
    torchs.load_state_dict(torch.load(tmp_path / "layer.pt", weights_only=True))
    inputs = torch.randn(7, 2, 3)
    torch.testing.assert_close(layer.eval()(inputs)[0], torchs(inputs)[0], atol=1e-6, rtol=0)
