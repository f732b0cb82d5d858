"""The recipe `longlag`: marked numbers to add and symbols to repeat, at any lag."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gatewright.errors import OptionError
from gatewright.tasks.cell_spec import read_cell
from gatewright.tasks.data.batches.arrays import Rows
from gatewright.tasks.data.synthetic import copy_arrays, marked_sums
from gatewright.tasks.objectives import NumberTargets
from gatewright.tasks.recipes.longlag import LongLag
from gatewright.tasks.training.session import train
from tests.tasks.small import QUIET


@pytest.mark.parametrize("steps", [2, 3, 50])
def test_two_numbers_are_marked_and_their_sum_is_asked_for(steps: int) -> None:
    inputs, targets = marked_sums(200, steps, seed=1)
    assert inputs.shape == (steps, 200, 2)
    values, marks = inputs[:, :, 0], inputs[:, :, 1]
    assert set(np.unique(marks)) <= {0.0, 1.0}
    np.testing.assert_array_equal(marks.sum(0), np.full(200, 2))
    np.testing.assert_allclose((values * marks).sum(0)[:, None], targets, rtol=1e-6)
    assert 0 <= values.min() < 0.1
    assert 0.9 < values.max() < 1


def test_every_pair_of_steps_can_be_marked() -> None:
    marks = marked_sums(2000, 4, seed=0).inputs[:, :, 1]
    assert {tuple(np.flatnonzero(row)) for row in marks.T} == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


def test_who_says_one_has_an_error_of_a_sixth() -> None:
    targets = marked_sums(20_000, 5, seed=0).targets
    assert np.mean((targets - 1) ** 2) == pytest.approx(1 / 6, abs=4e-3)


def test_symbols_are_repeated_in_their_order_after_the_lag() -> None:
    inputs, targets = copy_arrays(3, lag=7, seed=2)
    assert inputs.shape == targets.shape == (27, 3)
    np.testing.assert_array_equal(targets[-10:], inputs[:10])
    assert set(np.unique(inputs[:10])) <= set(range(1, 9))
    assert (inputs[10:16] == 0).all()
    assert (inputs[16:] == 9).all()
    assert (targets[:17] == -100).all()


@pytest.mark.parametrize(("task", "shape"), [("adding", (30, 50, 2)), ("copy", (50, 50))])
def test_sequences_are_new_in_each_iteration_and_the_same_for_a_seed(task: str, shape: tuple[int, ...]) -> None:
    made = LongLag.configured([f"task={task}", "lag=30", "batch=50"])
    first, second = (made.data(None).parts["train"].batch(0, place).inputs for place in (0, 1))
    assert first.shape == shape
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, made.data(None).parts["train"].batch(0, 0).inputs)
    other = LongLag.configured([f"task={task}", "lag=30", "batch=50", "seed=1"]).data(None).parts
    assert not np.array_equal(first, other["train"].batch(0, 0).inputs)
    np.testing.assert_array_equal(other["test"].batch(0, 0).inputs, made.data(None).parts["test"].batch(0, 0).inputs)


def test_a_sum_is_right_within_four_hundredths() -> None:
    outputs, batch = torch.tensor([[1.0], [0.5], [1.2]]), Rows(None, torch.tensor([[1.03], [0.55], [1.2]]))
    objective = LongLag().objective()
    assert isinstance(objective, NumberTargets)
    assert objective.scores(outputs, batch)["accuracy"].tolist() == [True, False, True]
    torch.testing.assert_close(objective.losses(outputs, batch).mean(), torch.tensor((0.03**2 + 0.05**2) / 3))


def test_gates_begin_with_memories_of_up_to_the_lag() -> None:
    for cell, expected in (("gru", "torch + chrono(max_steps=600)"), ("elman", "torch")):
        assert LongLag().initialiser(read_cell(cell)) == expected
        assert LongLag(memory="drawn").initialiser(read_cell(cell)) == "torch"
    network = LongLag().network(LongLag(lag=4).data(None).sizes, read_cell("gru"))
    biases = network.recurrent.gate_parameters()["l0.b.z"]
    assert biases.min() >= 0
    assert biases.max() <= np.log(599)


def test_symbols_are_copied_over_a_short_lag(tmp_path: Path) -> None:
    made = LongLag.configured(["task=copy", "lag=2", "hidden=16", "iterations=5", "epochs=1"])
    result = train(made, out=tmp_path / "run", console=QUIET)
    assert result.metrics["test"].keys() == {"loss", "accuracy", "macro_f1"}
    assert result.parameters == sum(
        one.numel() for one in made.network(made.data(None).sizes, read_cell("gru")).parameters()
    )


def test_what_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="recipe 'longlag' makes its own data"):
        LongLag().data(str(tmp_path))
    with pytest.raises(OptionError, match="setting 'lag' is out of range\n  expected: at least 2\n  got: 1"):
        LongLag.configured(["lag=1"])
    with pytest.raises(OptionError, match="lag is too small\n  expected: at least 2\n  got: 1"):
        marked_sums(1, 1, seed=0)
