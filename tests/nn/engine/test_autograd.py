"""Autograd over the compiled engine: of every order, of whatever the loss sees, by whatever is asked for."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.utils.checkpoint import checkpoint

from gatewright import cells
from gatewright.backends import torch_eager
from gatewright.derive import vjp
from gatewright.lang import Cell, cell, layer_norm, relu, tanh
from gatewright.nn import Recurrent
from gatewright.nn.engine.differentiable import Differentiable, differentiable
from gatewright.nn.engine.sequence_function import run_named as run
from gatewright.trace import simplify, trace_cell
from tests.backends.llvm.memory import growth, needs_proc
from tests.parity.assertions import assert_parity
from tests.parity.matrix import CELLS, MODELS, Problem, problem

TWICE = ["elman", "gru", "lstm_projected", "minlstm", "indrnn", "layer_norm(gru)", "masked(gru)"]
STEPS, BATCH = 2, 1


def made(name: str, dtype: torch.dtype = torch.float64, steps: int = STEPS) -> tuple[Problem, Differentiable]:
    given = problem(CELLS[name], steps, BATCH, seed=0)
    trace = simplify(given.trace)
    return replace(given, trace=trace), differentiable(trace, given.sizes, dtype)


def leaves(given: Problem, spec: Differentiable) -> list[Tensor]:
    """All that goes in, in order; a mask is compared with 0, which has no derivative."""
    values = {**given.inputs, **given.noises, **given.params, **given.states}
    return [torch.tensor(values[name], dtype=spec.dtype).requires_grad_(name != "mask") for name in spec.operands]


def by_name(spec: Differentiable, tensors: list[Tensor]) -> dict[str, Tensor]:
    return dict(zip(spec.operands, tensors, strict=True))


def states_of(spec: Differentiable) -> Callable[..., tuple[Tensor, ...]]:
    """The run as a function of tensors that gives every state after every step."""

    def call(*tensors: Tensor) -> tuple[Tensor, ...]:
        results = run(spec, by_name(spec, list(tensors)))
        return tuple(results[state.name][1:] for state in spec.trace.states)

    return call


def eager(spec: Differentiable, tensors: list[Tensor]) -> Tensor:
    """What a layer emits, operation by operation."""
    values, trace = by_name(spec, tensors), spec.trace
    inputs, params, states = (
        {one.name: values[one.name] for one in group} for group in (trace.inputs, trace.params, trace.states)
    )
    return torch_eager.run(trace, inputs, params, states, sizes=spec.sizes).output


@pytest.mark.parametrize("name", sorted(MODELS - set(TWICE)))
def test_first_derivatives(name: str) -> None:
    given, spec = made(name)
    assert gradcheck(states_of(spec), leaves(given, spec), fast_mode=True, check_undefined_grad=False)


@pytest.mark.parametrize("name", TWICE)
def test_first_and_second_derivatives(name: str) -> None:
    given, spec = made(name)
    for check in (gradcheck, gradgradcheck):
        assert check(states_of(spec), leaves(given, spec), fast_mode=True, check_undefined_grad=False)


def test_second_derivatives_where_the_loss_does_not_see_everything() -> None:
    given, spec = made("fastgrnn")
    assert gradgradcheck(states_of(spec), leaves(given, spec), fast_mode=True, check_undefined_grad=True)


def test_third_derivatives_are_those_of_the_eager_backend() -> None:
    given, spec = made("elman")

    def derived(call: Callable[[Differentiable, list[Tensor]], Tensor]) -> list[Tensor]:
        tensors = leaves(given, spec)
        value, flows = call(spec, tensors).sin().sum(), tuple[Tensor, ...]()
        for _ in range(3):
            flows = grad(value, tensors, create_graph=True)
            value = sum((flow.sin().sum() for flow in flows), torch.zeros(()))
        return list(flows)

    got = derived(lambda spec, tensors: run(spec, by_name(spec, tensors))["h"][1:])
    assert_parity(got, derived(eager), dtype="float64", steps=STEPS, width=1024)


def test_the_order_of_a_gradient_is_told_by_its_name() -> None:
    once = vjp(simplify(trace_cell(cells.elman)))
    assert [trace.order for trace in (once, vjp(once), vjp(vjp(once)))] == [1, 1, 2]


@pytest.mark.parametrize("name", ["gru", "lstm", "layer_norm(gru)"])
def test_float32(name: str) -> None:
    given, spec = made(name, torch.float32, steps=7)
    got, want = leaves(given, spec), [tensor.double().detach().requires_grad_() for tensor in leaves(given, spec)]
    outputs = run(spec, by_name(spec, got))[spec.trace.states[0].name][1:], eager(spec, want)
    flows = [grad(output.square().sum(), ins) for output, ins in zip(outputs, (got, want), strict=True)]
    assert_parity([outputs[0], *flows[0]], [outputs[1], *flows[1]], dtype="float32", steps=7, width=given.width)


# What the loss sees

SEES: Mapping[str, Callable[[Tensor, tuple[Tensor, ...], Mapping[str, Tensor]], Tensor]] = {
    "the output": lambda output, finals, gates: output.square().sum(),
    "one step": lambda output, finals, gates: output[1].sum(),
    "the first final state": lambda output, finals, gates: finals[0].square().sum(),
    "the second final state": lambda output, finals, gates: finals[1].square().sum(),
    "gates": lambda output, finals, gates: gates["f"].sum() + gates["o"].square().sum(),
    "all": lambda output, finals, gates: output.sum() + finals[1].sum() + sum(g.sum() for g in gates.values()),
}


@pytest.mark.parametrize("what", SEES)
def test_gradients_come_from_whatever_the_loss_sees(what: str) -> None:
    layer = Recurrent(cells.lstm, 2, 3, backend="llvm", dtype=torch.float64)
    other = Recurrent(cells.lstm, 2, 3, backend="torch", dtype=torch.float64)
    other.load_state_dict(layer.state_dict())
    given = [torch.randn(*shape, dtype=torch.float64) for shape in ((4, 2, 2), (1, 2, 3), (1, 2, 3))]
    flows: list[list[Tensor]] = []
    for one in (layer, other):
        x, h, c = (tensor.clone().requires_grad_() for tensor in given)
        loss = SEES[what](*one(x, (h, c), return_gates=True))
        wanted = [x, h, c, *one.parameters()]
        flows.append(list(grad(loss, wanted, allow_unused=True, materialize_grads=True)))
    assert_parity(flows[0], flows[1], dtype="float64", steps=4)


@pytest.mark.parametrize("create_graph", [False, True])
def test_the_state_that_went_in_is_seen_too(create_graph: bool) -> None:
    """Slot 0 of a state is what went in; what the loss says of it reaches it directly."""
    given, spec = made("gru")
    tensors = leaves(given, spec)
    whole = run(spec, by_name(spec, tensors))["h"]
    flows = zip(spec.operands, grad(whole[0].sum(), tensors, create_graph=create_graph), strict=True)
    assert all(torch.equal(flow, torch.full_like(flow, name == "h")) for name, flow in flows)


def test_one_value_may_come_out_in_several_places() -> None:
    """As a state and as emitted values, some of which went in; two biases that are added have one gradient."""

    @cell
    def two_biases(x, h, W, U, b):
        return tanh(W.a @ x + U.a @ h + b.a + b.c)

    trace = simplify(trace_cell(two_biases))
    new, total = trace.next_states[0], trace.equations[-2].target
    emits = {"new": new, "again": new, "x": trace.inputs[0], "old": trace.states[0], "total": total, "twice": total}
    spec = differentiable(replace(trace, emits=tuple(emits.items())), {"input": 2, "hidden": 3}, torch.float64)
    shapes = {"x": (STEPS, BATCH, 2), "h": (BATCH, 3), "W.a": (3, 2), "U.a": (3, 3), "b.a": (3,), "b.c": (3,)}
    tensors = [torch.randn(shapes[name], dtype=torch.float64, requires_grad=True) for name in spec.operands]

    def call(*given: Tensor) -> tuple[Tensor, ...]:
        return tuple(run(spec, by_name(spec, list(given))).values())

    assert gradcheck(call, tensors, fast_mode=True, check_undefined_grad=False)
    assert gradgradcheck(call, tensors, fast_mode=True, check_undefined_grad=False)


# What is asked for


@pytest.mark.parametrize("only", ["x", "W.z", "b.n", "h"])
def test_by_one_input_only(only: str) -> None:
    given, spec = made("gru")
    everything = leaves(given, spec)
    want = dict(zip(spec.operands, grad(run(spec, by_name(spec, everything))["h"].sum(), everything), strict=True))
    values = {name: tensor.detach() for name, tensor in by_name(spec, everything).items()}
    values[only].requires_grad_()
    run(spec, values)["h"].sum().backward()
    assert [name for name, value in values.items() if value.grad is not None] == [only]
    assert torch.equal(values[only].grad, want[only])


def test_nothing_is_saved_where_nothing_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    given, spec = made("lem")
    tensors = leaves(given, Differentiable(spec.trace, spec.sizes, spec.dtype))
    want = run(spec, by_name(spec, tensors))["y"]
    alone = Differentiable(spec.trace, spec.sizes, spec.dtype)
    monkeypatch.setattr(Differentiable, "engines", lambda *_: pytest.fail("a gradient is derived"))
    with torch.no_grad():
        quiet = run(alone, by_name(alone, tensors))["y"]
    plain = run(alone, by_name(alone, [tensor.detach() for tensor in tensors]))["y"]
    assert not quiet.requires_grad
    assert not plain.requires_grad
    assert torch.equal(quiet, want)
    assert torch.equal(plain, want)


def test_strides_do_not_matter() -> None:
    given, spec = made("gru")
    tensors = leaves(given, spec)
    want = grad(run(spec, by_name(spec, tensors))["h"].sum(), tensors)  # the gradient of a sum has no strides at all
    turned = [tensor.detach().T.contiguous().T.requires_grad_() if tensor.dim() == 2 else tensor for tensor in tensors]
    wide = tensors[0].detach().repeat(1, 1, 2)[:, :, : tensors[0].shape[2]].requires_grad_()
    changed = [wide, *turned[1:]]
    assert not changed[0].is_contiguous()
    whole = run(spec, by_name(spec, changed))["h"]
    got = grad(whole, changed, torch.ones_like(whole).transpose(0, 1).contiguous().transpose(0, 1))
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize(("steps", "batch"), [(0, 2), (2, 0)])
def test_nothing_to_do(steps: int, batch: int) -> None:
    layer = Recurrent("lstm", 2, 3, backend="llvm")
    x, states = torch.randn(steps, batch, 2, requires_grad=True), torch.randn(2, 1, batch, 3, requires_grad=True)
    output, (h, c) = layer(x, (states[0], states[1]))
    assert output.shape == (steps, batch, 3)
    flows = grad(output.sum() + h.sum() + 2 * c.sum(), [x, states, *layer.parameters()])
    assert torch.equal(flows[1], torch.stack([torch.ones(1, batch, 3), torch.full((1, batch, 3), 2.0)]))
    assert not any(flow.any() for flow in (flows[0], *flows[2:]))


# How it is called


def test_backward_again_and_again() -> None:
    given, spec = made("gru")
    tensors = leaves(given, spec)
    loss = run(spec, by_name(spec, tensors))["h"].square().sum()
    first, second = (grad(loss, tensors, retain_graph=True) for _ in range(2))
    followed = grad(loss, tensors, create_graph=True)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert_parity(list(followed), list(first), dtype="float64", steps=STEPS)
    grad(loss, tensors)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        grad(loss, tensors)


@pytest.mark.parametrize("changed", ["x", "U.r", "h", "the output"])
def test_a_change_in_place_is_noticed(changed: str) -> None:
    given, spec = made("gru")
    values = by_name(spec, [tensor.detach().clone().requires_grad_() for tensor in leaves(given, spec)])
    result = run(spec, values)["h"]
    loss = result.square().sum()
    with torch.no_grad():
        (result if changed == "the output" else values[changed]).add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_run_that_is_repeated_for_its_gradient() -> None:
    layer = Recurrent("gru", 2, 3, backend="llvm")
    x = torch.randn(4, 2, 2, requires_grad=True)
    want = grad(layer(x)[0].sum(), [x, *layer.parameters()])
    got = grad(checkpoint(layer, x, use_reentrant=False)[0].sum(), [x, *layer.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


def test_two_threads_train_at_once() -> None:
    given, spec = made("lstm")
    want = grad(run(spec, by_name(spec, tensors := leaves(given, spec)))["h"].sum(), tensors)
    found: list[bool] = []

    def work() -> None:
        for _ in range(10):
            own = leaves(given, spec)
            got = grad(run(spec, by_name(spec, own))["h"].sum(), own)
            found.append(all(torch.equal(a, b) for a, b in zip(got, want, strict=True)))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 20


@needs_proc
@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("name", ["elman", "sru"])
def test_memory_is_given_back(name: str, trained: bool) -> None:
    """What is saved may be a view of a result; it must not keep the run alive, with a backward run or without one."""
    layer = Recurrent(name, 16, 64, backend="llvm")
    x = torch.randn(40, 32, 16)  # a state over all steps is a third of a megabyte

    def turn(_: int) -> None:
        output, _ = layer(x)
        if trained:
            output.sum().backward()

    assert growth(turn, 150) < 6e6


def test_numbers_that_are_not_finite_reach_the_rows_that_they_belong_to() -> None:
    layer = Recurrent("gru", 2, 3, backend="llvm")
    x = torch.randn(3, 2, 2)
    x[0, 1, 0] = np.nan
    output, _ = layer(x.requires_grad_())
    (flow,) = grad(output[:, 0].sum(), [x])
    assert output[:, 0].isfinite().all()
    assert output[:, 1].isnan().all()
    assert flow[:, 0].isfinite().all()


@pytest.mark.parametrize("sees", ["all rows", "other rows"])
@pytest.mark.parametrize("cell", [cells.lstm, cells.elman(activation=relu), cells.sru, layer_norm(cells.gru)])
def test_nan_in_gradients_is_where_torch_has_it(cell: Cell, sees: str) -> None:
    """A row and a step with NaN: it reaches what it does operation by operation, and nothing of another row."""
    x = torch.randn(5, 7, 3)
    x[2, 4, 1] = np.nan
    others = [0, 1, 2, 3, 5, 6]
    found: list[list[Tensor]] = []
    torch.manual_seed(1)
    layer = Recurrent(cell, 3, 19, backend="llvm")
    for backend in ("llvm", "torch"):
        layer.backend = backend
        given = x.clone().requires_grad_()
        output, _ = layer(given)
        seen = output if sees == "all rows" else output[:, others]
        found.append([output.detach(), *grad(seen.square().sum(), [given, *layer.parameters()])])
    got, want = found
    assert got[0][:, others].isfinite().all()
    assert got[0][:2].isfinite().all()
    assert got[1][:, others].isfinite().all()
    assert got[0][2:, 4].isnan().any()
    for one, other in zip(got, want, strict=True):
        assert torch.equal(one.isnan(), other.isnan())
