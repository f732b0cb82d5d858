"""The engine in graphs: torch.compile, torch.export, and the operation that they hold; derivatives of every element."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import functional_call, grad, jacrev, stack_module_state, vmap

import gatewright as gw
from gatewright import cells
from gatewright.errors import OptionError, TraceError
from gatewright.lang import Cell
from gatewright.nn import Recurrent
from gatewright.nn.engine.differentiable import differentiable
from gatewright.nn.graphs import custom_ops
from tests.parity.assertions import assert_parity

INPUT, HIDDEN, STEPS, BATCH = 2, 3, 4, 2


@gw.cell
def leaky(x, h, W, U, b, *, rate=0.5):  # type: ignore[no-untyped-def]
    """A cell that no catalogue has."""
    n = gw.tanh(W.n @ x + U.n @ h + b.n)
    keep = gw.sigmoid(b.keep)
    return keep * h + rate * (1 - keep) * n


CELLS: dict[str, Cell] = {
    "gru": cells.gru,
    "lstm": cells.lstm_peephole,
    "a user's": leaky,
    "layer norm": gw.layer_norm(cells.gru),
    "slstm": cells.slstm,
}
some_cells = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
two_cells = pytest.mark.parametrize("cell", [CELLS["lstm"], CELLS["a user's"]], ids=["lstm", "a user's"])


@pytest.fixture(autouse=True)
def _forget_graphs() -> None:
    torch._dynamo.reset()


def layer(cell: Cell | str, **options: Any) -> Recurrent:
    return Recurrent(cell, INPUT, HIDDEN, **{"dtype": torch.float64, "backend": "llvm", **options})


def x(*shape: int) -> Tensor:
    return torch.randn(shape or (STEPS, BATCH, INPUT), dtype=torch.float64)


def results(call: Callable[..., Any], module: nn.Module, values: Tensor, **options: Any) -> list[Tensor]:
    """Everything that a call gives, and its gradients by the input and all parameters."""
    leaf = values.clone().requires_grad_()
    output, finals = call(leaf, **options)
    finals = list(finals) if isinstance(finals, tuple) else [finals]
    loss = output.square().sum() + sum((weight * final).sum() for weight, final in enumerate(finals, 1))
    return [output, *finals, *torch.autograd.grad(loss, [leaf, *module.parameters()])]


def assert_same(got: list[Tensor], want: list[Tensor], steps: int = STEPS) -> None:
    assert_parity([g.detach() for g in got], [w.detach() for w in want], dtype="float64", steps=steps)


def compiled(call: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    return torch.compile(call, fullgraph=True, backend="aot_eager", **options)


# torch.compile


@pytest.mark.parametrize(
    ("cell", "ragged"),
    [
        ("gru", {}),
        ("gru", {"lengths": [4, 2]}),
        ("lstm", {"lengths": torch.tensor([0, 4])}),
        ("a user's", {"mask": 0.5}),
    ],
    ids=["gru", "gru, lengths", "lstm, lengths", "a user's, mask"],
)
def test_a_compiled_layer_is_the_layer(cell: str, ragged: dict[str, Any]) -> None:
    module, values = layer(CELLS[cell], bidirectional=cell == "lstm"), x()
    options = {**ragged, "mask": torch.rand(STEPS, BATCH) < ragged["mask"]} if "mask" in ragged else ragged
    assert_same(results(compiled(module), module, values, **options), results(module, module, values, **options))


def test_gates_and_noise_in_a_compiled_layer() -> None:
    module, values = layer(gw.zoneout(0.5)(cells.gru)).eval(), x()
    want, got = module(values, return_gates=True), compiled(module)(values, return_gates=True)
    assert_parity(got, want, dtype="float64", steps=STEPS)
    module.train()
    assert not torch.equal(compiled(module)(values)[0], module(values)[0])


def test_a_compiled_vmap() -> None:
    module, elements = layer(leaky), x(3, STEPS, BATCH, INPUT)
    call = vmap(lambda given: module(given)[0])
    assert_same([compiled(call)(elements)], [call(elements)])
    results_of = [torch.autograd.grad(one(elements).square().sum(), module.U_l0)[0] for one in (compiled(call), call)]
    assert_same(results_of[:1], results_of[1:])


def test_one_graph_serves_every_number_of_steps_and_rows() -> None:
    module = layer(cells.gru)
    counter = CompileCounterWithBackend("aot_eager")
    call = torch.compile(module, fullgraph=True, dynamic=True, backend=counter)
    for steps, batch in ((7, 3), (9, 3), (100, 5), (3, 2)):
        values = x(steps, batch, INPUT)
        assert_same(results(call, module, values), results(module, module, values), steps)
    assert counter.frame_count == 1


def test_a_graph_is_as_small_for_a_thousand_steps_as_for_ten() -> None:
    sizes: list[int] = []

    def count(graph: torch.fx.GraphModule, _: Any) -> Any:
        sizes.append(len(graph.graph.nodes))
        return graph.forward

    for steps in (10, 1000):
        torch._dynamo.reset()
        torch.compile(layer(cells.gru), fullgraph=True, dynamic=False, backend=count)(x(steps, 1, INPUT))
    assert sizes[0] == sizes[1] < 100


def test_lengths_that_do_not_fit_stop_a_compiled_layer() -> None:
    call, values = compiled(layer(cells.gru)), x()
    call(values, lengths=torch.tensor([4, 2]))
    with pytest.raises(RuntimeError, match="lengths do not fit the sequences"):
        call(values, lengths=torch.tensor([5, 2]))


# torch.export

LOAD = """
import sys, torch, gatewright.nn
for name in sys.argv[2:]:
    given, want = torch.load(sys.argv[1])
    got, _ = torch.export.load(name).module()(given)
    print(torch.equal(got, want))
"""


def test_an_exported_program_runs_in_a_process_that_never_saw_the_layer(tmp_path: Path) -> None:
    module = layer(leaky)
    steps, batch = torch.export.Dim("steps", min=1, max=4096), torch.export.Dim("batch", min=1, max=512)
    other = x(9, 5, INPUT)
    want, _ = module(other)
    torch.save((other, want.detach()), tmp_path / "numbers.pt")
    files: list[str] = []
    for strict in (True, False):
        shapes = {"input": {0: steps, 1: batch}}
        program = torch.export.export(module, (x(),), strict=strict, dynamic_shapes=shapes)
        assert torch.equal(program.module()(other)[0], want)
        files.append(str(tmp_path / f"{strict}.pt2"))
        torch.export.save(program, files[-1])
    command = [sys.executable, "-c", LOAD, str(tmp_path / "numbers.pt"), *files]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.stdout.split() == ["True", "True"], told.stderr


# The operation


def operation(cell: Cell, saves: bool) -> tuple[str, list[Tensor]]:
    """The key of a cell's operation, and values for it."""
    module = layer(cell)
    spec = differentiable(module.trace, module.sizes(), torch.float64)
    values = {"x": x(), **{state.name: torch.randn(BATCH, HIDDEN).double() for state in spec.trace.states}}
    sizes = module.sizes()
    for param in spec.trace.params:
        values[param.name] = torch.randn([sizes[axis] for axis in param.shape], dtype=torch.float64)
    return custom_ops.key_of(spec, saves), [values[name].requires_grad_() for name in spec.operands]


@pytest.mark.parametrize("saves", [False, True])
def test_the_operation_under_vmap_and_refusing_other_transforms(saves: bool) -> None:
    key, values = operation(leaky, saves)
    elements = x(3, STEPS, BATCH, INPUT)
    got = vmap(lambda element: custom_ops.run_op(key, [element, *values[1:]]))(elements)
    want = [custom_ops.run_op(key, [element, *values[1:]]) for element in elements]
    assert_same(got, [torch.stack(results) for results in zip(*want, strict=True)])
    with pytest.raises(RuntimeError, match="functorch transforms"):  # never a wrong number
        grad(lambda element: custom_ops.run_op(key, [element, *values[1:]])[0].sum())(elements[0])


@pytest.mark.parametrize("saves", [False, True])
def test_the_operation_holds_to_the_rules_of_operations(saves: bool) -> None:
    done = torch.library.opcheck(torch.ops.gatewright.run.default, operation(leaky, saves))
    assert set(done.values()) == {"SUCCESS"}


@two_cells
@pytest.mark.parametrize("saves", [False, True])
def test_first_and_second_derivatives_of_the_operation(cell: Cell, saves: bool) -> None:
    key, values = operation(cell, saves)
    count = len(layer(cell).trace.states)

    def call(*given: Tensor) -> tuple[Tensor, ...]:
        return tuple(custom_ops.run_op(key, list(given))[:count])

    assert gradcheck(call, values, fast_mode=True)
    assert gradgradcheck(call, values, fast_mode=True)


def test_a_key_is_read_as_it_was_written() -> None:
    key, _ = operation(cells.gru, True)
    assert key.startswith(
        '{"gatewright": 1, "backwards": false, "dtype": "float64", "saves": true, '
        '"sizes": {"hidden": 3, "input": 2}}\ngatewright-trace 1\ncell "gru"\n'
    )
    read = custom_ops.operation(key)
    assert custom_ops.key_of(read.spec, read.saves) == key


OPTION = '{"gatewright": 1, "backwards": false, "dtype": "float64", "saves": true, "sizes": {"hidden": 3}, %s}'


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "''"),
        ("[]", "'[]'"),
        ('{"gatewright": 2}', "'{\"gatewright\": 2}'"),
        ('{"gatewright": 1, "backwards": false, "dtype": "float64", "saves": true, "sizes": {"hidden": 0}}', "'{"),
        ('{"gatewright": 1, "backwards": false, "dtype": "float64", "saves": true, "sizes": {}}', "'{}'"),
        (OPTION % '"products": "float16"', "'{"),
        (OPTION % '"engine": "cuda"', "'{"),
        (OPTION % '"engine": ["triton"]', "'{"),
        (OPTION % '"engine": "triton", "products": "int8"', "'{"),
        (OPTION % '"engine": "triton", "form": "stepped"', "'{"),
    ],
)
def test_a_damaged_key_is_refused(line: str, told: str) -> None:
    key, values = operation(leaky, False)
    with pytest.raises(TraceError, match="the key of gatewright::run cannot be read") as caught:
        torch.ops.gatewright.run(line + key[key.index("\n") :], values)
    assert f"got: {told}" in str(caught.value)
    assert "do: export the model again with this version of Gatewright" in str(caught.value)


# torch.func


def loss_of(module: Recurrent, **options: Any) -> tuple[Callable[..., Tensor], dict[str, Tensor]]:
    parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}
    return lambda given, *values: functional_call(module, given, values, options)[0].square().sum(), parameters


@some_cells
def test_gradients_of_every_element_are_those_of_a_loop(cell: Cell) -> None:
    module = layer(cell, bidirectional=True)
    loss, parameters = loss_of(module, lengths=[4, 2])
    elements = x(5, STEPS, BATCH, INPUT)
    together = vmap(grad(loss), in_dims=(None, 0))(parameters, elements)
    for index, element in enumerate(elements):
        want = torch.autograd.grad(module(element, lengths=[4, 2])[0].square().sum(), list(module.parameters()))
        assert_parity([together[name][index] for name in parameters], list(want), dtype="float64", steps=STEPS)


@two_cells
def test_vmap_over_inputs_lengths_and_parameters(cell: Cell) -> None:
    modules, elements = [layer(cell) for _ in range(3)], x(STEPS, 3, BATCH, INPUT)
    lengths = torch.tensor([[4, 2], [0, 1], [3, 4]])
    call = vmap(lambda values, rows: modules[0](values, lengths=rows), in_dims=(1, 0))
    output, _ = call(elements, lengths)
    want = [modules[0](elements[:, index], lengths=lengths[index])[0] for index in range(3)]
    assert_parity(output.detach(), torch.stack(want).detach(), dtype="float64", steps=STEPS)
    parameters, _ = stack_module_state(modules)
    ensemble = vmap(grad(loss_of(modules[0])[0]), in_dims=(0, None))(parameters, elements[:, 0])
    for index, module in enumerate(modules):
        alone = torch.autograd.grad(module(elements[:, 0])[0].square().sum(), list(module.parameters()))
        assert_parity([ensemble[name][index] for name in parameters], list(alone), dtype="float64", steps=STEPS)


@two_cells
def test_second_derivatives_by_transforms(cell: Cell) -> None:
    module = layer(cell)
    plain = layer(cell, backend="torch")
    plain.load_state_dict(module.state_dict())
    values = x(2, 1, INPUT)
    got, want = (jacrev(jacrev(loss_of(one)[0]))(loss_of(one)[1], values) for one in (module, plain))
    assert_parity(got, want, dtype="float64", steps=4)


# What is not possible says why


def test_what_the_engine_does_not_do_is_told() -> None:
    values = x(2, 1, INPUT)
    module, by_name = layer(cells.gru, backend="auto"), layer(cells.gru)
    with forward_ad.dual_level():
        assert str(module.plan()) == (
            "torch: the compiled engine cannot run this: forward-mode differentiation is at work"
        )
        with pytest.raises(OptionError, match=re.escape("got: forward-mode differentiation is at work")):
            by_name(values)
    with pytest.raises(Exception, match=re.escape("got: torch.compile is tracing a derivative by torch.func")):
        compiled(grad(lambda given: by_name(given)[0].sum()))(values)
    gradient = grad(lambda given: module(given)[0].sum())
    assert_parity(compiled(gradient)(values), gradient(values), dtype="float64", steps=2)
