"""Files of torch.save: state dicts wherever a checkpoint has them, and what is none, with the way to one."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gatewright import convert
from gatewright.errors import ConversionError


def lstm() -> torch.nn.LSTM:
    torch.manual_seed(2)
    return torch.nn.LSTM(3, 4)


STATE = lstm().state_dict()
CHECKPOINTS: dict[str, Any] = {
    "state_dict": {"state_dict": STATE, "epoch": 3},
    "model_state_dict": {"model_state_dict": STATE, "loss": 0.5, "optimizer_state_dict": {"param_groups": [{}]}},
    "model_state": {"model_state": STATE},
    "model": {"model": STATE},
    "another name": {"net_g": STATE},
    "nested": {"checkpoint": {"model": STATE, "step": 7}},
    "named_parameters": dict(lstm().named_parameters()),
    "a number beside": {"model": STATE, "mean": torch.ones(3)},
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_state_dict_is_found_in_a_checkpoint(name: str, tmp_path: Path) -> None:
    torch.save(CHECKPOINTS[name], tmp_path / "checkpoint.pt")
    network = convert.read(tmp_path / "checkpoint.pt")
    inputs = np.random.default_rng(0).standard_normal((7, 2, 3))
    wanted = lstm().double()(torch.from_numpy(inputs))[0].detach().numpy()
    np.testing.assert_allclose(convert.run(network, inputs), wanted, atol=1e-6)
    assert list(network.rest) == (["mean"] if "beside" in name else [])


def test_of_several_state_dicts_one_is_chosen(tmp_path: Path) -> None:
    optimizer = torch.optim.Adam(lstm().parameters())
    states = {"encoder": STATE, "decoder": torch.nn.GRU(4, 4).state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(states, tmp_path / "checkpoint.pt")
    with pytest.raises(ConversionError, match="do not tell in which order") as refusal:
        convert.read(tmp_path / "checkpoint.pt")
    assert refusal.value.got == "'decoder.', 'encoder.'"
    assert len(convert.read(tmp_path / "checkpoint.pt", prefix="decoder").rest) == len(STATE)


def refusal_of(path: Path) -> str:
    with pytest.raises(ConversionError) as refusal:
        convert.read(path)
    return str(refusal.value).replace(str(path), path.name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_program_is_told_how_to_save_its_weights(tmp_path: Path) -> None:
    torch.jit.trace(lstm(), torch.ones(2, 1, 3)).save(tmp_path / "program.pt")
    assert refusal_of(tmp_path / "program.pt") == (
        "program.pt is a TorchScript archive, which holds a program\n"
        "  expected: torch.save(model.state_dict(), path)\n"
        '  do: save its weights alone: torch.save(torch.jit.load("program.pt").state_dict(), "weights.pt")'
    )


@pytest.mark.parametrize(
    ("content", "kind"),
    [(torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"), ({"args": argparse.Namespace()}, "argparse.Namespace")],
)
def test_objects_are_named_and_not_unpickled(content: Any, kind: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "objects.pt")
    assert refusal_of(tmp_path / "objects.pt") == (
        "objects.pt holds objects other than tensors and plain values, which would have to be unpickled\n"
        "  expected: torch.save(model.state_dict(), path)\n"
        f"  got: {kind}\n"
        "  do: load it where it was made, and save the weights alone: "
        'torch.save(model.state_dict(), "weights.pt")'
    )


def test_a_damaged_file_is_no_program(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "whole.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:700])
    assert "copy or download the file again" in refusal_of(tmp_path / "cut.pt")


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".safetensors"])
def test_half_precision_becomes_single_so_that_sums_of_biases_are_not_rounded(suffix: str, tmp_path: Path) -> None:
    torch.manual_seed(2)
    layer = torch.nn.RNN(3, 4, num_layers=2).half()
    arrays = {name: tensor.numpy() for name, tensor in layer.state_dict().items()}
    match suffix:
        case ".pt":
            torch.save(layer.state_dict(), tmp_path / "half.pt")
        case ".npz":
            np.savez(tmp_path / "half.npz", **arrays)
        case _:
            save_file(layer.bfloat16().state_dict(), tmp_path / "half.safetensors")
    target = tmp_path / "flax.npz"
    facts = {"activation": "tanh"}
    report = convert.convert(
        tmp_path / f"half{suffix}", target, source_layout="torch", target_layout="flax", facts=facts
    )
    assert report.differences[f"half{suffix}, run by PyTorch"] < 1e-6
    inputs = np.random.default_rng(0).standard_normal((7, 2, 3))
    wanted = layer.double()(torch.from_numpy(inputs))[0].detach().numpy()
    np.testing.assert_allclose(convert.run(convert.read(target, "flax"), inputs), wanted, atol=1e-6)


def test_weights_that_are_whole_numbers_are_refused(tmp_path: Path) -> None:
    torch.save({name: (tensor * 100).to(torch.int8) for name, tensor in STATE.items()}, tmp_path / "quantised.pt")
    assert refusal_of(tmp_path / "quantised.pt") == (
        "quantised.pt: recurrent layer 0 has weights that are whole numbers\n"
        "  expected: floating-point numbers\n"
        "  got: W.i of int8\n"
        "  do: save the weights of the model as it was before it was quantised, or convert them to float32"
    )
