"""The recipe `music`: frames are predicted from those before them, and their likelihood is the published average."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gatewright.errors import DataError
from gatewright.tasks.answers.evaluate import evaluate, measure
from gatewright.tasks.cell_spec import read_cell
from gatewright.tasks.data.batches.sequential import RaggedStreams
from gatewright.tasks.data.music.midi import frames_of_notes, midi_bytes
from gatewright.tasks.data.music.piano_rolls import load_piano_rolls
from gatewright.tasks.model import load_model
from gatewright.tasks.objectives import Keys
from gatewright.tasks.recipes.music import Music, measured_pieces
from gatewright.tasks.training.run_folder import RunFolder
from gatewright.tasks.training.session import resume, train
from gatewright.tasks.training.tensor_batches import tensor_batch
from tests.tasks.data.formats import put
from tests.tasks.own_data import small_images, small_music
from tests.tasks.small import killed_before, weights

QUICK = ("hidden=8", "epochs=3", "batch=2", "rate=0.05")


def test_the_next_frame_is_the_target(tmp_path: Path) -> None:
    source = small_music(tmp_path)
    piece = load_piano_rolls(source).train[7]
    data = Music(batch=1).data(source)
    batch = next(one for place in range(8) if len((one := data.parts["train"].batch(0, place)).inputs) == 11)
    np.testing.assert_array_equal(batch.inputs[:, 0], piece[:-1])
    np.testing.assert_array_equal(batch.targets[:, 0], piece[1:])
    assert (data.sizes.inputs, data.sizes.outputs) == (88, 88)


def test_the_likelihood_by_hand(tmp_path: Path) -> None:
    """Every key at even odds has 88 ln 2 nats a frame; one that is right at 3 to 1 takes ln(2 p) off."""
    batch = tensor_batch(Music(batch=2).data(small_music(tmp_path)).parts["test"], 0, 0)
    even = torch.zeros(batch.targets.shape)
    losses = Keys().losses(even, batch)
    assert len(losses) == batch.lengths.sum() < batch.targets[..., 0].numel()
    torch.testing.assert_close(losses, torch.full_like(losses, 88 * math.log(2)))
    right = even.clone()
    right[0, 1] = torch.where(batch.targets[0, 1] > 0, math.log(3), 0.0)
    assert Keys().losses(right, batch).sum().item() == pytest.approx(
        len(losses) * 88 * math.log(2) - math.log(2 * 0.75), rel=1e-6
    )


def test_the_mean_is_over_the_frames_of_all_pieces(tmp_path: Path) -> None:
    part = Music(batch=8).data(small_music(tmp_path)).parts["test"]
    batch = tensor_batch(part, 0, 0)
    sure_of_nothing = torch.full(batch.targets.shape, -20.0)
    sure_of_nothing[:, 0] = 0.0
    by_piece = [88 * math.log(2), *[20.0] * 3]
    frames = batch.lengths.tolist()
    wanted = sum(loss * count for loss, count in zip(by_piece, frames, strict=True)) / sum(frames)
    assert Keys().losses(sure_of_nothing, batch).mean().item() == pytest.approx(wanted, rel=1e-6)


def test_chung_is_followed() -> None:
    sizes = {name: Music.configured([f"preset=chung-{name}"]) for name in ("lstm", "gru", "tanh")}
    assert {name: made.hidden for name, made in sizes.items()} == {"lstm": 36, "gru": 46, "tanh": 100}
    assert {(made.optimiser, made.rate, made.clip) for made in sizes.values()} == {("rmsprop", 1e-3, 1.0)}


def test_published_sets_by_name(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWRIGHT_DATA", str(shared_data))
    assert [len(part) for part in Music(batch=1).data(None).parts.values()] == [229, 2, 2]
    longest = Music(batch=1, steps=1787).data("nottingham")  # whole pieces, the longest of 1,788 frames
    assert [len(part) for part in longest.parts.values()] == [694, 4, 5]
    assert len(Music(batch=1).data("nottingham").parts["train"]) > 694


def test_what_is_no_music(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file of piano rolls \(\*.mat\)\n  got: t10k-images-idx3-ubyte"):
        Music().data(small_images(tmp_path))
    with pytest.raises(DataError, match="'chorales' is neither a data set nor a file\n  expected: one of .*jsb"):
        Music(music="chorales").data(None)


def test_long_pieces_are_learned_in_chunks_and_measured_whole(tmp_path: Path) -> None:
    """A chunk's loss is that of the whole piece: the state goes on, and no gradient is needed for that."""
    source = small_music(tmp_path)
    data = Music(batch=2, steps=4).data(source)
    train = data.parts["train"]
    assert isinstance(train, RaggedStreams)
    made = Music(hidden=6, cell="lstm", dropout=0)
    network = made.network(data.sizes, read_cell(made.cell)).eval()
    state, total, frames = None, 0.0, 0
    with torch.no_grad():
        for position in range(len(train)):
            batch = tensor_batch(train, 0, position)
            outputs, state = network(batch.inputs, batch.begins_with(state), batch.lengths)
            losses = Keys().losses(outputs, batch)
            total, frames = total + losses.sum().item(), frames + len(losses)
    rolls = load_piano_rolls(source).train
    wanted = measure(network, Keys(), measured_pieces(rolls))
    assert frames == rolls.steps - len(rolls)
    # the second stream begins within a piece, with a state of zeros: the one difference
    assert total / frames == pytest.approx(wanted["loss"], rel=2e-3)
    whole = Music(batch=1, steps=4).data(source).parts["train"]
    assert measure(network, Keys(), whole)["loss"] == pytest.approx(wanted["loss"], rel=1e-6)


def test_a_run_in_chunks_is_resumed_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The carried state, of which some rows begin anew, is a part of the checkpoint."""
    source = small_music(tmp_path)
    asked = Music.configured([*QUICK, "steps=3", "checkpoint_every=5"])
    train(asked, out=tmp_path / "whole", source=source)
    with killed_before(12, monkeypatch):
        train(asked, out=tmp_path / "parts", source=source)
    resume(tmp_path / "parts")
    assert weights(RunFolder(tmp_path / "parts")) == weights(RunFolder(tmp_path / "whole"))


def test_baselines_by_hand(tmp_path: Path) -> None:
    """Of a silent key nothing is uncertain but by half a frame; of the others the counts say all."""
    roll = np.zeros((9, 88), np.uint8)
    roll[:4, 10] = 1
    made = Music(held_out=0.25)
    data = made.data([roll, roll, roll])
    # trained on frames 1 to 5, whose next frames 2 to 5 have key 10 on three times of four; tested on 8 and 9
    on, off = math.log(13 / 13), math.log(1)
    assert (on, off) == (0, 0)
    found = made.baselines(data)
    assert list(found) == ["validation", "test"]
    frames = 12
    alone = -math.log((3 + 1) / (frames + 2)) - 87 * math.log((frames + 1) / (frames + 2))
    after_silence = -88 * math.log(1.0)
    assert found["test"]["loss of key frequencies"] == pytest.approx(alone + after_silence)
    silent = -87 * math.log((frames + 0.5) / (frames + 1)) - math.log(0.5 / 1)
    assert found["test"]["loss of logistic regression on the last frame"] == pytest.approx(silent)


def test_another_source_is_measured_whole(tmp_path: Path) -> None:
    source = small_music(tmp_path)
    train(Music.configured(QUICK), out=tmp_path / "run", source=source)
    model = load_model(tmp_path / "run")
    roll = frames_of_notes("C4 E4|C4 F4|C4 G4|-|C4|C4|C5")
    path = put(tmp_path / "tune.mid", midi_bytes(roll, frames_per_beat=2))
    with torch.no_grad():
        outputs, _ = model.network(torch.from_numpy(roll[:-1, None]).float())
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(
        outputs[:, 0], torch.from_numpy(roll[1:]).float(), reduction="none"
    )
    assert evaluate(model, str(path)) == {"music": {"loss": pytest.approx(wanted.sum(1).mean().item(), rel=1e-5)}}
    assert list(evaluate(model, source)) == ["validation", "test"]
    assert model.sizes.variables is not None
    assert model.sizes.variables[39] == "C4"
    assert model.signature["frames_per_beat"] == 2


def test_midi_files_are_cut_as_those_of_the_model(tmp_path: Path) -> None:
    """Whatever a recipe would do with files of its own: frames mean what they meant in the training."""
    train(Music.configured(QUICK), out=tmp_path / "run", source=small_music(tmp_path))
    model = load_model(tmp_path / "run")  # two frames a quarter note
    roll = frames_of_notes("C4 E4|C4 F4|C4 G4|-|C4|C4|C5")
    for part in ("train", "valid", "test"):
        (tmp_path / "parts" / part).mkdir(parents=True)
        put(tmp_path / "parts" / part / "tune.mid", midi_bytes(roll, frames_per_beat=2))
    alone = evaluate(model, [roll])["music"]
    assert evaluate(model, tmp_path / "parts") == {"validation": alone, "test": alone}
    short = put(tmp_path / "short.mid", midi_bytes(roll[:2], frames_per_beat=2))
    assert list(evaluate(model, short)) == ["music"]
    with pytest.raises(
        DataError, match=r"^data in memory: piece 2 is too short to learn from\n  expected: 2 frames at"
    ):
        evaluate(model, [roll, roll[:1]])
