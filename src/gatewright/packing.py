"""How a layer stores its parameters: packed tensors, as in torch.nn, each with a slot for every parameter in it.

The arrays may be NumPy's or torch's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from gatewright.axes import bind
from gatewright.trace.ir import Trace, Var


@dataclass(frozen=True, slots=True)
class Packed:
    """One array: parameters of the equations, one below the other.

    torch.nn's `weight_ih_l0` of a GRU is Packed("weight_ih", ("W.r", "W.z", "W.n")).
    """

    name: str
    slots: tuple[str, ...]


Layout = tuple[Packed, ...]
"""All packed arrays of one direction of one layer. A parameter that lies in two of them is their sum (torch's b_ih +
b_hh)."""


def layout_of(trace: Trace) -> Layout:
    """A packed array for each space (`W`, `U`, `b`), or for each parameter where those of a space differ in shape."""
    layout: list[Packed] = []
    for space, params in trace.spaces().items():
        if len({param.shape for param in params}) == 1:
            layout.append(Packed(space, tuple(param.name for param in params)))
        else:
            layout += [Packed(param.name.replace(".", "_"), (param.name,)) for param in params]
    return tuple(layout)


def tensor_name(packed: Packed, layer: int, reverse: bool) -> str:
    """The name of a packed array in a layer, as torch.nn gives it: weight_ih_l0, weight_ih_l0_reverse."""
    return f"{packed.name}_l{layer}{'_reverse' if reverse else ''}"


def packed_shape(packed: Packed, trace: Trace, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """(gates * hidden, input) for matrices, (gates * hidden,) for vectors, (gates,) for scalars."""
    rows, *columns = bind(_declared(packed, trace).shape, sizes) or (1,)
    return (len(packed.slots) * rows, *columns)


def parts(packed: Packed, array: Any, trace: Trace, sizes: Mapping[str, int]) -> dict[str, Any]:
    """The part of a packed array that belongs to each parameter of the equations, as views.

    The array of one scalar may have no axis: it is that of a parameter by itself.
    """
    if not array.shape:
        return {packed.slots[0]: array}
    shape = bind(_declared(packed, trace).shape, sizes)
    rows = (*shape, 1)[0]
    return {name: array[i * rows : (i + 1) * rows].reshape(shape) for i, name in enumerate(packed.slots)}


def unpacked(layout: Layout, arrays: Iterable[Any], trace: Trace, sizes: Mapping[str, int]) -> dict[str, Any]:
    """Every parameter of the equations by name."""
    values: dict[str, Any] = {}
    for packed, array in zip(layout, arrays, strict=True):
        for name, part in parts(packed, array, trace, sizes).items():
            values[name] = values[name] + part if name in values else part
    return values


def _declared(packed: Packed, trace: Trace) -> Var:
    return next(param for param in trace.params if param.name == packed.slots[0])


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two packed arrays, by their numbers in the layout, that share parameters: torch's b_ih and b_hh.

    `names` are these parameters, each the sum of both its parts; `rows` are where they lie in both arrays.
    """

    first: int
    second: int
    names: tuple[str, ...]
    rows: tuple[slice, ...]
    whole: bool  # both arrays hold these alone


def overlaps(layout: Layout, trace: Trace, sizes: Mapping[str, int]) -> tuple[Overlap, ...]:
    """All pairs of packed arrays that share parameters."""
    pairs = combinations(range(len(layout)), 2)
    return tuple(overlap for pair in pairs if (overlap := _overlap(layout, *pair, trace, sizes)))


def _overlap(layout: Layout, first: int, second: int, trace: Trace, sizes: Mapping[str, int]) -> Overlap | None:
    slots = list(enumerate(zip(layout[first].slots, layout[second].slots, strict=False)))
    shared = [slot for slot, (a, b) in slots if a == b]
    if not shared:
        return None
    height = packed_shape(layout[first], trace, sizes)[0] // len(layout[first].slots)
    starts = [slot for slot in shared if slot - 1 not in shared]
    ends = [slot + 1 for slot in shared if slot + 1 not in shared]
    return Overlap(
        first,
        second,
        names=tuple(layout[first].slots[slot] for slot in shared),
        rows=tuple(slice(a * height, b * height) for a, b in zip(starts, ends, strict=True)),
        whole=len(shared) == len(layout[first].slots) == len(layout[second].slots),
    )
