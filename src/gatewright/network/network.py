"""A network: parts in order, each of which reads what the one before it gives; and what it computes.

The NumPy reference computes it: every conversion and every exported file is held to that.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gatewright.axes import bind
from gatewright.backends import numpy_ref
from gatewright.errors import ConversionError
from gatewright.network.part import Array, Arrays, Flow, Part, Signal, of_type
from gatewright.network.parts import Dense
from gatewright.network.recurrent import RecurrentPart
from gatewright.network.steps import Reshape

Lengths = Literal["given"] | tuple[int, ...]
"""How many steps each row of a batch has: given beside the inputs, or the same numbers in every run."""


@dataclass(frozen=True, slots=True)
class Network:
    """All parts in order, and what else lay in the file, by its name there."""

    parts: tuple[Part, ...]
    layout: str = ""  # where it was read from, such as "keras"
    rest: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    notes: tuple[str, ...] = ()  # what was taken for granted, for the user to see
    lengths: Lengths | None = None  # of the rows; without, every row has all steps
    assumed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])
    """What the file does not say of the equations, by the name of the fact: what was taken, and what else there is."""
    row_shape: tuple[int | None, ...] = ()  # of the inputs, where the file says it and no part does
    names: tuple[str, ...] = ()  # of the parts, for arrays in exported files
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the numbers mean: task, vocabulary, classes, variables, signature."""
    batch_first: bool = False  # how exported files order the axes

    @property
    def recurrent(self) -> tuple[RecurrentPart, ...]:
        """The recurrent layers."""
        return tuple(part for part in self.parts if isinstance(part, RecurrentPart))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The precision of its numbers; float32 where it has none."""
        arrays = [array for part in self.parts for array in part.arrays().values()]
        return np.result_type(*arrays) if arrays else np.dtype(np.float32)

    @property
    def reads(self) -> tuple[int | None, ...]:
        """One row of its inputs: (time,) of symbols, (time, features), or (features,) that are reshaped first.

        None stands for any number of steps.
        """
        if self.row_shape:
            return self.row_shape
        deciding = (p for p in self.parts if p.reads_symbols or isinstance(p, RecurrentPart | Dense | Reshape))
        first = next(deciding, None)
        if isinstance(first, Reshape):
            return (None if -1 in first.shape else prod(first.shape),)
        return (self._steps,) if first and first.reads_symbols else (self._steps, self.width)

    @property
    def reads_rows(self) -> bool:
        """Whether it reads (batch, features), without steps."""
        return len(self.reads) == 1 and not self.symbols

    @property
    def symbols(self) -> int:
        """How many symbols it knows; 0 where it reads numbers."""
        return next((part.symbol_count for part in self.parts if part.symbol_count), 0)

    @property
    def width(self) -> int:
        """The features that it reads.

        Raises ConversionError where no part says.
        """
        if (width := _first_width(self.parts)) is None:
            raise ConversionError("there is no part that says how many features it reads")
        return width

    @property
    def output_width(self) -> int | None:
        """The features that it gives, as far as they are known."""
        return self.flows()[-1].features

    @property
    def _steps(self) -> int | None:
        """How many steps there must be, where all of them are read at once."""
        for part, flow in zip(self.parts, self.flows(), strict=False):
            if flow.has_steps is False:
                return None
            if isinstance(part, Reshape):
                return prod(part.shape) // flow.features if flow.features and -1 not in part.shape else None
        return None

    def flows(self) -> list[Flow]:
        """What each part reads, and what the last one gives, as far as it is known without numbers."""
        flows = [Flow(None if self.symbols else _first_width(self.parts))]
        for part in self.parts:
            flows.append(part.gives(flows[-1]))
        return flows

    def name_of(self, index: int) -> str:
        """What arrays of a part are called by in files."""
        return self.names[index] if self.names else f"{self.parts[index].kind.lower()}{index}"

    @property
    def layer_name(self) -> str:
        """What its recurrent layer, or the first of them, is called in its file."""
        index = next((i for i, part in enumerate(self.parts) if isinstance(part, RecurrentPart)), 0)
        return self.name_of(index).rpartition(".")[0]

    def state_shapes(self) -> dict[str, tuple[int, int]]:
        """The (levels * directions, features) of each state, where all layers have the same states."""
        shapes = [{s.name: bind(s.shape, part.sizes)[0] for s in part.traces[0].states} for part in self.recurrent]
        if not shapes or any(shape != shapes[0] for shape in shapes):
            return {}
        rows = sum(len(part.directions) for part in self.recurrent)
        return {name: (rows, size) for name, size in shapes[0].items()}

    def beginning_with(self, states: Mapping[str, NDArray[Any]]) -> "Network":
        """The same, whose layers begin with states (levels * directions, batch, features)."""
        row, parts = 0, list[Part]()
        for part in self.parts:
            if isinstance(part, RecurrentPart):
                rows = range(row, row := row + len(part.directions))
                part = replace(part, initial=tuple({n: whole[i] for n, whole in states.items()} for i in rows))  # noqa: PLW2901
            parts.append(part)
        return replace(self, parts=tuple(parts))

    def of_type(self, dtype: str) -> "Network":
        """The same with numbers of another precision.

        Raises ConversionError where that cannot hold them.
        """
        network = replace(self, parts=tuple(of_type(part, np.dtype(dtype)) for part in self.parts))
        arrays = (array for part in network.parts for array in part.arrays().values())
        if not all(np.isfinite(array).all() for array in arrays):
            raise ConversionError(
                f"the network has numbers that {dtype} cannot hold", do="leave dtype out", shell="leave --dtype out"
            )
        return network

    def noting(self, *notes: str) -> "Network":
        """The same, with more to tell."""
        return replace(self, notes=(*self.notes, *notes))


def _first_width(parts: Iterable[Part]) -> int | None:
    return next((part.width for part in parts if part.width is not None), None)


def checked(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The same parts, if each can read what the one before gives.

    Raises ConversionError where one cannot.
    """
    given = Flow()
    for index, part in enumerate(parts):
        fits = (given.features in (None, part.width) or part.width is None) and part.is_consistent()
        if not fits or (part.needs_steps and given.has_steps is False) or (index and part.reads_symbols):
            got = "symbols" if given.has_steps is not False else "no steps"
            raise ConversionError(
                f"part {index}, {part.kind}, does not fit what it reads",
                expected=f"{'steps of ' if part.needs_steps else ''}{part.width} features",
                got=got if fits else f"{given.features}",
            )
        given = part.gives(given)
    return parts


def run(network: Network, inputs: Array, *, dtype: Any = np.float64, lengths: Sequence[int] | None = None) -> Array:
    """Outputs of a network for inputs (time, batch, features), or (time, batch) of symbols.

    `lengths` are those of the rows where no part of the network tells which steps are padding; without them they are
    those that the network has, or all steps. A network that begins with a Reshape reads (batch, features); one that has
    dropped the time axis gives out as much.

    Raises ConversionError for a part that cannot be computed.
    """
    lengths = network.lengths if lengths is None and isinstance(network.lengths, tuple) else lengths
    return _signal(network, inputs, dtype, lengths).values


def outcome(
    network: Network,
    inputs: Array,
    states: Arrays | None = None,
    lengths: Sequence[int] | Array | None = None,
    known: Array | None = None,
) -> tuple[Array, dict[str, Array]]:
    """The output, and the final states (levels * directions, batch, features), in the network's own precision.

    `inputs` are time first, as are the results. Rows end at their lengths. `known` is what a forecast reads beside its
    window.
    """
    inputs = np.asarray(inputs)
    dtype = np.result_type(network.dtype, *([inputs.dtype] if inputs.dtype.kind == "f" else []))
    begun = network.beginning_with(states) if states else network
    signal = _signal(begun, inputs, dtype, lengths, known)
    finals = {name: np.stack([final[name] for final in signal.finals]) for name in network.state_shapes()}
    return signal.values, finals


def _signal(
    network: Network, inputs: Any, dtype: Any, lengths: Sequence[int] | Array | None, known: Array | None = None
) -> Signal:
    """What the last part gives, with the final states of every layer."""
    inputs, ends = np.asarray(inputs), None if lengths is None else np.asarray(lengths)
    signal = Signal(inputs, inputs, np.dtype(dtype), lengths=ends, row_lengths=ends, known=known)
    for part in network.parts:
        signal = part.apply(signal)
    return signal


def run_layer(
    layer: RecurrentPart,
    value: Array,
    *,
    dtype: Any = np.float64,
    lengths: Sequence[int] | None = None,
    mask: Array | None = None,
) -> list[numpy_ref.ReferenceRun]:
    """What each direction of a layer gives: outputs after every step, and the final states.

    `mask` (time, batch) is false where a step is padding, wherever that lies; `lengths` say the same of rows that are
    padded at their ends.
    """
    ends = None if lengths is None else np.asarray(lengths)
    return layer.run(Signal(value, value, np.dtype(dtype), mask, ends))
