"""Rank, dead units, plane and drift of states that are made by hand."""

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from torch import nn

import gatewright as gw
from gatewright.errors import DataError, OptionError, ShapeError
from gatewright.inspect import Activations, LayerActivations


def activations_of(states: np.ndarray, lengths: list[int] | None = None, **more: np.ndarray) -> Activations:
    """Activations of one GRU layer with these states (time, batch, units)."""
    steps, batch, _ = states.shape
    ends = np.asarray(lengths or [steps] * batch, np.int64)
    padded = np.where((np.arange(steps)[:, None] < ends)[..., None], states, np.nan)
    trace = gw.nn.Recurrent("gru", 1, 2).trace
    layer = LayerActivations("rnn.l0", trace, np.zeros((steps, batch, 1)), more, {"h": padded}, ends)
    return Activations({"rnn.l0": layer}, ends)


def halves(activations: Activations) -> list[Activations]:
    """The same rows in two batches."""
    layer = activations.layer()
    parts = [np.arange(activations.batch)[rows] for rows in (slice(0, 2), slice(2, None))]
    return [activations_of(layer.states["h"][:, rows], activations.lengths[rows].tolist()) for rows in parts]


def test_rank_of_states_in_a_plane() -> None:
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(5, 5)))[0][:, :2]
    factors = rng.normal(size=(40, 6, 2)) * [2.0, 1.0]
    states = 100 + factors @ basis.T
    (rank,) = gw.inspect.state_rank(activations_of(states))
    variances = np.linalg.eigvalsh(np.cov(states.reshape(-1, 5).T, bias=True))[::-1]
    np.testing.assert_allclose(rank.variances, variances, atol=1e-9)
    assert rank.rank == 2
    assert rank.participation_ratio == pytest.approx(variances.sum() ** 2 / (variances**2).sum())
    assert (rank.layer, rank.state) == ("rnn.l0", "h")


def test_a_stream_counts_as_one() -> None:
    states = np.random.default_rng(0).normal(size=(7, 5, 3)) + 3
    whole = activations_of(states, [7, 3, 5, 1, 6])
    (one,), (several,) = gw.inspect.state_rank(whole), gw.inspect.state_rank(iter(halves(whole)))
    np.testing.assert_allclose(several.variances, one.variances, rtol=1e-12)
    (one,), (several,) = gw.inspect.dead_units(whole), gw.inspect.dead_units(iter(halves(whole)))
    np.testing.assert_allclose(several.deviations, one.deviations, rtol=1e-12)
    (one,), (several,) = gw.inspect.drift(whole, 2), gw.inspect.drift(iter(halves(whole)), 2)
    for name in ("norms", "means", "lowest", "highest", "low", "high", "outside", "leaves"):
        np.testing.assert_allclose(getattr(several, name), getattr(one, name), rtol=1e-12)


def test_states_that_do_not_move_have_rank_0() -> None:
    (rank,) = gw.inspect.state_rank(activations_of(np.ones((4, 2, 3))))
    assert (rank.rank, rank.participation_ratio) == (0, 0.0)


def test_dead_units() -> None:
    states = np.random.default_rng(0).normal(size=(20, 3, 4))
    states[..., 1] = 0.7
    states[..., 3] = -1 + 1e-5 * states[..., 3]
    (dead,) = gw.inspect.dead_units(activations_of(states))
    assert dead.units.tolist() == [1, 3]
    np.testing.assert_allclose(dead.deviations, states.reshape(-1, 4).std(0), atol=1e-12)
    np.testing.assert_allclose(dead.means, states.reshape(-1, 4).mean(0))
    assert gw.inspect.dead_units(activations_of(states), at_most=1e-9)[0].units.tolist() == [1]


def test_the_plane_of_states() -> None:
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(4, 4)))[0][:, :2]
    states = 5 + (rng.normal(size=(30, 2, 2)) * [3.0, 1.0]) @ basis.T
    plane = gw.inspect.state_plane(activations_of(states, [30, 12]))
    valid = np.concatenate([states[:, 0], states[:12, 1]])
    np.testing.assert_allclose(plane.mean, valid.mean(0))
    assert plane.shares.sum() == pytest.approx(1)
    assert [len(path) for path in plane.paths] == [30, 12]
    back = plane.mean + plane.paths[1] @ plane.directions
    np.testing.assert_allclose(back, states[:12, 1], atol=1e-9)
    np.testing.assert_allclose(plane.project(states[:12, 1]), plane.paths[1], atol=1e-12)
    with pytest.raises(ShapeError, match="the states do not fit the plane"):
        plane.project(np.zeros((2, 3)))


def test_drift_beyond_the_trained_length() -> None:
    steps = np.arange(10.0)
    growing, still = np.stack([steps, -steps], -1), np.stack([np.sin(steps), -np.sin(steps)], -1)
    (found,) = gw.inspect.drift(activations_of(np.stack([growing, still], -1), [10, 8]), 5)
    # The range of the first unit in 5 steps is -4 to 4; a margin of a tenth of 8 is passed at 5, by both rows.
    assert (found.low[0], found.high[0]) == (-4, 4)
    assert found.leaves.tolist() == [5, -1]
    assert found.first == 5
    np.testing.assert_allclose(found.outside, [0] * 5 + [0.5] * 5)
    np.testing.assert_allclose(found.norms, np.hypot(steps, np.sin(steps)))
    np.testing.assert_allclose(found.means[:8], 0, atol=1e-12)
    np.testing.assert_allclose(found.means[8:, 0], steps[8:])
    np.testing.assert_allclose(found.highest[:, 0], steps)
    (wide,) = gw.inspect.drift(activations_of(np.stack([growing, still], -1)), 5, margin=1.0)
    assert wide.first is None


def test_there_has_to_be_something_to_measure() -> None:
    empty = activations_of(np.zeros((0, 1, 2)))
    for measure in (gw.inspect.state_rank, gw.inspect.dead_units, lambda source: gw.inspect.drift(source, 2)):
        with pytest.raises(DataError, match="there is no step to measure"):
            measure(empty)
    with pytest.raises(DataError, match="a plane needs two units and two steps"):
        gw.inspect.state_plane(activations_of(np.zeros((5, 1, 1))))
    with pytest.raises(OptionError, match="no sequence is longer than the 5 steps of training"):
        gw.inspect.drift(activations_of(np.zeros((5, 1, 2))), 5)
    with pytest.raises(OptionError, match="training saw no step"):
        gw.inspect.drift(activations_of(np.zeros((5, 1, 2))), 0)


def test_the_first_steps_of_a_layer_that_reads_from_the_end_are_the_last_ones() -> None:
    torch.manual_seed(0)
    x = torch.randn(9, 2, 3)
    lengths = [9, 7]
    layer = nn.GRU(3, 4, bidirectional=True)
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths)
    found = next(own for own in gw.inspect.drift(gw.inspect.record(layer, packed), 4) if own.layer == "l0_reverse")
    reversed_x = torch.stack([torch.cat([x[:end, row].flip(0), x[end:, row]]) for row, end in enumerate(lengths)], 1)
    forward = nn.GRU(3, 4)
    forward.load_state_dict(
        {name.removesuffix("_reverse"): v for name, v in layer.state_dict().items() if "rev" in name}
    )
    (expected,) = gw.inspect.drift(gw.inspect.record(forward, reversed_x, lengths=lengths), 4)
    for name in ("norms", "means", "low", "high", "outside", "leaves"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-6)
