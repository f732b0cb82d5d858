"""The call that is made most often: dense sequences, on the engine. It takes little more time than its kernels.

`Recurrent.forward` serves every call. This serves those about which there is nothing to be found out any more, since an
earlier one found it, and leaves all others to it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch._C._functorch import maybe_current_level  # pyright: ignore[reportMissingImports, reportPrivateUsage]

from gatewright.nn import direct_autograd
from gatewright.nn.direct import Direct, known_direct
from gatewright.nn.dispatch import is_watched
from gatewright.nn.dropout import drop
from gatewright.nn.packed_cell import Asked

if TYPE_CHECKING:
    from gatewright.nn.recurrent import Recurrent

_ASKED: Asked = (True, False, False)  # no random values, no row that keeps its states, no gates
_ENGINE = ("auto", "llvm")  # the backends by which the engine may run
_Ways = list[tuple[Direct, list[Tensor]]]
Results = tuple[Tensor, tuple[Tensor, ...]]
"""The output, and every final state, (num_layers * num_directions, batch, size)."""


def plain_call(layer: "Recurrent", input: Tensor, hx: Tensor | Sequence[Tensor] | None) -> Results | None:
    """The results of a call without lengths, a mask or gates, or None where it has to be looked at more closely."""
    if type(input) is not Tensor or input.dim() != 3 or not input.is_cpu or _is_watched():
        return None
    if input.shape[-1] != layer.input_size or layer.backend not in _ENGINE or (layer.training and layer.trace.noises):
        return None
    ways = _ways(layer, input.dtype)
    values = input.transpose(0, 1) if layer.batch_first else input
    if ways is None or not values.shape[0] * values.shape[1] or not layer.input_size:
        return None
    starts = _starts(layer, hx, values)
    if starts is None:
        return None
    output, finals = _run(layer, ways, values, starts)
    return (output.transpose(0, 1) if layer.batch_first else output), finals


def _is_watched() -> bool:
    """Whether somebody wants to see operations: a graph, a recorder, a transform, autocast, forward mode."""
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or maybe_current_level() is not None
        or torch.is_autocast_enabled("cpu")
        or is_watched()
        or torch.autograd.forward_ad._current_level >= 0  # pyright: ignore[reportPrivateUsage]
    )


def _ways(layer: "Recurrent", dtype: torch.dtype) -> _Ways | None:
    """For every direction of every layer what runs it, and its parameters as they are now."""
    found: _Ways = []
    for index, cell in enumerate(layer.packed_cells):
        direct, packed = known_direct(cell, _ASKED, dtype), layer.packed_parameters(index)
        if direct is None or not direct.takes(packed):
            return None
        found.append((direct, packed))
    return found


def _starts(
    layer: "Recurrent", hx: Tensor | Sequence[Tensor] | None, values: Tensor
) -> Sequence[Sequence[Tensor | None]] | None:
    """The initial states of every direction of every layer, or None where they do not fit."""
    states, count = layer.trace.states, len(layer.packed_cells)
    if hx is None:
        return [(None,) * len(states)] * count
    given = [hx] if isinstance(hx, Tensor) else list(hx)
    shapes = layer.state_shapes
    if len(given) != len(states):
        return None
    for one, shape in zip(given, shapes, strict=True):
        fits = isinstance(one, Tensor) and one.is_cpu and one.dtype is values.dtype  # pyright: ignore[reportUnnecessaryIsInstance]
        if not fits or one.shape != (count, values.shape[1], *shape):
            return None
    return [[whole[index] for whole in given] for index in range(count)]


def _run(layer: "Recurrent", ways: _Ways, values: Tensor, starts: Sequence[Sequence[Tensor | None]]) -> Results:
    directions = 2 if layer.bidirectional else 1
    results: list[tuple[Tensor, ...]] = []
    for index, ((direct, packed), start) in enumerate(zip(ways, starts, strict=True)):
        if index and index % directions == 0:
            values = _joined([output for output, *_ in results[-directions:]], -1)
            if layer.dropout:
                values = drop(values, layer.dropout, layer.training, layer.dropout_per)
        results.append(direct_autograd.run(direct, (values, *packed, *start)))
    output = _joined([output for output, *_ in results[-directions:]], -1)
    return output, tuple(_joined(list(finals), 0) for finals in list(zip(*results, strict=True))[1:])


def _joined(tensors: list[Tensor], axis: int) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors, axis)
