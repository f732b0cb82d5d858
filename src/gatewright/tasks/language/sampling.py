"""The next symbol, chosen from a network's logits: drawn, taken greedily, or searched for with beams.

A network is seen as two functions, so that any network, or a table of probabilities in a test, will do:
`step(symbols (B,), state) -> (logits (B, V), state)`, with a state of None at the start, and
`select(state, rows) -> state`, the state of those rows of the batch, in that order (a row may be asked for
twice). Symbols and rows are given as int64 tensors on the CPU.
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatewright.errors import NonFiniteError, OptionError

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]
Select = Callable[[Any, Tensor], Any]

_MASS_ERROR = 1e-6  # what float32 logits leave uncertain in a sum of probabilities


@dataclass(frozen=True)
class Sampling:
    """How a symbol is chosen: forbid, divide by the temperature, keep the top k, then keep the top p.

    `temperature` 0 takes the most probable symbol (the first of equals), whatever the other options. `top_k`
    keeps the k most probable symbols; more than there are keeps all. Of equals the first ones are kept.
    `top_p` keeps the fewest symbols, the most probable first, that hold at least this share of what top_k
    left. `seed` starts the choice's own random numbers: those of torch at large are neither read nor changed.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    forbidden: tuple[int, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            _refuse("temperature", "a finite number, 0 or more", self.temperature)
        if self.top_k is not None and self.top_k < 1:
            _refuse("top_k", "a whole number, 1 or more, or None for all symbols", self.top_k)
        if self.top_p is not None and not 0 < self.top_p <= 1:
            _refuse("top_p", "a share above 0 and at most 1, or None for all symbols", self.top_p)
        if not 0 <= self.seed < 2**63:
            _refuse("seed", "a number from 0 to 9223372036854775807", self.seed)


class Sampler:
    """Chooses symbols by `options`, with random numbers of its own: the same seed gives the same choices."""

    def __init__(self, options: Sampling) -> None:
        self.options = options
        self._random = torch.Generator().manual_seed(options.seed)

    def __call__(self, logits: Tensor) -> Tensor:
        """A symbol for each row of logits (B, V): int64 (B,), on their device."""
        chances = probabilities(logits, self.options)
        if self.options.temperature == 0:
            return chances.argmax(dim=-1).to(logits.device)
        return torch.multinomial(chances, 1, generator=self._random)[:, 0].to(logits.device)


def probabilities(logits: Tensor, options: Sampling) -> Tensor:
    """The distribution that a symbol is drawn from: (B, V) float64 on the CPU, each row's sum 1.

    It is computed on the CPU in float64, so that the choice does not depend on where the network ran.
    """
    allowed = _forbid(_checked(logits), options.forbidden)
    best = allowed.max(dim=-1, keepdim=True).values
    if bool((best == -math.inf).any()):
        _refuse("forbidden", "at least one possible symbol left to choose", sorted(options.forbidden))
    if options.temperature == 0:
        return torch.nn.functional.one_hot(allowed.argmax(dim=-1), allowed.shape[-1]).double()
    chances = torch.softmax((allowed - best) / options.temperature, dim=-1)
    ranked, order = chances.sort(dim=-1, descending=True, stable=True)
    if options.top_k is not None:
        ranked[:, options.top_k :] = 0
    if options.top_p is not None and options.top_p < 1:
        before = ranked.cumsum(dim=-1) - ranked
        enough = before >= options.top_p * ranked.sum(dim=-1, keepdim=True) - _MASS_ERROR
        enough[:, 0] = False
        ranked[enough] = 0
    kept = torch.zeros_like(chances).scatter(-1, order, ranked)
    return kept / kept.sum(dim=-1, keepdim=True)


def generate(
    step: Step,
    prompt: Sequence[int],
    *,
    length: int,
    options: Sampling | None = None,
    state: Any = None,
    stop: Collection[int] = (),
) -> Iterator[int]:
    """Stream `length` symbols that continue the prompt, each as soon as it is chosen.

    The prompt is read first, from `state` on, and not given back. A symbol in `stop` is the last one given.
    """
    _check_start(prompt, length)
    return _stream(step, list(prompt), length, Sampler(options or Sampling()), state, frozenset(stop))


def _stream(
    step: Step, prompt: list[int], length: int, choose: Sampler, state: Any, stop: frozenset[int]
) -> Iterator[int]:
    unread = prompt
    for _ in range(length):
        logits, state = _read(step, unread, state)
        unread = [int(choose(logits))]
        yield unread[0]
        if unread[0] in stop:
            return


class Beam(NamedTuple):
    """A continuation, and the natural logarithm of its probability under the network."""

    symbols: tuple[int, ...]
    log_probability: float


def beam_search(
    step: Step,
    select: Select,
    prompt: Sequence[int],
    *,
    length: int,
    beams: int,
    forbidden: Collection[int] = (),
    state: Any = None,
    stop: Collection[int] = (),
) -> list[Beam]:
    """Search for the most probable continuations of the prompt: at most `beams` of them, the best first.

    A continuation ends after `length` symbols, or with a symbol in `stop`; ended ones compete with those
    still growing. Forbidden symbols are never taken, and the log-probabilities of the others are the
    network's own, not scaled up. `beams=1` is greedy; with as many beams as there are continuations the
    search is exhaustive.
    """
    _check_start(prompt, length)
    if beams < 1:
        _refuse("beams", "1 or more", beams)
    growing, ended = [Beam((), 0.0)], list[Beam]()
    for place in range(length):
        if place == 0:
            logits, state = _read(step, prompt, state)
        else:
            logits, state = _read_rows(step, [beam.symbols[-1] for beam in growing], state)
        scores = _forbid(torch.log_softmax(_checked(logits), dim=-1), forbidden)
        candidates = [*((beam, None) for beam in ended), *_extended(growing, scores, beams)]
        candidates = sorted(candidates, key=lambda candidate: -candidate[0].log_probability)[:beams]
        live = [(beam, row) for beam, row in candidates if row is not None and beam.symbols[-1] not in stop]
        growing = [beam for beam, _ in live]
        ended = [beam for beam, _ in candidates if beam not in growing]
        if not growing:
            break
        state = select(state, torch.tensor([row for _, row in live]))
    return sorted(ended + growing, key=lambda beam: -beam.log_probability)


def _extended(growing: list[Beam], scores: Tensor, beams: int) -> list[tuple[Beam, int]]:
    """The best continuations by one symbol, each with the row that it came from; of equals the first."""
    totals = scores + torch.tensor([[beam.log_probability] for beam in growing], dtype=scores.dtype)
    ranked, order = totals.flatten().sort(descending=True, stable=True)
    best: list[tuple[Beam, int]] = []
    for total, flat in zip(ranked[:beams].tolist(), order[:beams].tolist(), strict=True):
        row, symbol = divmod(flat, scores.shape[-1])
        if total > -math.inf:
            best.append((Beam((*growing[row].symbols, symbol), total), row))
    return best


def _read(step: Step, symbols: Sequence[int], state: Any) -> tuple[Tensor, Any]:
    """Read symbols one after the other, as a batch of one; the logits after the last."""
    logits, state = _read_rows(step, [symbols[0]], state)
    for symbol in symbols[1:]:
        logits, state = _read_rows(step, [symbol], state)
    return logits, state


def _read_rows(step: Step, symbols: Sequence[int], state: Any) -> tuple[Tensor, Any]:
    # Gradients are switched off around the step alone: around a yield it would reach the caller's code.
    with torch.no_grad():
        return step(torch.tensor(symbols, dtype=torch.int64), state)


def _checked(logits: Tensor) -> Tensor:
    values = logits.detach().to("cpu", torch.float64)
    if bool((values.isnan() | (values == math.inf)).any() or (values == -math.inf).all(dim=-1).any()):
        raise NonFiniteError(
            "no symbol can be chosen from the network's logits",
            expected="finite logits, or minus infinity for some of the symbols",
            got="a NaN, an infinity, or minus infinity for all symbols",
            do="check the weights, and the losses of the training",
        )
    return values


def _forbid(values: Tensor, forbidden: Collection[int]) -> Tensor:
    """The values (B, V), minus infinity at the forbidden symbols."""
    size = values.shape[-1]
    outside = [symbol for symbol in forbidden if not 0 <= symbol < size]
    if outside:
        _refuse("forbidden", f"symbols from 0 to {size - 1}", outside)
    if len(set(forbidden)) == size:
        _refuse("forbidden", "at least one symbol left to choose", f"all {size} symbols")
    masked = values.clone()
    masked[:, list(forbidden)] = -math.inf
    return masked


def _check_start(prompt: Sequence[int], length: int) -> None:
    if len(prompt) == 0:
        raise OptionError(
            "the prompt is empty",
            expected="at least one symbol to start from",
            do='give a prompt, for example a line end: "\\n"',
            shell="give another with --prompt, or leave it out",
        )
    if length < 0:
        _refuse("length", "0 or more", length)


def _refuse(name: str, expected: str, got: object) -> None:
    raise OptionError(f"{name.replace('_', '-')} cannot be {got!r}", expected=expected)
