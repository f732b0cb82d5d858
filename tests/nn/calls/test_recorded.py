"""Layers under recorders: torch.jit.trace, torch.fx, and objects that stand for tensors."""

import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gatewright as gw
from gatewright import cells
from gatewright.errors import GatewrightError, ShapeError
from gatewright.nn import Recurrent
from tests.parity.assertions import assert_parity

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # it works, and people have files

INPUT, HIDDEN = 3, 4
OTHER_SIZES = ((9, 3), (1, 1))
Forward = Callable[..., Any]


def layer(cell: Any, *options: Any, **named: Any) -> Recurrent:
    home = getattr(gw.nn, cell, None) if isinstance(cell, str) else None
    made = home(INPUT, HIDDEN, *options, **named) if home else Recurrent(cell, INPUT, HIDDEN, *options, **named)
    return made.double().eval()


LAYERS: dict[str, Recurrent] = {
    "GRU": layer("GRU", bidirectional=True),
    "LSTM": layer("LSTM", batch_first=True),
    "projection": layer("LSTM", proj_size=2),
    "by its equations": layer(cells.gru(reset="after", update="replaces")),
    "own cell": layer("gru", bidirectional=True),
    "many states": layer("slstm", batch_first=True),
    "no loop over its state": layer("mingru"),
    "operation by operation": layer("gru", bidirectional=True, backend="torch"),
}
all_layers = pytest.mark.parametrize("module", LAYERS.values(), ids=LAYERS)


class Calls(nn.Module):
    """A layer and what is done with it; results are one flat tuple."""

    def __init__(self, module: Recurrent, call: Forward) -> None:
        super().__init__()
        self.layer, self.call = module, call

    def forward(self, *values: Any) -> tuple[Tensor, ...]:
        output, states, *gates = self.call(self.layer, *values)
        given: list[Any] = [output, *(states if isinstance(states, tuple) else [states])]
        return (*given, *(gate for named in gates for gate in named.values()))


def states_of(module: Recurrent, batch: int) -> tuple[Tensor, ...]:
    shapes = [(len(module.packed_cells), batch, *shape) for shape in module.state_shapes]
    return tuple(torch.randn(shape, dtype=torch.float64) for shape in shapes)


def values_of(module: Recurrent, steps: int, batch: int) -> Tensor:
    values = torch.randn(steps, batch, INPUT, dtype=torch.float64)
    return values.transpose(0, 1) if module.batch_first else values


def lengths_of(steps: int, batch: int) -> Tensor:
    return torch.tensor([steps, *(1 + (row * 5) % steps for row in range(1, batch))])


def with_states(module: Recurrent, values: Tensor, *states: Tensor) -> Any:
    return module(values, states if len(states) > 1 else states[0])


def packed(module: Recurrent, values: Tensor, lengths: Tensor, *states: Tensor) -> Any:
    given = pack_padded_sequence(values, lengths, module.batch_first, enforce_sorted=False)
    output, finals = module(given, states if len(states) > 1 else states[0])
    return pad_packed_sequence(output, module.batch_first)[0], finals


def ragged(module: Recurrent, values: Tensor, lengths: Tensor) -> Any:
    return module(values, lengths=lengths, return_gates=True)


CALLS: Mapping[str, tuple[Forward, bool, bool]] = {  # the call, with lengths, with states
    "plain": (lambda module, values: module(values), False, False),
    "states": (with_states, False, True),
    "packed": (packed, True, True),
    "lengths": (ragged, True, False),
}


@all_layers
@pytest.mark.parametrize(("call", "has_lengths", "has_states"), CALLS.values(), ids=CALLS)
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_a_traced_layer_serves_every_number_of_steps_and_rows(
    module: Recurrent, call: Forward, has_lengths: bool, has_states: bool
) -> None:
    def arguments(steps: int, batch: int) -> tuple[Tensor, ...]:
        lengths = (lengths_of(steps, batch),) if has_lengths else ()
        return values_of(module, steps, batch), *lengths, *(states_of(module, batch) if has_states else ())

    calls = Calls(module, call)
    with torch.no_grad():
        traced = torch.jit.trace(calls, arguments(5, 2))
        file = io.BytesIO()
        torch.jit.save(traced, file)
        file.seek(0)
        loaded = torch.jit.load(file)
        for sizes in OTHER_SIZES:
            given = arguments(*sizes)
            assert_parity(loaded(*given), calls(*given), dtype="float64", steps=sizes[0])


@pytest.mark.parametrize("name", ["GRU", "LSTM", "by its equations"])
def test_a_trace_of_torchs_equations_holds_one_operation_of_torchs(name: str) -> None:
    module = LAYERS[name]
    graph = str(torch.jit.trace(module, values_of(module, 5, 2)).inlined_graph)
    assert graph.count("aten::lstm" if name == "LSTM" else "aten::gru") == 1
    assert "gatewright::" not in graph


def test_a_trace_of_other_equations_holds_the_engine() -> None:
    module = layer("gru")
    graph = str(torch.jit.trace(module, values_of(module, 50, 2)).inlined_graph)
    assert graph.count("gatewright::run") == 1


@pytest.mark.parametrize("name", ["GRU", "own cell"])
def test_a_traced_layer_has_the_gradients_of_the_layer(name: str) -> None:
    module = LAYERS[name]
    traced, values = torch.jit.trace(module, values_of(module, 5, 2)), values_of(module, 7, 3).requires_grad_()
    leaves = [values, *module.parameters()]
    got, want = (torch.autograd.grad(call(values)[0].square().sum(), leaves) for call in (traced, module))
    assert_parity(got, want, dtype="float64", steps=7)


@pytest.mark.parametrize("name", ["LSTM", "own cell"])
def test_tracing_is_silent_and_holds_the_shapes(name: str) -> None:
    module = LAYERS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(module, values_of(module, 4, 2)[0])
    with pytest.raises(ShapeError, match="was given an input that does not fit"):
        torch.jit.trace(module, torch.randn(5, 2, INPUT + 1, dtype=torch.float64))


def test_torch_jit_script_says_what_to_call_instead() -> None:
    for model in (layer("GRU"), nn.Sequential(nn.Linear(2, INPUT), layer("GRU"))):
        with pytest.raises(GatewrightError) as raised:
            torch.jit.script(model)
        assert str(raised.value) == (
            'torch.jit.script cannot compile the layer GRU(gru(reset="after"))\n'
            "  expected: torch.jit.trace, which records a layer for any number of steps and rows\n"
            "  got: torch.jit.script\n"
            "  do: call torch.jit.trace(model, inputs), or undo accelerate before scripting: report.undo()"
        )


def test_torch_export_of_a_packed_sequence_says_what_to_call_instead() -> None:
    module = layer("GRU")
    model = Calls(module, lambda module, values, lengths: packed(module, values, lengths, *states_of(module, 2)))
    with pytest.raises(GatewrightError) as raised:
        torch.export.export(model, (values_of(module, 5, 2), torch.tensor([5, 2])))
    assert str(raised.value) == (
        'torch.export cannot record the layer GRU(gru(reset="after")) with a PackedSequence\n'
        "  expected: a padded sequence and its lengths\n"
        "  got: a PackedSequence, whose shape depends on the values of the lengths\n"
        "  do: call the layer in the model with a padded sequence: layer(x, lengths=lengths)"
    )


def test_torch_jit_script_of_a_cell_says_so_too() -> None:
    with pytest.raises(GatewrightError, match="torch.jit.script cannot compile the layer GRUCell"):
        torch.jit.script(nn.Sequential(gw.nn.GRUCell(INPUT, HIDDEN)))


# torch.fx


class Model(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.rnn, self.head = module, nn.Linear(HIDDEN, 2).double()

    def forward(self, x: Tensor, state: Tensor, lengths: Tensor | None = None) -> Tensor:
        output, _ = self.rnn(x, state) if lengths is None else self.rnn(x, state, lengths=lengths)
        return self.head(output)


def test_torch_fx_records_a_layer_as_it_does_one_of_torch_nn() -> None:
    ours, theirs = Model(layer("GRU")), Model(nn.GRU(INPUT, HIDDEN).double())
    graphs = [fx.symbolic_trace(model, {"lengths": None}).graph for model in (ours, theirs)]
    assert [(node.op, node.target) for node in graphs[0].nodes] == [(node.op, node.target) for node in graphs[1].nodes]
    x, state = values_of(layer("GRU"), 5, 2), torch.randn(1, 2, HIDDEN).double()
    traced = fx.symbolic_trace(ours)
    assert traced.get_submodule("rnn") is ours.rnn
    assert torch.equal(traced(x, state, torch.tensor([5, 2])), ours(x, state, torch.tensor([5, 2])))
    assert isinstance(fx.symbolic_trace(nn.Sequential(layer("slstm"))).get_submodule("0"), Recurrent)


def test_what_torch_fx_cannot_record_says_why() -> None:
    with pytest.raises(GatewrightError) as raised:
        fx.symbolic_trace(layer("GRU"))
    assert str(raised.value) == (
        'torch.fx cannot record the layer GRU(gru(reset="after"))\n'
        "  expected: a layer within a module, without forward hooks, which would be recorded and run again\n"
        "  got: the layer by itself\n"
        "  do: put it into a module: torch.nn.Sequential(layer)"
    )
    hooked = nn.Sequential(layer("GRU"))
    hooked[0].register_forward_hook(lambda *_: None)
    with pytest.raises(GatewrightError, match="got: forward hooks on '0'\n  do: remove the hooks before tracing"):
        fx.symbolic_trace(hooked)


# Objects that stand for tensors


class StandIn:
    """Not a tensor, but called with every function of torch's that meets it."""

    def __init__(self, value: Tensor) -> None:
        self.value = value
        self.met: list[str] = []

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        stand_in = next(one for one in args if isinstance(one, cls))
        stand_in.met.append(function.__name__)
        return function(*(one.value if one is stand_in else one for one in args), **(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.value, name)


class Labelled(Tensor):
    """A tensor of a kind of its own."""


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_an_object_that_stands_for_a_tensor_meets_torchs_function(kind: str) -> None:
    module, values = layer(kind), values_of(layer(kind), 5, 2)
    stand_in = StandIn(values)
    assert_parity(module(stand_in)[0], module(values)[0], dtype="float64", steps=5)
    assert stand_in.met == [kind.lower()]


@pytest.mark.parametrize("cell", ["GRU", "slstm"])
def test_a_subclass_of_tensor_comes_out_again(cell: str) -> None:
    module = layer(cell)
    values = values_of(module, 5, 2)
    output, _ = module(values.as_subclass(Labelled))
    assert type(output) is Labelled
    assert_parity(output.as_subclass(Tensor), module(values)[0], dtype="float64", steps=5)
