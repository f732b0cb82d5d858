"""What a layer is called with: every form of input is read, and what does not fit is said in so many words."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

import gatewright as gw
from gatewright.errors import ShapeError
from gatewright.nn.calls.arguments import read_arguments
from tests.parity.assertions import assert_parity

INPUT, HIDDEN, STEPS, BATCH = 3, 5, 7, 2


def layer(cell: str = "gru", **options: Any) -> gw.nn.Recurrent:
    return gw.nn.Recurrent(cell, INPUT, HIDDEN, **options)


def x(*shape: int) -> torch.Tensor:
    return torch.randn(shape or (STEPS, BATCH, INPUT))


def test_every_form_is_read_as_time_major_rows() -> None:
    values = x()
    forms = [
        (layer(), values),
        (layer(batch_first=True), values.transpose(0, 1)),
        (layer(), pack_padded_sequence(values, torch.tensor([7, 7]))),
    ]
    for module, form in forms:
        given = read_arguments(module, form, None, None, None)
        assert torch.equal(given.values, values)
        assert given.batched
        assert given.states is None
    single = read_arguments(layer(batch_first=True), values[:, 0], None, None, None)
    assert torch.equal(single.values, values[:, :1])
    assert not single.batched


@pytest.mark.parametrize("backend", ["llvm", "torch"])
def test_states_that_are_not_given_are_zero_and_of_the_state_s_size(backend: str) -> None:
    options: dict[str, Any] = {"sizes": {"projection": 2}, "dtype": torch.float64, "backend": backend}
    module = gw.nn.Recurrent("lstm_projected", INPUT, HIDDEN, **options)
    values = x().double()
    given = read_arguments(module, values, None, None, None)
    assert given.states is None
    zeros = torch.zeros(1, BATCH, 2, dtype=torch.float64), torch.zeros(1, BATCH, HIDDEN, dtype=torch.float64)
    (got, _), (want, _) = module(values), module(values, zeros)
    assert torch.equal(got, want)


def test_states_are_split_by_layer_and_direction() -> None:
    module = layer("lstm", num_layers=2, bidirectional=True, backend="torch")
    h, c = torch.randn(4, BATCH, HIDDEN), torch.randn(4, BATCH, HIDDEN)
    for states in ((h, c), [h, c]):
        given = read_arguments(module, x(), states, None, None)  # type: ignore[arg-type]
        assert given.states is not None
        torch.testing.assert_close(given.states, (h, c), rtol=0, atol=0)
    _, (h_n, c_n) = module(x()[:0], (h, c))  # no step is taken: every direction gives its own states back
    torch.testing.assert_close((h_n, c_n), (h, c), rtol=0, atol=0)


def test_a_mask_may_be_an_array_of_any_kind_of_number() -> None:
    wanted = torch.tensor([[1, 0], [1, 1], [0, 1]], dtype=torch.bool)
    for mask in (wanted, wanted.float(), wanted.int().numpy(), wanted.tolist()):
        given = read_arguments(layer(), x(3, 2, INPUT), None, None, mask)  # type: ignore[arg-type]
        assert torch.equal(given.active, wanted)
    turned = read_arguments(layer(batch_first=True), x(2, 3, INPUT), None, None, wanted.T)
    assert torch.equal(turned.active, wanted)
    single = read_arguments(layer(), x(3, INPUT), None, None, wanted[:, 0])
    assert torch.equal(single.active, wanted[:, :1])
    both = read_arguments(layer(), x(3, 2, INPUT), None, [3, 2], wanted)
    assert both.active.tolist() == [[True, False], [True, True], [False, False]]


def test_lengths_of_a_single_sequence() -> None:
    module, values = layer(), x(STEPS, INPUT)
    output, final = module(values, lengths=[4])
    shorter, want = module(values[:4])
    assert_parity((output[:4], final), (shorter, want), dtype="float32", steps=STEPS)
    assert not output[4:].any()


WRONG_STATES = "Recurrent(lstm) was given initial states that are not those of its cell"
WRONG_INPUT = "Recurrent(gru) was given an input that does not fit"


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        (
            layer(),
            {"input": [[1.0]]},
            (
                "Recurrent(gru) was given an input that is no tensor\n"
                "  expected: a torch.Tensor or a PackedSequence\n"
                "  got: list\n"
                "  do: torch.as_tensor(input, dtype=torch.float32) makes one of a list or an array"
            ),
        ),
        (
            layer(),
            {"input": np.zeros((7, 2, 3))},
            (
                "Recurrent(gru) was given an input that is no tensor\n"
                "  expected: a torch.Tensor or a PackedSequence\n"
                "  got: ndarray\n"
                "  do: torch.as_tensor(input, dtype=torch.float32) makes one of a list or an array"
            ),
        ),
        (
            layer(),
            {"input": x(3)},
            (
                f"{WRONG_INPUT}\n"
                "  expected: (time, batch, features), or (time, features) for a single sequence\n"
                "  got: 1 axes: (3,)\n"
                "  do: add or remove axes; indices must be embedded or made one-hot first"
            ),
        ),
        (
            layer(batch_first=True),
            {"input": x(7, 2, 3, 1)},
            (
                f"{WRONG_INPUT}\n"
                "  expected: (batch, time, features), or (time, features) for a single sequence\n"
                "  got: 4 axes: (7, 2, 3, 1)\n"
                "  do: add or remove axes; indices must be embedded or made one-hot first"
            ),
        ),
        (
            layer(batch_first=True),
            {"input": x(7, 2, 4)},
            (
                f"{WRONG_INPUT}\n"
                "  expected: 3 features in the last axis\n"
                "  got: shape (7, 2, 4)\n"
                "  do: check input_size and batch_first"
            ),
        ),
        (
            layer(),
            {"input": pack_padded_sequence(x(7, 2, 4), torch.tensor([7, 2]))},
            (
                f"{WRONG_INPUT}\n"
                "  expected: 3 features in the last axis\n"
                "  got: shape (7, 2, 4)\n"
                "  do: check input_size and batch_first"
            ),
        ),
        (
            layer(),
            {"input": x().double()},
            (
                "Recurrent(gru) was given an input of another dtype than its parameters\n"
                "  expected: torch.float32\n"
                "  got: torch.float64\n"
                "  do: convert it, .to(torch.float32), or the layer, .to(torch.float64)"
            ),
        ),
        (
            layer(),
            {"input": torch.zeros(7, 2, 3, dtype=torch.int64)},
            (
                "Recurrent(gru) was given an input of another dtype than its parameters\n"
                "  expected: torch.float32\n"
                "  got: torch.int64\n"
                "  do: embed indices or make them one-hot, and convert numbers, .to(torch.float32)"
            ),
        ),
        (
            layer(),
            {"input": pack_padded_sequence(x(), torch.tensor([7, 2])), "lengths": [7, 2]},
            (
                "lengths was given with a PackedSequence, which has its own\n"
                "  expected: one of the two\n"
                "  do: leave lengths out"
            ),
        ),
        (
            layer("lstm"),
            {"input": x(), "hx": torch.zeros(1, 2, 5)},
            f"{WRONG_STATES}\n  expected: a tuple of 2 tensors, (h, c)\n  got: Tensor",
        ),
        (
            layer("lstm"),
            {"input": x(), "hx": (torch.zeros(1, 2, 5), None)},
            f"{WRONG_STATES}\n  expected: a tuple of 2 tensors, (h, c)\n  got: (Tensor, NoneType)",
        ),
        (
            gw.nn.GRU(3, 5),
            {"input": x(), "hx": (torch.zeros(1, 2, 5), torch.zeros(1, 2, 5))},
            (
                'GRU(gru(reset="after")) was given initial states that are not those of its cell\n'
                "  expected: a tensor, h\n"
                "  got: (Tensor, Tensor)"
            ),
        ),
        (
            layer(num_layers=2, bidirectional=True),
            {"input": x(), "hx": torch.zeros(2, 2, 5)},
            (
                "Recurrent(gru) was given an initial state h that does not fit\n"
                "  expected: (4, 2, 5): (layers * directions, batch, size)\n"
                "  got: (2, 2, 5)"
            ),
        ),
        (
            layer(),
            {"input": x(7, 3), "hx": torch.zeros(1, 1, 5)},
            (
                "Recurrent(gru) was given an initial state h that does not fit\n"
                "  expected: (1, 5): (layers * directions, size)\n"
                "  got: (1, 1, 5)"
            ),
        ),
        (
            layer("lstm"),
            {"input": x(), "hx": (torch.zeros(1, 2, 5), torch.zeros(1, 2, 5).double())},
            (
                "Recurrent(lstm) was given an initial state c of another dtype than its parameters\n"
                "  expected: torch.float32\n"
                "  got: torch.float64\n"
                "  do: convert it, .to(torch.float32), or the layer, .to(torch.float64)"
            ),
        ),
        (
            layer(),
            {"input": x(), "lengths": [8, 1]},
            (
                "lengths do not fit the sequences\n"
                "  expected: lengths from 0 to 7, the number of time steps of the input\n"
                "  got: 8 for row 0\n"
                "  do: pad the input to its longest row; if time and batch are exchanged, see batch_first"
            ),
        ),
        (
            layer(batch_first=True),
            {"input": x(2, 7, 3), "mask": torch.ones(7, 2)},
            (
                "Recurrent(gru) was given a mask that does not fit\n"
                "  expected: (2, 7), one number a step and row\n"
                "  got: (7, 2)"
            ),
        ),
        (
            layer(),
            {"input": x(), "mask": torch.ones(2, 7)},
            (
                "Recurrent(gru) was given a mask that does not fit\n"
                "  expected: (7, 2), one number a step and row\n"
                "  got: (2, 7)"
            ),
        ),
        (
            layer(),
            {"input": x(7, 3), "mask": torch.ones(5)},
            (
                "Recurrent(gru) was given a mask that does not fit\n"
                "  expected: (7,), one number a step and row\n"
                "  got: (5,)"
            ),
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_does_not_fit_is_said(module: gw.nn.Recurrent, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError) as raised:
        module(**arguments)
    assert str(raised.value) == message


def test_a_value_error_catches_them_as_it_does_for_torch() -> None:
    with pytest.raises(ValueError, match=re.escape("another dtype")):
        layer()(x().double())


@pytest.mark.parametrize("backend", ["auto", "llvm", "triton", "torch"])
@pytest.mark.parametrize("grad", [True, False])
def test_tensors_on_several_devices_are_refused_before_anything_runs(backend: str, grad: bool) -> None:
    state, do = torch.zeros(1, BATCH, HIDDEN), "\n  do: move the layer and what it is called with to one device"
    cases = [
        (layer(backend=backend, device="meta"), x(), None, "the input on cpu; W_l0, U_l0, b_l0 on meta"),
        (
            layer(backend=backend), x(), state.to("meta"),
            "the input, W_l0, U_l0, b_l0 on cpu; the initial state h on meta",
        ),
        (layer(backend=backend), pack_padded_sequence(x(), [7, 7]), state.to("meta"), "the initial state h on meta"),
    ]  # fmt: skip
    for module, input, hx, got in cases:
        with torch.set_grad_enabled(grad), pytest.raises(ShapeError) as raised:
            module(input, hx)
        assert f"{got}{do}" in str(raised.value)


@pytest.mark.parametrize("backend", ["llvm", "triton"])
def test_a_step_has_its_tensors_on_one_device(backend: str) -> None:
    cell = gw.nn.GRUCell(INPUT, HIDDEN, backend=backend)
    with pytest.raises(ShapeError, match="x, weight_ih, weight_hh, bias_ih, bias_hh on cpu; h on meta"):
        cell(torch.zeros(BATCH, INPUT), torch.zeros(BATCH, HIDDEN, device="meta"))


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor", "ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("backend", ["auto", "llvm", "triton", "torch", "torch-fused"])
def test_tensors_that_are_not_dense(backend: str) -> None:
    layer, x = gw.nn.GRU(2, 3, backend=backend), torch.ones(4, 1, 2)
    given = {
        "a tensor of layout torch.sparse_coo\n  do: .to_dense() makes it dense": (x.to_sparse(),),
        "a quantized tensor, torch.qint8\n  do: .dequantize() makes it dense": (
            torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
        ),
        "a nested tensor\n  do: torch.nested.to_padded_tensor(x, 0.0), with the lengths of the rows as lengths=": (
            torch.nested.nested_tensor([x[:, 0], x[:2, 0]]),
        ),
    }
    for told, arguments in given.items():
        with pytest.raises(ShapeError) as raised:
            layer(*arguments)
        assert str(raised.value) == (
            f'GRU(gru(reset="after")) was given an input that is not dense\n  expected: a dense tensor\n  got: {told}'
        )
    with pytest.raises(ShapeError, match="an initial state h that is not dense"):
        layer(x, torch.ones(1, 1, 3).to_sparse())
    if backend in ("llvm", "triton"):
        cell = gw.nn.GRUCell(2, 3, backend=backend)
        with pytest.raises(ShapeError, match="GRUCell was given x that is not dense"):
            cell(x[0].to_sparse())
