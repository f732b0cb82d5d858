"""Layers under what torch does to modules and functions: derivatives of every kind, transforms, dtypes, modes."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vmap

import gatewright as gw
from gatewright import cells
from gatewright.errors import ShapeError
from gatewright.lang import Cell
from gatewright.nn import Recurrent
from tests.parity.assertions import assert_parity
from tests.parity.matrix import MODELS

# What torch itself does for forward mode.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

INPUT, HIDDEN, STEPS, BATCH = 2, 3, 4, 2
CELLS: dict[str, Cell] = {
    "gru": cells.gru,
    "lstm_peephole": cells.lstm_peephole,
    "slstm": cells.slstm,
    "minlstm": cells.minlstm,
    "hard gru": cells.gru(reset="after", gate=gw.hard_sigmoid_theano),
    "layer norm": gw.layer_norm(cells.mgu),
}
some_cells = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
backends = pytest.mark.parametrize("backend", ["torch", "auto"])


def layer(cell: Cell, **options: Any) -> Recurrent:
    return Recurrent(cell, INPUT, HIDDEN, **{"dtype": torch.float64, **options})


def x(*shape: int) -> Tensor:
    return torch.randn(shape or (STEPS, BATCH, INPUT), dtype=torch.float64)


def function_of(module: Recurrent, **options: Any) -> tuple[Callable[..., tuple[Tensor, ...]], list[Tensor]]:
    """A layer as a function of its input, its states and its parameters, and numbers for these."""
    names = [name for name, _ in module.named_parameters()]
    states = [torch.randn(1, BATCH, HIDDEN, dtype=torch.float64) for _ in module.trace.states]
    states = [
        state.abs() + 1 if leaf.name == "n" else state for state, leaf in zip(states, module.trace.states, strict=True)
    ]
    count = len(states)

    def call(values: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
        given = leaves[:count] if count > 1 else leaves[0]
        parameters = dict(zip(names, leaves[count:], strict=True))
        output, finals = functional_call(module, parameters, (values, given), options)
        return (output, *(finals if isinstance(finals, tuple) else (finals,)))

    leaves = [x(), *states, *(parameter.detach() for parameter in module.parameters())]
    return call, [leaf.clone().requires_grad_() for leaf in leaves]


@some_cells
@backends
def test_derivatives_against_differences(cell: Cell, backend: str) -> None:
    call, leaves = function_of(layer(cell, backend=backend), lengths=[4, 2])
    assert gradcheck(call, leaves, fast_mode=True)


@some_cells
def test_forward_derivatives_against_differences(cell: Cell) -> None:
    call, leaves = function_of(layer(cell))
    assert gradcheck(call, leaves, fast_mode=True, check_forward_ad=True, check_backward_ad=False)


@pytest.mark.parametrize(
    ("name", "backend"), [*((name, "torch") for name in CELLS), *((name, "auto") for name in ("minlstm", "hard gru"))]
)
def test_second_derivatives_against_differences(name: str, backend: str) -> None:
    call, leaves = function_of(layer(CELLS[name], backend=backend), lengths=[4, 2])
    assert gradgradcheck(call, leaves, fast_mode=True)


def test_forward_mode_as_torch_does_it_by_hand() -> None:
    module, values, direction = layer(cells.lstm), x(), x()
    with forward_ad.dual_level():
        output, _ = module(forward_ad.make_dual(values, direction))
        tangent = forward_ad.unpack_dual(output).tangent
    want = (module(values + 1e-6 * direction)[0] - module(values - 1e-6 * direction)[0]) / 2e-6
    torch.testing.assert_close(tangent, want, rtol=1e-7, atol=1e-8)


def loss_of(module: Recurrent) -> tuple[Callable[[dict[str, Tensor], Tensor], Tensor], dict[str, Tensor]]:
    parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}
    return lambda given, values: functional_call(module, given, (values,))[0].square().sum(), parameters


@some_cells
@backends
def test_gradients_of_each_row_by_itself(cell: Cell, backend: str) -> None:
    loss, parameters = loss_of(layer(cell, backend="torch" if backend == "torch" else "auto"))
    rows = x(5, STEPS, INPUT)
    together = vmap(grad(loss), in_dims=(None, 0))(parameters, rows)
    for index, row in enumerate(rows):
        want = grad(loss)(parameters, row)
        assert_parity({name: g[index] for name, g in together.items()}, want, dtype="float64", steps=STEPS)


@some_cells
def test_jacobians_forward_reverse_and_by_a_vector(cell: Cell) -> None:
    module, values, direction = layer(cell), x(), x()

    def call(given: Tensor) -> Tensor:
        return module(given)[0]

    reverse, forward = jacrev(call)(values), jacfwd(call)(values)
    assert reverse.shape == (STEPS, BATCH, HIDDEN, STEPS, BATCH, INPUT)
    assert_parity(forward, reverse, dtype="float64", steps=STEPS)
    pushed = jvp(call, (values,), (direction,))[1]
    assert_parity(pushed, torch.einsum("tbhsai,sai->tbh", reverse, direction), dtype="float64", steps=STEPS)


def test_curvature_by_transforms_is_that_of_two_passes() -> None:
    module, values = layer(cells.gru), x(2, 1, INPUT)
    want = torch.autograd.functional.hessian(lambda given: module(given)[0].square().sum(), values)
    got = hessian(lambda given: module(given)[0].square().sum())(values)
    assert_parity(got, want, dtype="float64", steps=4)


def test_an_ensemble_in_one_call() -> None:
    modules, values = [layer(cells.lstm) for _ in range(3)], x()
    parameters, buffers = stack_module_state(modules)
    together = vmap(lambda p, b: functional_call(modules[0], (p, b), (values,)))(parameters, buffers)
    for index, module in enumerate(modules):
        output, (h, c) = module(values)
        got = (together[0][index], (together[1][0][index], together[1][1][index]))
        assert_parity(got, (output.detach(), (h, c)), dtype="float64", steps=STEPS)


def test_lengths_and_masks_under_vmap() -> None:
    module, rows = layer(cells.gru), x(5, STEPS, BATCH, INPUT)
    got = vmap(lambda values: module(values, lengths=[3, 0])[0])(rows)
    assert_parity(got, torch.stack([module(row, lengths=[3, 0])[0] for row in rows]), dtype="float64", steps=STEPS)
    masks = torch.rand(5, STEPS, BATCH) < 0.5
    got = vmap(lambda values, mask: module(values, mask=mask)[0])(rows, masks)
    want = torch.stack([module(row, mask=mask)[0] for row, mask in zip(rows, masks, strict=True)])
    assert_parity(got, want, dtype="float64", steps=STEPS)


def test_noise_under_vmap_is_drawn_for_each_row_or_once() -> None:
    module = layer(gw.zoneout(0.5)(cells.gru))
    rows = x(1, STEPS, INPUT).expand(6, STEPS, INPUT)
    different = vmap(lambda row: module(row)[0], randomness="different")(rows)
    same = vmap(lambda row: module(row)[0], randomness="same")(rows)
    assert not torch.equal(different[0], different[1])
    assert torch.equal(same, same[:1].expand_as(same))


# Dtypes and devices.


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("cell", [cells.gru, cells.lstm, cells.slstm, gw.layer_norm(cells.gru)], ids=lambda c: c.name)
def test_a_layer_moves_to_another_dtype(cell: Cell, dtype: torch.dtype) -> None:
    module = layer(cell, dtype=torch.float32)
    values = x().float()
    want, _ = module(values)
    moved = module.to(dtype)
    output, finals = moved(values.to(dtype))
    assert {tensor.dtype for tensor in (output, *(finals if isinstance(finals, tuple) else (finals,)))} == {dtype}
    narrow = dtype if dtype != torch.float64 else torch.float32
    torch.testing.assert_close(output.float(), want, rtol=0, atol=16 * torch.finfo(narrow).eps)
    output.sum().backward()
    assert {parameter.grad.dtype for parameter in moved.parameters()} == {dtype}


@pytest.mark.parametrize("name", sorted(MODELS - {"scrn", "lstm_projected"}))
def test_autocast_does_not_stop_a_layer(name: str) -> None:
    module = Recurrent(name, INPUT, HIDDEN)
    leaf = x().float().requires_grad_()
    want, _ = module(leaf.detach())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, _ = module(leaf, lengths=[4, 2])
        narrow, _ = module(leaf.to(torch.bfloat16))
    output.float().sum().backward()
    assert leaf.grad.dtype == torch.float32
    assert all(bool(parameter.grad.isfinite().all()) for parameter in module.parameters())
    want = want.detach()
    largest = float(want.abs().max())
    eps = torch.finfo(torch.bfloat16).eps
    torch.testing.assert_close(output[:2].detach().float(), want[:2], rtol=0, atol=16 * eps * largest)
    torch.testing.assert_close(narrow.detach().float(), want, rtol=0, atol=16 * eps * largest)


def test_a_dtype_that_does_not_fit_is_refused_outside_of_autocast_alone() -> None:
    module = layer(cells.gru, dtype=torch.float32)
    with pytest.raises(ShapeError, match=re.escape("another dtype")):
        module(x().to(torch.bfloat16))


# Modes, and tensors that are changed in place.


@backends
def test_nothing_is_recorded_where_nothing_is_asked_for(backend: str) -> None:
    module, values = layer(cells.lstm, backend=backend), x()
    want, _ = module(values)
    assert want.requires_grad
    with torch.no_grad():
        output, (h, c) = module(values)
    assert not (output.requires_grad)
    assert not (h.requires_grad)
    assert not (c.requires_grad)
    assert torch.equal(output, want)
    with torch.inference_mode():
        assert torch.equal(module(values)[0], want)
    frozen, _ = module.requires_grad_(False)(values)
    assert not frozen.requires_grad
    assert module(values.requires_grad_())[0].requires_grad


@backends
def test_final_states_and_what_was_given_are_not_the_output_s_memory(backend: str) -> None:
    module, values = layer(cells.lstm, backend=backend), x()
    h0, c0 = (torch.randn(1, BATCH, HIDDEN, dtype=torch.float64) for _ in range(2))
    output, (h, c) = module(values, (h0, c0))
    wanted = torch.autograd.grad(output.sum() + h.sum(), list(module.parameters()), retain_graph=True)
    kept = [tensor.detach().clone() for tensor in (output, h, h0, c0)]
    with torch.no_grad():
        h.zero_()
        c.zero_()
    assert torch.equal(output, kept[0])
    assert torch.equal(h0, kept[2])
    assert torch.equal(c0, kept[3])
    got = torch.autograd.grad(output.sum() + h.sum(), list(module.parameters()))
    assert_parity(got, wanted, dtype="float64", steps=STEPS)


@backends
def test_what_was_given_may_be_changed_where_no_gradient_is_wanted(backend: str) -> None:
    module, values = layer(cells.gru, backend=backend), x()
    with torch.no_grad():
        output, final = module(values)
        kept = output.clone(), final.clone()
        values.zero_()
        for parameter in module.parameters():
            parameter.zero_()
        assert torch.equal(output, kept[0])
        assert torch.equal(final, kept[1])


@backends
def test_a_parameter_that_changed_between_the_passes_is_noticed(backend: str) -> None:
    module = layer(cells.gru, backend=backend)
    output, _ = module(x())
    with torch.no_grad():
        module.U_l0.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


@backends
def test_inputs_need_not_be_contiguous(backend: str) -> None:
    module = layer(cells.lstm, backend=backend)
    wide = torch.randn(INPUT, 2 * BATCH, STEPS, dtype=torch.float64)
    values = wide.permute(2, 1, 0)[:, ::2]
    assert not values.is_contiguous()
    assert_parity(module(values), module(values.contiguous()), dtype="float64", steps=STEPS)
    one = torch.randn(STEPS, 1, INPUT, dtype=torch.float64).expand(STEPS, BATCH, INPUT)
    assert_parity(module(one), module(one.contiguous()), dtype="float64", steps=STEPS)
    state = torch.randn(1, 1, HIDDEN, dtype=torch.float64).expand(1, BATCH, HIDDEN)
    assert_parity(
        module(values, (state, state)), module(values, (state.clone(), state.clone())), dtype="float64", steps=STEPS
    )


@backends
def test_it_learns(backend: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(layer(cells.gru, backend=backend, init="orthogonal + glorot"))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    values = x(6, 16, INPUT)
    target = values[0, :, :1].sign()  # the first step, to be remembered to the last

    def step() -> float:
        optimiser.zero_grad()
        loss = (model(values)[1][0, :, :1] - target).square().mean()
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    losses = [step() for _ in range(120)]
    assert losses[-1] < losses[0] / 20


@backends
def test_gradients_add_up_and_hooks_are_called(backend: str) -> None:
    module, values = layer(cells.gru, backend=backend), x()
    seen: list[str] = []
    module.register_forward_hook(lambda *_: seen.append("forward"))
    module.register_full_backward_hook(lambda *_: seen.append("backward"))
    leaf = values.requires_grad_()
    for _ in range(2):
        module(leaf)[0].sum().backward()
    once = torch.autograd.grad(module(leaf)[0].sum(), module.U_l0)[0]
    assert_parity(module.U_l0.grad, 2 * once, dtype="float64", steps=STEPS)
    assert seen[:4] == ["forward", "backward", "forward", "backward"]
