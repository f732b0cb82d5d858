"""Layers on top of a recurrent layer: dense layers along time, and pools over time.

All take (time, batch, features), or (batch, time, features) with batch_first=True.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatewright.errors import OptionError, ShapeError
from gatewright.nn.host_copies import copied_to
from gatewright.nn.linear import Linear
from gatewright.nn.sequence import Lengths, row_lengths, step_mask, unpack


class SharedDense(Linear):
    """The same dense layer at each step: out[t] = W @ x[t] + b. Keras calls it TimeDistributed(Dense).

    (..., in_features) -> (..., out_features), for any order of time and batch:
    gw.nn.Linear with a clearer error. It has (in_features + 1) * out_features parameters.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer to the last axis. Raises ShapeError if that has a wrong length."""
        _check_features(self, input, self.in_features)
        return super().forward(input)


class PerStepDense(nn.Module):
    """A different dense layer for each step: out[t] = weight[t] @ x[t] + bias[t].

    Keras calls it LocallyConnected1D with a kernel of one step.
    (num_steps, batch, in_features) -> (num_steps, batch, out_features), or batch first. `weight` is
    (num_steps, out_features, in_features): weight[t] and bias[t] are those of a torch.nn.Linear.
    It has (in_features + 1) * out_features * num_steps parameters.
    """

    def __init__(
        self,
        num_steps: int,
        in_features: int,
        out_features: int,
        bias: bool = True,
        batch_first: bool = False,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_steps, self.in_features, self.out_features = num_steps, in_features, out_features
        self.batch_first = batch_first
        self.weight = nn.Parameter(torch.empty(num_steps, out_features, in_features, device=device, dtype=dtype))
        self.bias = nn.Parameter(self.weight.new_empty(num_steps, out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters from U(-1/sqrt(in_features), 1/sqrt(in_features)), as torch.nn.Linear."""
        bound = 1 / math.sqrt(max(1, self.in_features))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the t-th layer to the t-th step.

        Raises ShapeError when the input has not exactly `num_steps` steps or not `in_features` features.
        """
        _check_rank(self, input)
        _check_features(self, input, self.in_features)
        steps = input.shape[self.batch_first]
        if steps != self.num_steps:
            raise ShapeError(
                f"{type(self).__name__} has one layer for each of {self.num_steps} steps",
                expected=f"an input of {self.num_steps} steps",
                got=f"{steps} steps, in an input of shape {tuple(input.shape)}",
                do="pad or cut the input, or use SharedDense, which takes any number of steps",
            )
        by_step = input.transpose(0, 1) if self.batch_first else input  # (time, batch, in)
        transposed = self.weight.transpose(1, 2)
        if self.bias is None:
            output = torch.bmm(by_step, transposed)
        else:
            output = torch.baddbmm(self.bias[:, None, :], by_step, transposed)
        return output.transpose(0, 1) if self.batch_first else output

    def extra_repr(self) -> str:
        """The options, as torch prints them."""
        return (
            f"num_steps={self.num_steps}, in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, batch_first={self.batch_first}"
        )


class Pool(nn.Module):
    """A base class: (time, batch, features) -> (batch, features), over the steps that belong to a row.

    A row that has no step gives zeros, and takes no gradient. Padding does no harm, even a NaN.
    """

    def __init__(self, batch_first: bool = False) -> None:
        super().__init__()
        self.batch_first = batch_first

    def forward(
        self,
        input: Tensor | PackedSequence,
        *,
        lengths: Lengths | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Pool `input`, a padded array or a PackedSequence (which knows its lengths), over time.

        `mask` is laid out as the input is, (time, batch) or (batch, time); a step counts where it is not 0.
        Raises ShapeError when lengths or mask do not fit the input, and OptionError when more than one of the
        three says which steps count.
        """
        if sum((isinstance(input, PackedSequence), lengths is not None, mask is not None)) > 1:
            raise OptionError(
                f"{type(self).__name__} is told more than once which steps count",
                expected="one of lengths, mask, or a PackedSequence, which knows its lengths",
                do="leave out all but one",
            )
        if isinstance(input, PackedSequence):
            values, lengths = unpack(input)
        else:
            _check_rank(self, input)
            values = input.transpose(0, 1) if self.batch_first else input
        present = self._present(values, lengths, mask)  # (time, batch)
        values = values.masked_fill(~present[:, :, None], 0)
        return self.pool(values, present) if len(values) else values.sum(0)

    def _present(self, values: Tensor, lengths: Lengths | None, mask: Tensor | None) -> Tensor:
        steps, batch = values.shape[:2]
        if mask is not None:
            shape = (batch, steps) if self.batch_first else (steps, batch)
            if mask.shape != shape:
                raise ShapeError(
                    f"the mask given to {type(self).__name__} does not fit its input",
                    expected=f"shape {shape}, the first two axes of the input",
                    got=f"shape {tuple(mask.shape)}",
                    do="transpose it if its axes are exchanged; time comes first unless batch_first=True",
                )
            present = copied_to(mask, values.device) != 0
            return present.T if self.batch_first else present
        if lengths is not None:
            counts = row_lengths(lengths, steps=steps, batch=batch, device=values.device)
            return step_mask(counts, steps, torch.bool)
        return values.new_ones((steps, batch), dtype=torch.bool)

    def pool(self, values: Tensor, present: Tensor) -> Tensor:
        """(time >= 1, batch, features), with zeros where not `present` (time, batch) -> (batch, features)."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """The options, as torch prints them."""
        return f"batch_first={self.batch_first}"


class MeanPool(Pool):
    """The mean over a row's steps, (mask * x).sum(0) / mask.sum(0), as in Theano's sentiment tutorial."""

    def pool(self, values: Tensor, present: Tensor) -> Tensor:
        """The mean of the present steps."""
        return values.sum(0) / present.sum(0).clamp(min=1)[:, None]


class MaxPool(Pool):
    """The greatest value of each feature over a row's steps."""

    def pool(self, values: Tensor, present: Tensor) -> Tensor:
        """The maximum of the present steps."""
        greatest = values.masked_fill(~present[:, :, None], -math.inf).amax(0)
        return greatest.masked_fill(~present.any(0)[:, None], 0)


class LastPool(Pool):
    """A row's last step.

    With `bidirectional=True` the second half of the features is of a layer's backward direction, which ends at a row's
    first step and is read there, as torch's h_n is and Keras' Bidirectional without return_sequences.
    """

    def __init__(self, batch_first: bool = False, *, bidirectional: bool = False) -> None:
        super().__init__(batch_first)
        self.bidirectional = bidirectional

    def pool(self, values: Tensor, present: Tensor) -> Tensor:
        """The last of the present steps; of a backward direction the first."""
        steps, batch = present.shape
        step, row = torch.arange(steps, device=values.device)[:, None], torch.arange(batch, device=values.device)
        last = (step * present).amax(0)  # (batch,); 0 where none is present, and zeros stand there
        if not self.bidirectional:
            return values[last, row]
        forward = values.shape[2] // 2
        first = torch.where(present, step, steps - 1).amin(0)  # the last step where none is present: zeros, too
        return torch.cat([values[last, row, :forward], values[first, row, forward:]], -1)

    def extra_repr(self) -> str:
        """The options, as torch prints them."""
        return f"{super().extra_repr()}, bidirectional={self.bidirectional}"


def _check_rank(module: nn.Module, input: Tensor) -> None:
    if input.dim() != 3:
        axes = "(batch, time, features)" if module.batch_first else "(time, batch, features)"
        raise ShapeError(
            f"{type(module).__name__} takes a batch of sequences",
            expected=axes,
            got=f"shape {tuple(input.shape)}",
            do="give an unbatched sequence a batch axis of length 1 with unsqueeze",
        )


def _check_features(module: nn.Module, input: Tensor, features: int) -> None:
    if input.shape[-1:] != (features,):
        raise ShapeError(
            f"{type(module).__name__} was made for {features} features",
            expected=f"an input whose last axis is {features}",
            got=f"shape {tuple(input.shape)}",
            do="make it with in_features equal to the last axis of what it is given",
        )
