"""Calls with a PackedSequence on the fast path: what the same rows give as a padded batch, and torch.nn's layers."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import gatewright as gw
from gatewright.nn.calls.layer_call import call_fast_packed
from tests.parity.assertions import assert_parity

LENGTHS = ([6, 4, 4, 1], [4, 6, 1, 4], [6, 6, 6, 6])
Layer = gw.nn.Recurrent


def pair(**options: Any) -> tuple[Layer, torch.nn.LSTM]:
    """A layer that has been called with a PackedSequence, and torch.nn's."""
    ours = gw.nn.LSTM(3, 5, **options, dtype=torch.float64)
    theirs = torch.nn.LSTM(3, 5, **options, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict())
    ours(packed_of(torch.randn(6, 4, 3, dtype=torch.float64), LENGTHS[0]))
    return ours, theirs


def packed_of(values: Tensor, lengths: list[int]) -> PackedSequence:
    return pack_padded_sequence(values, torch.tensor(lengths), enforce_sorted=lengths == sorted(lengths, reverse=True))


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=["one", "two, both ways"])
def test_results_and_gradients_are_those_of_torch(options: dict[str, Any], lengths: list[int]) -> None:
    ours, theirs = pair(**options)
    levels = len(ours.packed_cells)
    leaves = [torch.randn(6, 4, 3), torch.randn(levels, 4, 5), torch.randn(levels, 4, 5)]
    results: list[list[Tensor]] = []
    for layer in (ours, theirs):
        x, h, c = (leaf.double().requires_grad_() for leaf in leaves)
        packed = packed_of(x, lengths)
        if layer is ours:
            assert call_fast_packed(ours, packed, (h, c), gates=False) is not None
        output, finals = layer(packed, (h, c))
        assert torch.equal(output.batch_sizes, packed.batch_sizes)
        assert (output.sorted_indices is None) == (packed.sorted_indices is None)
        loss = output.data.square().sum() + sum(final.cos().sum() for final in finals)
        gradients = torch.autograd.grad(loss, [x, h, c, *layer.parameters()])
        results.append([output.data, *finals, *gradients])
    assert_parity(results[0], results[1], dtype="float64", steps=6)


def test_gates_have_the_axes_of_a_padded_batch() -> None:
    ours, _ = pair(batch_first=True)
    values = torch.randn(6, 4, 3, dtype=torch.float64)
    packed = packed_of(values, LENGTHS[1])
    ours(packed, return_gates=True)
    assert call_fast_packed(ours, packed, None, gates=True) is not None
    output, _, gates = ours(packed, return_gates=True)
    padded, _, expected = ours(values.transpose(0, 1), lengths=LENGTHS[1], return_gates=True)
    assert torch.equal(pad_packed_sequence(output, batch_first=True)[0], padded)
    assert gates.keys() == expected.keys()
    assert all(torch.equal(gates[name], expected[name]) for name in gates)


def test_derivatives_of_first_and_second_order() -> None:
    ours, _ = pair()
    lines = packed_of(torch.randn(6, 4, 3, dtype=torch.float64), LENGTHS[1])

    def outputs(data: Tensor) -> Tensor:
        return ours(PackedSequence(data, *lines[1:]))[0].data

    data = lines.data.clone().requires_grad_()
    assert gradcheck(outputs, (data,), check_batched_grad=True)
    assert gradgradcheck(outputs, (data,))


def test_a_nan_stays_in_its_row() -> None:
    """Padding is filled with lines of the data."""
    ours, _ = pair()
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    x[0, 1] = torch.nan  # the longest row, whose first line is the first of the data
    x.requires_grad_()
    output, (h, _) = ours(packed_of(x, LENGTHS[1]))
    kept = [0, 2, 3]
    assert h[:, kept].isfinite().all()
    h[:, kept].sum().backward()
    assert x.grad is not None
    assert x.grad[:, kept].isfinite().all()
    assert pad_packed_sequence(output)[0][:, kept].isfinite().all()


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_sizes": torch.tensor([1, 2])},
        {"sorted_indices": torch.tensor([0, 9])},
        {"sorted_indices": torch.tensor([-1, 0])},
        {"data": torch.randn(5, 3)},
    ],
    ids=["growing", "no such row", "negative row", "too much data"],
)
def test_parts_that_do_not_fit_each_other_are_left_to_the_generic_path(changes: dict[str, Tensor]) -> None:
    layer = gw.nn.GRU(3, 5)
    layer(PackedSequence(torch.randn(3, 3), torch.tensor([2, 1])))
    parts = {
        "data": torch.randn(3, 3),
        "batch_sizes": torch.tensor([2, 1]),
        "sorted_indices": torch.tensor([1, 0]),
        "unsorted_indices": torch.tensor([1, 0]),
    }
    assert call_fast_packed(layer, PackedSequence(**parts), None, gates=False) is not None
    assert call_fast_packed(layer, PackedSequence(**{**parts, **changes}), None, gates=False) is None
