"""Training in bfloat16: on request, told, and only where it is meant."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from gatewright import model_file
from gatewright.tasks.training.run_folder import RunFolder
from gatewright.tasks.training.session import resume, train
from tests.tasks.small import QUIET, killed_before, small_recipe, small_text, weights


def test_products_in_bfloat16_weights_in_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, said = small_text(tmp_path), io.StringIO()
    made = small_recipe("precision=bf16")
    result = train(made, out=tmp_path / "bf16", source=source, console=Console(file=said, width=300))
    plain = train(small_recipe(), out=tmp_path / "float32", source=source, console=QUIET)
    plan = "bf16, recurrent layers on llvm: compiled for this processor; products in bfloat16"
    assert said.getvalue().splitlines()[1] == plan
    tensors = model_file.load(RunFolder(tmp_path / "bf16").model).tensors
    assert {one.dtype for one in tensors.values()} == {np.dtype(np.float32)}
    lost = result.metrics["test"]["loss"] - plain.metrics["test"]["loss"]
    assert 0 < abs(lost) < 0.1, "another arithmetic, the same training"
    with killed_before(5, monkeypatch):
        train(made, out=tmp_path / "killed", source=source, console=QUIET)
    resume(tmp_path / "killed", console=QUIET)
    assert weights(RunFolder(tmp_path / "killed")) == weights(RunFolder(tmp_path / "bf16"))
