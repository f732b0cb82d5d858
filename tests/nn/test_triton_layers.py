"""Layers with backend="triton" on CPU tensors, in Triton's interpreter: the CPU engine's numbers, and torch.nn's."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.utils.flop_counter import FlopCounterMode

import gatewright as gw
from gatewright import cells
from gatewright.nn import Recurrent
from gatewright.nn.sequence import RaggedRows
from tests.parity.assertions import assert_parity

INPUT, HIDDEN, STEPS, BATCH = 2, 3, 3, 3
LENGTHS = [2, 0, 3]


def twins(make: Callable[..., Recurrent], **options: Any) -> tuple[Recurrent, Recurrent]:
    """A layer by the CPU engine, and the same by Triton's kernels."""
    engine = make(INPUT, HIDDEN, **{"dtype": torch.float64, **options})
    triton = make(INPUT, HIDDEN, backend="triton", **{"dtype": torch.float64, **options})
    triton.load_state_dict(engine.state_dict())
    return engine, triton


def recurrent(cell: Any) -> Callable[..., Recurrent]:
    return lambda *sizes, **options: Recurrent(cell, *sizes, **options)


LAYERS: dict[str, tuple[Callable[..., Recurrent], dict[str, Any]]] = {
    "GRU": (gw.nn.GRU, {}),
    "LSTM, projected, batch first": (gw.nn.LSTM, {"proj_size": 2, "batch_first": True}),
    "RNN, both directions, two levels": (gw.nn.RNN, {"num_layers": 2, "bidirectional": True}),
    "peepholes, both directions": (recurrent("lstm_peephole"), {"bidirectional": True}),
    "layer norm": (recurrent(gw.layer_norm(cells.gru)), {}),
    "sru": (recurrent("sru"), {"num_layers": 2}),
}


def start(layer: Recurrent) -> Any:
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    generator = torch.manual_seed(2)
    states = tuple(
        torch.randn(count, BATCH, *shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in layer.state_shapes
    )
    return states if len(states) > 1 else states[0]


def as_list(states: Any) -> list[Tensor]:
    return list(states) if isinstance(states, tuple) else [states]


def called(layer: Recurrent, *, order: int, **options: Any) -> list[Tensor]:
    """The results of a call, and its derivatives of an order by everything."""
    shape = (BATCH, STEPS, INPUT) if layer.batch_first else (STEPS, BATCH, INPUT)
    x = torch.randn(*shape, generator=torch.manual_seed(1), dtype=torch.float64).requires_grad_()
    hx = start(layer)
    torch.manual_seed(3)
    output, finals, *gates = layer(x, hx, **options)
    results = [output, *as_list(finals), *(gates[0].values() if gates else ())]
    found, leaves = results, [x, *as_list(hx), *layer.parameters()]
    for number in range(order):
        loss = sum(((part.square() + part.sin()).sum() for part in found), torch.zeros(()))
        again = number + 1 < order
        found = torch.autograd.grad(loss, leaves, create_graph=again, allow_unused=True, materialize_grads=True)
    return [*results, *found]


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "lengths": {"lengths": LENGTHS},
    "gates": {"return_gates": True, "lengths": LENGTHS},
    "mask": {"mask": True},
    "resets": {"resets": True},
    "all": {"lengths": LENGTHS, "mask": True, "resets": True, "return_gates": True},
}


# Each layer under one set of options, each set on one layer: the interpreter takes seconds for what a GPU does at once.
SLICE = dict(zip(LAYERS, ["plain", "lengths", "gates", "mask", "resets", "all"], strict=True))


def check(name: str, options: str, order: int) -> None:
    make, settings = LAYERS[name]
    marks = torch.rand(STEPS, BATCH, generator=torch.manual_seed(4)) > 0.4
    marks = marks.T if settings.get("batch_first") else marks
    passed = {key: marks if key in ("mask", "resets") else value for key, value in OPTIONS[options].items()}
    engine, triton = twins(make, **settings)
    got, want = called(triton, order=order, **passed), called(engine, order=order, **passed)
    assert_parity(got, want, dtype="float64", steps=STEPS * order, width=256)


@pytest.mark.parametrize(("name", "options"), SLICE.items())
def test_results_and_first_derivatives_are_those_of_the_cpu_engine(name: str, options: str) -> None:
    check(name, options, order=1)


def test_second_derivatives_are_those_of_the_cpu_engine() -> None:
    check("GRU", "all", order=2)


@pytest.mark.parametrize("order", [2, 3])
def test_higher_derivatives_of_a_relu_whose_bias_has_none(order: int) -> None:
    engine, triton = twins(gw.nn.RNN, nonlinearity="relu")
    assert_parity(called(triton, order=order), called(engine, order=order), dtype="float64", steps=order * STEPS)


@gw.cell(spaces={"a": ()})
def of_numbers(x, h, a, W, U):
    """A cell with parameters of one number."""
    z = gw.sigmoid(a.s * gw.mean(h) + a.t)
    return z * h + (1 - z) * gw.tanh(W.n @ x + a.u * (U.n @ h))


def test_second_derivatives_by_numbers() -> None:
    engine, triton = twins(recurrent(of_numbers))
    assert_parity(called(triton, order=2), called(engine, order=2), dtype="float64", steps=STEPS, width=256)


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", LAYERS)
def test_all_layers_under_all_options(name: str, options: str) -> None:
    """Two sets of options of each layer, and two layers under each set, are differentiated twice."""
    number = list(LAYERS).index(name) + list(OPTIONS).index(options)
    check(name, options, order=1 if number % 3 else 2)


def test_operations_are_counted_as_on_the_cpu_engine() -> None:
    counts: list[int] = []
    for layer in twins(gw.nn.GRU):
        with FlopCounterMode(display=False) as counter:
            layer(torch.randn(STEPS, BATCH, INPUT, dtype=torch.float64))[0].sum().backward()
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_packed_sequences_are_torchs(kind: str) -> None:
    theirs = getattr(nn, kind)(INPUT, HIDDEN, bidirectional=True)
    ours = getattr(gw.nn, kind)(INPUT, HIDDEN, bidirectional=True, backend="triton")
    ours.load_state_dict(theirs.state_dict())
    lengths = [2, 1, 3]
    found: list[list[Tensor]] = []
    for layer in (ours, theirs):
        x = torch.randn(STEPS, BATCH, INPUT, generator=torch.manual_seed(1)).requires_grad_()
        output, finals = layer(pack_padded_sequence(x, lengths, enforce_sorted=False))
        assert isinstance(output, PackedSequence)
        results = [output.data, *as_list(finals)]
        loss = sum((part.square().sum() for part in results), torch.zeros(()))
        found.append([*results, *torch.autograd.grad(loss, [x, *layer.parameters()])])
    assert_parity(found[0], found[1], dtype="float32", steps=STEPS)


def test_nothing_of_the_padding_reaches_a_result() -> None:
    _, layer = twins(gw.nn.GRU, bidirectional=True)
    values = torch.randn(STEPS, BATCH, INPUT, dtype=torch.float64)
    poisoned = values.clone()
    for row, length in enumerate(LENGTHS):
        poisoned[length:, row] = float("nan")
    found: list[list[Tensor]] = []
    for x in (values, poisoned):
        leaf = x.clone().requires_grad_()
        output, last = layer(leaf, lengths=LENGTHS)
        flow = torch.ones_like(output)
        for row, length in enumerate(LENGTHS):
            flow[length:, row] = 0.0 if x is values else float("nan")
        found.append([output, last, *torch.autograd.grad(output, [leaf, *layer.parameters()], flow)])
    for clean, bad in zip(*found, strict=True):
        assert torch.equal(clean, bad)


@pytest.mark.parametrize("extent", [(0, BATCH), (STEPS, 0), (1, 1)])
def test_nothing_to_compute(extent: tuple[int, int]) -> None:
    engine, triton = twins(gw.nn.LSTM, bidirectional=True)
    for layer in (engine, triton):
        x = torch.ones(*extent, INPUT, dtype=torch.float64, requires_grad=True)
        output, (h, c) = layer(x)
        (output.sum() + h.sum() + c.square().sum()).backward()
    for mine, other in zip(triton.parameters(), engine.parameters(), strict=True):
        assert mine.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(mine.grad, other.grad)


def test_transforms_of_functions() -> None:
    engine, triton = twins(gw.nn.GRU)
    xs = torch.randn(2, STEPS, BATCH, INPUT, dtype=torch.float64)
    found = [
        [vmap(lambda x: layer(x)[0])(xs), jacrev(lambda x: layer(x)[1])(xs[0])]  # noqa: B023 (called at once)
        for layer in (triton, engine)
    ]
    assert_parity(found[0], found[1], dtype="float64", steps=STEPS)


def test_an_output_that_is_changed_in_place() -> None:
    engine, triton = twins(gw.nn.GRU)
    gradients = []
    for layer in (engine, triton):
        x = torch.randn(STEPS, BATCH, INPUT, generator=torch.manual_seed(1), dtype=torch.float64).requires_grad_()
        output, _, gates = layer(x, return_gates=True)
        loss = output.mul_(2).square().sum() + sum(gate.add_(1).square().sum() for gate in gates.values())
        gradients.append(torch.autograd.grad(loss, [x, *layer.parameters()]))
    assert_parity(gradients[1], gradients[0], dtype="float64", steps=STEPS)


def test_a_copy_and_a_pickle_run_as_well() -> None:
    _, layer = twins(gw.nn.LSTM)
    x = torch.randn(STEPS, BATCH, INPUT, dtype=torch.float64)
    want = layer(x)[0]
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), layer.to("cpu")):
        assert str(other.plan()).startswith("triton: kernels for Triton's interpreter; asked for by name")
        assert torch.equal(other(x)[0], want)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_layers_and_autocast_compute_in_float32(dtype: torch.dtype) -> None:
    layer = gw.nn.GRU(INPUT, HIDDEN, backend="triton")
    exact = gw.nn.GRU(INPUT, HIDDEN, dtype=torch.float64)
    exact.load_state_dict(layer.state_dict())
    x = torch.randn(STEPS, BATCH, INPUT)
    want = exact(x.double())[0]
    with torch.autocast("cpu", dtype=dtype):
        output, last = layer(x)
        assert f"products in {str(dtype).removeprefix('torch.')}" in str(layer.plan())
    narrow = copy.deepcopy(layer).to(dtype)(x.to(dtype))[0]
    assert narrow.dtype == dtype
    assert output.dtype == last.dtype == torch.float32  # as torch.nn's GRU on the CPU has it
    assert_parity(output, want, dtype="float32", products=str(dtype).removeprefix("torch."), steps=STEPS)
    assert_parity(narrow, want, dtype=dtype, steps=STEPS)


def test_autocast_rounds_operands_alone() -> None:
    layer, x = gw.nn.GRU(INPUT, HIDDEN, backend="triton"), torch.randn(STEPS, BATCH, INPUT)

    def computed() -> list[Tensor]:
        output, last = layer(x)
        return [output, last, *torch.autograd.grad(output.square().sum(), list(layer.parameters()))]

    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = computed()
    layer.products = "bfloat16"
    for mine, other in zip(got, computed(), strict=True):
        assert torch.equal(mine, other)


def test_training_with_checkpoints() -> None:
    engine, triton = twins(gw.nn.LSTM)
    triton.checkpoint = 2
    assert_parity(called(triton, order=1), called(engine, order=1), dtype="float64", steps=STEPS)


@pytest.mark.parametrize("kind", ["RNNCell", "GRUCell", "LSTMCell"])
def test_single_steps(kind: str) -> None:
    theirs, ours = getattr(nn, kind)(INPUT, HIDDEN), getattr(gw.nn, kind)(INPUT, HIDDEN, backend="triton")
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(BATCH, INPUT)
    assert_parity(as_list(ours(x)), as_list(theirs(x)), dtype="float32", steps=1)


def no_wait(*_: Any) -> None:
    raise AssertionError("the host waits for a number of the device")


@pytest.mark.parametrize("checkpoint", [None, 2])
def test_the_host_waits_for_no_lengths(checkpoint: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where the lengths are not known to the host: a CUDA graph of a caller could not hold the wait."""
    engine, triton = twins(recurrent(cells.gru))
    triton.checkpoint = checkpoint
    want = called(engine, order=1, lengths=torch.tensor(LENGTHS))
    monkeypatch.setattr(RaggedRows, "is_known_whole", False)
    monkeypatch.setattr(RaggedRows, "is_whole", property(no_wait))
    for name in ("item", "tolist", "__bool__"):
        monkeypatch.setattr(Tensor, name, no_wait)
    got = called(triton, order=1, lengths=torch.tensor(LENGTHS))
    monkeypatch.undo()
    assert_parity(got, want, dtype="float64", steps=STEPS)


def test_the_plan_of_a_single_step_is_that_of_its_kernels() -> None:
    assert str(gw.nn.GRUCell(INPUT, HIDDEN, backend="triton").plan()).splitlines() == [
        "triton: kernels for Triton's interpreter; asked for by name",
        "  before the loop  3 products, 1 stage",
        "  in the loop      3 products, 1 stage",
        "  gradient         3 products in the loop; 3 products, 10 sums after it",
        "  saved for it     4 x 3 numbers a step and row, and the states",
    ]
