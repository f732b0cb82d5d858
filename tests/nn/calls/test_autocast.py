"""Autocast: the dtypes and the numbers that torch.nn gives, which differ from layer to layer."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import gatewright as gw

STEPS, BATCH, INPUT, HIDDEN = 4, 2, 3, 5
LAYERS: dict[str, tuple[str, dict[str, Any]]] = {
    "RNN": ("RNN", {}),
    "GRU": ("GRU", {}),
    "LSTM": ("LSTM", {}),
    "stacked": ("LSTM", {"num_layers": 2, "bidirectional": True, "bias": False}),
    "projected": ("LSTM", {"proj_size": 2}),
}
CELLS = ("RNNCell", "GRUCell", "LSTMCell")
# torch's own: oneDNN has no projections
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")


def flat(results: Any) -> list[Tensor]:
    """All tensors of nested results."""
    if isinstance(results, PackedSequence):
        return [results.data]
    return [results] if isinstance(results, Tensor) else [tensor for one in results for tensor in flat(one)]


def outcome(layer: nn.Module, given: tuple[Any, ...], dtype: torch.dtype) -> list[Tensor]:
    with torch.autocast("cpu", dtype=dtype):
        results = flat(layer(*given))
    gradients = torch.autograd.grad(sum(one.float().square().sum() for one in results), list(layer.parameters()))
    return [*results, *gradients]


def check_equal(ours: nn.Module, theirs: nn.Module, given: tuple[Any, ...], dtype: torch.dtype) -> None:
    ours.load_state_dict(theirs.state_dict())
    got, want = (outcome(layer, given, dtype) for layer in (ours, theirs))
    assert [one.dtype for one in got] == [one.dtype for one in want]
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize(
    ("kind", "dtype"), [*((kind, torch.bfloat16) for kind in LAYERS), ("RNN", torch.float16), ("GRU", torch.float16)]
)
def test_layers(kind: str, dtype: torch.dtype) -> None:
    name, options = LAYERS[kind]
    theirs, ours = (getattr(home, name)(INPUT, HIDDEN, **options) for home in (nn, gw.nn))
    x = torch.randn(STEPS, BATCH, INPUT)
    check_equal(ours, theirs, (x,), dtype)
    check_equal(ours, theirs, (x.to(dtype),), dtype)
    check_equal(ours, theirs, (pack_sequence([x[:, 0], x[:2, 1]]),), dtype)
    states = [torch.randn_like(state, dtype=torch.float32) for state in flat(theirs(x)[1])]
    check_equal(ours, theirs, (x, tuple(states) if len(states) > 1 else states[0]), dtype)


@pytest.mark.parametrize("kind", CELLS)
def test_cells(kind: str) -> None:
    theirs, ours = (getattr(home, kind)(INPUT, HIDDEN) for home in (nn, gw.nn))
    check_equal(ours, theirs, (torch.randn(BATCH, INPUT),), torch.bfloat16)


def test_the_plan_says_so_and_what_torch_has_not_goes_operation_by_operation() -> None:
    layer, x = gw.nn.GRU(INPUT, HIDDEN), torch.randn(STEPS, BATCH, INPUT)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert str(layer.plan()) == (
            "torch-fused: the compiled engine cannot run this: autocast is on; torch.gru runs it (cuDNN on CUDA); "
            "masks, resets, gates and second derivatives go operation by operation"
        )
        output, last, gates = layer(x, mask=torch.ones(STEPS, BATCH), return_gates=True)
        assert (output.dtype, last.dtype, set(gates)) == (torch.float32, torch.float32, {"r", "z", "n"})
        assert layer(x)[0].dtype == output.dtype
        assert gw.nn.Recurrent("gru", INPUT, HIDDEN).plan().backend == "torch"
    assert layer.plan().backend == "llvm"


def test_an_lstm_in_float16_runs_where_torchs_does_not() -> None:
    x = torch.randn(STEPS, BATCH, INPUT)
    with torch.autocast("cpu", dtype=torch.float16):
        layer = gw.nn.LSTM(INPUT, HIDDEN)
        assert layer.plan().reason.endswith("torch.lstm does not run under autocast to float16 on the CPU")
        assert layer(x)[0].isfinite().all()
