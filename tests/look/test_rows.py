"""Rows of a page say what the network answers, by the kind of its outputs; batches are joined and cut by rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch

import gatewright as gw
from gatewright.inspect import Activations, record
from gatewright.look.described_extras import described_contributions
from gatewright.look.extras import Contributions
from gatewright.look.joined import cut, first_rows
from gatewright.look.quantised import Blob
from gatewright.look.rows import described_row, row_names

RANDOM = np.random.default_rng(0)


def activations(steps: int = 5, batch: int = 2, **named: Any) -> Activations:
    from dataclasses import replace

    torch.manual_seed(steps)
    return replace(record(gw.nn.Recurrent("gru", 3, 4), torch.randn(steps, batch, 3)), **named)


def test_bits_are_the_outputs_which_mean_1_above_one_half() -> None:
    outputs = RANDOM.normal(size=(5, 2, 1))
    row = described_row(activations(outputs=outputs, output_kind="bit"), 1, 5, Blob())
    assert row["bits"] == pytest.approx(outputs[:, 1, 0].tolist(), rel=1e-3)


def test_labels_are_ranked_at_each_step() -> None:
    blob, scores = Blob(), RANDOM.normal(size=(5, 2, 3))
    row = described_row(activations(outputs=scores, labels=list("abc"), output_kind="label"), 0, 4, blob)
    expected, content = row["expected"], np.frombuffer(blob.content(), np.uint8)
    labels = content[expected["labels"] :].view(np.uint8)[: 4 * 3 * 2].view("<u2").reshape(4, 3)
    chances = content[expected["chances"] :][: 4 * 3].reshape(4, 3)
    for step in range(4):
        exponentials = [np.exp(x) for x in scores[step, 0]]
        ranked = sorted(range(3), key=lambda place, own=exponentials: -own[place])
        assert labels[step].tolist() == ranked
        assert chances[step].tolist() == [round(255 * exponentials[p] / sum(exponentials)) for p in ranked]


def test_a_symbol_surprises_by_the_probability_that_it_had_before() -> None:
    scores, names = RANDOM.normal(size=(5, 2, 3)), list("abcxa")  # x is unknown: the model reads the first label
    scores[0, 0] = [0, -60, 0]
    seen = activations(outputs=scores, labels=list("abc"), symbols=[names, names], output_kind="next")
    levels = {}
    for since in (0, 2, 5):
        blob = Blob()
        expected = described_row(seen, 0, 5, blob, since=since)["expected"]
        levels[since] = np.frombuffer(blob.content()[expected["surprise"] :], "<u2").tolist()
    assert levels[0][:2] == [
        65535,
        round(64 * (60 / np.log(2) + 1)),
    ]  # nothing was expected before the first; e^-60 of 2
    for step, number in ((2, 2), (3, 0), (4, 0)):
        exponentials = np.exp(scores[step - 1, 0])
        assert levels[0][step] == round(-64 * np.log2(exponentials[number] / exponentials.sum()))
    assert (levels[2], levels[5]) == (levels[0][2:], [])


def test_keys_have_the_chance_of_the_frame_before() -> None:
    blob, roll = Blob(), np.zeros((5, 2, 88), np.float32)
    roll[2, 0, 40] = roll[3, 0, 44] = 1
    logits = RANDOM.normal(size=(5, 2, 88))
    named = {"series": roll, "outputs": logits, "output_kind": "keys", "labels": [f"key {n}" for n in range(88)]}
    row = described_row(activations(**named), 0, 5, blob)
    keys, content = row["keys"], np.frombuffer(blob.content(), np.uint8)
    assert (keys["first"], keys["count"]) == (37, 11)
    struck = content[keys["struck"] :][: 11 * 5].reshape(11, 5)
    assert np.argwhere(struck).tolist() == [[3, 2], [7, 3]]
    chances = content[keys["chances"] :][: 11 * 5].reshape(11, 5)
    assert chances[:, 0].tolist() == [0] * 11
    assert chances[3, 2] == round(255 / (1 + np.exp(-logits[1, 0, 40])))
    assert "series" not in row


def test_a_forecast_has_three_lines_a_variable_and_the_measured_past() -> None:
    measured = np.array([[[1.0]], [[2.0]], [[3.0]], [[np.nan]], [[np.nan]]])
    ends = np.array([[[[3.0, 4.0, 5.0]]], [[[2.0, 5.0, 9.0]]]])
    seen = activations(batch=1, series=np.zeros((5, 1, 1)), measured=measured, outputs=ends, output_kind="forecast")
    row = described_row(seen, 0, 5, Blob())
    assert row["series"] == [[1.0, 2.0, 3.0, None, None]]
    assert row["forecast"] == [[[3.0, 2.0], [4.0, 5.0], [5.0, 9.0]]]


def test_numbers_without_a_name_are_shown_where_they_are_few() -> None:
    pooled = described_row(activations(outputs=np.array([[1.5], [2.5]])), 1, 5, Blob())
    assert pooled["answer"] == [2.5]
    stepwise = described_row(activations(outputs=np.arange(10.0).reshape(5, 2, 1)), 1, 5, Blob())
    assert stepwise["outputs"] == [[1.0, 3.0, 5.0, 7.0, 9.0]]
    assert described_row(activations(outputs=np.zeros((5, 2, 9))), 1, 5, Blob()).keys() == {"steps", "all"}


def test_contributions_are_relative_to_the_largest_of_each_step() -> None:
    values = np.array([[0.0, 0.0], [-2.0, 1.0], [0.5, np.nan]])
    blob = Blob()
    described = described_contributions(Contributions(values), 2, blob)
    assert described == {"lags": True, "first": 0, "levels": 15, "outputs": 2, "width": 2, "offset": 0}
    assert list(blob.content()) == [0, 0, 15, 8]
    blob = Blob()
    described = described_contributions(Contributions(values.T, by_lag=False, first=1), 2, blob)
    assert described == {"lags": False, "first": 1, "levels": 15, "outputs": 2, "width": 2, "offset": 0}
    assert list(blob.content()) == [0, 15, 0, 15]


def test_rows_of_files_have_the_names_of_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "someone"
    names = [str(folder / name) for name in ("a/one.wav", "a/two.wav", "b/one.wav")]
    assert row_names(activations(batch=3, rows=names)) == [str(Path("a/one.wav")), "two.wav", str(Path("b/one.wav"))]
    assert row_names(activations(batch=2, rows=names[:2])) == ["one.wav", "two.wav"]
    assert row_names(activations(batch=2, rows=[names[0], names[0]])) == ["one.wav", "one.wav"]
    others = ["north/south", "12 + 30", "\x00", "a" * 5000]
    assert row_names(activations(batch=4, rows=others)) == others
    assert row_names(activations(batch=2)) == ["1", "2"]


def test_rows_of_several_batches() -> None:
    batches = [activations(5, 2, rows=["a", "b"]), activations(7, 3, rows=["c", "d", "e"]), activations(9, 1)]
    seen = first_rows(iter(batches), 4)
    assert seen is not None
    assert seen.rows == ["a", "b", "c", "d"]
    assert seen.lengths.tolist() == [5, 5, 7, 7]
    state = seen.layer().states["h"]
    assert state.shape == (7, 4, 4)
    np.testing.assert_array_equal(state[:5, :2], batches[0].layer().states["h"])
    np.testing.assert_array_equal(state[:, 2:], batches[1].layer().states["h"][:, :2])
    assert np.isnan(state[5:, :2]).all()


def test_no_more_batches_are_read_than_are_shown() -> None:
    def batches() -> Any:
        yield activations(5, 2)
        pytest.fail("the second batch is not needed")

    seen = first_rows(batches(), 2)
    assert seen is not None
    assert seen.batch == 2
    assert first_rows(iter([]), 2) is None


def test_pooled_outputs_are_cut_by_rows() -> None:
    seen = cut(activations(batch=3, outputs=np.arange(6.0).reshape(3, 2)), 1)
    np.testing.assert_array_equal(seen.outputs, [[0.0, 1.0]])
    assert seen.layer().gates["z"].shape == (5, 1, 4)


def test_pieces_of_the_script_can_be_read_at_once() -> None:
    from importlib.resources import files

    sizes = {
        path.name: len(path.read_text(encoding="utf-8").splitlines())
        for path in (files("gatewright.look") / "assets" / "script").iterdir()
    }
    assert len(sizes) > 10
    assert {name: size for name, size in sizes.items() if size > 250} == {}
