"""`accelerate` on layers to which something was done before, and what may be done to the swapped ones afterwards."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from gatewright.errors import OptionError
from gatewright.nn import GRU, GRUCell, accelerate
from tests.parity.assertions import assert_parity

COMPUTED = "its weights are not parameters of its own (weight norm, weight drop, pruning or the like)"


def gru(layers: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.GRU(4, 4, layers))


def outcome(model: nn.Sequential, x: Tensor) -> list[Tensor]:
    """The output and the gradients of the parameters, each once."""
    output = model[0](x)[0]
    wanted = [one for one in model.parameters() if one.requires_grad]
    return [output.detach(), *torch.autograd.grad(output.square().sum(), wanted)]


def check_same(model: nn.Sequential, other: nn.Sequential, dtype: str = "float32") -> None:
    x = torch.randn(7, 3, 4, dtype=getattr(torch, dtype))
    assert_parity(outcome(model, x), outcome(other, x), dtype=dtype, steps=7)


def replaced_forward(layer: nn.GRU) -> None:
    layer.forward = lambda x: (x * 2, None)


def spectral_norm_by_hook(layer: nn.GRU) -> None:
    torch.nn.utils.spectral_norm(layer, "weight_hh_l0")


BEFORE: dict[str, tuple[Callable[[nn.GRU], object], str]] = {
    "weight norm": (lambda layer: parametrizations.weight_norm(layer, "weight_hh_l0"), COMPUTED),
    "spectral norm": (lambda layer: parametrizations.spectral_norm(layer, "weight_ih_l0"), COMPUTED),
    "spectral norm by a hook": (spectral_norm_by_hook, COMPUTED),
    "pruning": (lambda layer: prune.l1_unstructured(layer, "weight_hh_l0", 0.5), COMPUTED),
    "forward": (replaced_forward, "it has something of its own that torch's GRU has not: forward"),
    "buffer": (
        lambda layer: layer.register_buffer("seen", torch.zeros(1)),
        "it has something of its own that torch's GRU has not: seen",
    ),
    "module": (
        lambda layer: layer.add_module("head", nn.Linear(4, 2)),
        "it has something of its own that torch's GRU has not: head",
    ),
}


@pytest.mark.parametrize("what", BEFORE)
def test_a_layer_to_which_something_was_done_is_left(what: str) -> None:
    model, x = gru(), torch.randn(7, 3, 4)
    change, reason = BEFORE[what]
    change(model[0])
    names, layer, want = list(model.state_dict()), model[0], model.eval()(x)[0]
    (swap,) = accelerate(model).swaps
    assert (swap.swapped, swap.reason) == (False, reason)
    assert model[0] is layer
    assert list(model.state_dict()) == names
    assert torch.equal(model(x)[0], want)


def test_what_somebody_wrote_on_a_layer_stays_there() -> None:
    model = gru()
    model[0].note = "the encoder"
    accelerate(model)
    assert type(model[0]) is GRU
    assert model[0].note == "the encoder"


@pytest.mark.parametrize("make", [torch.jit.script, lambda layer: torch.jit.trace(layer, torch.zeros(2, 1, 4))])
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_left(make: Callable[[nn.Module], nn.Module]) -> None:
    report = accelerate(nn.Sequential(make(nn.GRU(4, 3)), nn.GRU(3, 2)))
    assert str(report) == (
        "0 (GRU): left, it is TorchScript, in which nothing can be replaced: "
        "accelerate the model before it is scripted\n"
        "1 (GRU): swapped, llvm: compiled for this processor"
    )


def test_one_layer_in_two_places_of_one_module() -> None:
    layer = nn.GRU(4, 4)
    model = nn.ModuleList([layer, nn.ModuleList([layer]), layer])
    report = accelerate(model)
    assert [(swap.name, swap.swapped) for swap in report.swaps] == [("0", True), ("2", True), ("1.0", True)]
    assert model[0] is model[2] is model[1][0]
    assert type(model[0]) is GRU
    report.undo()
    assert model[0] is model[2] is model[1][0] is layer


@pytest.mark.parametrize("within", [True, False], ids=["within a layer", "of two layers"])
def test_weights_that_are_tied(within: bool) -> None:
    model = gru(2) if within else nn.Sequential(nn.GRU(4, 4), nn.GRU(4, 4))
    layer, name = (model[0], "weight_hh_l1") if within else (model[1], "weight_hh_l0")
    setattr(layer, name, model[0].weight_hh_l0)
    before = copy.deepcopy(model)
    assert all(swap.swapped for swap in accelerate(model).swaps)
    if not within:
        model, before = nn.Sequential(Chain(model)), nn.Sequential(Chain(before))
    check_same(model, before)


class Chain(nn.Module):
    """Layers one after the other, called as one of them is."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        for layer in self.layers:
            x = layer(x)[0]
        return x, None


AFTER: dict[str, Callable[[nn.GRU], object]] = {
    "weight norm": BEFORE["weight norm"][0],
    "pruning": BEFORE["pruning"][0],
    "frozen": lambda layer: layer.weight_hh_l0.requires_grad_(False),
    "another parameter": lambda layer: setattr(layer, "bias_hh_l0", nn.Parameter(torch.ones(12))),
    "shared memory": lambda layer: layer.share_memory(),
}


@pytest.mark.parametrize("what", AFTER)
def test_what_is_done_to_a_swapped_layer_counts(what: str) -> None:
    model = gru()
    other = copy.deepcopy(model)
    accelerate(model)
    for one in (model, other):
        AFTER[what](one[0])
    check_same(model, other)


@pytest.mark.parametrize("what", ["weight norm", "pruning"])
def test_computed_weights_are_not_lost_by_undo(what: str) -> None:
    model = gru()
    report = accelerate(model)
    layer = model[0]
    AFTER[what](layer)
    with pytest.raises(OptionError) as caught:
        report.undo()
    assert str(caught.value) == (
        "the layer '0' cannot be put back\n"
        "  expected: it as accelerate left it\n"
        "  got: its weights are not parameters of its own by now\n"
        "  do: remove weight norm, pruning or the like first"
    )
    assert model[0] is layer
    if what == "pruning":
        prune.remove(layer, "weight_hh_l0")
        report.undo()
        assert type(model[0]) is nn.GRU
        assert (model[0].weight_hh_l0 == 0).sum() == 24


def test_undo_takes_nothing_away_that_others_put_there() -> None:
    model = nn.Sequential(nn.GRU(4, 4), nn.GRU(4, 4))
    report = accelerate(model)
    placed = [*model]
    model[0] = nn.Identity()
    with pytest.raises(OptionError, match="Identity stands there by now"):
        report.undo()
    assert model[1] is placed[1]


@pytest.mark.parametrize("how", ["assigned", "converted"])
def test_undo_keeps_parameters_that_took_the_place_of_others(how: str) -> None:
    model, other = gru().double(), gru().double()
    report = accelerate(model)
    if how == "assigned":
        model.load_state_dict(other.state_dict(), assign=True)
    else:
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            model.float().double()
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(False)
        other = copy.deepcopy(model)
    report.undo()
    assert type(model[0]) is nn.GRU
    check_same(model, other, "float64")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_a_swapped_layer_moves_to_another_dtype_and_back_by_undo(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.LSTM(4, 5, 2, bidirectional=True))
    before = copy.deepcopy(model).to(dtype)
    report = accelerate(model)
    model.to(dtype)
    x = torch.randn(3, 2, 4, dtype=dtype)
    got, want = model(x)[0], before(x)[0]
    assert got.dtype is dtype
    assert (got - want).abs().max() <= 8 * torch.finfo(dtype).eps
    report.undo()
    assert torch.equal(model(x)[0], want)


def test_hooks_that_are_called_with_their_module_get_the_one_in_place() -> None:
    model, seen = gru(), []
    model[0].register_load_state_dict_pre_hook(lambda module, *given: seen.append(module))
    report = accelerate(model)
    model.load_state_dict(model.state_dict())
    assert seen == [model[0]]
    report.undo()
    model.load_state_dict(model.state_dict())
    assert seen[1:] == [model[0]]


def test_a_replica_as_data_parallel_makes_it() -> None:
    """Its weights are plain tensors, which autograd follows to the parameters."""
    model = gru()
    accelerate(model)
    replica, x = model[0]._replicate_for_data_parallel(), torch.randn(7, 3, 4)
    for name, parameter in model[0].named_parameters():
        setattr(replica, name, parameter.clone())
    output = replica(x)[0]
    got = torch.autograd.grad(output.square().sum(), [*model.parameters()])
    assert_parity([output.detach(), *got], outcome(model, x), dtype="float32", steps=7)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_a_recorder_of_operations_sees_them() -> None:
    model, x = gru(), torch.randn(7, 3, 4)
    accelerate(model)
    model(x)  # so that a short way is known
    for backend, operation in (("auto", "aten::gru"), ("llvm", "gatewright::run")):
        model[0].backend = backend
        traced = torch.jit.trace(model, x)
        assert str(traced.inlined_graph).count(operation) == 1
        assert_parity(traced(x)[0].detach(), model(x)[0].detach(), dtype="float32", steps=7)
    for cell in (GRUCell(4, 4, backend="llvm"), GRUCell(4, 4)):
        traced = torch.jit.trace(cell, x[0])
        assert_parity(traced(x[1, :2]).detach(), cell(x[1, :2]).detach(), dtype="float32", steps=1)
