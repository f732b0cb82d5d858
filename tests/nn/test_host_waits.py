"""Where the host waits for a GPU, found without one: layers run on tensors that are said to be there."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch.nn.utils.rnn import PackedSequence

import gatewright as gw
from gatewright.backends.triton.program_memory import ProgramMemory
from gatewright.backends.triton.random_values import draw_seeds
from gatewright.nn.calls import fused_call
from gatewright.nn.engine.device_operation import DeviceOperation
from gatewright.nn.engine.trace_operation import AskedGradient
from gatewright.nn.packed_cell import PackedCell
from gatewright.nn.sequence import RaggedRows
from gatewright.schedule.plan import plan
from gatewright.trace import simplify, trace_cell
from gatewright.trace.ir import Literal
from tests.simulated_gpu import CUDA, Waits, on_gpu, simulated_gpu

pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
STEPS, BATCH, INPUT, HIDDEN = 6, 3, 4, 5


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[Waits]:
    with simulated_gpu(monkeypatch) as found:
        yield found


def layer_of(cell: Any, **options: Any) -> Any:
    return on_gpu(gw.nn.Recurrent(cell, INPUT, HIDDEN, **{"backend": "triton", **options}))


def x() -> Tensor:
    return torch.empty(STEPS, BATCH, INPUT, device=CUDA)


LENGTHS: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "a list": lambda: [6, 2, 4],
    "on the CPU": lambda: torch.tensor([6, 2, 4]),
    "on the GPU": lambda: torch.empty(BATCH, dtype=torch.int64, device=CUDA),
}


def packed(lengths: list[int], *, in_order: bool = False) -> PackedSequence:
    """As pack_padded_sequence gives it for tensors on a GPU: only the batch sizes are on the CPU."""
    sizes = torch.tensor([sum(length > step for length in lengths) for step in range(max(lengths))])
    orders = [None if in_order else torch.empty(BATCH, dtype=torch.int64, device=CUDA) for _ in range(2)]
    return PackedSequence(torch.empty(sum(lengths), INPUT, device=CUDA), sizes, *orders)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("cell", ["gru", "lstm", "mingru", "layer_norm(gru)"])
def test_lengths(cell: str, lengths: str, waits: Waits) -> None:
    layer = layer_of({"layer_norm(gru)": gw.layer_norm(gw.cells.gru)}.get(cell, cell))
    with torch.no_grad():
        layer(x(), lengths=LENGTHS[lengths]())
    assert waits.found == []


@pytest.mark.parametrize("lengths", [[6, 4, 2], [6, 6, 6], [2, 4, 6]])
def test_packed_sequences(lengths: list[int], waits: Waits) -> None:
    with torch.no_grad():
        layer_of("gru")(packed(lengths))
        layer_of("gru")(packed(sorted(lengths, reverse=True), in_order=True))
    assert waits.found == []


def test_rows_that_all_take_all_steps_need_no_lengths(waits: Waits, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    original = DeviceOperation.compute
    monkeypatch.setattr(
        DeviceOperation, "compute", lambda self, *given: (seen.append(given[-1]), original(self, *given))[1]
    )
    with torch.no_grad():
        layer_of("gru")(x(), lengths=[STEPS] * BATCH)
        layer_of("gru")(packed([STEPS] * BATCH))
    assert seen == [None, None]


def test_numbers_are_filled_in_on_the_device(waits: Waits) -> None:
    trace = simplify(trace_cell(gw.cells.gru))
    memory = ProgramMemory(
        plan(trace), {"input": INPUT, "hidden": HIDDEN}, torch.float32, {"x": x()}, {}, None, backwards=False
    )
    assert memory.spread(0.5, Literal(0.5), (STEPS, BATCH)).shape == (STEPS, BATCH)
    assert waits.found == []


@pytest.mark.parametrize("place", ["cpu", "cuda:0"])
def test_masks_and_resets(place: str, waits: Waits) -> None:
    marks = torch.ones(STEPS, BATCH, device=place)
    with torch.no_grad():
        layer_of("lstm")(x(), mask=marks)
        layer_of("lstm")(x(), resets=marks)
    assert waits.found == []


@pytest.fixture
def cudnn(waits: Waits, monkeypatch: pytest.MonkeyPatch) -> Waits:
    """The functions of torch for recurrent layers, and for packing, without their numbers."""
    data = torch.empty(12, HIDDEN, device=CUDA)
    sizes = torch.tensor([3, 3, 2, 2, 1, 1])
    fused = {
        "run_fused": lambda *given, **options: (data, (torch.empty(1, BATCH, HIDDEN, device=CUDA),)),
        "pack_padded_sequence": lambda values, lengths: PackedSequence(data, sizes),
        "pad_packed_sequence": lambda packed, total_length: (torch.empty(STEPS, BATCH, HIDDEN, device=CUDA), None),
    }
    for name, function in fused.items():
        monkeypatch.setattr(fused_call, name, function)
    return waits


@pytest.mark.parametrize("lengths", [[6, 2, 4], [6, 0, 4], torch.tensor([6, 2, 4])])
def test_lengths_for_cudnn(lengths: Any, cudnn: Waits) -> None:
    with torch.no_grad():
        on_gpu(gw.nn.GRU(INPUT, HIDDEN, backend="cudnn"))(x(), lengths=lengths)
    assert cudnn.found == []


def test_cudnn_needs_lengths_on_the_host(cudnn: Waits) -> None:
    """Where a GPU alone knows them, the host waits for it, once."""
    with torch.no_grad(), pytest.raises(DataDependentOutputException):
        on_gpu(gw.nn.GRU(INPUT, HIDDEN, backend="cudnn"))(x(), lengths=LENGTHS["on the GPU"]())
    assert cudnn.found == ["copy of (3,) from cuda"]


def test_what_cudnn_asks_of_states_and_weights(waits: Waits, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Tensor] = []

    def gru(values: Tensor, hx: Tensor, weights: list[Tensor], *options: Any) -> tuple[Tensor, Tensor]:
        warnings.warn("RNN module weights are not part of single contiguous chunk of memory.", stacklevel=2)
        given.append(hx)
        return torch.empty(STEPS, BATCH, HIDDEN, device=CUDA), torch.empty_like(hx)

    monkeypatch.setattr(torch, "gru", gru)
    layer = on_gpu(gw.nn.Recurrent(gw.cells.gru(reset="after"), INPUT, HIDDEN, backend="cudnn"))
    with torch.no_grad():
        layer(x(), torch.empty(1, HIDDEN, BATCH, device=CUDA).transpose(1, 2))
    assert [hx.is_contiguous() for hx in given] == [True]


@pytest.mark.parametrize("cell", ["gru", "lstm", "mingru", "zoneout(gru)"])
@pytest.mark.parametrize("ragged", [False, True])
def test_gradients(cell: str, ragged: bool, waits: Waits) -> None:
    layer = layer_of({"zoneout(gru)": gw.zoneout(0.1)(gw.cells.gru)}.get(cell, cell))
    cells: PackedCell = layer.packed_cells[0]
    operation = cells.device_operation((False, False, False, False), torch.float32)
    rows = RaggedRows.on(torch.tensor([6, 2, 4]), STEPS, CUDA) if ragged else None
    seeds = draw_seeds(layer.trace, STEPS, BATCH, CUDA).values()
    operands = [x(), *seeds, *layer.packed_parameters(0), *[None] * len(layer.trace.states)]
    operands = [tensor if tensor is None else tensor.detach() for tensor in operands]
    outputs = operation.forward(operands, rows, saves=True)
    results = operation.results(outputs, rows)
    asked = AskedGradient(operands, outputs.for_gradient, results, (True,) * len(operands), rows)
    gradients = operation.backward(asked)
    assert [by is not None and by.device for by in gradients[:1]] == [CUDA]
    assert waits.found == []
