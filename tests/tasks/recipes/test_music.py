"""The recipe `music`: frames are predicted from those before them, and their likelihood is the published average."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gatewright.errors import DataError
from gatewright.tasks.data import load_piano_rolls
from gatewright.tasks.feed import tensor_batch
from gatewright.tasks.objectives import Keys
from gatewright.tasks.recipes.music import Music
from tests.tasks.own_data import small_images, small_music


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
