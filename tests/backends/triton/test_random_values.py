"""Random values that kernels draw from seeds: the published generator, the same numbers in every form of kernel."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import gatewright as gw
from gatewright import cells
from gatewright.backends.triton import random_values
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import KernelText
from gatewright.backends.triton.load import kernel
from gatewright.backends.triton.newton import NewtonSolver
from gatewright.backends.triton.persistent_kernel import PersistentLoop
from gatewright.backends.triton.program_run import LoopForm, ProgramRun
from gatewright.backends.triton.random_values import draw_seeds, drawn, limit, philox
from gatewright.backends.triton.rules import function_texts
from gatewright.backends.triton.scan_launch import ScanKernel
from gatewright.backends.triton.writer import HEADER
from gatewright.derive import vjp
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Choices, Program, Time
from gatewright.schedule.residuals import save
from gatewright.trace import Trace, simplify, trace_cell
from tests.backends.triton.drawn import draw, seeds_of
from tests.backends.triton.staged import check_against_reference
from tests.parity.assertions import assert_parity
from tests.parity.matrix import sizes_for
from tests.schedule.running import Given, Results, after, oracle

DOUBLE = KernelPrecision("float64", "float64")


def numbers(*values: int) -> list[Tensor]:
    return [torch.tensor([value]) for value in values]


# The generator


@pytest.mark.parametrize(
    ("key", "counter", "number"),
    [
        (0, (0, 0), 0xFF1DAE59),
        (0xFFFFFFFF, (0xFFFFFFFF, 0xFFFFFFFF), 0x2C3F628B),
        (0x13198A2E, (0x243F6A88, 0x85A308D3), 0xDD7CE038),
    ],
)
def test_the_generator_is_philox(key: int, counter: tuple[int, int], number: int) -> None:
    """The known answers of Random123 for philox2x32 with 10 rounds."""
    assert philox(*numbers(key), *numbers(*counter)).item() == number


DRAW = f'''{HEADER}{function_texts(["bernoulli"])}

@triton.jit
def drawn(seeds, values, UNITS: tl.constexpr, LIMIT: tl.constexpr, A: tl.constexpr):
    """A tile of zeros and ones."""
    rows, units = tl.arange(0, 16), tl.arange(0, UNITS)
    tile = bernoulli(tl.load(seeds + rows[:, None]), units[None, :], LIMIT, A)
    tl.store(values + rows[:, None] * UNITS + units[None, :], tile)
'''


@pytest.mark.parametrize("probability", [0.0, 1e-9, 0.3, 0.999, 1.0])
def test_kernels_draw_what_torch_computes(probability: float, rng: np.random.Generator) -> None:
    import triton.language as tl

    seeds = torch.from_numpy(rng.integers(-(2**63), 2**63 - 1, size=16))
    seeds[:4] = torch.tensor([0, 2**63 - 1, -1, 1])
    values = torch.full((16, 64), 7.0, dtype=torch.float64)
    kernel(KernelText("drawn", DRAW, ()))[(1,)](seeds, values, 64, limit(probability), tl.float64)
    assert torch.equal(values, drawn(seeds, (64,), probability, torch.float64))
    if probability in (0.0, 1.0):
        assert bool((values == probability).all())


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_values_are_independent_with_the_probability(probability: float) -> None:
    """Of n values the share of ones deviates by sqrt(p (1 - p) / n), a correlation by 1 / sqrt(n)."""
    torch.manual_seed(0)
    trace = trace_cell(gw.zoneout(probability)(cells.elman))
    (seeds,) = draw_seeds(trace, 400, 50, torch.device("cpu")).values()
    values = drawn(seeds, (60,), probability, torch.float64)
    count = values.numel()
    deviation = (probability * (1 - probability)) ** 0.5
    assert abs(values.mean().item() - probability) < 4 * deviation / count**0.5
    normal = (values - probability) / deviation
    neighbours = {
        "steps": (normal[1:], normal[:-1]),
        "rows": (normal[:, 1:], normal[:, :-1]),
        "units": (normal[..., 1:], normal[..., :-1]),
        "units four further": (normal[..., 4:], normal[..., :-4]),
    }
    for name, (left, right) in neighbours.items():
        assert abs((left * right).mean().item()) < 4 / count**0.5, name
    near = (drawn(seeds + shift, (60,), probability, torch.float64) - probability for shift in (1, 1 << 32))
    for other in near:
        assert abs((normal * other / deviation).mean().item()) < 4 / count**0.5
    by_unit, by_row = values.mean((0, 1)), values.mean((0, 2))
    assert (by_unit - probability).abs().max().item() < 5 * deviation / (400 * 50) ** 0.5
    assert (by_row - probability).abs().max().item() < 5 * deviation / (400 * 60) ** 0.5


def test_seeds_are_drawn_by_torchs_generator() -> None:
    trace = trace_cell(gw.recurrent_dropout(0.3, per="sequence")(gw.zoneout(0.2)(cells.lstm)))

    def seeds() -> dict[str, Tensor]:
        return draw_seeds(trace, 5, 3, torch.device("cpu"))

    torch.manual_seed(1)
    first, second = seeds(), seeds()
    torch.manual_seed(1)
    assert all(torch.equal(first[name], again) for name, again in seeds().items())
    assert not any(torch.equal(first[name], other) for name, other in second.items())
    for noise in trace.noises:
        own = first[noise.var.name]
        assert own.shape == (5, 3)
        assert len(own.unique()) == (3 if noise.per == "sequence" else 15)


# Kernels


@gw.cell
def odd_noise(x, h, W, U):
    """Random values as a vector of products, as a sum, and of a number for each row."""
    m = gw.bernoulli(0.6, like=h)
    s = gw.bernoulli(0.5, like=gw.sum(h))
    return gw.tanh(W.h @ x + U.m @ m + U.h @ (m * h) + s * h + gw.mean(m) * h)


@gw.cell
def never_and_always(x, h, W, U):
    """Probabilities 0 and 1."""
    return gw.bernoulli(1.0, like=h) * gw.tanh(W.h @ x + U.h @ h) + gw.bernoulli(0.0, like=h) * h


CELLS = {
    "zoneout": gw.zoneout(0.4)(cells.lstm),
    "both": gw.zoneout(0.3)(gw.recurrent_dropout(0.3, per="sequence")(cells.gru)),
    "never and always": never_and_always,
    "odd": odd_noise,
}


def traces(name: str) -> dict[str, Trace]:
    step = simplify(trace_cell(CELLS[name]))
    pair = save(step, (step.states[0].name,))
    return {"saving": pair.forward, "gradient": pair.backward, "twice": vjp(pair.backward)}


def ran(given: Given, form: LoopForm | None, program: Program | None = None) -> Results:
    run = ProgramRun(program or plan(given.trace), given.sizes, DOUBLE, backwards=given.backwards)
    seeds = seeds_of(given.trace, given.steps, given.batch)

    def tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        return {name: torch.tensor(array) for name, array in arrays.items()}

    result = run.run(tensors({**given.inputs, **seeds}), tensors(given.params), tensors(given.states), form=form)
    states = {name: after(whole.numpy(), given.backwards) for name, whole in result.states.items()}
    found = ({name: x.numpy() for name, x in group.items()} for group in (result.emits, result.sums))
    return {"states": states, **dict(zip(("emits", "sums"), found, strict=True))}


def check(given: Given, got: Results) -> None:
    assert_parity(
        got, oracle(given), dtype="float64", steps=given.steps, width=256, cell=given.trace.name, backend="triton"
    )


@pytest.mark.parametrize("form", ["torch", "resident", "stepped"])
@pytest.mark.parametrize("name", CELLS)
def test_every_form_draws_the_same_forward_backward_and_twice(
    name: str, form: LoopForm, rng: np.random.Generator
) -> None:
    for trace in traces(name).values():
        given = draw(trace, sizes_for(trace), 3, 2, rng)
        check(given, ran(given, form))


@pytest.mark.parametrize("name", ["zoneout", "odd"])
def test_the_persistent_form_draws_the_same(name: str, rng: np.random.Generator) -> None:
    for kind in ("saving", "gradient"):
        check_against_reference(
            traces(name)[kind], 3, 2, DOUBLE, rng, lambda *a, **k: PersistentLoop(*a, programs=1, **k)
        )


@pytest.mark.parametrize("spans", [1, 3])
def test_scans_draw_the_same_in_all_spans(
    spans: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScanKernel, "spans", lambda *_: spans)
    step = simplify(trace_cell(gw.zoneout(0.4)(cells.sru)))
    for trace in (step, vjp(step)):
        program = plan(trace, Choices(time=Time.SCAN))
        assert program.scan
        given = draw(trace, sizes_for(trace), 9, 2, rng)
        check(given, ran(given, None, program))


def test_newtons_iterations_draw_the_same(rng: np.random.Generator) -> None:
    trace = simplify(trace_cell(gw.zoneout(0.4)(cells.indrnn)))
    given = draw(trace, sizes_for(trace), 6, 2, rng)
    seeds = seeds_of(trace, 6, 2)
    arrays = [
        {name: torch.tensor(a) for name, a in group.items()} for group in (given.inputs, given.params, given.states)
    ]
    for kernels in (True, False):
        solver = NewtonSolver(trace, given.sizes, DOUBLE, kernels=kernels)
        inputs = {**arrays[0], **{name: torch.tensor(a) for name, a in seeds.items()}}
        found = solver.solve(inputs, *arrays[1:]).tensors
        want = oracle(given)["states"]
        assert_parity({n: s[1:].numpy() for n, s in found.states.items()}, want, dtype="float64", steps=6)


def test_a_part_of_the_steps_draws_what_the_whole_draws(rng: np.random.Generator) -> None:
    """Other steps, rows and tiles: the same seeds give the same values."""
    trace = traces("zoneout")["saving"]
    given = draw(trace, {**sizes_for(trace), "hidden": 18}, 4, 17, rng)
    whole = ran(given, "stepped")
    seeds = seeds_of(trace, 4, 17)
    run = ProgramRun(plan(trace), given.sizes, DOUBLE)
    states = {name: torch.tensor(whole["states"][name][1, 15:]) for name in whole["states"]}
    part = {name: torch.tensor(array[2:, 15:]) for name, array in {**given.inputs, **seeds}.items()}
    found = run.run(part, {name: torch.tensor(a) for name, a in given.params.items()}, states, form="resident")
    for name, after_step in found.states.items():
        np.testing.assert_allclose(after_step[1:].numpy(), whole["states"][name][2:, 15:], rtol=1e-12)


def test_other_probabilities_than_those_of_the_trace_would_show(rng: np.random.Generator) -> None:
    given = draw(traces("zoneout")["saving"], sizes_for(traces("zoneout")["saving"]), 3, 2, rng)
    flipped = replace(given, noises={name: 1 - array for name, array in given.noises.items()})
    with pytest.raises(AssertionError):
        check(flipped, ran(given, "resident"))


def test_nothing_is_stored_for_random_values() -> None:
    """Programs keep no sequence of a random value, and what is saved is not one."""
    for name in CELLS:
        for trace in traces(name).values():
            program = plan(trace)
            random = {noise.var.name for noise in trace.noises}
            stored = {store.name for _, stages in program.passes() for stage in stages for store in stage.stores}
            assert not random & stored
            assert not any(f"saved({value})" in stored for value in random)


def test_the_number_of_rounds_and_constants_are_those_of_the_kernel() -> None:
    text = function_texts(["bernoulli"])
    for constant in (
        f"0x{random_values.MULTIPLIER:X}",
        f"0x{random_values.KEY_STEP:X}",
        f"range({random_values.ROUNDS})",
    ):
        assert constant in text
