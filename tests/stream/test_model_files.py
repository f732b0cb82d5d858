"""A stream of a saved model gives what the model's layers gave, and needs no framework for it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import gatewright as gw
from gatewright.errors import ModelFileError, OptionError
from gatewright.model_file import ModelFile, save
from gatewright.nn.records import layer_records
from tests.parity.assertions import assert_parity
from tests.paths import subprocess_environment
from tests.stream.cases import CELLS, SIZES

STEPS, BATCH = 8, 3


def recurrent(name: str, input_size: int = 19, **options) -> "gw.nn.Recurrent":
    options = {"sizes": {"context": SIZES["context"]} if name == "scrn" else None, **options}
    return gw.nn.Recurrent(CELLS[name], input_size, 19, **options)


def saved(model: torch.nn.Module, folder: Path) -> Path:
    tensors = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    return save(folder / "model.safetensors", ModelFile(tensors, layer_records(model), task="test"))


def model_of(**layers: torch.nn.Module) -> torch.nn.Module:
    return torch.nn.ModuleDict(layers)


@pytest.mark.parametrize("name", CELLS)
def test_a_stream_gives_what_the_layer_gave(name: str, tmp_path: Path) -> None:
    layer = recurrent(name, num_layers=2, dropout=0.3).eval()
    xs = torch.randn(STEPS, BATCH, 19)
    with torch.no_grad():
        output, finals = layer(xs)
    stream = gw.stream.open(saved(layer, tmp_path), batch=BATCH)
    assert_parity(stream.run(xs.numpy()), output.numpy(), dtype="float32", steps=2 * STEPS, width=256, cell=name)
    named = dict(zip(layer.trace.states, finals if isinstance(finals, tuple) else (finals,), strict=True))
    want = {f"l{level}.{state.name}": final[level].numpy() for level in (0, 1) for state, final in named.items()}
    assert_parity(stream.state, want, dtype="float32", steps=2 * STEPS, width=256, cell=name)


def test_torch_s_own_layout_is_read(tmp_path: Path) -> None:
    """Its two biases are added; a batch-first layer streams like any other."""
    layer = gw.nn.GRU(4, 6, batch_first=True).double()
    xs = torch.randn(STEPS, 4, dtype=torch.float64)
    stream = gw.stream.open(saved(layer, tmp_path))
    got = np.stack([stream.step(x).copy() for x in xs.numpy()])
    assert_parity(got, layer(xs[None])[0][0].detach().numpy(), dtype="float64", steps=STEPS)


def test_a_file_is_opened_with_weights_of_eight_bits(tmp_path: Path) -> None:
    path, xs = saved(recurrent("gru", 6, num_layers=2), tmp_path), torch.randn(STEPS, 6).numpy()
    plain, rounded = (gw.stream.open(path, weights=weights).run(xs) for weights in ("float32", "int8"))
    assert 1e-6 < np.abs(rounded - plain).max() < 9e-3


def test_layers_are_chosen_and_stacked_by_name(tmp_path: Path) -> None:
    model = model_of(lower=recurrent("gru", 4), other=recurrent("gru", 4), upper=recurrent("lstm"))
    path, xs = saved(model, tmp_path), torch.randn(STEPS, 1, 4)
    alone = model["other"](xs)[0].detach().numpy()
    assert_parity(gw.stream.open(path, name="other").run(xs.numpy()), alone, dtype="float32", steps=STEPS)
    both = model["upper"](model["lower"](xs)[0])[0].detach().numpy()
    stream = gw.stream.open(path, name=("lower", "upper"))
    assert_parity(stream.run(xs.numpy()), both, dtype="float32", steps=2 * STEPS)
    assert list(stream.state) == ["l0.h", "l1.h", "l1.c"]


def test_what_stands_above_the_layers_is_plain_numpy(tmp_path: Path) -> None:
    model = model_of(recurrent=recurrent("gru", 4), head=torch.nn.Linear(19, 3))
    path, xs = saved(model, tmp_path), torch.randn(STEPS, 4)
    stream, tensors = gw.stream.open(path), gw.model_file.load(path).tensors
    got = np.stack([tensors["head.weight"] @ stream.step(x) + tensors["head.bias"] for x in xs.numpy()])
    want = model["head"](model["recurrent"](xs)[0]).detach().numpy()
    assert_parity(got, want, dtype="float32", steps=STEPS)


def refused(path: Path, error: type[Exception] = OptionError, **options) -> str:
    with pytest.raises(error) as caught:
        gw.stream.open(path, **options)
    return str(caught.value)


def test_several_layers_need_a_name(tmp_path: Path) -> None:
    model = model_of(lower=recurrent("gru", 4), upper=recurrent("lstm", 7))
    path = saved(model, tmp_path)
    assert refused(path) == (
        "the model file has several recurrent layers\n"
        "  expected: one, or a name\n"
        "  got: 'lower', 'upper'\n"
        "  do: give name='...', or the names of layers that feed one another, from the bottom to the top"
    )
    assert refused(path, name="middle") == (
        "the model file has no recurrent layer 'middle'\n  expected: 'lower', 'upper'"
    )
    assert refused(path, name=["lower", "upper"]) == (
        "layer 'lstm' cannot stand on layer 'gru'\n"
        "  expected: an output of size 7\n"
        "  got: an output of size 19\n"
        "  do: give the names of layers that feed one another, from the bottom to the top"
    )
    assert refused(path, name=[]) == "a stream was given no layers\n  expected: at least one"


def test_a_file_without_layers_has_no_stream(tmp_path: Path) -> None:
    assert refused(saved(torch.nn.Linear(2, 3), tmp_path)).startswith(
        "the model file has no recurrent layer\n  expected: one, or a name\n  got: none"
    )


def test_a_backward_direction_cannot_be_streamed(tmp_path: Path) -> None:
    model = model_of(encoder=recurrent("gru", bidirectional=True))
    assert refused(saved(model, tmp_path)) == (
        "layer 'encoder' (gru) is bidirectional, so it cannot run step by step\n"
        "  expected: a layer that reads a sequence from its beginning on\n"
        "  got: a backward direction, which begins at the end\n"
        "  do: train the model with bidirectional=False (a recipe with directions=forward), or run the whole sequence "
        "by gw.nn"
    )


def test_half_precision_is_converted_only_where_that_is_asked_for(tmp_path: Path) -> None:
    path = saved(recurrent("gru").half(), tmp_path)
    assert refused(path) == (
        "the parameters have a dtype that no stream has\n"
        "  expected: float32 or float64\n"
        "  got: float16\n"
        "  do: pass dtype='float32' to convert the parameters"
    )
    assert gw.stream.open(path, dtype="float32").dtype == "float32"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "there is no model file" in refused(tmp_path / "absent.safetensors", ModelFileError)


PROGRAM = """
import json, sys
import numpy as np
import gatewright as gw
stream = gw.stream.open({path!r})
rows = [stream.step(np.full(4, x)).tolist() for x in (0.5, -1.0)]
print(json.dumps([rows, sorted({{name.partition(".")[0] for name in sys.modules}})]))
"""


def test_a_process_that_streams_loads_no_framework(tmp_path: Path) -> None:
    layer = recurrent("gru", 4)
    program = PROGRAM.format(path=str(saved(layer, tmp_path)))
    environment = subprocess_environment()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows, loaded = json.loads(done.stdout)
    assert not {"torch", "lightning", "onnx", "matplotlib"} & set(loaded)
    want = layer(torch.tensor([[0.5] * 4, [-1.0] * 4]))[0].detach().numpy()
    assert_parity(np.asarray(rows, "float32"), want, dtype="float32", steps=2)
