"""A linear-chain conditional random field beside all labellings of tiny rows, one by one."""

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gatewright.tasks.data.tags.schemes import FORBIDDEN, Transitions, best_paths
from gatewright.tasks.tagging.chain_crf import ChainCrf

LENGTHS = torch.tensor([4, 1, 3])
LABELS = torch.tensor([[0, 2, 0], [1, -100, 1], [2, -100, 2], [0, -100, -100]])


def crf_of_bio() -> ChainCrf:
    """With random scores where BIO allows a transition."""
    crf = ChainCrf(Transitions.of(("B-X", "I-X", "O"), "BIO")).double()
    with torch.no_grad():
        for scores in crf.parameters():
            scores.add_(torch.where(scores == FORBIDDEN, 0, torch.randn_like(scores)))
    return crf


def random_emissions() -> Tensor:
    """(time, batch, labels), with numbers behind the ends that must not matter."""
    emissions = torch.randn(4, 3, 3, dtype=torch.float64)
    emissions[torch.arange(4)[:, None] >= LENGTHS] = 1e6
    return emissions.requires_grad_()


def score(crf: ChainCrf, emissions: Any, row: int, path: Any) -> Any:
    """The score of a labelling, as the class describes it."""
    own = sum(emissions[step, row, label] for step, label in enumerate(path))
    moves = sum(crf.next[before, label] for before, label in pairwise(path))
    return crf.first[path[0]] + crf.last[path[-1]] + own + moves


def all_scores(crf: ChainCrf, emissions: Any, row: int) -> dict[tuple[int, ...], Any]:
    """Of every labelling of a row."""
    paths = product(range(3), repeat=int(LENGTHS[row]))
    return {path: score(crf, emissions, row, path) for path in paths}


def test_likelihood_and_its_gradients_are_those_of_all_labellings() -> None:
    crf, emissions = crf_of_bio(), random_emissions()
    wanted: list[Any] = []
    for row, length in enumerate(LENGTHS.tolist()):
        scores = all_scores(crf, emissions, row)
        total = torch.logsumexp(torch.stack([*scores.values()]), 0)
        wanted.append(total - scores[tuple(LABELS[:length, row].tolist())])
    losses = crf.negative_log_likelihood(emissions, LABELS, LENGTHS)
    torch.testing.assert_close(losses, torch.stack(wanted), rtol=1e-12, atol=1e-12)
    weights, inputs = torch.tensor([1.0, -2.0, 0.5]), (emissions, *crf.parameters())
    found = torch.autograd.grad((losses * weights).sum(), inputs)
    by_hand = torch.autograd.grad((torch.stack(wanted) * weights).sum(), inputs)
    for one, other in zip(found, by_hand, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_gradients_are_finite_differences() -> None:
    crf = ChainCrf(Transitions(*(np.zeros(shape, np.float32) for shape in ((3,), (3, 3), (3,))))).double()
    emissions = torch.randn(4, 3, 3, dtype=torch.float64, requires_grad=True)
    scores = [torch.randn_like(one).requires_grad_() for one in crf.parameters()]

    def losses(emissions: Tensor, *scores: Tensor) -> Tensor:
        named = dict(zip(("first", "next", "last"), scores, strict=True))
        arguments = (emissions, LABELS, LENGTHS)
        return torch.func.functional_call(_Losses(crf), {f"crf.{name}": one for name, one in named.items()}, arguments)

    assert torch.autograd.gradcheck(losses, (emissions, *scores))


class _Losses(torch.nn.Module):
    def __init__(self, crf: ChainCrf) -> None:
        super().__init__()
        self.crf = crf

    def forward(self, *arguments: Tensor) -> Tensor:
        return self.crf.negative_log_likelihood(*arguments)


@torch.no_grad()
def test_marginals_and_the_best_path_are_those_of_all_labellings() -> None:
    crf, emissions = crf_of_bio(), random_emissions()
    marginals = crf.log_marginals(emissions, LENGTHS).exp()
    paths = best_paths(emissions.numpy(), LENGTHS.numpy(), crf.transitions())
    for row, length in enumerate(LENGTHS.tolist()):
        scores = {path: float(one) for path, one in all_scores(crf, emissions, row).items()}
        powers = {path: np.exp(one) for path, one in scores.items()}
        for step, label in product(range(length), range(3)):
            wanted = sum(power for path, power in powers.items() if path[step] == label) / sum(powers.values())
            assert marginals[step, row, label].item() == pytest.approx(wanted, rel=1e-10)
        assert tuple(paths[row].tolist()) == max(scores, key=lambda path: scores[path])


def test_what_is_forbidden_has_no_probability_and_stays_so() -> None:
    crf, emissions = crf_of_bio().float(), random_emissions().float()
    crf.negative_log_likelihood(emissions, LABELS, LENGTHS).sum().backward()
    marginals = crf.log_marginals(emissions, LENGTHS).exp()
    assert marginals[0, :, 1].tolist() == [0, 0, 0]
    gradient = crf.next.grad
    assert gradient is not None
    assert gradient[2, 1].item() == 0
    assert crf.next[2, 1].item() == FORBIDDEN


def test_confident_emissions_give_finite_losses_and_gradients() -> None:
    """Where one label is more probable than another by exp(900) at each step."""
    crf = crf_of_bio().float()
    emissions = torch.zeros(4, 3, 3)
    emissions[..., 2] = 900
    emissions.requires_grad_()
    losses = crf.negative_log_likelihood(emissions, LABELS, LENGTHS)
    losses.sum().backward()
    gradients = (emissions.grad, crf.first.grad, crf.next.grad, crf.last.grad)
    assert torch.isfinite(losses).all()
    assert all(one is not None and bool(torch.isfinite(one).all()) for one in gradients)
