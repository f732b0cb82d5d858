"""What a model of music says of music: the likelihood of each frame, and the frame to come."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gatewright.errors import OptionError
from gatewright.tasks.answers.evaluate import evaluate
from gatewright.tasks.data.music.midi import frames_of_notes, midi_bytes, notes_of_frames
from gatewright.tasks.model import Model, load_model
from gatewright.tasks.music import predictor as listening
from gatewright.tasks.music.predictor import MusicPredictor
from gatewright.tasks.recipes.music import Music
from gatewright.tasks.run import Run
from gatewright.tasks.training.session import train
from tests.tasks.data.formats import put
from tests.tasks.own_data import small_music
from tests.tasks.recipes.test_music import QUICK
from tests.tasks.small import QUIET

NOTES = "C4 E4|C4 F4|-|C4 G4|B4|B4|C5"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("music")
    train(Music.configured(QUICK), out=folder / "run", source=small_music(folder), console=QUIET)
    return load_model(folder / "run")


def by_hand(model: Model, roll: np.ndarray) -> tuple[list[float], list[str]]:
    """The log-likelihood of each frame but the first, and the keys that have odds above 1, frame by frame."""
    with torch.no_grad():
        odds = model.network(torch.from_numpy(roll[:, None]).float())[0][:, 0].double()
    right = torch.where(torch.from_numpy(roll[1:]) > 0, odds[:-1], -odds[:-1])
    return (-torch.log1p(torch.exp(-right)).sum(1)).tolist(), notes_of_frames((odds > 0).numpy()).split("|")


def test_frames_by_hand(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "FRAMES", 3)  # several readings of one piece
    roll = frames_of_notes(NOTES)
    path = put(tmp_path / "a.mid", midi_bytes(roll, frames_per_beat=2))
    answers = Run(model).predict(path)
    assert list(answers.columns) == ["piece", "frame", "keys", "log_likelihood", "next"]
    assert "|".join(answers["keys"]) == NOTES
    scores, to_come = by_hand(model, roll)
    assert np.isnan(answers["log_likelihood"][0])
    np.testing.assert_allclose(answers["log_likelihood"][1:], scores, rtol=1e-5)
    assert answers["next"].tolist() == to_come
    assert answers.attrs == {
        "frames": 6,
        "loss": pytest.approx(evaluate(model, str(path))["music"]["loss"], rel=1e-6),
        "log_likelihood": pytest.approx(sum(scores)),
    }


def test_several_pieces_begin_anew(model: Model) -> None:
    rolls = [frames_of_notes(NOTES), frames_of_notes("C4|C4 E4")]
    answers = Run(model).predict(rolls)
    assert answers["piece"].tolist() == ["1"] * 7 + ["2"] * 2
    assert answers["frame"].tolist() == [1, 2, 3, 4, 5, 6, 7, 1, 2]
    totals = {str(place): sum(by_hand(model, roll)[0]) for place, roll in enumerate(rolls, 1)}
    assert answers.attrs["log_likelihood"] == pytest.approx(totals, rel=1e-5)


def test_a_line_of_notes(model: Model) -> None:
    scores, to_come = by_hand(model, frames_of_notes(NOTES))
    answer = MusicPredictor(model).predict_line(NOTES)
    assert answer == {"frames": 6, "log_likelihood": pytest.approx(sum(scores), rel=1e-5), "next": to_come[-1]}
    assert MusicPredictor(model).predict_line("C4")["frames"] == 0
    with pytest.raises(OptionError, match="frame 1 of the notes has something that is no key of a piano"):
        MusicPredictor(model).predict_line("what a film")
