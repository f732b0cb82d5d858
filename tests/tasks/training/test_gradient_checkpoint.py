"""Training that computes saved values again: on request, by the layers of the engine, and with the same numbers."""

from pathlib import Path
from typing import Any

import pytest
import torch

from gatewright import model_file
from gatewright.errors import OptionError
from gatewright.nn import Recurrent
from gatewright.nn.calls import layer_call
from gatewright.tasks.training.run_folder import RunFolder
from gatewright.tasks.training.session import resume, train
from gatewright.tasks.training.training_module import TrainingModule
from tests.tasks.small import QUIET, killed_before, small_recipe, small_text, weights

LAYERS = 2  # of the small recipe


@pytest.fixture
def checkpoints(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The option of every layer that computes saved values again in training."""
    seen: list[Any] = []
    run = layer_call.run_checkpointed

    def watched(operation: Any, operands: Any, ragged: Any, checkpoint: Any) -> Any:
        if torch.is_grad_enabled():
            seen.append(checkpoint)
        return run(operation, operands, ragged, checkpoint)

    monkeypatch.setattr(layer_call, "run_checkpointed", watched)
    return seen


@pytest.mark.parametrize(("setting", "option"), [("3", 3), ("yes", True)])
def test_saved_values_are_computed_again(setting: str, option: Any, tmp_path: Path, checkpoints: list[Any]) -> None:
    source, folder = small_text(tmp_path), RunFolder(tmp_path / "again")
    recipe = small_recipe(f"gradient_checkpoint={setting}", "epochs=1")
    train(recipe, out=folder.path, source=source, console=QUIET)
    assert checkpoints
    assert set(checkpoints) == {option}
    assert {type(checkpoint) for checkpoint in checkpoints} == {type(option)}
    assert len(checkpoints) >= 4 * LAYERS - LAYERS  # in all iterations but the first, which makes the operations
    train(small_recipe("epochs=1"), out=tmp_path / "plain", source=source, console=QUIET)
    want = model_file.load(RunFolder(tmp_path / "plain").model).tensors
    for name, tensor in model_file.load(folder.model).tensors.items():
        torch.testing.assert_close(torch.from_numpy(tensor), torch.from_numpy(want[name]), rtol=1e-4, atol=1e-5)


def test_nothing_is_computed_again_by_default(tmp_path: Path, checkpoints: list[Any]) -> None:
    train(small_recipe("epochs=1"), out=tmp_path / "run", source=small_text(tmp_path), console=QUIET)
    assert checkpoints == []


def test_layers_have_the_option_during_training_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: list[Any] = []

    def watched(module: TrainingModule) -> None:
        options.append([part.checkpoint for part in module.network.modules() if isinstance(part, Recurrent)])

    end = TrainingModule.on_train_end
    monkeypatch.setattr(TrainingModule, "on_train_end", lambda module: (watched(module), end(module), watched(module)))
    recipe = small_recipe("gradient_checkpoint=3", "epochs=1")
    train(recipe, out=tmp_path / "run", source=small_text(tmp_path), console=QUIET)
    assert options == [[3], [None]]


def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, source = small_recipe("gradient_checkpoint=3"), small_text(tmp_path)
    train(recipe, out=tmp_path / "whole", source=source, console=QUIET)
    with killed_before(5, monkeypatch):
        train(recipe, out=tmp_path / "killed", source=source, console=QUIET)
    resume(tmp_path / "killed", console=QUIET)
    assert weights(RunFolder(tmp_path / "killed")) == weights(RunFolder(tmp_path / "whole"))


@pytest.mark.parametrize("value", ["-1", "often"])
def test_a_value_that_is_no_number_of_steps_is_refused(value: str) -> None:
    with pytest.raises(OptionError, match="setting 'gradient_checkpoint' (is out of range|cannot have this value)"):
        small_recipe(f"gradient_checkpoint={value}")
