"""Chunks of sequences in parallel streams: every step is read once, states go on or begin anew."""

import numpy as np
import pytest
import torch

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.batches.sequential import RaggedStreams
from gatewright.tasks.data.ragged import Ragged
from gatewright.tasks.training.processes import rows_of
from gatewright.tasks.training.tensor_batches import TensorBatch, tensor_batch

LENGTHS = [5, 1, 12, 7, 23, 4, 4]


def streams(batch: int, steps: int, seed: int | None = 3) -> RaggedStreams:
    """Sequences whose values tell the sequence and the step: 100 * sequence + step, features (steps, 1)."""
    values = [np.arange(length, dtype=np.float32)[:, None] + 100 * place for place, length in enumerate(LENGTHS)]
    inputs = Ragged.join(values)
    return RaggedStreams(inputs, inputs, batch, steps, seed=seed)


@pytest.mark.parametrize(("batch", "steps"), [(1, 4), (3, 5), (4, 100), (20, 3)])
def test_every_step_is_read_once_an_epoch_and_in_its_order(batch: int, steps: int) -> None:
    made = streams(batch, steps)
    wanted = sorted(100 * place + step for place, length in enumerate(LENGTHS) for step in range(length))
    orders: list[list[float]] = []
    for epoch in (0, 1):
        rows: list[list[float]] = [[] for _ in range(batch)]
        for position in range(len(made)):
            found = made.batch(epoch, position)
            assert found.inputs.shape == (found.lengths.max(), batch, 1)
            assert found.lengths.max() <= steps
            for row, length in enumerate(found.lengths):
                read = found.inputs[:length, row, 0].tolist()
                if found.continues[row]:  # a row goes on with the next step of its sequence
                    assert read[0] == rows[row][-1] + 1
                elif read and position:  # or begins one
                    assert read[0] % 100 == 0
                rows[row] += read
                assert not found.inputs[length:, row].any()
        orders.append([step for row in rows for step in row])
        assert sorted(orders[-1]) == wanted
    assert orders[0] != orders[1]


def test_chunks_are_about_equally_long() -> None:
    found = [streams(1, 10, seed=None).batch(0, position).lengths.item() for position in range(10)]
    assert found == [5, 1, 6, 6, 7, 7, 8, 8, 4, 4]  # 12 in two, 23 in three


def test_a_place_can_be_asked_for_at_any_time() -> None:
    made, again = streams(3, 4), streams(3, 4)
    later = [made.batch(epoch, position) for epoch in (0, 1) for position in range(len(made))]
    for place, epoch, position in ((-1, 1, len(made) - 1), (0, 0, 0), (2, 0, 2)):
        for one, other in zip(later[place], again.batch(epoch, position), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_row_that_begins_has_a_state_of_zeros() -> None:
    state = (torch.ones(2, 3, 4), torch.full((2, 3, 4, 5), torch.nan))
    given = TensorBatch(torch.zeros(1, 3), torch.zeros(1, 3), None, torch.tensor([True, False, False]))
    vectors, matrices = given.begins_with((state[0], torch.ones(2, 3, 4, 5)))
    assert [one[:, 0].min().item() for one in (vectors, matrices)] == [1, 1]
    assert [one[:, 1:].abs().max().item() for one in (vectors, matrices)] == [0, 0]
    nothing = given._replace(continues=torch.zeros(3, dtype=torch.bool))
    assert all(not one.any() for one in nothing.begins_with(state))  # NaN goes too
    assert given.begins_with(None) is None
    assert given._replace(continues=False).begins_with(state) is None
    assert given._replace(continues=True).begins_with(state) is state


def test_batches_say_which_rows_go_on() -> None:
    batch = tensor_batch(streams(2, 4), 0, 1)
    assert isinstance(batch.continues, torch.Tensor)
    assert batch.continues.dtype == torch.bool
    assert not tensor_batch(streams(2, 4), 0, 0).continues.any()  # pyright: ignore[reportAttributeAccessIssue]


def test_a_process_takes_its_own_rows() -> None:
    """What several processes take together is the batch, and each row keeps what it goes on with."""
    batch = tensor_batch(streams(5, 4), 0, 2)
    taken = [rows_of(batch, rank, 2, timed=True) for rank in range(2)]
    assert isinstance(batch.continues, torch.Tensor)
    assert 0 < batch.continues.sum() < 5
    for name, axis in (("inputs", 1), ("targets", 1), ("lengths", 0), ("continues", 0)):
        assert torch.equal(torch.cat([getattr(one, name) for one in taken], axis), getattr(batch, name)), name


def test_what_cannot_be_streams() -> None:
    whole = Ragged.join([np.zeros((3, 1)), np.zeros((0, 1))])
    with pytest.raises(DataError, match=r"^sequence 1 is empty\n  expected: a step at least\n  do: leave it out$"):
        RaggedStreams(whole, whole, 1, 1)
    with pytest.raises(OptionError, match=r"^steps is too small\n  expected: at least 1\n  got: 0$"):
        streams(1, 0)
