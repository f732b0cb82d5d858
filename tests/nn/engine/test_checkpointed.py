"""`checkpoint=`: the results and gradients of a layer that keeps everything, with saved values computed again."""

import copy
import pickle
from collections.abc import Callable, Generator
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradgradcheck
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.flop_counter import FlopCounterMode

import gatewright as gw
from gatewright.errors import OptionError, OptionTypeError
from gatewright.nn import GRU, LSTM, RNN, Recurrent
from tests.parity.matrix import CELLS, sizes_for

STEPS, BATCH, INPUT, HIDDEN = 37, 5, 3, 5
NAMES = ["gru", "slstm", "mingru", "lstm_projected", "layer_norm(gru)", "masked(lstm)", "zoneout(lstm)"]
CHECKPOINTS = [12, 37]
Results = dict[str, Tensor]
# float64 sums over time in another order: a few units in the last place of numbers up to some tens
ROUNDING = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture(autouse=True)
def _poison() -> Generator[None]:
    """Memory that nobody has written is NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def layer_of(name: str, **options: Any) -> Recurrent:
    torch.manual_seed(1)
    sizes = {axis: size for axis, size in sizes_for(gw.trace.trace_cell(CELLS[name])).items() if axis != "input"}
    hidden = sizes.pop("hidden", HIDDEN)
    return Recurrent(CELLS[name], INPUT, hidden, sizes=sizes, backend="llvm", dtype=torch.float64, **options)


def trained(module: Recurrent, checkpoint: int | bool | None, gates: bool = False, **arguments: Any) -> Results:
    """All results of a call, and the gradients by everything through all of them."""
    module.checkpoint = checkpoint
    module.zero_grad()
    torch.manual_seed(2)
    x = torch.randn(STEPS, BATCH, INPUT, dtype=torch.float64).requires_grad_()
    shapes = [(len(module.packed_cells), BATCH, *shape) for shape in module.state_shapes]
    states = [torch.rand(shape, dtype=torch.float64).requires_grad_() for shape in shapes]
    called = x.transpose(0, 1) if module.batch_first else x
    output, h_n, *others = module(
        called, states[0] if len(states) == 1 else tuple(states), return_gates=gates, **arguments
    )
    finals = [h_n] if isinstance(h_n, Tensor) else list(h_n)
    named = {"output": output, **{f"h_n {n}": final for n, final in enumerate(finals)}, **(others[0] if others else {})}
    loss = torch.stack([(result * torch.randn_like(result)).sum() for result in named.values()]).sum()
    loss.backward()
    leaves = {"x": x, **{f"h_0 {n}": state for n, state in enumerate(states)}, **dict(module.named_parameters())}
    return named | {f"by {name}": leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}


def assert_same(got: Results, want: Results, parameters: set[str]) -> None:
    """The same bits; gradients by parameters are sums over time, added in another order."""
    assert list(got) == list(want)
    for name, value in want.items():
        assert not value.isnan().any(), name
        if name.removeprefix("by ") in parameters:
            torch.testing.assert_close(got[name], value, **ROUNDING, msg=lambda m, name=name: f"{name}: {m}")
        else:
            assert torch.equal(got[name], value), name


def assert_checkpoints_agree(module: Recurrent, **arguments: Any) -> None:
    want = trained(module, None, **arguments)
    parameters = {name for name, _ in module.named_parameters()}
    assert parameters <= {name.removeprefix("by ") for name in want}
    for checkpoint in CHECKPOINTS:
        assert_same(trained(module, checkpoint, **arguments), want, parameters)


@pytest.mark.parametrize("name", ["gru", "mingru"])
@pytest.mark.parametrize("checkpoint", [1, 3])
def test_stretches_of_few_lines_are_equal_within_rounding(name: str, checkpoint: int) -> None:
    """Few lines have kernels of their own, which add in another order."""
    module = layer_of(name)
    want, got = trained(module, None), trained(module, checkpoint)
    assert list(got) == list(want)
    for key, value in want.items():
        torch.testing.assert_close(got[key], value, **ROUNDING)


RESETS = torch.rand(STEPS, BATCH, generator=torch.Generator().manual_seed(3)) < 0.15
MASK = torch.rand(STEPS, BATCH, generator=torch.Generator().manual_seed(4)) < 0.7
LENGTHS = [37, 0, 7, 12, 25]
ARGUMENTS: dict[str, dict[str, Any]] = {
    "dense": {},
    "lengths": {"lengths": LENGTHS},
    "mask": {"mask": MASK},
    "resets": {"resets": RESETS},
    "resets and lengths": {"resets": RESETS, "lengths": LENGTHS},
    "gates": {"gates": True},
    "gates and lengths": {"gates": True, "lengths": LENGTHS},
}


@pytest.mark.parametrize("arguments", ["dense", "resets and lengths"])
@pytest.mark.parametrize("name", NAMES)
def test_results_and_gradients_are_those_of_a_layer_that_keeps_all(name: str, arguments: str) -> None:
    assert_checkpoints_agree(layer_of(name), **ARGUMENTS[arguments])


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS)
def test_stacks_of_two_directions_with_dropout(arguments: dict[str, Any]) -> None:
    module = layer_of("lstm", num_layers=2, bidirectional=True, dropout=0.4)
    assert_checkpoints_agree(module, **arguments)


@pytest.mark.parametrize("make", [GRU, RNN])
def test_drop_ins_with_two_biases(make: Callable[..., Recurrent]) -> None:
    torch.manual_seed(1)
    assert_checkpoints_agree(make(INPUT, HIDDEN, num_layers=2, bidirectional=True, dtype=torch.float64))


def test_true_makes_stretches_of_the_square_root_of_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    module = GRU(2, 3, checkpoint=True)
    x = torch.randn(10_000, 1, 2)
    module(x)
    operation = module.packed_cells[0].operation((True, False, False, False), torch.float32)
    seen: list[int] = []
    forward = operation.forward

    def noted(operands: Any, *args: Any, **options: Any) -> Any:
        seen.append(len(operands[0]))
        return forward(operands, *args, **options)

    monkeypatch.setattr(operation, "forward", noted)
    output, _ = module(x)
    assert seen == [100] * 100
    output.sum().backward()
    assert seen == [100] * 200


def saved_bytes(module: nn.Module, x: Tensor) -> int:
    """The bytes of all storages that autograd keeps for a layer."""
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(x)
    own = {tensor.untyped_storage().data_ptr() for tensor in (x, *module.parameters())}
    return sum(size for address, size in storages.items() if address not in own)


@pytest.mark.parametrize("make", [GRU, LSTM])
def test_saved_memory_grows_with_the_square_root_of_the_steps(make: Callable[..., Recurrent]) -> None:
    keeps, repeats = make(2, 8), make(2, 8, checkpoint=True)
    kept = [saved_bytes(keeps, torch.randn(steps, 3, 2)) for steps in (6400, 25_600)]
    borders = [saved_bytes(repeats, torch.randn(steps, 3, 2)) for steps in (6400, 25_600)]
    states = len(repeats.state_shapes)
    assert borders == [states * 79 * 3 * 8 * 4, states * 159 * 3 * 8 * 4]
    assert all(2 * before < after for before, after in pairwise(kept))
    assert borders[1] < kept[1] / 400


def test_without_gradients_a_call_is_the_usual_one() -> None:
    module = layer_of("gru", checkpoint=12)
    x = torch.randn(STEPS, BATCH, INPUT, dtype=torch.float64)
    with torch.no_grad():
        output, h_n = module(x)
    frozen = copy.deepcopy(module).requires_grad_(False)
    assert not frozen(x)[0].requires_grad
    module.checkpoint = None
    for got in (frozen(x)[0], output):
        assert torch.equal(got, module(x)[0])
    assert torch.equal(h_n, module(x)[1])


@pytest.mark.parametrize("trains", ["x", "W_l0", "U_l0", "h_0"])
def test_gradients_by_some_of_the_operands(trains: str) -> None:
    module = layer_of("gru")
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name == trains)
    grads: list[Tensor] = []
    for checkpoint in (None, 12):
        module.checkpoint = checkpoint
        torch.manual_seed(2)
        x = torch.randn(STEPS, BATCH, INPUT, dtype=torch.float64, requires_grad=trains == "x")
        h_0 = torch.rand(1, BATCH, HIDDEN, dtype=torch.float64, requires_grad=trains == "h_0")
        leaf = {"x": x, "h_0": h_0, **dict(module.named_parameters())}[trains]
        _, h_n = module(x, h_0)  # through the last state alone
        grads += torch.autograd.grad(h_n.square().sum(), leaf)
    torch.testing.assert_close(grads[1], grads[0], **ROUNDING)
    assert grads[0].abs().max() > 0


def test_an_output_may_be_changed_in_place_and_the_backward_pass_run_twice() -> None:
    module = layer_of("lstm", checkpoint=12)
    x = torch.randn(STEPS, BATCH, INPUT, dtype=torch.float64, requires_grad=True)
    output, _ = module(x)
    output.relu_()
    first = torch.autograd.grad(output.sum(), x, retain_graph=True)[0]
    module.checkpoint = None
    want = torch.autograd.grad(module(x)[0].relu().sum(), x)[0]
    assert torch.equal(first, want)
    assert torch.equal(torch.autograd.grad(output.sum(), x)[0], want)


def test_random_numbers_are_the_same_when_a_stretch_is_computed_again() -> None:
    module = layer_of("zoneout(lstm)", num_layers=2, dropout=0.5)
    first = trained(module, 12)
    assert torch.equal(first["output"], trained(module, 12)["output"])  # by the seed
    module.eval()
    assert not torch.equal(first["output"], trained(module, 12)["output"])
    assert_checkpoints_agree(module.train())


@pytest.mark.parametrize("arguments", [{}, {"lengths": [5, 2]}], ids=["dense", "lengths"])
def test_second_derivatives(arguments: dict[str, Any]) -> None:
    module = Recurrent("lstm", 2, 2, backend="llvm", dtype=torch.float64, checkpoint=2)
    torch.manual_seed(0)
    x = torch.randn(5, 2, 2, dtype=torch.float64, requires_grad=True)

    def call(x: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
        output, (h_n, c_n) = module(x, **arguments)
        return output, h_n, c_n

    gradgradcheck(call, (x, *module.parameters()))


@pytest.mark.parametrize("batch_first", [False, True])
def test_batch_first_and_packed_sequences(batch_first: bool) -> None:
    module = layer_of("gru", batch_first=batch_first)
    assert_checkpoints_agree(module)
    x = torch.randn(STEPS, 3, INPUT, dtype=torch.float64)
    packed = pack_padded_sequence(x, torch.tensor([37, 11, 2]))
    results: list[list[Tensor]] = []
    for checkpoint in (None, 12):
        module.checkpoint = checkpoint
        output, h_n = module(packed)
        results.append([output.data, *torch.autograd.grad(output.data.square().sum() + h_n.sum(), module.W_l0)])
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[1][1], results[0][1], **ROUNDING)


def test_under_autocast() -> None:
    x = torch.randn(100, 4, 16)
    results: list[list[Tensor]] = []
    torch.manual_seed(0)
    module = GRU(16, 32)
    for checkpoint in (None, 16):
        module.checkpoint = checkpoint
        leaf = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            output, _ = module(leaf)
        results.append([output, *torch.autograd.grad(output.float().square().sum(), [leaf, module.weight_hh_l0])])
    assert results[1][0].dtype == results[0][0].dtype
    assert torch.equal(results[1][0], results[0][0])
    assert torch.equal(results[1][1], results[0][1])
    # operands in pairs of lines: other borders, other pairs, the same rounded numbers
    torch.testing.assert_close(results[1][2], results[0][2], rtol=1e-5, atol=1e-5 * float(results[0][2].abs().max()))


@pytest.mark.parametrize(("steps", "batch"), [(0, 3), (3, 0), (1, 1)])
def test_sequences_without_borders(steps: int, batch: int) -> None:
    module = layer_of("lstm", checkpoint=1)
    x = torch.randn(steps, batch, INPUT, dtype=torch.float64, requires_grad=True)
    output, _ = module(x)
    assert output.shape == (steps, batch, HIDDEN)
    assert torch.autograd.grad(output.sum(), x)[0].shape == x.shape


def test_it_is_an_option_that_is_shown_copied_and_saved() -> None:
    module = GRU(2, 3, checkpoint=64)
    assert repr(Recurrent("gru", 2, 3, checkpoint=64)) == "Recurrent(gru, 2, 3, checkpoint=64)"
    assert "checkpoint" not in repr(GRU(2, 3))
    assert copy.deepcopy(module).checkpoint == 64
    assert pickle.loads(pickle.dumps(module)).checkpoint == 64


@pytest.mark.parametrize(
    ("value", "kind"), [(0, OptionError), (-4, OptionError), (1.5, OptionTypeError), ("sqrt", OptionTypeError)]
)
def test_other_options_are_refused(value: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        Recurrent("gru", 2, 3, checkpoint=value)
    message = (
        "checkpoint is no number of steps\n"
        "  expected: True for stretches of sqrt(T) steps, their number of steps, or None to keep all saved values\n"
        f"  got: {value!r}"
    )
    assert str(caught.value) == message
    for module in (Recurrent("gru", 2, 3), GRU(2, 3)):
        module.checkpoint = 12
        with pytest.raises(kind) as caught:
            module.checkpoint = value
        assert str(caught.value) == message
        assert module.checkpoint == 12


def refused(backend: str) -> str:
    got = "a call that one of these records" if backend == "llvm" else f"backend {backend!r}"
    return (
        "the layer of 'gru(reset=\"after\")' was made with checkpoint=, which cannot be done here\n"
        "  expected: backend 'llvm' or 'triton', outside torch.compile, transforms of torch.func and "
        "TorchDispatchModes\n"
        f"  got: {got}\n"
        "  do: set layer.checkpoint = None, or wrap the call in torch.utils.checkpoint.checkpoint"
    )


@pytest.mark.parametrize("backend", ["torch", "torch-fused"])
def test_other_backends_refuse_it_where_a_gradient_is_needed(backend: str) -> None:
    module, x = GRU(2, 3, backend=backend, checkpoint=True), torch.randn(4, 1, 2)
    with pytest.raises(OptionError) as caught:
        module(x)
    assert str(caught.value) == refused(backend)
    with torch.no_grad():
        assert module(x)[0].shape == (4, 1, 3)


def test_modes_of_torch_refuse_it_where_a_gradient_is_needed() -> None:
    module, x = GRU(2, 3, backend="llvm", checkpoint=2), torch.randn(4, 1, 2, requires_grad=True)
    with pytest.raises(OptionError) as caught, FlopCounterMode(display=False):
        module(x)
    assert str(caught.value) == refused("llvm")
    with pytest.raises(OptionError, match="cannot be done here"):
        torch.func.grad(lambda x: module(x)[0].sum())(x.detach())
    with pytest.raises(Exception, match="cannot be done here"):
        torch.compile(module, backend="eager", fullgraph=True)(x)
