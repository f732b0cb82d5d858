"""Choosing symbols from logits: against hand-worked shares, counted draws and exhaustive search."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gatewright.errors import NonFiniteError, OptionError
from gatewright.tasks.language.sampling import Sampler, Sampling, beam_search, generate, probabilities

SHARES = (0.4, 0.1, 0.3, 0.2)


def logits_of(*shares: float) -> Tensor:
    return torch.tensor([shares], dtype=torch.float32).log()


def kept(options: Sampling, *shares: float) -> list[float]:
    return probabilities(logits_of(*shares), options)[0].tolist()


class Table:
    """A network whose logits depend on the last two symbols; it counts its steps."""

    def __init__(self, size: int, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        self.logits = 2 * torch.randn(size, size, size, generator=random)
        self.size = size
        self.steps = 0

    def step(self, symbols: Tensor, state: Any) -> tuple[Tensor, Any]:
        self.steps += 1
        before = torch.zeros_like(symbols) if state is None else state
        return self.logits[before, symbols], symbols

    def select(self, state: Tensor, rows: Tensor) -> Tensor:
        return state[rows]

    def log_probability(self, prompt: Sequence[int], symbols: Sequence[int]) -> float:
        text = [0, *prompt, *symbols]
        total = 0.0
        for place in range(len(prompt) + 1, len(text)):
            scores = torch.log_softmax(self.logits[text[place - 2], text[place - 1]].double(), dim=-1)
            total += float(scores[text[place]])
        return total


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Sampling(), SHARES),
        (Sampling(temperature=0), (1, 0, 0, 0)),
        (Sampling(temperature=0.5), (16 / 30, 1 / 30, 9 / 30, 4 / 30)),
        (Sampling(top_k=1), (1, 0, 0, 0)),
        (Sampling(top_k=2), (4 / 7, 0, 3 / 7, 0)),
        (Sampling(top_k=4), SHARES),
        (Sampling(top_k=99), SHARES),
        (Sampling(top_p=0.4), (1, 0, 0, 0)),
        (Sampling(top_p=0.41), (4 / 7, 0, 3 / 7, 0)),
        (Sampling(top_p=0.7), (4 / 7, 0, 3 / 7, 0)),
        (Sampling(top_p=0.9), (4 / 9, 0, 3 / 9, 2 / 9)),
        (Sampling(top_p=0.91), SHARES),
        (Sampling(top_p=1.0), SHARES),
        (Sampling(top_p=1e-9), (1, 0, 0, 0)),
        (Sampling(forbidden=(0,)), (0, 1 / 6, 3 / 6, 2 / 6)),
        (Sampling(forbidden=(0, 0), temperature=0), (0, 0, 1, 0)),
        (Sampling(forbidden=(0,), top_k=2), (0, 0, 3 / 5, 2 / 5)),
        (Sampling(top_k=3, top_p=4 / 9), (1, 0, 0, 0)),
        (Sampling(temperature=0.5, top_p=16 / 30), (1, 0, 0, 0)),
    ],
    ids=str,
)
def test_the_shares_are_those_worked_by_hand(options: Sampling, expected: tuple[float, ...]) -> None:
    assert kept(options, *SHARES) == pytest.approx(expected, rel=1e-6, abs=1e-7)


def test_of_equals_the_first_are_taken() -> None:
    assert kept(Sampling(temperature=0), 0.25, 0.25, 0.25, 0.25) == [1, 0, 0, 0]
    assert kept(Sampling(top_k=2), 0.25, 0.25, 0.25, 0.25) == [0.5, 0.5, 0, 0]
    assert kept(Sampling(top_p=0.5), 0.25, 0.25, 0.25, 0.25) == [0.5, 0.5, 0, 0]


@pytest.mark.parametrize("temperature", [1e-300, 1e-6, 1e300])
def test_extreme_temperatures_stay_finite(temperature: float) -> None:
    shares = probabilities(torch.tensor([[80.0, -80.0, 79.0]]), Sampling(temperature=temperature))
    expected = [1.0, 0.0, 0.0] if temperature < 1 else [1 / 3] * 3
    assert shares[0].tolist() == pytest.approx(expected, rel=1e-9)


@given(
    rows=st.lists(st.lists(st.floats(-20, 20, width=32), min_size=5, max_size=5), min_size=1, max_size=3),
    top_k=st.none() | st.integers(1, 7),
    top_p=st.none() | st.floats(0, 1, exclude_min=True),
    temperature=st.floats(0.25, 4),
)
def test_no_smaller_set_would_do(
    rows: list[list[float]], top_k: int | None, top_p: float | None, temperature: float
) -> None:
    logits = torch.tensor(rows)
    after_k = probabilities(logits, Sampling(temperature=temperature, top_k=top_k))
    shares = probabilities(logits, Sampling(temperature=temperature, top_k=top_k, top_p=top_p))
    torch.testing.assert_close(shares.sum(dim=-1), torch.ones(len(rows)).double())
    for row, before in zip(shares, after_k, strict=True):
        chosen = row > 0
        mass = float(before[chosen].sum())
        assert 1 <= int(chosen.sum()) <= min(top_k or 5, 5)
        assert float(before[chosen].min()) >= float(before[~chosen].max() if (~chosen).any() else 0)
        torch.testing.assert_close(row[chosen], before[chosen] / mass)
        if top_p is not None:
            assert mass >= top_p - 2e-6
            assert int(chosen.sum()) == 1 or mass - float(before[chosen].min()) < top_p


@pytest.mark.parametrize(
    "options",
    [
        Sampling(seed=1),
        Sampling(temperature=2.0, seed=2),
        Sampling(top_k=3, seed=3),
        Sampling(top_p=0.6, seed=4),
        Sampling(forbidden=(2,), seed=5),
    ],
    ids=str,
)
def test_draws_follow_the_shares(options: Sampling) -> None:
    draws = 20_000
    logits = logits_of(*SHARES)
    counts = torch.bincount(Sampler(options)(logits.expand(draws, -1)), minlength=4).double()
    expected = draws * probabilities(logits, options)[0]
    possible = expected > 0
    assert counts[~possible].sum() == 0
    # With at most three degrees of freedom one table in a thousand is beyond 16.3; the seeds are fixed.
    assert float(((counts - expected) ** 2 / expected)[possible].sum()) < 16.3


def test_rows_are_drawn_each_by_its_own_logits() -> None:
    logits = torch.full((3, 4), -math.inf)
    logits[0, 3] = logits[1, 0] = logits[2, 1] = 0.0
    chosen = Sampler(Sampling())(logits)
    assert chosen.tolist() == [3, 0, 1]
    assert chosen.dtype == torch.int64


def test_the_seed_alone_decides_and_torchs_own_numbers_are_left_alone() -> None:
    def drawn(seed: int) -> list[int]:
        return list(generate(Table(5, seed=0).step, [1], length=30, options=Sampling(seed=seed)))

    before = torch.random.get_rng_state()
    first = drawn(7)
    torch.manual_seed(1234)
    again = drawn(7)
    torch.random.set_rng_state(before)
    assert first == again != drawn(8)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_symbols_come_as_soon_as_they_are_chosen() -> None:
    table = Table(5, seed=0)
    stream = generate(table.step, [1, 2, 3], length=3)
    assert table.steps == 0
    steps = [table.steps for _ in stream]
    assert steps == [3, 4, 5]


def test_gradients_are_off_in_a_step_and_on_in_between() -> None:
    seen: list[bool] = []

    def step(symbols: Tensor, state: Any) -> tuple[Tensor, Any]:
        seen.append(torch.is_grad_enabled())
        return torch.zeros(1, 3), state

    between = [torch.is_grad_enabled() for _ in generate(step, [0], length=2)]
    assert (seen, between) == ([False, False], [True, True])


def test_the_state_continues_from_the_one_given() -> None:
    table = Table(5, seed=3)
    greedy = Sampling(temperature=0)
    whole = list(generate(table.step, [1, 4], length=10, options=greedy))
    _, state = table.step(torch.tensor([1]), None)
    assert list(generate(table.step, [4], length=10, options=greedy, state=state)) == whole


def test_a_stop_symbol_is_the_last() -> None:
    table = Table(4, seed=0)
    whole = list(generate(table.step, [0], length=50, options=Sampling(seed=2)))
    stopped = list(generate(table.step, [0], length=50, options=Sampling(seed=2), stop={3}))
    assert stopped == whole[: whole.index(3) + 1]
    assert len(stopped) > 1


def test_nothing_is_read_for_nothing() -> None:
    table = Table(4, seed=0)
    assert list(generate(table.step, [0], length=0)) == []
    assert beam_search(table.step, table.select, [0], length=0, beams=3) == [((), 0.0)]
    assert table.steps == 0


@pytest.mark.parametrize("seed", range(5))
def test_wide_beams_find_what_exhaustive_search_finds(seed: int) -> None:
    table = Table(3, seed)
    every = {symbols: table.log_probability([1, 2], symbols) for symbols in itertools.product(range(3), repeat=4)}
    found = beam_search(table.step, table.select, [1, 2], length=4, beams=81)
    # Two continuations through the same pairs of symbols are equally probable, so their order is left open.
    assert dict(found) == pytest.approx(every, rel=1e-9)
    assert [beam.log_probability for beam in found] == sorted(dict(found).values(), reverse=True)
    assert math.fsum(math.exp(beam.log_probability) for beam in found) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_wide_beams_that_may_stop_find_what_exhaustive_search_finds(seed: int) -> None:
    table = Table(3, seed)

    def ended(symbols: tuple[int, ...]) -> tuple[int, ...]:
        return symbols[: symbols.index(2) + 1] if 2 in symbols else symbols

    stopped = {ended(symbols) for symbols in itertools.product(range(3), repeat=4)}
    every = {symbols: table.log_probability([0], symbols) for symbols in stopped}
    found = beam_search(table.step, table.select, [0], length=4, beams=100, stop={2})
    assert dict(found) == pytest.approx(every, rel=1e-9)
    assert [beam.log_probability for beam in found] == sorted(dict(found).values(), reverse=True)


@pytest.mark.parametrize("seed", range(5))
def test_forbidden_symbols_are_searched_around_at_the_networks_own_probabilities(seed: int) -> None:
    table = Table(4, seed)
    allowed = list(itertools.product((0, 2, 3), repeat=3))
    best = max(allowed, key=lambda symbols: table.log_probability([1], symbols))
    found = beam_search(table.step, table.select, [1], length=3, beams=27, forbidden={1})
    assert len(found) == 27
    assert found[0].symbols == best
    assert found[0].log_probability == pytest.approx(table.log_probability([1], best), rel=1e-9)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("forbidden", [(), (0, 3)])
def test_one_beam_is_greedy(seed: int, forbidden: tuple[int, ...]) -> None:
    table = Table(6, seed)
    greedy = generate(table.step, [2], length=20, options=Sampling(temperature=0, forbidden=forbidden))
    (beam,) = beam_search(table.step, table.select, [2], length=20, beams=1, forbidden=forbidden)
    assert beam.symbols == tuple(greedy)
    assert beam.log_probability == pytest.approx(table.log_probability([2], beam.symbols), rel=1e-9)


def test_two_beams_find_what_greed_misses() -> None:
    logits = torch.full((3, 3, 3), -10.0)
    logits[0, 0] = torch.tensor([0.0, 1.0, 0.9])  # 1 is a little better than 2,
    logits[0, 1] = torch.tensor([0.0, 0.0, 0.0])  # but what follows 1 is uncertain,
    logits[0, 2] = torch.tensor([9.0, 0.0, 0.0])  # and what follows 2 is sure
    table = Table(3, seed=0)
    table.logits = logits
    assert beam_search(table.step, table.select, [0], length=2, beams=1)[0].symbols == (1, 0)
    assert beam_search(table.step, table.select, [0], length=2, beams=2)[0].symbols == (2, 0)


def test_impossible_symbols_end_a_beam_and_are_never_drawn() -> None:
    table = Table(3, seed=0)
    table.logits[:, :, 1:] = -math.inf
    found = beam_search(table.step, table.select, [0], length=3, beams=5)
    assert [beam.symbols for beam in found] == [(0, 0, 0)]
    assert beam_search(table.step, table.select, [0], length=3, beams=5, forbidden={0}) == []
    assert list(generate(table.step, [0], length=5)) == [0] * 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"temperature": -0.5},
            "temperature cannot be -0.5\n  expected: a finite number, 0 or more",
        ),
        ({"temperature": math.inf}, "temperature cannot be "),
        ({"temperature": math.nan}, "temperature cannot be "),
        (
            {"top_k": 0},
            "top-k cannot be 0\n  expected: a whole number, 1 or more, or None for all symbols",
        ),
        ({"top_p": 0.0}, "top-p cannot be 0.0\n  expected: a share above 0 and at most 1, or None"),
        ({"top_p": 1.1}, "top-p cannot be "),
        ({"top_p": math.nan}, "top-p cannot be "),
        ({"seed": -1}, "seed cannot be "),
    ],
)
def test_a_wrong_option_is_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Sampling(**options)


def test_what_is_wrong_from_the_start_is_said_at_the_call() -> None:
    table = Table(3, seed=0)
    with pytest.raises(OptionError, match="the prompt is empty\n  expected: at least one symbol to start from"):
        generate(table.step, [], length=3)
    with pytest.raises(OptionError, match="length cannot be -1\n  expected: 0 or more"):
        generate(table.step, [0], length=-1)
    with pytest.raises(OptionError, match="the prompt is empty"):
        beam_search(table.step, table.select, [], length=3, beams=2)
    with pytest.raises(OptionError, match="beams cannot be "):
        beam_search(table.step, table.select, [0], length=3, beams=0)


@pytest.mark.parametrize(
    ("forbidden", "message"),
    [
        ((0, 4), r"forbidden cannot be \[4\]\n  expected: symbols from 0 to 3"),
        ((-1,), r"forbidden cannot be \[-1\]\n  expected: symbols from 0 to 3"),
        ((0, 1, 2, 3), "forbidden cannot be 'all 4 symbols'\n  expected: at least one symbol left to choose"),
    ],
)
def test_wrong_forbidden_symbols_are_an_error(forbidden: tuple[int, ...], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Sampler(Sampling(forbidden=forbidden))(logits_of(*SHARES))


def test_forbidding_all_that_is_possible_is_an_error() -> None:
    logits = torch.tensor([[0.0, -math.inf]])
    with pytest.raises(OptionError, match="at least one possible symbol left to choose"):
        Sampler(Sampling(forbidden=(0,)))(logits)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_choose_nothing_are_an_error(value: float) -> None:
    logits = torch.full((2, 3), value)
    logits[0] = 0.0
    with pytest.raises(NonFiniteError, match="no symbol can be chosen from the network's logits"):
        Sampler(Sampling())(logits)
