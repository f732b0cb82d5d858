"""The arguments of a call in one form: time-major, batched, padded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatewright.axes import bind
from gatewright.errors import ShapeError
from gatewright.nn.host_copies import copied_to
from gatewright.nn.layer_interface import LayerInterface
from gatewright.nn.precision import Precision
from gatewright.nn.sequence import RaggedRows, row_lengths, unpack


@dataclass(frozen=True, slots=True)
class CallArguments:
    """The arguments of one call of a layer."""

    values: Tensor  # (time, batch, input_size); the data of `packed` where it was to stay packed
    states: tuple[Tensor, ...] | None  # each (num_layers * num_directions, batch, size)
    ragged: RaggedRows | None  # where rows have lengths
    active: Tensor | None  # where there is a mask: (time, batch), False where a row keeps its states
    resets: Tensor | None  # (time, batch), True where a row starts anew; none in padding
    packed: PackedSequence | None  # what the output is to be packed like
    batched: bool

    def converted(self, precision: Precision) -> Self:
        """With all numbers in the dtype of the kernels' arrays."""
        values = precision.as_computed([self.values])[0]
        states = None if self.states is None else tuple(precision.as_computed(self.states))
        return replace(self, values=values, states=states)


def read_arguments(
    layer: LayerInterface,
    input: Tensor | PackedSequence,
    hx: Tensor | tuple[Tensor, ...] | None,
    lengths: Tensor | Sequence[int] | None,
    mask: Tensor | None,
    resets: Tensor | None = None,
    *,
    stay_packed: bool = False,
) -> CallArguments:
    """Bring the arguments of a call into one form; a PackedSequence stays one where that is asked for.

    Raises ShapeError where one does not fit the layer.
    """
    if isinstance(input, PackedSequence):
        if lengths is not None:
            raise ShapeError(
                "lengths was given with a PackedSequence, which has its own",
                expected="one of the two",
                do="leave lengths out",
            )
        values, lengths = (input.data, None) if stay_packed else unpack(input)
        steps, batch, batched = len(input.batch_sizes), int(input.batch_sizes[0]), True
    else:
        values, batched = _time_major(layer, input)
        steps, batch = values.shape[:2]
    if values.shape[-1] != layer.input_size:
        raise ShapeError(
            f"{_name(layer)} was given an input that does not fit",
            expected=f"{layer.input_size} features in the last axis",
            got=f"shape {tuple(values.shape if isinstance(input, PackedSequence) else input.shape)}",
            do="check input_size and batch_first",
        )
    ragged = None
    if lengths is not None:
        # a copy, since the gradient reads them again
        ragged = RaggedRows.on(row_lengths(lengths, steps=steps, batch=batch), steps, values.device)
    active = None if mask is None else _marked(layer, "a mask that does", ragged, mask, values, batched)
    starts = None if resets is None else _marked(layer, "resets that do", ragged, resets, values, batched)
    states = _states(layer, hx, batch, batched)
    own = layer._parameters.values()  # pyright: ignore[reportPrivateUsage] (named_parameters() takes 7 us)
    if any(tensor is not None and tensor.device != values.device for tensor in (*(states or ()), *own)):
        named = {f"the initial state {n.name}": h for n, h in zip(layer.trace.states, states or (), strict=False)}
        check_devices(_name(layer), {"the input": values, **named, **dict(layer.named_parameters())})
    return CallArguments(
        values=values,
        states=states,
        ragged=ragged,
        active=active,
        resets=starts,
        packed=input if isinstance(input, PackedSequence) else None,
        batched=batched,
    )


def check_input(layer: LayerInterface, values: Tensor) -> None:
    """Raise ShapeError for an input that no backend reads: not dense, or of another dtype than the parameters."""
    check_dense(_name(layer), "an input", values)
    _check_dtype(layer, "an input", values)


def check_dense(name: str, what: str, tensor: Tensor) -> None:
    """Hold that the numbers of a tensor are in memory, each in its place."""
    if tensor.is_nested:
        got, do = "a nested tensor", "torch.nested.to_padded_tensor(x, 0.0), with the lengths of the rows as lengths="
    elif tensor.is_quantized:
        got, do = f"a quantized tensor, {tensor.dtype}", ".dequantize() makes it dense"
    elif tensor.layout != torch.strided:
        got, do = f"a tensor of layout {tensor.layout}", ".to_dense() makes it dense"
    else:
        return
    raise ShapeError(f"{name} was given {what} that is not dense", expected="a dense tensor", got=got, do=do)


def _check_dtype(layer: LayerInterface, what: str, tensor: Tensor) -> None:
    """Hold that a tensor has the parameters' dtype, where torch does not convert both by itself."""
    parameter = next(iter(layer.parameters()), tensor)
    if tensor.dtype == parameter.dtype or torch.is_autocast_enabled(tensor.device.type):
        return
    raise ShapeError(
        f"{_name(layer)} was given {what} of another dtype than its parameters",
        expected=str(parameter.dtype),
        got=str(tensor.dtype),
        do=f"convert it, .to({parameter.dtype}), or the layer, .to({tensor.dtype})"
        if tensor.is_floating_point()
        else f"embed indices or make them one-hot, and convert numbers, .to({parameter.dtype})",
    )


def check_devices(name: str, tensors: Mapping[str, Tensor]) -> None:
    """Hold that the tensors of a call, given by what they are called, lie on one device: kernels trust it."""
    places: dict[torch.device, list[str]] = {}
    for what, tensor in tensors.items():
        places.setdefault(tensor.device, []).append(what)
    if len(places) > 1:
        raise ShapeError(
            f"{name} was called with tensors on several devices",
            expected="all of them on one device",
            got="; ".join(f"{', '.join(group)} on {device}" for device, group in places.items()),
            do="move the layer and what it is called with to one device: layer.to(device), input.to(device)",
        )


def _name(layer: LayerInterface) -> str:
    return f"{type(layer).__name__}({layer.trace.name})"


def no_tensor(layer: LayerInterface, input: object) -> ShapeError:
    """The error for an input that is no tensor."""
    return ShapeError(
        f"{_name(layer)} was given an input that is no tensor",
        expected="a torch.Tensor or a PackedSequence",
        got=type(input).__name__,
        do="torch.as_tensor(input, dtype=torch.float32) makes one of a list or an array",
    )


def _time_major(layer: LayerInterface, input: Tensor) -> tuple[Tensor, bool]:
    if input.dim() == 2:
        return input.unsqueeze(1), False
    if input.dim() != 3:
        first = "(batch, time, features)" if layer.batch_first else "(time, batch, features)"
        raise ShapeError(
            f"{_name(layer)} was given an input that does not fit",
            expected=f"{first}, or (time, features) for a single sequence",
            got=f"{input.dim()} axes: {tuple(input.shape)}",
            do="add or remove axes; indices must be embedded or made one-hot first",
        )
    return (input.transpose(0, 1) if layer.batch_first else input), True


def _states(
    layer: LayerInterface, hx: Tensor | tuple[Tensor, ...] | None, batch: int, batched: bool
) -> tuple[Tensor, ...] | None:
    if hx is None:
        return None
    names = [state.name for state in layer.trace.states]
    wanted = f"a tensor, {names[0]}" if len(names) == 1 else f"a tuple of {len(names)} tensors, ({', '.join(names)})"
    states: tuple[Tensor, ...] = tuple(hx) if isinstance(hx, tuple | list) else (hx,)
    if len(states) != len(names) or not all(isinstance(state, Tensor) for state in states):  # pyright: ignore[reportUnnecessaryIsInstance]
        got = ", ".join(type(state).__name__ for state in states)
        raise ShapeError(
            f"{_name(layer)} was given initial states that are not those of its cell",
            expected=wanted,
            got=f"({got})" if isinstance(hx, tuple | list) else got,
        )
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    sizes = layer.sizes()
    for declared, state in zip(layer.trace.states, states, strict=True):
        check_dense(_name(layer), f"an initial state {declared.name}", state)
        shape = (rows, *((batch,) if batched else ()), *bind(declared.shape, sizes))
        if tuple(state.shape) != shape:
            raise ShapeError(
                f"{_name(layer)} was given an initial state {declared.name} that does not fit",
                expected=f"{shape}: ({'layers * directions, batch, size' if batched else 'layers * directions, size'})",
                got=str(tuple(state.shape)),
            )
        _check_dtype(layer, f"an initial state {declared.name}", state)
    return states if batched else tuple(state.unsqueeze(1) for state in states)


def _marked(
    layer: LayerInterface, what: str, ragged: RaggedRows | None, marks: Tensor, values: Tensor, batched: bool
) -> Tensor:
    """Which steps of which rows are marked, (time, batch): within a row's length, and where the mark is not 0."""
    steps, batch = values.shape[:2]
    expected = ((batch, steps) if layer.batch_first else (steps, batch)) if batched else (steps,)
    is_tensor = isinstance(marks, Tensor)  # pyright: ignore[reportUnnecessaryIsInstance]
    passed = copied_to(marks, values.device) if is_tensor else _as_marks(layer, what, marks, values, expected)
    marks = passed.unsqueeze(1) if not batched and passed.dim() == 1 else passed
    marks = marks.transpose(0, 1) if batched and layer.batch_first and marks.dim() == 2 else marks
    if marks.shape != (steps, batch):
        raise ShapeError(
            f"{_name(layer)} was given {what} not fit",
            expected=f"{expected}, one number a step and row",
            got=str(tuple(passed.shape)),
        )
    return marks != 0 if ragged is None else (marks != 0) & ragged.mask()


def _as_marks(layer: LayerInterface, what: str, marks: object, like: Tensor, expected: tuple[int, ...]) -> Tensor:
    """A tensor of marks that a caller gave as something else."""
    try:
        return copied_to(torch.as_tensor(marks, device="cpu"), like.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ShapeError(
            f"{_name(layer)} was given {what} not fit",
            expected=f"a tensor or an array of shape {expected}, one number a step and row",
            got=f"{type(marks).__name__}, of which torch makes no tensor: {error}",
        ) from error
