"""The card of a cell, which `gatewright show` prints: equations, parameters, states, gates, options and cost."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import CellType, FunctionType

from gatewright.axes import HIDDEN, INPUT, bind
from gatewright.backends.formulas import latex, unicode
from gatewright.backends.formulas.tree import Name, StepIndex
from gatewright.errors import OptionError
from gatewright.inspect.roles import roles
from gatewright.lang import Cell
from gatewright.lang.cell import spell
from gatewright.lang.ops import Op
from gatewright.trace import Trace, trace_cell
from gatewright.trace.analysis import flops, parameter_count, reads
from gatewright.trace.recurrence import recurrence

DEFAULT_SIZES: Mapping[str, int] = {INPUT: 128, HIDDEN: 256}
EQUATION_WIDTH = 78
_RANGES: Mapping[Op, tuple[float | None, float | None]] = {
    Op.SIGMOID: (0, 1),
    Op.HARD_SIGMOID: (0, 1),
    Op.TANH: (-1, 1),
    Op.RELU: (0, None),
    Op.EXP: (0, None),
    Op.SOFTPLUS: (0, None),
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One weight or bias: `name` in Python, `symbol` in formulas, `count` numbers, and its `role` in the equations."""

    name: str
    symbol: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    count: int
    role: str
    starts_at: float | None


@dataclass(frozen=True, slots=True)
class State:
    """A state of `size` numbers a row: `emitted` if it is the output of a layer, `read` if the next step reads it."""

    name: str
    symbol: str
    size: int
    emitted: bool
    read: bool


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate and the range of its values; None is no bound."""

    name: str
    least: float | None
    largest: float | None


@dataclass(frozen=True, slots=True)
class Option:
    """An option of the cell: its value, its default, and the allowed values if they are words or True and False."""

    name: str
    value: str
    default: str
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """A description of a cell for layers of given `sizes`; `flops` are for one step of one row."""

    name: str
    label: str
    title: str
    paper: str
    description: str
    convention: str
    differs: str
    sizes: Mapping[str, int]
    inputs: Mapping[str, int]
    equations: str
    latex: str
    parameters: tuple[Parameter, ...]
    parameter_count: int
    states: tuple[State, ...]
    gates: tuple[Gate, ...]
    options: tuple[Option, ...]
    parallel_in_time: bool
    why_not_parallel: str
    flops: int


def card(cell: Cell, sizes: Mapping[str, int] | None = None) -> Card:
    """The card of a cell, for layers of the given sizes.

    An axis besides input and hidden is half as wide as hidden unless `sizes` names it.

    Raises OptionError if `sizes` names an axis that the cell does not have.
    """
    trace = trace_cell(cell)
    known = _sizes(cell, trace, sizes or {})
    affine = recurrence(trace)
    return Card(
        name=cell.name,
        label=cell.label,
        title=cell.about.title or cell.name,
        paper=cell.about.paper,
        description=_description(cell),
        convention=cell.about.convention,
        differs=cell.about.differs,
        sizes=known,
        inputs={value.name: prod(bind(value.shape, known)) for value in trace.inputs},
        equations=unicode.equations(trace, EQUATION_WIDTH),
        latex=latex.equations(trace),
        parameters=_parameters(cell, trace, known),
        parameter_count=parameter_count(trace, known),
        states=_states(trace, known),
        gates=_gates(trace),
        options=tuple(_option(cell, name) for name in cell.defaults),
        parallel_in_time=affine.is_parallel,
        # in the names of the formulas, without lines of the file that the cell is in
        why_not_parallel=re.sub(r"matmul (\w+)\.(\w+)", r"\1_\2", re.sub(r", line \d+", "", affine.reason)),
        flops=flops(trace, known),
    )


def _sizes(cell: Cell, trace: Trace, given: Mapping[str, int]) -> dict[str, int]:
    axes = dict.fromkeys((*DEFAULT_SIZES, *trace.axes()))
    unknown = [axis for axis in given if axis not in axes]
    if unknown:
        raise OptionError(f"cell {cell.label!r} has no axis {unknown[0]!r}", expected=", ".join(axes), got=unknown[0])
    sizes = {**DEFAULT_SIZES, **given}
    return {axis: sizes.get(axis, max(1, sizes[HIDDEN] // 2)) for axis in axes}


def _description(cell: Cell) -> str:
    """The docstring of the cell's function, without the paragraph of the errors that it raises."""
    for code in cell.codes:
        text = FunctionType(code, {}, closure=tuple(CellType() for _ in code.co_freevars)).__doc__ or ""
        parts = [part for part in re.split(r"\n\s*\n", text.strip()) if not part.lstrip().startswith("Raises ")]
        return "\n\n".join(re.sub(r"\n[ \t]+", "\n", part.strip()) for part in parts)
    return ""


def _parameters(cell: Cell, trace: Trace, sizes: Mapping[str, int]) -> tuple[Parameter, ...]:
    uses, starts = roles(trace), cell.starts(param.name for param in trace.params)
    return tuple(
        Parameter(
            name=param.name,
            symbol=uses[param.name].symbol,
            axes=param.shape,
            shape=bind(param.shape, sizes),
            count=prod(bind(param.shape, sizes)),
            role=uses[param.name].text,
            starts_at=starts.get(param.name),
        )
        for param in trace.params
    )


def _states(trace: Trace, sizes: Mapping[str, int]) -> tuple[State, ...]:
    read = reads(trace)
    return tuple(
        State(
            state.name,
            unicode.spell(Name(state.name, time=StepIndex.NOW)),
            prod(bind(state.shape, sizes)),
            emitted=not index,
            read=state.name in read,
        )
        for index, state in enumerate(trace.states)
    )


def _gates(trace: Trace) -> tuple[Gate, ...]:
    definitions = trace.definitions()
    return tuple(Gate(name, *_RANGES.get(definitions[value.name].op, (None, None))) for name, value in trace.gates)


def _option(cell: Cell, name: str) -> Option:
    default = cell.defaults[name]
    value = cell.options.get(name, default)
    return Option(name, spell(value), spell(default), _choices(cell, name, default))


def _choices(cell: Cell, name: str, default: object) -> tuple[str, ...]:
    """The allowed values of an option that is a switch or a word: read from the error for another word."""
    if isinstance(default, bool):
        return ("True", "False")
    if not isinstance(default, str):
        return ()
    try:
        trace_cell(cell(**{name: f"no {name}"}))
    except OptionError as refused:
        return tuple(re.findall(rf'\b{name}="([^"]*)"', refused.expected or ""))
    return ()
