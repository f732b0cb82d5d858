"""`gatewright generate` of music: a MIDI file, chords on the terminal, JSON; and of a text into a file."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gatewright.tasks.data.music.midi import frames_of_notes, read_midi
from gatewright.tasks.recipes.music import Music
from gatewright.tasks.run import open_run
from gatewright.tasks.training.session import train
from tests.cli.conftest import Said
from tests.tasks.own_data import small_music
from tests.tasks.recipes.test_music import QUICK
from tests.tasks.small import QUIET, small_recipe, small_text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("music")
    train(Music.configured(QUICK), out=path / "run", source=small_music(path), console=QUIET)
    return path / "run"


def test_music_as_a_file_that_plays(invoke: Callable[..., Said], folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "tune.mid"
    code, out, err = invoke("generate", folder, "--length", 30, "--seed", 5, "--prompt", "C4 E4|C4 F4", "--out", path)
    frames = open_run(folder).generate("C4 E4|C4 F4", length=30, seed=5)
    wanted = np.concatenate([frames_of_notes("C4 E4|C4 F4"), frames])
    read, _ = read_midi(path, 2)
    np.testing.assert_array_equal(read, wanted[: len(read)])
    assert not wanted[len(read) :].any()
    assert (code, err) == (0, "")
    assert out == f"{path}  2 of the prompt and 30 more frames, 16 quarter notes, 8.0 s at 120 a minute\n"
    again = invoke("generate", folder, "--prompt", path, "--length", 3, "--temperature", 0, "--json")
    assert frames_of_notes(json.loads(again[1])["prompt"]).tolist() == read.tolist()
    assert len(json.loads(again[1])["notes"].split("|")) == 3


def test_music_on_the_terminal(invoke: Callable[..., Said], folder: Path) -> None:
    code, out, err = invoke("generate", folder, "--length", 0, "--prompt", "C4 E4|C4 E4|-|C5")
    assert code == 0
    assert out.splitlines() == [
        "  beat  beats  keys",
        "  0.00   1.00  C4 E4",
        "  1.00   0.50  -",
        "  1.50   0.50  C5",
    ]
    assert err == f"hear it: gatewright generate {folder} --out tune.mid\n"


def test_options_of_the_other_kind(invoke: Callable[..., Said], folder: Path, tmp_path: Path) -> None:
    assert invoke("generate", folder, "--top-k", 3)[::2] == (
        2,
        "error: a model of music has no option --top-k\n  do: leave it out\n",
    )
    train(small_recipe("epochs=1"), out=tmp_path / "run", source=small_text(tmp_path), console=QUIET)
    assert invoke("generate", tmp_path / "run", "--tempo", 60)[::2] == (
        2,
        "error: a model of a text has no option --tempo\n  do: leave it out\n",
    )
    path = tmp_path / "more.txt"
    said = invoke("generate", tmp_path / "run", "--prompt", "the", "--length", 20, "--out", path)
    assert said == (0, "", f"{path}: 23 characters\n")
    text = open_run(tmp_path / "run").generate("the", length=20)
    assert (tmp_path / "more.txt").read_text() == f"the{text}\n"
