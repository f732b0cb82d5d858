"""A linear-chain conditional random field: labels are scored together with those beside them.

Lafferty, McCallum & Pereira (2001); on a recurrent network Lample et al. (2016), 1603.01360.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gatewright.tasks.data.tags.schemes import Transitions

_SMALLEST = torch.finfo(torch.float64).tiny
_LARGEST = 700.0  # whose exponential is a number in float64


class ChainCrf(nn.Module):
    """Scores of labels at the ends of a sequence, (labels,), and after one another, (labels before, labels).

    A labelling y of the emissions e (time, batch, labels) of a row has the score

        first[y[0]] + e[0, y[0]] + sum over t > 0 of (next[y[t-1], y[t]] + e[t, y[t]]) + last[y[-1]]

    and, among all labellings of the row, the probability softmax(score). Where a scheme forbids a transition its score
    begins at -10,000 and stays there, as its probability and so its gradient are 0.
    """

    def __init__(self, allowed: Transitions) -> None:
        super().__init__()
        self.first, self.next, self.last = (nn.Parameter(torch.from_numpy(scores.copy())) for scores in allowed)

    def transitions(self) -> Transitions:
        """The current scores, as NumPy arrays."""
        scores = (self.first, self.next, self.last)
        return Transitions(*(matrix.detach().float().cpu().numpy() for matrix in scores))

    def negative_log_likelihood(self, emissions: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
        """-log p of the labels (time, batch) of each row, (batch,). Steps after the end of a row have no effect."""
        present = _present(emissions, lengths)
        labels, ends = labels.where(present, 0), (lengths - 1)[None]
        emitted = emissions.gather(2, labels[:, :, None])[:, :, 0]
        moved = self.next[labels[:-1], labels[1:]]
        score = emitted.where(present, 0).sum(0) + moved.where(present[1:], 0).sum(0)
        score = score + self.first[labels[0]] + self.last[labels.gather(0, ends)[0]]
        total: Any = _LogPartition.apply(emissions, self.first, self.next, self.last, lengths)
        return total - score

    @torch.no_grad()
    def log_marginals(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """Log p of each label at each step, over all labellings of its row: (time, batch, labels)."""
        forward, backward, total = _both_ways(emissions, self.first, self.next, self.last, lengths)
        return forward + backward - emissions - total[None, :, None]


class _LogPartition(torch.autograd.Function):
    """The logarithm of the sum of exp(score) over all labellings of each row, (batch,).

    Its gradient is the probability of each label and of each pair of neighbours. Both follow from one loop over time
    that autograd does not watch, which takes a fraction of the time that it takes to differentiate the loop.
    """

    @staticmethod
    def forward(ctx: Any, emissions: Tensor, first: Tensor, next: Tensor, last: Tensor, lengths: Tensor) -> Tensor:
        forward, backward, total = _both_ways(emissions, first, next, last, lengths)
        ctx.save_for_backward(emissions, next, lengths, forward, backward, total)
        return total.to(emissions.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] - by its decorator
        emissions, next, lengths, forward, backward, total = ctx.saved_tensors
        (weight,) = grad_outputs
        present = _present(emissions, lengths)[:, :, None]
        single = (forward + backward - emissions - total[None, :, None]).exp() * weight[None, :, None]
        single = single.where(present, 0)
        # p(i, j) is exp(before + next + after - total). As a product it needs no memory for each pair at each step.
        top = forward[:-1].amax(-1, keepdim=True)
        before = ((forward[:-1] - top).exp() * weight[None, :, None]).where(present[1:], 0)
        after = (backward[1:] + top - total[None, :, None]).clamp(max=_LARGEST).exp().where(present[1:], 0)
        pairs = next.double().exp() * (before.flatten(0, 1).T @ after.flatten(0, 1))
        ends = (lengths - 1)[None, :, None].expand(1, -1, len(next))
        counts = (single, single[0].sum(0), pairs, single.gather(0, ends)[0].sum(0))
        return *(count.to(next.dtype) for count in counts), None


def _both_ways(
    emissions: Tensor, first: Tensor, next: Tensor, last: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Forward and backward log-sums for each step and label, both with its emission.

    Two tensors (time, batch, labels), and the log of the sum over all labellings, (batch,), all in float64. One loop
    does both: the backward pass is the forward pass of reversed rows with the transposed matrix.
    """
    steps, _, labels = emissions.shape
    mirrored = (lengths[None] - 1 - torch.arange(steps, device=lengths.device)[:, None]).clamp(min=0)
    mirrored = mirrored[:, :, None].expand(-1, -1, labels)
    emissions, first, next, last = (tensor.double() for tensor in (emissions, first, next, last))
    read = torch.stack([emissions, emissions.gather(0, mirrored)], 1)  # (time, 2, batch, labels)
    moves = torch.stack([next, next.T]).exp()
    sums = [torch.stack([first, last])[:, None] + read[0]]
    for emitted in read[1:]:
        top = sums[-1].amax(-1, keepdim=True)
        # A sum of products of exponentials is a matrix product. It is 0 where labels are forbidden, or less probable
        # than the best ones by a factor of 1e-308, and has a logarithm all the same.
        products = torch.bmm((sums[-1] - top).exp(), moves).clamp(min=_SMALLEST)
        sums.append(products.log_().add_(top).add_(emitted))
    forward, backward = torch.stack(sums).unbind(1)
    total = torch.logsumexp(forward.gather(0, mirrored[:1])[0] + last, 1)
    return forward, backward.gather(0, mirrored), total


def _present(emissions: Tensor, lengths: Tensor) -> Tensor:
    """(time, batch): which steps are before the end of their row."""
    return torch.arange(len(emissions), device=lengths.device)[:, None] < lengths[None]
