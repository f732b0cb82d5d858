"""The table of layouts in words: where each parameter lies in a layout, and how it moves between two layouts."""

from dataclasses import dataclass, replace

import numpy as np

from gatewright.cell_config.config import CellConfig
from gatewright.convert import apply
from gatewright.convert.layouts import Layout, Stored, layouts
from gatewright.convert.patterns import AXES, Pattern, pattern
from gatewright.errors import ConversionError
from gatewright.lang.param import Param

LETTERS = {"hidden": "H", "state": "H", "input": "I"}
_COUNTS = ("side", "gate")


@dataclass(frozen=True, slots=True)
class ParameterMove:
    """One parameter of a gate: where it lies in two layouts, as NumPy would cut it out."""

    parameter: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class LayoutMapping:
    """Two layouts of the same kind of layer."""

    source: Layout
    target: Layout
    refused: str  # the reason where the target cannot compute the same
    conditions: tuple[str, ...]  # under which the conversion is exact
    moved: tuple[ParameterMove, ...]


def explain(source: str, target: str) -> tuple[LayoutMapping, ...]:
    """The mappings between all layers of two frameworks that are of one kind."""
    for name in (source, target):
        if not layouts(name):
            known = dict.fromkeys(row.framework for row in layouts())
            raise ConversionError(f"there is no layout {name!r}", expected=", ".join(known))
    mappings = tuple(mapping(row, other) for row in layouts(source) for other in layouts(target, row.family))
    if not mappings:
        raise ConversionError(f"{source} and {target} have no kind of layer in common")
    return mappings


def mapping(source: Layout, target: Layout) -> LayoutMapping:
    """Where each parameter of a layer of the first layout goes in the second."""
    config = source.cell_config
    refused, conditions = _verdict(source, target)
    slots = [
        f"{kind}.{gate}"
        for kind in AXES
        for gate in source.cell_config.gates + (("h",) if kind == "P" else ())
        if where(source, f"{kind}.{gate}") or where(target, f"{kind}.{gate}")
    ]
    moved = tuple(
        ParameterMove(slot, where(source, slot) or "zero", where(target, slot) or _instead(target, slot, config))
        for slot in slots
    )
    return LayoutMapping(source, target, refused, conditions, () if refused else moved)


def where(layout: Layout, parameter: str) -> str:
    """Where a parameter lies in that layout, as NumPy would cut it out; empty where there is none."""
    kind, gate = Param.parse(parameter)
    for name, stored, gates in layout.stored():
        if kind in stored.kinds.split() and gate in gates:
            negated = "-" if layout.update == "replaces" and gate == "z" else ""
            return negated + _cut(name, stored, kind, gates.index(gate), len(gates))
    return ""


def _cut(name: str, stored: Stored, kind: str, gate: int, gates: int) -> str:
    axes, kinds = pattern(stored.axes), stored.kinds.split()
    cuts = [_along(axes, index, kinds, kind, gate, gates) for index in range(len(axes.groups))]
    while cuts and cuts[-1] == ":":
        cuts.pop()
    order = [axis for group in axes.groups for axis in group if axis in AXES[kind]]
    if stored.buffer:
        return f"{name}[{', '.join(cuts)}].reshape({', '.join(LETTERS[axis] for axis in stored.buffer.split())})"
    transposed = ".T" if order == list(reversed(AXES[kind])) and len(order) == 2 else ""
    return f"{name}[{', '.join(cuts)}]{transposed}" if cuts else f"{name}{transposed}"


def _along(axes: Pattern, index: int, kinds: list[str], kind: str, gate: int, gates: int) -> str:
    group = axes.groups[index]
    if index == axes.joined:
        first = LETTERS[group[0]]
        return f":{first}" if kinds.index(kind) == 0 else f"{first}:"
    block = 0
    blocks = 1
    for axis in group:
        if axis in _COUNTS:
            length, place = (len(kinds), kinds.index(kind)) if axis == "side" else (gates, gate)
            block, blocks = block * length + place, blocks * length
    own = [axis for axis in group if axis not in _COUNTS]
    if not own:
        return str(block)
    if blocks == 1:
        return ":"
    return f"{_times(block, LETTERS[own[0]])}:{_times(block + 1, LETTERS[own[0]])}"


def _times(count: int, letter: str) -> str:
    return "" if count == 0 else letter if count == 1 else f"{count}{letter}"


def _instead(target: Layout, slot: str, config: CellConfig) -> str:
    """What is done with a parameter that has no place of its own in the target."""
    kind, gate = Param.parse(slot)
    if kind == "bh" and where(target, f"b.{gate}") and not (config.reset == "after" and gate == "n"):
        return f"added to b.{gate}"
    return "must be zero"


def _verdict(source: Layout, target: Layout) -> tuple[str, tuple[str, ...]]:
    """Why not, or under which conditions: by trying it, with zeros where a condition is in doubt."""
    zeros = {
        f"{kind}.{gate}": np.zeros((2,) * len(AXES[kind]))
        for _, stored, gates in source.stored()
        for kind in stored.kinds.split()
        for gate in gates
    }
    candidate = _shared(source, target)
    try:
        apply.write(target, zeros, candidate)
    except ConversionError as error:
        return error.problem.partition(": ")[2] or error.problem, ()
    changed = [
        f"{what} {getattr(candidate, what)}"
        for what in ("gate", "activation", "output")
        if getattr(candidate, what) != getattr(source.cell_config, what)
    ]
    conditions = [f"where the source has {' and '.join(changed)}"] if changed else []
    if source.forget_bias != target.forget_bias:
        conditions.append(f"with b.f changed by {source.forget_bias - target.forget_bias:+g}")
    return "", tuple(conditions)


def _shared(source: Layout, target: Layout) -> CellConfig:
    """The source's config, with activations that both have where the target lacks the source's default."""
    shared = {
        what: next((name for name in source.having(what) if name in target.having(what)), source.having(what)[0])
        for what in ("gate", "activation", "output")
    }
    if not source.output:
        shared["output"] = shared["activation"]
    return replace(source.cell_config, **shared)
