"""Layers solved by Newton's iterations over all steps at once: the numbers of the loop, or an error."""

import copy
import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.flop_counter import FlopCounterMode

import gatewright as gw
from gatewright import cells
from gatewright.errors import ConvergenceError, OptionError, OptionTypeError
from gatewright.lang import Cell
from gatewright.nn import Newton, Recurrent
from gatewright.schedule.linearized import unit_recurrence
from gatewright.trace import simplify, trace_cell
from tests.backends.triton.test_newton import CELLS as UNIT_CELLS
from tests.backends.triton.test_newton import diagonal_gru, diagonal_lstm

INPUT, HIDDEN, STEPS, BATCH = 3, 4, 9, 3
CELLS: Mapping[str, Cell] = {**UNIT_CELLS, "zoneout": gw.zoneout(0.3)(diagonal_gru)}
BLOCK = 4


@gw.cell
def block_gru(x, h, i, j, k, W, b, p):
    """A GRU whose matrices of the state are made of blocks of 4 x 4: a block's units are four states."""
    states = (h, i, j, k)

    def gate(name, values, activation):
        sums = [getattr(W, f"{name}{row}") @ x + getattr(b, f"{name}{row}") for row in range(BLOCK)]
        for row in range(BLOCK):
            for column, value in enumerate(values):
                sums[row] = sums[row] + getattr(p, f"{name}{row}{column}") * value
        return [activation(total) for total in sums]

    r, z = gate("r", states, gw.sigmoid), gate("z", states, gw.sigmoid)
    n = gate("n", [reset * state for reset, state in zip(r, states, strict=True)], gw.tanh)
    return tuple(keep * old + (1 - keep) * new for keep, old, new in zip(z, states, n, strict=True))


@gw.cell(spaces={"P": ("hidden", "hidden")})
def mixed_pairs(x, y, h, k, W, b, p, P):
    """Blocks of two units, and an output of all units, which no step reads."""
    z = gw.sigmoid(W.z @ x + p.zh * h + p.zk * k + b.z)
    n, m = gw.tanh(W.n @ x + p.nh * h + p.nk * k + b.n), gw.tanh(W.m @ x + p.mh * h + p.mk * k + b.m)
    h, k = z * h + (1 - z) * n, z * k + (1 - z) * m
    return P.h @ h + P.k @ k, h, k


BY_TORCH = (
    "newton: all steps at once, by torch's operations; Triton's kernels cannot: Triton's kernels run on a GPU; on a "
    "CPU only in Triton's interpreter, with TRITON_INTERPRET=1"
)


@pytest.fixture
def no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a CPU outside of the interpreter: torch's operations run."""
    monkeypatch.setenv("TRITON_INTERPRET", "0")


def layer_of(cell: Cell, *sizes: int, **options: Any) -> Recurrent:
    return Recurrent(cell, *(sizes or (INPUT, HIDDEN)), dtype=torch.float64, **{"newton": True} | options).eval()


def looped(layer: Recurrent) -> Recurrent:
    """The same layer, operation by operation."""
    other = copy.deepcopy(layer)
    other.newton, other.backend, other.checkpoint = None, "torch", None
    return other


def flat(results: Any) -> list[Tensor]:
    """All tensors of a call's arguments or results."""
    if isinstance(results, Tensor | int):
        return [results] if isinstance(results, Tensor) else []
    parts = results.values() if isinstance(results, Mapping) else results
    return [tensor for part in parts if part is not None for tensor in flat(part)]


def numbers(layer: Recurrent, x: Any, *arguments: Any, **options: Any) -> list[Tensor]:
    """All results of a call, and their gradients by everything that needs one."""
    results = [tensor for tensor in flat(layer(x, *arguments, **options)) if tensor.is_floating_point()]
    leaves = [tensor for tensor in (*flat([x, *arguments]), *layer.parameters()) if tensor.requires_grad]
    total = sum((result * torch.linspace(-1, 2, result.numel()).view_as(result)).sum() for result in results)
    assert isinstance(total, Tensor)
    by = torch.autograd.grad(total, leaves, allow_unused=True)
    return [*results, *(grad for grad in by if grad is not None)]


def assert_like_loop(layer: Recurrent, x: Any, *arguments: Any, **options: Any) -> None:
    got, want = (numbers(each, x, *arguments, **options) for each in (layer, looped(layer)))
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def sequence(steps: int = STEPS) -> Tensor:
    return torch.randn(steps, BATCH, INPUT, dtype=torch.float64, requires_grad=True)


@pytest.mark.usefixtures("no_kernels")
@pytest.mark.parametrize("name", CELLS)
def test_layers_have_the_numbers_of_the_loop(name: str) -> None:
    layer = layer_of(CELLS[name], INPUT, HIDDEN, 2, bidirectional=True)
    starts = tuple(
        torch.randn(4, BATCH, *shape, dtype=torch.float64, requires_grad=True) for shape in layer.state_shapes
    )
    assert_like_loop(layer, sequence(), starts if len(starts) > 1 else starts[0], [9, 4, 0], return_gates=True)
    assert len(layer.newton_reports) == 4
    assert all(0 < report.iterations <= STEPS + 1 for report in layer.newton_reports)


@pytest.mark.parametrize("name", ["diagonal GRU", "diagonal LSTM"])
def test_layers_by_kernels(name: str) -> None:
    layer = layer_of(CELLS[name], INPUT, HIDDEN, bidirectional=True)
    with np.errstate(all="ignore"):
        assert_like_loop(layer, sequence(5), None, [5, 2, 3])
    assert str(layer.plan()).startswith("newton: all steps at once; kernels for Triton's interpreter\n")


@pytest.mark.usefixtures("no_kernels")
def test_masks_resets_packed_sequences_and_stretches() -> None:
    layer, x = layer_of(diagonal_lstm), sequence()
    assert_like_loop(layer, x, mask=torch.rand(STEPS, BATCH) > 0.3)
    assert_like_loop(layer, x, resets=torch.rand(STEPS, BATCH) > 0.7)
    packed = pack_padded_sequence(x.detach(), torch.tensor([9, 7, 2]))
    torch.testing.assert_close(layer(packed)[0].data, looped(layer)(packed)[0].data, rtol=1e-10, atol=1e-10)
    layer.checkpoint = 4
    assert_like_loop(layer, x, None, [9, 4, 0])
    assert layer.newton_reports[0].iterations > 3  # of three stretches together
    for steps, batch in ((0, BATCH), (1, BATCH), (4, 0)):
        empty = torch.randn(steps, batch, INPUT, dtype=torch.float64)
        torch.testing.assert_close(flat(layer(empty)), flat(looped(layer)(empty)), rtol=1e-10, atol=1e-10)


def test_blocks_of_units_are_coupled_states() -> None:
    """A GRU with block-diagonal matrices, as a dense GRU has them."""
    layer, x = layer_of(block_gru), sequence()
    dense = layer_of(cells.gru, INPUT, BLOCK * HIDDEN, newton=None)
    own, whole = layer.gate_parameters(), dense.gate_parameters()
    with torch.no_grad():
        for gate in "rzn":
            rows = [whole[f"l0.U.{gate}"][HIDDEN * row : HIDDEN * (row + 1)] for row in range(BLOCK)]
            for row, part in enumerate(rows):
                part.zero_()
                for column in range(BLOCK):
                    place = part[:, HIDDEN * column : HIDDEN * (column + 1)]
                    place.diagonal().copy_(own[f"l0.p.{gate}{row}{column}"])
                for space in "Wb":
                    target = whole[f"l0.{space}.{gate}"][HIDDEN * row : HIDDEN * (row + 1)]
                    target.copy_(own[f"l0.{space}.{gate}{row}"])
    expected, got = dense(x)[0], layer(x)
    torch.testing.assert_close(got[0], expected[..., :HIDDEN], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(torch.cat(got[1], -1), expected[-1:], rtol=1e-10, atol=1e-10)
    assert_like_loop(layer, x)
    assert str(layer.plan()).startswith(
        "newton: all steps at once; kernels for Triton's interpreter; iterations by torch's operations: 4 states of a "
        "unit do not stay in registers\n"
    )


def test_an_output_of_all_units_is_refused() -> None:
    """Forward it is solved, and the gradient would carry what comes in through the matrix."""
    with pytest.raises(OptionError, match="got: in its gradient, a unit reaches others through matmul"):
        layer_of(mixed_pairs)


def test_catalogue() -> None:
    """A cell is solved in all forms or refused when the layer is made."""
    for name, cell in cells.CATALOGUE.items():
        if not unit_recurrence(simplify(trace_cell(cell))).obstacle:
            assert Recurrent(name, INPUT, INPUT, newton=True).newton == Newton()


@pytest.mark.usefixtures("no_kernels")
@pytest.mark.parametrize("cell", [diagonal_gru, diagonal_lstm])
def test_second_derivatives(cell: Cell) -> None:
    layer, x = layer_of(cell, 2, 2), torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    parameters = [parameter.detach().requires_grad_() for parameter in layer.parameters()]
    names = [name for name, _ in layer.named_parameters()]

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x, None, [3, 2]))[0]

    assert torch.autograd.gradgradcheck(run, (x, *parameters))


@pytest.mark.usefixtures("no_kernels")
def test_transforms_of_torch_func() -> None:
    layer, x = layer_of(diagonal_gru), sequence().detach()
    by_x = torch.func.grad(lambda x: layer(x)[0].square().sum())(x)
    torch.testing.assert_close(by_x, torch.func.grad(lambda x: looped(layer)(x)[0].square().sum())(x))
    many = torch.randn(2, *x.shape, dtype=torch.float64)
    got = torch.vmap(lambda x: layer(x)[0])(many)
    torch.testing.assert_close(got, torch.stack([looped(layer)(each)[0] for each in many]), rtol=1e-10, atol=1e-10)


@pytest.mark.usefixtures("no_kernels")
def test_the_report_is_in_the_plan() -> None:
    layer = layer_of(diagonal_gru, newton=Newton(tolerance=1e-6, window=5))
    assert str(layer.plan()) == BY_TORCH
    layer(sequence())
    (report,) = layer.newton_reports
    assert report.tolerance == 1e-6
    assert max(report.correction, report.residual) <= 1e-6
    assert str(layer.plan()) == f"{BY_TORCH}\n  last call        {report}"
    assert str(replace(report, iterations=7, correction=2e-8, residual=3e-8)) == (
        "7 iterations, correction 2.0e-08, residual 3.0e-08, tolerance 1.0e-06 reached"
    )
    assert "newton=Newton(tolerance=1e-06, max_iterations=50, window=5, falls_back=False)" in repr(layer)


@pytest.mark.usefixtures("no_kernels")
def test_float32_and_bfloat16_products() -> None:
    layer, x = layer_of(diagonal_gru).float(), sequence().detach().float()
    torch.testing.assert_close(layer(x)[0], looped(layer)(x)[0], rtol=1e-5, atol=1e-5)
    assert layer.newton_reports[0].tolerance == 1e-4
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(x)[0]
    exact = looped(layer)(x)[0]
    assert 1e-4 < (output - exact).abs().max() < 2e-2


@pytest.mark.usefixtures("no_kernels")
def test_what_does_not_converge_is_refused_or_looped() -> None:
    layer, x = layer_of(diagonal_gru, newton=Newton(max_iterations=2)), sequence(20)
    layer(x[:1])
    with pytest.raises(ConvergenceError) as refused:
        layer(x)
    assert str(refused.value).splitlines()[-1] == (
        "  do: Newton(window=2) solves shorter pieces one after the other; Newton(falls_back=True) runs a layer's "
        "loop, step by step, where this happens"
    )
    assert layer.newton_reports == ()
    layer.newton = Newton(max_iterations=2, falls_back=True)
    assert_like_loop(layer, x)
    (report,) = layer.newton_reports
    assert report.fell_back
    assert report.iterations == 2
    assert str(report).endswith("tolerance 1.0e-10 not reached: the loop ran")


@pytest.mark.usefixtures("no_kernels")
def test_gradients_whose_slopes_overflow_are_those_of_the_loop() -> None:
    """The product of a thousand slopes of 10 is infinite; the gradient of steps that nobody reads is zero."""
    layer = layer_of(cells.indrnn(activation=gw.tanh), 1, 1, newton=Newton(falls_back=True))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(10.0 * (parameter == layer.gate_parameters()["l0.p.h"]))
    x = torch.zeros(1000, 1, 1, dtype=torch.float64, requires_grad=True)
    gradients = [torch.autograd.grad(each(x)[0][2].sum(), x)[0] for each in (layer, looped(layer))]
    torch.testing.assert_close(*gradients)


@pytest.mark.usefixtures("no_kernels")
def test_gradients_that_are_not_finite_pass_through() -> None:
    """A gradient scaler looks for them."""
    layer, x = layer_of(diagonal_gru), sequence()
    output = layer(x)[0]
    (by_x,) = torch.autograd.grad(output, x, torch.full_like(output, torch.inf))
    assert not by_x.isfinite().any()


@pytest.mark.parametrize("cell", ["gru", "lstm", "elman"])
def test_cells_with_matrices_of_the_state_are_refused(cell: str) -> None:
    with pytest.raises(OptionError) as refused:
        Recurrent(cell, INPUT, HIDDEN, newton=True)
    lines = str(refused.value).splitlines()
    assert lines[0] == f"a layer of cell {cell!r} cannot be solved by Newton's iterations"
    assert lines[2].startswith("  got: a unit reaches others through matmul U.")
    assert lines[3] == (
        "  do: leave out newton=; or write the recurrence with p.g * h in place of U.g @ h, and a state for each "
        "of the units that need one another"
    )
    layer = gw.nn.GRU(INPUT, HIDDEN)
    with pytest.raises(OptionError, match="a layer of cell 'gru"):
        layer.newton = True


@pytest.mark.usefixtures("no_kernels")
def test_calls_that_cannot_are_refused() -> None:
    for backend in ("llvm", "torch", "cudnn", "torch-fused"):
        layer = layer_of(diagonal_gru, backend=backend)
        with pytest.raises(OptionError, match="was made with newton=") as refused:
            layer(sequence())
        assert f"got: backend {backend!r}" in str(refused.value)
    with pytest.raises(OptionError, match="Triton's kernels run on a GPU"):
        layer_of(diagonal_gru, backend="triton")(sequence())
    layer = layer_of(diagonal_gru)
    with (
        FlopCounterMode(display=False),
        pytest.raises(OptionError, match=r"torch\.compile, torch\.jit\.trace or a TorchDispatchMode"),
    ):
        layer(sequence())
    with pytest.raises(OptionTypeError, match="newton is no way to do Newton's iterations"):
        layer.newton = "yes"  # pyright: ignore[reportAttributeAccessIssue]


def test_copies_and_files_keep_it() -> None:
    layer = layer_of(diagonal_gru, newton=Newton(window=5))
    assert copy.deepcopy(layer).newton == Newton(window=5)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    assert torch.load(file, weights_only=False).newton == Newton(window=5)
    layer.newton = False
    assert layer.newton is None
