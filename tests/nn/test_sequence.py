"""RaggedRows batches: against torch's own packing, by properties, and by the exact words of each error."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from gatewright.errors import ShapeError
from gatewright.nn.sequence import (
    repack,
    row_lengths,
    step_mask,
    unpack,
    zero_padding,
)

RAGGED = [5, 0, 2, 7, 7, 1]
lengths_of_rows = st.lists(st.integers(0, 6), min_size=1, max_size=5)
lengths_to_pack = st.lists(st.integers(1, 6), min_size=1, max_size=5)


def numbered(steps: int, *shape: int) -> Tensor:
    """Distinct numbers, none of them zero, so that a value in a wrong place is seen."""
    count = int(np.prod((steps, *shape)))
    return torch.arange(1, count + 1, dtype=torch.float64).view(steps, *shape)


def pack(values: Tensor, lengths: list[int], enforce_sorted: bool = False) -> PackedSequence:
    return pack_padded_sequence(values, torch.tensor(lengths), enforce_sorted=enforce_sorted)


@pytest.mark.parametrize(
    "lengths",
    [
        RAGGED,
        tuple(RAGGED),
        np.array(RAGGED, dtype=np.int32),
        np.array(RAGGED[::-1])[::-1],
        np.array(RAGGED, dtype=">i4"),
        np.frombuffer(bytes(RAGGED), dtype=np.uint8),
        torch.tensor(RAGGED, dtype=torch.int16),
        torch.tensor(RAGGED),
    ],
    ids=["list", "tuple", "numpy", "reversed", "big-endian", "read-only", "int16", "int64"],
)
def test_lengths_come_in_any_order_and_type(lengths):
    found = row_lengths(lengths, steps=7, batch=6)
    assert found.dtype == torch.int64
    assert found.tolist() == RAGGED


def test_lengths_of_an_empty_batch():
    assert row_lengths([], steps=3, batch=0).tolist() == []
    assert row_lengths([0, 0], steps=0, batch=2).tolist() == [0, 0]


def test_lengths_go_to_the_device_asked_for():
    assert row_lengths([1], steps=1, batch=1, device="meta").device.type == "meta"


@pytest.mark.parametrize(
    ("lengths", "got"),
    [([1, 2, 3], "shape (3,)"), ([[1, 2], [3, 4]], "shape (2, 2)"), (5, "shape ()")],
    ids=["count", "rank", "number"],
)
def test_lengths_that_do_not_fit_the_batch_are_named(lengths, got):
    with pytest.raises(ShapeError) as caught:
        row_lengths(lengths, steps=7, batch=4)
    assert str(caught.value) == (
        "lengths do not fit the batch\n"
        "  expected: shape (4,), one length for each row of the batch\n"
        f"  got: {got}\n"
        "  do: pass one length for each row; with batch_first=True rows are the first axis of the input"
    )


@pytest.mark.parametrize(
    ("lengths", "got"),
    [([7, 2, 9, 8], "9 for row 2"), ([7, 8, 0, 7], "8 for row 1"), ([7, -1, 2, 3], "-1 for row 1")],
    ids=["long", "long by one", "negative"],
)
def test_lengths_that_do_not_fit_the_sequences_are_named(lengths, got):
    with pytest.raises(ShapeError) as caught:
        row_lengths(lengths, steps=7, batch=4)
    assert str(caught.value) == (
        "lengths do not fit the sequences\n"
        "  expected: lengths from 0 to 7, the number of time steps of the input\n"
        f"  got: {got}\n"
        "  do: pad the input to its longest row; if time and batch are exchanged, see batch_first"
    )


@pytest.mark.parametrize(
    ("lengths", "got"),
    [
        ([1.0, 2.0, 3.0, 4.0], "values of torch.float32"),
        (torch.ones(4, dtype=torch.bool), "values of torch.bool"),
        (["long", "short"], "['long', 'short']"),
        ([[1, 2], [3]], "[[1, 2], [3]]"),
    ],
    ids=["float", "bool", "text", "ragged"],
)
def test_lengths_that_are_not_whole_numbers_are_named(lengths, got):
    with pytest.raises(ShapeError) as caught:
        row_lengths(lengths, steps=7, batch=4)
    assert str(caught.value) == (
        "lengths are not whole numbers\n"
        "  expected: a list or an integer tensor, one length for each row of the batch\n"
        f"  got: {got}\n"
        "  do: convert them: lengths.long(), or mask.sum(0).long() where you hold a (time, batch) mask"
    )


@given(lengths_to_pack)
def test_unpacking_gives_the_callers_rows_in_the_callers_order(lengths):
    values = numbered(max(lengths), len(lengths), 2)
    padded, found = unpack(pack(values, lengths))
    assert found.tolist() == lengths
    assert torch.equal(padded, zero_padding(values, torch.tensor(lengths)))


@given(lengths_to_pack, st.booleans())
def test_repacking_is_what_torch_packs(lengths, is_sorted):
    lengths = sorted(lengths, reverse=True) if is_sorted else lengths
    packed = pack(numbered(max(lengths), len(lengths), 3), lengths, enforce_sorted=is_sorted)
    wider = numbered(max(lengths), len(lengths), 4)
    got, want = repack(wider, packed), pack(wider, lengths, enforce_sorted=is_sorted)
    assert torch.equal(got.data, want.data)
    assert torch.equal(got.batch_sizes, want.batch_sizes)
    for ours, theirs in zip(got[2:], want[2:], strict=True):
        assert (ours is None and theirs is None) if is_sorted else torch.equal(ours, theirs)


def test_repacking_keeps_the_form_that_a_torch_layer_returns():
    packed = pack(numbered(7, 4, 3).float(), [2, 7, 1, 7])
    theirs, _ = nn.GRU(3, 5)(packed)
    ours = repack(pad_packed_sequence(theirs)[0], packed)
    assert type(ours) is type(theirs)
    assert ours.batch_sizes is theirs.batch_sizes
    assert ours.sorted_indices is theirs.sorted_indices
    assert ours.unsorted_indices is theirs.unsorted_indices
    assert torch.equal(ours.data, theirs.data)


def test_repacking_refuses_other_steps_or_rows():
    packed = pack(numbered(7, 2, 3), [2, 7])
    with pytest.raises(ShapeError) as caught:
        repack(numbered(2, 7, 3), packed)
    assert str(caught.value) == (
        "the values do not fit the PackedSequence that they are packed like\n"
        "  expected: shape (7, 2, features)\n"
        "  got: shape (2, 7, 3)\n"
        "  do: pass time-major values with one row for each packed sequence"
    )


def test_unpacking_and_repacking_can_be_differentiated_twice():
    packed = pack(numbered(3, 3, 2), [2, 3, 1])

    def there_and_back(data: Tensor) -> Tensor:
        padded, _ = unpack(PackedSequence(data, *packed[1:]))
        return repack(padded**2, packed).data

    data = packed.data.clone().requires_grad_()
    assert gradcheck(there_and_back, (data,))
    assert gradgradcheck(there_and_back, (data,))


@given(lengths_of_rows, st.integers(0, 3))
def test_a_mask_has_one_for_each_step_of_a_row(lengths, extra):
    steps = max(lengths) + extra
    mask = step_mask(torch.tensor(lengths), steps)
    assert mask.tolist() == [[float(step < length) for length in lengths] for step in range(steps)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.bool, torch.int64])
def test_a_mask_has_the_dtype_asked_for(dtype):
    mask = step_mask(torch.tensor([2, 0]), 3, dtype)
    assert mask.dtype == dtype
    assert mask.sum() == 2


@given(lengths_of_rows, st.sampled_from([(), (2,), (2, 3)]))
def test_padding_becomes_zero_whatever_it_held(lengths, features):
    values = numbered(6, len(lengths), *features)
    poisoned = values.clone()
    for row, length in enumerate(lengths):
        poisoned[length:, row] = float("nan")
    poisoned.requires_grad_()
    zeroed = zero_padding(poisoned, torch.tensor(lengths))
    (gradient,) = torch.autograd.grad(zeroed.sum(), poisoned)
    for row, length in enumerate(lengths):
        assert torch.equal(zeroed[:length, row], values[:length, row])
        assert not zeroed[length:, row].any()
        assert bool((gradient[:length, row] == 1).all())
        assert not gradient[length:, row].any()


def run_one_direction(cell: nn.GRUCell, values: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """A GRU on padded rows, by a mask as a masked cell has it."""
    outputs = []
    for step, mask in zip(values, step_mask(lengths, len(values), values.dtype)[:, :, None], strict=True):
        state = mask * cell(step, state) + (1 - mask) * state
        outputs.append(state)
    return zero_padding(torch.stack(outputs), lengths), state


def reversed_rows(values: Tensor, lengths: list[int]) -> Tensor:
    """Each row with its own steps in reverse; padding stays where it is."""
    result = values.clone()
    for row, length in enumerate(lengths):
        result[:length, row] = values[:length, row].flip(0)
    return result


def test_a_padded_bidirectional_run_equals_torch_on_the_packed_batch():
    lengths = [2, 7, 1, 5]
    layer = nn.GRU(3, 4, bidirectional=True, dtype=torch.float64)
    values = torch.randn(7, 4, 3, dtype=torch.float64)
    first = torch.randn(2, 4, 4, dtype=torch.float64)
    packed, want_state = layer(pack(values, lengths), first)
    want = pad_packed_sequence(packed)[0]
    found = row_lengths(lengths, steps=7, batch=4)
    got, got_state = [], []
    for direction, suffix in enumerate(["", "_reverse"]):
        cell = nn.GRUCell(3, 4, dtype=torch.float64)
        cell.load_state_dict({name: getattr(layer, f"{name}_l0{suffix}") for name, _ in cell.named_parameters()})
        ordered = reversed_rows(values, lengths) if direction else values
        outputs, state = run_one_direction(cell, ordered, found, first[direction])
        got.append(reversed_rows(outputs, lengths) if direction else outputs)
        got_state.append(state)
    torch.testing.assert_close(torch.cat(got, -1), want)
    torch.testing.assert_close(torch.stack(got_state), want_state)
