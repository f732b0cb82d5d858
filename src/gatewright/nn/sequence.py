"""Ragged batches: row lengths, masks, padding, and conversion from and to PackedSequence.

Everything here is time-major, (time, batch, ...), and in the caller's order of rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch._C._functorch import (  # pyright: ignore[reportMissingImports]
    get_unwrapped,  # pyright: ignore[reportPrivateUsage]
    is_functorch_wrapped_tensor,  # pyright: ignore[reportPrivateUsage]
)
from torch.autograd import Function
from torch.nn.utils.rnn import PackedSequence

from gatewright.backends.llvm.runtime.active_lines import ActiveLines
from gatewright.errors import ShapeError
from gatewright.nn.host_copies import copied_to
from gatewright.nn.modes import is_eager, is_simulated, is_transformed

Lengths = Tensor | Sequence[int]


def row_lengths(lengths: Lengths, *, steps: int, batch: int, device: torch.device | str | None = None) -> Tensor:
    """The number of steps of each row as an int64 tensor (batch,) on `device`, or on the CPU.

    Any order is allowed, and so is 0. Raises ShapeError when a length is missing, left over, not a whole
    number, negative, or longer than `steps`.
    """
    counts = _as_tensor(lengths)
    if counts.shape != (batch,):
        raise ShapeError(
            "lengths do not fit the batch",
            expected=f"shape ({batch},), one length for each row of the batch",
            got=f"shape {tuple(counts.shape)}",
            do="pass one length for each row; with batch_first=True rows are the first axis of the input",
        )
    _check_range(counts, steps)
    return counts if device is None else copied_to(counts, torch.device(device))


def _check_range(lengths: Tensor, steps: int) -> None:
    if torch.compiler.is_compiling() or is_simulated(lengths):  # no number can be read yet: a graph holds the check
        inside = ((lengths >= 0) & (lengths <= steps)).all()
        torch._assert_async(inside, "lengths do not fit the sequences")  # pyright: ignore[reportPrivateUsage]
        return
    while is_functorch_wrapped_tensor(lengths):  # torch.func.vmap over lengths
        lengths = get_unwrapped(lengths)
    if lengths.device.type == "cuda":  # the host must not wait for a number of the device
        torch._assert_async(((lengths >= 0) & (lengths <= steps)).all(), "lengths do not fit the sequences")  # pyright: ignore[reportPrivateUsage]
        return
    # As numbers without a sign those below 0 are the largest. NumPy has one call for this, torch needs five.
    readable = lengths.is_cpu and type(lengths) is Tensor and not is_transformed()
    if readable and int(lengths.numpy().view(np.uint64).max(initial=0)) <= steps:
        return
    outside = ((lengths < 0) | (lengths > steps)).nonzero()
    if len(outside):
        place = tuple(outside[0].tolist())
        raise ShapeError(
            "lengths do not fit the sequences",
            expected=f"lengths from 0 to {steps}, the number of time steps of the input",
            got=f"{int(lengths[place])} for row {place[-1]}",
            do="pad the input to its longest row; if time and batch are exchanged, see batch_first",
        )


def _as_tensor(lengths: Lengths) -> Tensor:
    if isinstance(lengths, Tensor) and lengths.dtype is torch.int64:
        return lengths.detach()
    if isinstance(lengths, np.ndarray) and is_eager():
        array: np.ndarray[Any, np.dtype[Any]] = np.asarray(lengths)
        if np.issubdtype(array.dtype, np.integer):
            # a copy: torch takes neither steps backwards in memory (np.sort(lengths)[::-1]) nor another order of bytes
            return torch.from_numpy(array.astype(np.int64))
    try:
        counts = torch.as_tensor(lengths, device=None if isinstance(lengths, Tensor) else "cpu").detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise _not_whole_numbers(repr(lengths)) from error
    if counts.numel() and (counts.is_floating_point() or counts.is_complex() or counts.dtype == torch.bool):
        raise _not_whole_numbers(f"values of {counts.dtype}")
    return counts.to(torch.int64)


def _not_whole_numbers(got: str) -> ShapeError:
    return ShapeError(
        "lengths are not whole numbers",
        expected="a list or an integer tensor, one length for each row of the batch",
        got=got,
        do="convert them: lengths.long(), or mask.sum(0).long() where you hold a (time, batch) mask",
    )


def unpack(packed: PackedSequence) -> tuple[Tensor, Tensor]:
    """A PackedSequence as padded values (time, batch, ...) and lengths (batch,), in the caller's order of rows.

    The lengths are on the CPU, or on the device of the values: the host waits for no device.
    """
    data, sizes = packed.data, packed.batch_sizes
    steps, batch = len(sizes), int(sizes[0])
    values = data.new_zeros(steps * batch, *data.shape[1:]).index_copy_(0, _lines(packed), data)
    lengths = (sizes[:, None] > torch.arange(batch)).sum(0)  # in descending order
    order = packed.unsorted_indices
    if order is not None and not (is_eager() and int(sizes[-1]) == batch):  # else all rows take all steps
        lengths = copied_to(lengths, order.device)[order]
    return values.view(steps, batch, *data.shape[1:]), lengths


def _lines(packed: PackedSequence) -> Tensor:
    """Where each line of the data lies in an array (time * batch, ...) of the caller's rows."""
    sizes, order, device = packed.batch_sizes, packed.sorted_indices, packed.data.device
    batch = int(sizes[0])
    rows = torch.arange(batch, device=device)
    lines = torch.arange(len(sizes), device=device)[:, None] * batch + (rows if order is None else order)
    is_taken = torch.arange(batch) < sizes[:, None]
    # which lines are taken is decided on the CPU, where the sizes are: the host need not wait for a device
    return lines.view(-1)[copied_to(is_taken.view(-1).nonzero().view(-1), device)]


def repack(values: Tensor, like: PackedSequence) -> PackedSequence:
    """`values` (time, batch, features), packed as `like` is: same batch sizes, same order, differentiable.

    This is what a torch.nn layer returns for the input `like`. Raises ShapeError when `values` has not the
    steps and rows of `like`.
    """
    steps, batch = len(like.batch_sizes), int(like.batch_sizes[0])
    if values.shape[:2] != (steps, batch):
        raise ShapeError(
            "the values do not fit the PackedSequence that they are packed like",
            expected=f"shape ({steps}, {batch}, features)",
            got=f"shape {tuple(values.shape)}",
            do="pass time-major values with one row for each packed sequence",
        )
    data = values.flatten(0, 1).index_select(0, _lines(like))
    return PackedSequence(data, like.batch_sizes, like.sorted_indices, like.unsorted_indices)


def order_states(states: Tensor, order: Tensor | None) -> Tensor:
    """States (levels, batch, size) with their rows in the order of a PackedSequence, or back in the caller's."""
    return states if order is None else states.index_select(1, order)


def backward_resets(resets: Tensor) -> Tensor:
    """The steps before which a layer that reads backwards starts anew, (time, batch): each precedes a step before which
    one that reads forwards does.
    """
    return torch.cat([resets[1:], torch.zeros_like(resets[:1])])


def step_mask(lengths: Tensor, steps: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor (steps, batch): 1 where a step belongs to its row, 0 where it is padding."""
    return (torch.arange(steps, device=lengths.device)[:, None] < lengths).to(dtype)


def zero_padding(values: Tensor, lengths: Tensor) -> Tensor:
    """`values` (time, batch, ...) with zeros for padding, even if NaN stood there; no gradient reaches it."""
    padding = ~step_mask(lengths.to(values.device), values.shape[0], torch.bool)
    return values.masked_fill(padding.reshape(*padding.shape, *[1] * (values.dim() - 2)), 0)


@dataclass(frozen=True)
class RaggedRows:
    """The lengths of the rows of a batch: row b takes the first `lengths[b]` of `steps` steps, then keeps its state.

    The index arrays that kernels read are computed once for all layers of a call. torch.compile needs the mask only.
    """

    lengths: Tensor  # (batch,), int64
    steps: int
    on_cpu: Tensor | None = None  # the same lengths, where the host knows those on a GPU

    @classmethod
    def on(cls, lengths: Tensor, steps: int, device: torch.device) -> Self:
        """The rows of a batch on a device, from lengths that are there or on the CPU: they are copied."""
        own = lengths.clone()
        known = own.is_cpu and device.type == "cuda" and is_eager()
        return cls(copied_to(own, device), steps, own if known else None)

    @classmethod
    def of_packed(cls, packed: PackedSequence) -> Self | None:
        """The rows of a PackedSequence on the CPU, in the caller's order; None for parts that do not fit."""
        sizes, order = packed.batch_sizes, packed.sorted_indices
        steps, batch = len(sizes), int(sizes[0])
        try:
            active = ActiveLines.of_packed(sizes.numpy(), None if order is None else order.numpy())
        except ValueError:
            return None
        if active.count != len(packed.data):
            return None
        rows = cls(torch.from_numpy(active.ends // batch), steps)
        rows.__dict__["active"] = active  # what the property would compute, in the order of the packed data
        return rows

    def mask(self) -> Tensor:
        """Where a row takes a step, (time, batch)."""
        return step_mask(self.lengths, self.steps, torch.bool)

    @cached_property
    def is_whole(self) -> bool:
        """Whether every row takes every step."""
        return self.active.is_whole if self.lengths.is_cpu else bool((self.on_host == self.steps).all())

    @property
    def is_known_whole(self) -> bool:
        """Whether every row takes every step, as far as the host knows without waiting for a device."""
        return (self.lengths.is_cpu or self.on_cpu is not None) and self.is_whole

    @cached_property
    def on_host(self) -> Tensor:
        """The lengths on the CPU; the host waits for a device that alone knows them."""
        return self.lengths.cpu() if self.on_cpu is None else self.on_cpu

    @cached_property
    def active(self) -> ActiveLines:
        """The steps that are taken, for kernels."""
        return ActiveLines(self.lengths.numpy(), self.steps)

    @cached_property
    def _ends(self) -> Tensor:
        """Where each row's states after its last step lie, in lines of states at every time (time + 1, batch, ...)."""
        if self.lengths.is_cpu:
            return torch.from_numpy(self.active.ends)
        batch = len(self.lengths)
        return self.lengths * batch + torch.arange(batch, device=self.lengths.device)

    def take_ends(self, states: Tensor) -> Tensor:
        """The state of each row after its last step, out of states at every time."""
        return states.view(-1, *states.shape[2:]).index_select(0, self._ends)

    def put_ends(self, states: Tensor, start: Tensor | None) -> None:
        """Set the state of each row after its last step, among states at every time; None is zeros."""
        lines = states.view(-1, *states.shape[2:])
        if start is None:
            lines.index_fill_(0, self._ends, 0)
        else:
            lines.index_copy_(0, self._ends, start.reshape(len(self._ends), *lines.shape[1:]))

    def pad(self, data: Tensor) -> Tensor:
        """The lines of a PackedSequence in their places (time, batch, ...); padding is undefined, though no NaN comes
        from it. Autograd follows, to any order."""
        differentiable = data.requires_grad and torch.is_grad_enabled()
        padded = _pad(data, self) if differentiable else data.index_select(0, self.places[1])
        return padded.view(self.steps, len(self.lengths), *data.shape[1:])

    def pack(self, values: Tensor) -> Tensor:
        """The lines of values (time, batch, ...) in the order of a PackedSequence; the reverse of `pad`."""
        lines = values.flatten(0, 1)
        differentiable = values.requires_grad and torch.is_grad_enabled()
        return _pack(lines, self) if differentiable else lines.index_select(0, self.places[0])

    @cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """The line of each line of the packed data, and the reverse, where padding has the first line of the data."""
        return torch.from_numpy(self.active.lines), torch.from_numpy(self.active.positions)

    def fill_padding(self, values: Tensor) -> Tensor:
        """The values (time, batch, ...) with zeros where no step is taken, even if NaN stood there."""
        return zero_padding(values, self.lengths)


class _PadLines(Function):
    """Each line of packed data in its place. torch's own gradient would be twice as slow: it adds, padding too."""

    @staticmethod
    def forward(ctx: Any, data: Tensor, rows: RaggedRows) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """To copy a line to padding is faster than to leave it out."""
        ctx.rows = rows
        return data.index_select(0, rows.places[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """The lines of the data; no gradient comes from padding."""
        return grads[0].index_select(0, ctx.rows.places[0]), None


class _PackLines(Function):
    """Lines in the order of packed data."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rows: RaggedRows) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Padding is left out."""
        ctx.rows = rows
        return values.index_select(0, rows.places[0])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """The gradient in the lines' places; kernels do not read that in padding."""
        contiguous = grads[0].contiguous()  # index_select takes ten times as long for a gradient that is expanded
        return contiguous.index_select(0, ctx.rows.places[1]), None


# `Function.apply` inspects the signature of `forward` at every call, which takes longer than a small kernel
_pad: Callable[..., Tensor] = getattr(super(Function, _PadLines), "apply")  # noqa: B009 (unknown to the checker)
_pack: Callable[..., Tensor] = getattr(super(Function, _PackLines), "apply")  # noqa: B009 (unknown to the checker)
