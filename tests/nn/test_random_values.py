"""Layers of cells with random values: what each engine draws, and the numbers of Triton's own in every kind of call."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, vmap
from torch.utils.checkpoint import checkpoint

import gatewright as gw
from gatewright import cells
from gatewright.axes import bind
from gatewright.backends.triton.random_values import draw_seeds, drawn
from gatewright.nn import Recurrent
from gatewright.nn.calls import layer_call
from gatewright.nn.packed_cell import PackedCell
from tests.parity.assertions import assert_parity

INPUT, HIDDEN, STEPS, BATCH = 2, 5, 3, 3
CELLS: dict[str, Any] = {
    "zoneout": gw.zoneout(0.4)(cells.lstm),
    "a mask for each sequence": gw.recurrent_dropout(0.3, per="sequence")(cells.gru),
    "a mask for each step, and a scan": gw.zoneout(0.4)(gw.recurrent_dropout(0.3, per="step")(cells.sru)),
}


def layer(cell: Any, backend: str, **options: Any) -> Recurrent:
    torch.manual_seed(0)
    return Recurrent(cell, INPUT, HIDDEN, dtype=torch.float64, backend=backend, **options)


def x(*leading: int) -> Tensor:
    return torch.randn(*leading, STEPS, BATCH, INPUT, generator=torch.manual_seed(1), dtype=torch.float64)


def called(module: Recurrent, *, order: int, **options: Any) -> list[Tensor]:
    """The results of a call, and its derivatives of an order by the input and the parameters."""
    values = x().requires_grad_()
    torch.manual_seed(3)
    output, finals = module(values, **options)
    results = [output, *(finals if isinstance(finals, tuple) else [finals])]
    found, leaves = results, [values, *module.parameters()]
    for _ in range(order):
        loss = sum(((part.square() + part.sin()).sum() for part in found), torch.zeros(()))
        found = torch.autograd.grad(loss, leaves, create_graph=order > 1, allow_unused=True, materialize_grads=True)
    return [*results, *found]


def as_kernels_draw(_: str, cell: PackedCell, like: Tensor) -> dict[str, Tensor]:
    """Zeros and ones (time, batch, ...) as Triton's kernels draw them."""
    seeds = draw_seeds(cell.trace, *like.shape[:2], like.device)
    return {
        one.var.name: drawn(seeds[one.var.name], bind(one.var.shape, cell.sizes), one.probability, like.dtype)
        for one in cell.trace.noises
    }


@pytest.mark.parametrize(
    ("name", "order", "settings", "options"),
    [
        ("zoneout", 1, {"bidirectional": True, "num_layers": 2, "dropout": 0.3}, {"lengths": [2, 0, 3]}),
        ("zoneout", 2, {"bidirectional": True}, {}),
        ("a mask for each sequence", 1, {"bidirectional": True}, {"lengths": [3, 1, 2]}),
        ("a mask for each step, and a scan", 1, {"bidirectional": True}, {"lengths": [3, 1, 2]}),
        ("a mask for each step, and a scan", 2, {}, {}),
    ],
)
@pytest.mark.parametrize("backend", ["llvm", "torch"])
def test_kernels_that_draw_give_what_engines_give_with_the_same_values(
    backend: str,
    name: str,
    order: int,
    settings: dict[str, Any],
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    got = called(layer(CELLS[name], "triton", **settings), order=order, **options)
    monkeypatch.setattr(layer_call, "draw", as_kernels_draw)
    want = called(layer(CELLS[name], backend, **settings), order=order, **options)
    assert_parity(got, want, dtype="float64", steps=STEPS * order, width=256)


@pytest.mark.parametrize("name", CELLS)
def test_engines_of_a_cpu_draw_the_same_values(name: str) -> None:
    settings = {"bidirectional": True, "num_layers": 2, "dropout": 0.3}
    for lengths in (None, [1, 3, 2]):
        got = called(layer(CELLS[name], "torch", **settings), order=1, lengths=lengths)
        assert_parity(
            got, called(layer(CELLS[name], "llvm", **settings), order=1, lengths=lengths), dtype="float64", steps=STEPS
        )


def test_narrow_layers_draw_with_the_probability_itself() -> None:
    """256 numbers of bfloat16 would make 0.1 of a probability of 0.09."""
    cell = layer(gw.recurrent_dropout(0.91)(cells.elman), "torch").packed_cells[0]
    torch.manual_seed(1)
    narrow = layer_call.draw("torch", cell, torch.zeros(2000, 200, INPUT, dtype=torch.bfloat16))
    torch.manual_seed(1)
    wide = layer_call.draw("torch", cell, torch.zeros(2000, 200, INPUT))
    for name, values in narrow.items():
        assert values.dtype == torch.bfloat16
        assert torch.equal(values.float(), wide[name])


def test_the_seed_of_torch_decides_and_every_call_level_and_direction_draws_anew() -> None:
    module, values = layer(CELLS["zoneout"], "triton", bidirectional=True, num_layers=2), x()
    state = torch.get_rng_state()
    first, second = module(values)[0], module(values)[0]
    assert not torch.equal(first, second)
    torch.set_rng_state(state)
    assert torch.equal(module(values)[0], first)
    seeds = [draw_seeds(cell.trace, STEPS, BATCH, values.device) for cell in module.packed_cells]
    assert len({tuple(own.flatten().tolist()) for one in seeds for own in one.values()}) == 8


def test_evaluation_has_the_means() -> None:
    got = called(layer(CELLS["zoneout"], "triton").eval(), order=1)
    assert_parity(got, called(layer(CELLS["zoneout"], "llvm").eval(), order=1), dtype="float64", steps=STEPS)


@pytest.mark.parametrize("name", ["zoneout", "a mask for each sequence"])
def test_what_is_computed_again_draws_the_same(name: str) -> None:
    module = layer(CELLS[name], "triton")
    want = called(module, order=1, lengths=[3, 1, 2])
    module.checkpoint = 2
    assert_parity(called(module, order=1, lengths=[3, 1, 2]), want, dtype="float64", steps=STEPS)
    module.checkpoint = None
    values = x().requires_grad_()
    found: list[list[Tensor]] = []
    for call in (module, lambda v: checkpoint(module, v, use_reentrant=False)):
        torch.manual_seed(3)
        output = call(values)[0]
        found.append([output, *torch.autograd.grad(output.square().sum(), [values, *module.parameters()])])
    assert_parity(found[1], found[0], dtype="float64", steps=STEPS)


def test_a_gradient_keeps_seeds_and_no_random_values() -> None:
    saved: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    module = layer(gw.zoneout(0.4)(cells.gru), "triton")
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(x().requires_grad_())
    seeds = [tensor for tensor in saved if tensor.dtype == torch.int64]
    assert [tuple(tensor.shape) for tensor in seeds] == [(STEPS, BATCH)]
    plain = layer(cells.gru, "triton")
    count = len(saved)
    saved.clear()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        plain(x().requires_grad_())
    assert count == len(saved) + 1


def test_vmap_draws_as_it_is_told() -> None:
    module = layer(CELLS["zoneout"], "triton")
    values = x()
    pairs = torch.stack([values, values])

    def run(inputs: Tensor) -> Tensor:
        return module(inputs)[0]

    with pytest.raises(RuntimeError, match="randomness"):
        vmap(run)(pairs)
    torch.manual_seed(3)
    same = vmap(run, randomness="same")(pairs)
    assert torch.equal(same[0], same[1])
    torch.manual_seed(3)
    assert_parity(same[0], run(values), dtype="float64", steps=STEPS)
    different = vmap(run, randomness="different")(pairs)
    assert not torch.equal(different[0], different[1])


def test_an_ensemble_draws_as_it_is_told() -> None:
    """The axis of vmap is in the parameters: one run for each element."""
    module = layer(CELLS["zoneout"], "triton")
    stacked = {name: torch.stack([value, value]).detach() for name, value in module.named_parameters()}
    values = x()

    def run(parameters: dict[str, Tensor]) -> Tensor:
        return functional_call(module, parameters, (values,))[0]

    torch.manual_seed(3)
    same = vmap(run, randomness="same")(stacked)
    torch.manual_seed(3)
    assert_parity(same[1], module(values)[0], dtype="float64", steps=STEPS)
    assert torch.equal(same[0], same[1])
    different = vmap(run, randomness="different")(stacked)
    assert not torch.equal(different[0], different[1])
