"""Music that is made up: frames are drawn from the network's own odds, and the file plays what was drawn."""

from pathlib import Path

import mido
import numpy as np
import pytest
import torch

from gatewright.errors import OptionError
from gatewright.tasks.data.music.midi import frames_of_notes, midi_bytes, read_midi
from gatewright.tasks.model import Model, load_model
from gatewright.tasks.music.generator import MusicGenerator
from gatewright.tasks.recipes.music import Music
from gatewright.tasks.run import Run
from gatewright.tasks.training.session import train
from tests.tasks.data.formats import put
from tests.tasks.own_data import small_music, small_words
from tests.tasks.recipes.test_music import QUICK
from tests.tasks.small import small_recipe, small_text


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("music")
    train(Music.configured(QUICK), out=folder / "run", source=small_music(folder))
    return load_model(folder / "run")


def by_hand(model: Model, prompt: np.ndarray, length: int) -> np.ndarray:
    """Every key that is more probable than not, the whole piece read anew for each frame."""
    roll = torch.from_numpy(prompt).float()
    for _ in range(length):
        with torch.no_grad():
            outputs, _ = model.network(roll[:, None])
        roll = torch.cat([roll, (outputs[-1] > 0).float()])
    return roll[len(prompt) :].numpy()


def test_frames_follow_from_those_before(model: Model) -> None:
    composer = MusicGenerator(model)
    prompt = composer.prompt()
    assert len(prompt) == 5  # the first piece of the data, which the model's file keeps
    np.testing.assert_array_equal(composer.compose(prompt, length=9, temperature=0), by_hand(model, prompt, 9))
    first, again, other = (composer.compose(prompt, length=30, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (30, 88)
    assert first.any()
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(first[:7], composer.compose(prompt, length=7, seed=1))


def test_keys_are_drawn_with_the_odds_of_the_network(model: Model) -> None:
    """1,000 first frames: how often a key sounds is its probability, sharper where the temperature is lower."""
    composer, prompt = MusicGenerator(model), frames_of_notes("C4|C#4")
    with torch.no_grad():
        odds = model.network(torch.from_numpy(prompt[:, None]).float())[0][-1, 0].double()
    for temperature in (1.0, 0.5):
        drawn = np.mean(
            [composer.compose(prompt, length=1, temperature=temperature, seed=s)[0] for s in range(1000)], 0
        )
        wanted = torch.sigmoid(odds / temperature).numpy()
        assert np.abs(drawn - wanted).max() < 5 * np.sqrt(0.25 / 1000)
        assert 0.2 < wanted.max() < 0.99


def test_the_file_plays_what_was_drawn(model: Model, tmp_path: Path) -> None:
    composer = MusicGenerator(model)
    roll = composer.compose(composer.prompt("C4 E4|C4 E4"), length=40, seed=3)
    roll[0, 0] = roll[-1, 87] = 1
    path = tmp_path / "new" / "tune.mid"
    composer.save(path, roll, tempo=60)
    np.testing.assert_array_equal(read_midi(path, composer.frames_per_beat)[0], roll)
    assert mido.MidiFile(path).length == pytest.approx(40 / composer.frames_per_beat)


def test_prompts(model: Model, tmp_path: Path) -> None:
    composer = MusicGenerator(model)
    assert composer.frames_per_beat == 2
    wanted = frames_of_notes("C4|E4|E4")
    path = put(tmp_path / "start.MID", midi_bytes(wanted, frames_per_beat=2))
    np.testing.assert_array_equal(composer.prompt(path), wanted)
    np.testing.assert_array_equal(composer.prompt("C4|E4|E4"), wanted)
    nothing = MusicGenerator(Model(model.recipe, model.sizes, model.network))  # of a file of an earlier version
    assert nothing.prompt().shape == (1, 88)
    assert not nothing.prompt().any()


def test_from_python(model: Model, tmp_path: Path) -> None:
    run, composer = Run(model), MusicGenerator(model)
    frames = run.generate("C4 E4|C4 F4", length=20, temperature=0.8, seed=4, out=tmp_path / "a.mid", tempo=90)
    prompt = frames_of_notes("C4 E4|C4 F4")
    np.testing.assert_array_equal(frames, composer.compose(prompt, length=20, temperature=0.8, seed=4))
    wanted = midi_bytes(np.concatenate([prompt, frames]), frames_per_beat=2, tempo=90)
    assert (tmp_path / "a.mid").read_bytes() == wanted
    assert run.generate(tmp_path / "a.mid", length=3).shape == (3, 88)
    with pytest.raises(OptionError, match=r"^music has no option 'top_k'\n  expected: temperature, seed, out, tempo\n"):
        run.generate(length=3, top_k=3)
    with pytest.raises(
        OptionError, match=r"^music is not written as a \.wav file\n.*\n.*\n  do: name the file .*a\.mid$"
    ):
        run.generate(length=3, out=tmp_path / "a.wav")


def test_what_cannot_be_composed(model: Model, tmp_path: Path) -> None:
    message = (
        r"^this cannot be composed\n  expected: a temperature of 0 or more, a length of 0 or more, and a prompt of "
        r"one frame at least\n  got: temperature -1, length 3, prompt \(1, 88\)$"
    )
    with pytest.raises(OptionError, match=message):
        MusicGenerator(model).compose(frames_of_notes("C4"), length=3, temperature=-1)
    small_words(tmp_path)
    train(small_recipe("epochs=1"), out=tmp_path / "run", source=small_text(tmp_path))
    with pytest.raises(OptionError, match=r"^a model of the recipe 'text' generates no music\n"):
        MusicGenerator(load_model(tmp_path / "run"))
