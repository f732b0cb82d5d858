"""Whoever has nothing but the ONNX file of a model, and reads its metadata, gets the model's answers."""

from pathlib import Path

import numpy as np
import pytest

from gatewright.export import onnx
from gatewright.tasks.data.music.midi import midi_bytes
from gatewright.tasks.model import load_model
from gatewright.tasks.run import open_run
from tests.quick_runs import QuickRun
from tests.tasks.data.formats import put
from tests.tasks.strangers import ASKED, CHORDS, Stranger


@pytest.mark.parametrize("name", ASKED)
def test_a_stranger_with_the_onnx_file_gives_the_same_answers(name: str, quick_run: QuickRun, tmp_path: Path) -> None:
    """Preparation of inputs, ONNX Runtime, reading of outputs: all by what the metadata of the file says."""
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    _, folder = quick_run(name)
    asked, answer = ASKED[name]
    if name == "music":
        roll = np.array([[key + 21 in chord for key in range(88)] for chord in CHORDS], np.uint8)
        frames = load_model(folder).signature["frames_per_beat"]
        asked = put(tmp_path / str(asked), midi_bytes(roll, frames_per_beat=frames))
    answers = open_run(folder).predict(asked)
    stranger = answer(Stranger(onnx(folder, tmp_path / "model.onnx").path))
    assert stranger
    for column, values in stranger.items():
        own = answers[column].dropna()
        if own.dtype.kind == "f":
            np.testing.assert_allclose(own, np.atleast_1d(values), rtol=1e-4, atol=1e-6, err_msg=column)
        else:
            assert own.tolist() == [values], column
