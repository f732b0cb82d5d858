"""The recurrent part: any cell, over a sequence, in one direction or two."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np

from gatewright.axes import HIDDEN, INPUT, bind
from gatewright.backends import numpy_ref
from gatewright.cell_config.config import CellConfig, no_config
from gatewright.lang.param import Param, in_space
from gatewright.network.part import Array, Arrays, Flow, Part, Signal
from gatewright.trace import Trace
from gatewright.trace.mask import MASK, masked_trace

Returns = Literal["sequence", "last"]
Padding = Literal["held", "zeros"]
Merge = Literal["concat", "sum", "mul", "ave"]
PartClass = TypeVar("PartClass", bound=Part)
Parameters = Mapping[str, Array]
"""Parameters of one direction. Of a framework's cell they are by kind and gate: W.r, U.r, the biases b.r (beside W) and
bh.r (beside U), peepholes p.i, projection P.h; an update gate of 1 keeps the old state. Of any other cell they have
their names in the equations; bh.r is a part of b.r that is kept apart."""


def _with_earlier_keyword(part: type[PartClass]) -> type[PartClass]:
    """Let `equations`, the earlier name of the field `cell`, be given too."""
    construct = part.__init__

    @wraps(construct)
    def init(self: Any, *values: Any, **fields: Any) -> None:
        if "equations" in fields:
            fields["cell"] = fields.pop("equations")
        construct(self, *values, **fields)

    setattr(part, "__init__", init)  # noqa: B010
    return part


@_with_earlier_keyword
@dataclass(frozen=True, slots=True)
class RecurrentPart(Part):
    """One recurrent layer of one direction or two."""

    kind: ClassVar[str] = "Recurrent"
    needs_steps: ClassVar[bool] = True
    cell: CellConfig | Trace  # of both directions, or of the first where `second` is that of the other
    directions: tuple[Parameters, ...]
    backwards: bool = False  # its only direction reads from the end
    returns: Returns = "sequence"
    padding: Padding = "held"  # its outputs at masked steps: the state as it stays, or zeros
    initial: tuple[Arrays, ...] = ()  # states to begin with, by direction: (1 or batch, hidden)
    merge: Merge = "concat"  # of the outputs of two directions: side by side, their sum, product or mean
    second: CellConfig | None = None  # of the direction that reads backwards, where it is not that of the first
    axes: Mapping[str, int] = field(default_factory=dict[str, int])  # sizes that a Trace's parameters do not tell

    @property
    def cell_config(self) -> CellConfig:
        """The configuration of a framework's cell.

        Raises ConversionError for any other cell.
        """
        if isinstance(self.cell, CellConfig):
            return self.cell
        raise no_config(self.cell)

    equations = cell_config  # the earlier name

    @property
    def cell_configs(self) -> tuple[CellConfig, ...]:
        """The configuration of each direction's cell."""
        return (self.cell_config, self.second or self.cell_config)[: len(self.directions)]

    equations_of_directions = cell_configs  # the earlier name

    @property
    def traces(self) -> tuple[Trace, ...]:
        """The equations of one step, of each direction."""
        cells = (self.cell, self.second or self.cell)[: len(self.directions)]
        return tuple(cell if isinstance(cell, Trace) else cell.trace for cell in cells)

    def cell_parameters(self, dtype: Any = None) -> tuple[dict[str, Array], ...]:
        """The parameters of each direction, by their names in the equations; biases are added up in a given dtype."""
        cells = (self.cell, self.second or self.cell)
        cast = self.directions if dtype is None else [_cast(parameters, dtype) for parameters in self.directions]
        return tuple(
            _summed(parameters) if isinstance(cell, Trace) else cell.parameters(parameters)
            for cell, parameters in zip(cells, cast, strict=False)
        )

    @property
    def sizes(self) -> dict[str, int]:
        """The size of every axis of the equations."""
        first = self.directions[0]
        if isinstance(self.cell, CellConfig):
            projected = {"projection": first["P.h"].shape[0]} if self.cell.projection else {}
            return {INPUT: _extent(first, "W", 1), HIDDEN: _extent(first, "U", 0), **projected}
        shapes = {param.name: param.shape for param in self.cell.params if param.name in first}
        sizes = {
            axis: size for name, axes in shapes.items() for axis, size in zip(axes, first[name].shape, strict=True)
        }
        return {**self.axes, **sizes}

    @property
    def hidden(self) -> int:
        """Units in each direction."""
        return self.sizes[HIDDEN]

    @property
    def inputs(self) -> int:
        """Features that it reads."""
        if isinstance(self.cell, CellConfig):
            return self.sizes[INPUT]
        return bind(self.cell.inputs[0].shape, self.sizes)[0]

    @property
    def widths(self) -> tuple[int, ...]:
        """Features that each direction gives."""
        if isinstance(self.cell, CellConfig):
            return tuple(_extent(parameters, "U", 1) for parameters in self.directions)
        return bind(self.cell.states[0].shape, self.sizes) * len(self.directions)

    @property
    def outputs(self) -> int:
        """Features that it gives: those of both directions side by side, where they are not merged into one."""
        return sum(self.widths) if self.merge == "concat" else self.widths[0]

    @property
    def width(self) -> int:
        return self.inputs

    def arrays(self) -> Mapping[str, Array]:
        """Its parameters and initial states, numbered by direction."""
        groups = (("", self.directions), ("initial.", self.initial))
        return {
            f"{index}.{group}{name}": array
            for group, directions in groups
            for index, arrays in enumerate(directions)
            for name, array in arrays.items()
        }

    def gives(self, given: Flow) -> Flow:
        return Flow(self.outputs, self.returns == "sequence")

    def apply(self, signal: Signal) -> Signal:
        """Outputs (time, batch, features), or (batch, features) where the last alone are given."""
        runs = self.run(signal)
        first = self.traces[0].states[0].name
        outputs = [run.finals[first] if self.returns == "last" else run.output for run in runs]
        output = _MERGED[self.merge](outputs)
        if signal.mask is not None and self.padding == "zeros" and self.returns == "sequence":
            output = output * signal.mask[..., None]
        return replace(signal.with_values(output), finals=(*signal.finals, *(run.finals for run in runs)))

    def run(self, signal: Signal) -> list[numpy_ref.ReferenceRun]:
        """What each direction gives: outputs after every step, and the final states."""
        dtype, value, mask = signal.dtype, signal.values, signal.mask
        lengths: Any = None if mask is not None or signal.lengths is None else list(signal.lengths)
        runs: list[numpy_ref.ReferenceRun] = []
        for index, (plain, parameters) in enumerate(zip(self.traces, self.cell_parameters(dtype), strict=True)):
            inputs = {plain.inputs[0].name: np.asarray(value, dtype)}
            trace = plain if mask is None else masked_trace(plain)
            if any(leaf.name == MASK for leaf in trace.inputs):
                inputs[MASK] = (np.ones(value.shape[:2]) if mask is None else mask).astype(dtype)
            begin = _cast(self.initial[index], dtype) if self.initial else {}
            states = {name: np.broadcast_to(state, (value.shape[1], state.shape[-1])) for name, state in begin.items()}
            backwards = bool(index) or self.backwards
            runs.append(numpy_ref.run(trace, inputs, parameters, states, lengths=lengths, backwards=backwards))
        return runs


def _cast(arrays: Arrays, dtype: Any) -> dict[str, Array]:
    return {name: array.astype(dtype) for name, array in arrays.items()}


def _extent(parameters: Parameters, space: str, axis: int) -> int:
    return next(iter(in_space(parameters, space).values())).shape[axis]


def _summed(parameters: Parameters) -> dict[str, Array]:
    """The parameters of a Trace, with biases that are kept apart added up."""
    summed = dict(parameters)
    for inner in in_space(parameters, "bh"):
        outer = str(Param.parse(inner)._replace(space="b"))
        if outer in summed:
            summed[outer] = summed[outer] + summed.pop(inner)
    return summed


_MERGED: Mapping[Merge, Callable[[Sequence[Array]], Array]] = {
    "concat": lambda outputs: np.concatenate(outputs, axis=-1),
    "sum": lambda outputs: outputs[0] + outputs[1],
    "mul": lambda outputs: outputs[0] * outputs[1],
    "ave": lambda outputs: (outputs[0] + outputs[1]) / 2,
}
"""What a layer gives of the outputs of its directions."""
