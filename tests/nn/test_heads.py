"""Heads: against torch.nn and plain loops, with padding that would show, and the exact words of errors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.utils.rnn import pack_padded_sequence

from gatewright.errors import OptionError, ShapeError
from gatewright.nn import GRU
from gatewright.nn.heads import LastPool, MaxPool, MeanPool, PerStepDense, SharedDense

POOLS = [MeanPool, MaxPool, LastPool]
BY_NUMPY = {
    MeanPool: lambda steps: steps.mean(0),
    MaxPool: lambda steps: steps.max(0),
    LastPool: lambda steps: steps[-1],
}


def pooled_by_loop(pool: type, values: Tensor, mask: Tensor) -> Tensor:
    rows = []
    for row in range(values.shape[1]):
        steps = values[mask[:, row].bool(), row].detach().numpy()
        rows.append(BY_NUMPY[pool](steps) if len(steps) else np.zeros(values.shape[2]))
    return torch.tensor(np.stack(rows))


def test_a_shared_dense_layer_is_the_same_at_each_step():
    head = SharedDense(3, 2)
    values = torch.randn(5, 4, 3)
    output = head(values)
    assert output.shape == (5, 4, 2)
    for step in range(5):
        torch.testing.assert_close(output[step], values[step] @ head.weight.T + head.bias)
    torch.testing.assert_close(head(values.transpose(0, 1)), output.transpose(0, 1))
    assert sum(p.numel() for p in head.parameters()) == (3 + 1) * 2


def test_a_shared_dense_layer_takes_any_number_of_steps():
    head = SharedDense(3, 2)
    assert head(torch.zeros(0, 4, 3)).shape == (0, 4, 2)
    assert head(torch.zeros(9, 1, 3)).shape == (9, 1, 2)


@pytest.mark.parametrize("head", [SharedDense(3, 2), PerStepDense(5, 3, 2)], ids=["shared", "per step"])
def test_a_wrong_number_of_features_is_named(head):
    with pytest.raises(ShapeError) as caught:
        head(torch.zeros(5, 4, 7))
    assert str(caught.value) == (
        f"{type(head).__name__} was made for 3 features\n"
        "  expected: an input whose last axis is 3\n"
        "  got: shape (5, 4, 7)\n"
        "  do: make it with in_features equal to the last axis of what it is given"
    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_a_dense_layer_of_each_step_is_that_many_linear_layers(bias, batch_first):
    head = PerStepDense(5, 3, 2, bias=bias, batch_first=batch_first, dtype=torch.float64)
    values = torch.randn(5, 4, 3, dtype=torch.float64)
    want = []
    for step in range(5):
        linear = nn.Linear(3, 2, bias=bias, dtype=torch.float64)
        linear.load_state_dict({name: p[step] for name, p in head.named_parameters()})
        want.append(linear(values[step]))
    got = head(values.transpose(0, 1)).transpose(0, 1) if batch_first else head(values)
    torch.testing.assert_close(got, torch.stack(want))


def test_a_dense_layer_of_each_step_has_the_parameters_that_keras_counts():
    head = PerStepDense(10, 4, 8)
    assert sum(p.numel() for p in head.parameters()) == (4 + 1) * 8 * 10 == 400
    assert head.weight.abs().max() <= 4**-0.5
    assert len(head.weight.unique()) > 300


@pytest.mark.parametrize("bias", [True, False])
def test_a_dense_layer_of_each_step_can_be_differentiated_twice(bias):
    head = PerStepDense(3, 2, 2, bias=bias, dtype=torch.float64)
    values = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in head.named_parameters()]

    def run(values: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(head, dict(zip(names, parameters, strict=True)), (values,)).tanh()

    assert gradcheck(run, (values, *head.parameters()))
    assert gradgradcheck(run, (values, *head.parameters()))


@pytest.mark.parametrize(("batch_first", "shape"), [(False, (7, 4, 3)), (True, (4, 7, 3))])
def test_another_number_of_steps_is_refused(batch_first, shape):
    with pytest.raises(ShapeError) as caught:
        PerStepDense(5, 3, 2, batch_first=batch_first)(torch.zeros(shape))
    assert str(caught.value) == (
        "PerStepDense has one layer for each of 5 steps\n"
        "  expected: an input of 5 steps\n"
        f"  got: 7 steps, in an input of shape {shape}\n"
        "  do: pad or cut the input, or use SharedDense, which takes any number of steps"
    )


@pytest.mark.parametrize("module", [PerStepDense(5, 3, 2), MeanPool(batch_first=True)], ids=["dense", "pool"])
def test_an_input_without_a_batch_is_refused(module):
    axes = "(batch, time, features)" if module.batch_first else "(time, batch, features)"
    with pytest.raises(ShapeError) as caught:
        module(torch.zeros(5, 3))
    assert str(caught.value) == (
        f"{type(module).__name__} takes a batch of sequences\n"
        f"  expected: {axes}\n"
        "  got: shape (5, 3)\n"
        "  do: give an unbatched sequence a batch axis of length 1 with unsqueeze"
    )


@pytest.mark.parametrize("pool", POOLS)
@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=5), batch_first=st.booleans())
def test_pooling_reads_the_steps_of_each_row_alone(pool, lengths, batch_first):
    values = torch.randn(6, len(lengths), 3, dtype=torch.float64)
    mask = (torch.arange(6)[:, None] < torch.tensor(lengths)).float()
    values[mask == 0] = float("nan")
    want = pooled_by_loop(pool, values, mask)
    given_values = values.transpose(0, 1) if batch_first else values
    given_mask = mask.T if batch_first else mask
    module = pool(batch_first=batch_first)
    torch.testing.assert_close(module(given_values, lengths=lengths), want)
    torch.testing.assert_close(module(given_values, mask=given_mask), want)
    torch.testing.assert_close(module(given_values, mask=given_mask.bool()), want)


@pytest.mark.parametrize("pool", POOLS)
@given(mask=st.lists(st.tuples(*[st.booleans()] * 3), min_size=1, max_size=6))
def test_a_mask_may_have_holes(pool, mask):
    mask = torch.tensor(mask)
    values = torch.randn(*mask.shape, 2, dtype=torch.float64)
    torch.testing.assert_close(pool()(values, mask=mask), pooled_by_loop(pool, values, mask))


@pytest.mark.parametrize("pool", POOLS)
def test_without_lengths_every_step_counts(pool):
    values = torch.randn(4, 3, 2, dtype=torch.float64)
    torch.testing.assert_close(pool()(values), pooled_by_loop(pool, values, torch.ones(4, 3)))


@pytest.mark.parametrize("pool", POOLS)
def test_a_packed_sequence_brings_its_lengths(pool):
    values, lengths = torch.randn(6, 3, 2), [2, 6, 3]
    packed = pack_padded_sequence(values, torch.tensor(lengths), enforce_sorted=False)
    torch.testing.assert_close(pool(batch_first=True)(packed), pool()(values, lengths=lengths))


@pytest.mark.parametrize("pool", POOLS)
def test_no_steps_at_all_give_zeros(pool):
    values = torch.zeros(0, 3, 2, requires_grad=True)
    output = pool()(values, lengths=[0, 0, 0])
    assert torch.equal(output, torch.zeros(3, 2))
    output.sum().backward()


@pytest.mark.parametrize("pool", POOLS)
def test_gradients_are_finite_and_stay_out_of_the_padding(pool):
    values = torch.randn(4, 3, 2, dtype=torch.float64)
    values[2:, 0] = float("nan")
    values[:, 1] = float("inf")
    values.requires_grad_()
    output = pool()(values, lengths=[2, 0, 4])
    (gradient,) = torch.autograd.grad((output**2).sum(), values)
    assert bool(gradient.isfinite().all())
    assert bool(gradient[:, 2].any())
    assert not gradient[2:, 0].any()
    assert not gradient[:, 1].any()


@pytest.mark.parametrize("pool", POOLS)
def test_pools_can_be_differentiated_twice(pool):
    values = torch.randn(3, 3, 2, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda v: pool()(v, lengths=[2, 0, 3]) ** 2, (values,))
    assert gradgradcheck(lambda v: pool()(v, lengths=[2, 0, 3]) ** 2, (values,))


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_pools_keep_the_dtype(pool, dtype):
    assert pool()(torch.zeros(3, 2, 1, dtype=dtype), mask=torch.ones(3, 2)).dtype == dtype


@pytest.mark.parametrize(("batch_first", "want"), [(False, (4, 3)), (True, (3, 4))])
def test_a_mask_that_does_not_fit_is_named(batch_first, want):
    values = torch.zeros(*want, 2)
    with pytest.raises(ShapeError) as caught:
        MeanPool(batch_first=batch_first)(values, mask=torch.ones(want[::-1]))
    assert str(caught.value) == (
        "the mask given to MeanPool does not fit its input\n"
        f"  expected: shape {want}, the first two axes of the input\n"
        f"  got: shape {want[::-1]}\n"
        "  do: transpose it if its axes are exchanged; time comes first unless batch_first=True"
    )


def test_steps_are_said_to_count_once():
    values = torch.zeros(3, 2, 1)
    packed = pack_padded_sequence(values, torch.tensor([3, 2]))
    for arguments in (
        {"input": values, "lengths": [3, 2], "mask": torch.ones(3, 2)},
        {"input": packed, "lengths": [3, 2]},
    ):
        with pytest.raises(OptionError) as caught:
            LastPool()(**arguments)
        assert str(caught.value) == (
            "LastPool is told more than once which steps count\n"
            "  expected: one of lengths, mask, or a PackedSequence, which knows its lengths\n"
            "  do: leave out all but one"
        )


@pytest.mark.parametrize("batch_first", [False, True])
def test_the_backward_direction_is_read_at_its_own_end(batch_first: bool):
    layer = GRU(3, 4, bidirectional=True, batch_first=batch_first)
    values, lengths = torch.randn(6, 5, 3), [6, 0, 1, 4, 6]
    output, h_n = layer(values.transpose(0, 1) if batch_first else values, lengths=lengths)
    got = LastPool(batch_first, bidirectional=True)(output, lengths=lengths)
    assert torch.equal(got[[0, 2, 3, 4]], torch.cat([*h_n], -1)[[0, 2, 3, 4]])
    assert not got[1].any()


def test_the_first_of_masked_steps_is_the_end_of_a_backward_direction():
    values, mask = torch.randn(4, 2, 6), torch.tensor([[0, 1], [1, 1], [1, 0], [0, 0]])
    got = LastPool(bidirectional=True)(values, mask=mask)
    assert torch.equal(got[0], torch.cat([values[2, 0, :3], values[1, 0, 3:]]))
    assert torch.equal(got[1], torch.cat([values[1, 1, :3], values[0, 1, 3:]]))


def test_heads_print_their_options():
    assert repr(PerStepDense(5, 3, 2)) == (
        "PerStepDense(num_steps=5, in_features=3, out_features=2, bias=True, batch_first=False)"
    )
    assert repr(MaxPool(batch_first=True)) == "MaxPool(batch_first=True)"
    assert repr(LastPool(bidirectional=True)) == "LastPool(batch_first=False, bidirectional=True)"
