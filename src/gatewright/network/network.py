"""What a file of weights holds, in one form for all frameworks: parts, each reading what the one before gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gatewright.cell_config.config import CellConfig
from gatewright.errors import ConversionError

Returns = Literal["sequence", "last"]
Lengths = Literal["given"] | tuple[int, ...]
"""How many steps each row of a batch has: given beside the inputs, or the same numbers in every run."""
Padding = Literal["held", "zeros"]
Merge = Literal["concat", "sum", "mul", "ave"]
Parameters = Mapping[str, NDArray[Any]]
"""Parameters of one direction of one layer by kind and gate: W.r, U.r, the biases b.r (beside W) and bh.r (beside U),
peepholes p.i, projection P.h. An update gate of 1 keeps the old state."""


@dataclass(frozen=True, slots=True)
class Recurrent:
    """One recurrent layer of one direction or two."""

    equations: CellConfig  # of both directions, or of the first where `second` has those of the other
    directions: tuple[Parameters, ...]
    backwards: bool = False  # its only direction reads from the end
    returns: Returns = "sequence"
    padding: Padding = "held"  # its outputs at masked steps: the state as it stays, or zeros
    initial: tuple[Mapping[str, NDArray[Any]], ...] = ()  # states to begin with, by direction: (1 or batch, hidden)
    merge: Merge = "concat"  # of the outputs of two directions: side by side, their sum, product or mean
    second: CellConfig | None = None  # of the direction that reads backwards, where they are not those of the first

    @property
    def equations_of_directions(self) -> tuple[CellConfig, ...]:
        """The equations of each direction."""
        return (self.equations, self.second or self.equations)[: len(self.directions)]

    @property
    def hidden(self) -> int:
        """Units in each direction."""
        return next(v.shape[0] for k, v in self.directions[0].items() if k.startswith("U."))

    @property
    def inputs(self) -> int:
        """Features that it reads."""
        return next(v.shape[1] for k, v in self.directions[0].items() if k.startswith("W."))

    @property
    def outputs(self) -> int:
        """Features that it gives: those of both directions side by side, where they are not merged into one."""
        widths = [next(v.shape[1] for k, v in one.items() if k.startswith("U.")) for one in self.directions]
        return sum(widths) if self.merge == "concat" else widths[0]


@dataclass(frozen=True, slots=True)
class Embedding:
    """Symbols as rows of a matrix (symbols, features)."""

    weight: NDArray[Any]
    masks_zero: bool = False  # symbol 0 is padding


@dataclass(frozen=True, slots=True)
class OneHot:
    """Symbols as unit vectors."""

    symbols: int


@dataclass(frozen=True, slots=True)
class Scale:
    """`(x - mean) / deviation`, feature by feature."""

    mean: NDArray[Any]
    deviation: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Masking:
    """Steps in which every feature is `value` are padding: states pass them unchanged."""

    value: float


@dataclass(frozen=True, slots=True)
class Dense:
    """`activation(weight @ x + bias)`, with weight (outputs, inputs)."""

    weight: NDArray[Any]
    bias: NDArray[Any] | None = None
    activation: str = "identity"


@dataclass(frozen=True, slots=True)
class Activation:
    """A function of each number; softmax, of each row of features."""

    function: str


@dataclass(frozen=True, slots=True)
class Reshape:
    """The numbers of each row of the batch, step by step, in another shape: (features,) or (time, features).

    One of the sizes may be -1, for whatever is left. A mask ends here.
    """

    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reverse:
    """The steps, and their mask, from the last to the first."""


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of all steps of a row that are no padding: one vector for a sequence."""


@dataclass(frozen=True, slots=True)
class Max:
    """The greatest value of each feature in all steps of a row that are no padding: one vector for a sequence."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the sequence as it lies in memory, whether or not it is padding: `x[index]`, from the end below 0."""

    index: int


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """`(x - mean) / sqrt(variance + epsilon) * gain + bias`, with the mean and variance of each row of features.

    Ba, Kiros and Hinton, "Layer normalization" (2016). Without a gain it is 1, without a bias 0.
    """

    epsilon: float
    gain: NDArray[Any] | None = None
    bias: NDArray[Any] | None = None


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """`(x - mean) / sqrt(variance + epsilon) * gain + bias`, feature by feature, with the statistics of training.

    Ioffe and Szegedy, "Batch normalization" (2015), as it is once training is over. Without a gain it is 1, without a
    bias 0.
    """

    mean: NDArray[Any]
    variance: NDArray[Any]
    epsilon: float
    gain: NDArray[Any] | None = None
    bias: NDArray[Any] | None = None


@dataclass(frozen=True, slots=True)
class AddInput:
    """What the network reads, step by step, is added to what it gives: the first `features` of it, or one to all.

    The skip connection of models of guitar amplifiers: Wright, Damskagg, Juvela and Valimaki, "Real-time guitar
    amplifier emulation with deep learning" (2020).
    """

    features: int


Part = (
    Recurrent
    | Embedding
    | OneHot
    | Scale
    | Masking
    | Dense
    | Activation
    | Reshape
    | Reverse
    | Mean
    | Max
    | Step
    | LayerNorm
    | BatchNorm
    | AddInput
)


def arrays_of(part: Part) -> list[NDArray[Any]]:
    """All numbers of a part."""
    if isinstance(part, Recurrent):
        return [array for held in (*part.directions, *part.initial) for array in held.values()]
    values = (getattr(part, each.name) for each in fields(part))
    return [value for value in values if isinstance(value, np.ndarray)]


def _of_type(part: Part, dtype: np.dtype[Any]) -> Part:
    def cast(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: cast(each) for name, each in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        if isinstance(value, tuple):
            return tuple(map(cast, value))  # pyright: ignore[reportUnknownArgumentType]
        with np.errstate(over="ignore"):
            return value.astype(dtype) if isinstance(value, np.ndarray) else value  # pyright: ignore[reportUnknownMemberType]

    return replace(part, **{each.name: cast(getattr(part, each.name)) for each in fields(part)})


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

    @property
    def recurrent(self) -> tuple[Recurrent, ...]:
        """The recurrent layers."""
        return tuple(part for part in self.parts if isinstance(part, Recurrent))

    @property
    def reads(self) -> tuple[int | None, ...]:
        """One row of its inputs: (time,) of symbols, (time, features), or (features,) that are reshaped first.

        None stands for any number of steps.
        """
        first = next(part for part in self.parts if isinstance(part, Embedding | OneHot | Recurrent | Dense | Reshape))
        match first:
            case Embedding() | OneHot():
                return (self._steps,)
            case Recurrent():
                return (self._steps, first.inputs)
            case Dense():
                return (self._steps, first.weight.shape[1])
            case Reshape():
                return (None if -1 in first.shape else prod(first.shape),)

    @property
    def _steps(self) -> int | None:
        """How many steps there must be, where all of them are read at once."""
        width = 0
        for part in self.parts:
            match part:
                case Embedding() | Dense():
                    width = part.weight.shape[1 if isinstance(part, Embedding) else 0]
                case OneHot():
                    width = part.symbols
                case Recurrent():
                    if part.returns == "last":
                        return None
                    width = part.outputs
                case Mean() | Max() | Step():
                    return None
                case Reshape():
                    return prod(part.shape) // width if width and -1 not in part.shape else None
                case _:
                    pass
        return None

    def of_type(self, dtype: str) -> "Network":
        """The same with numbers of another precision.

        Raises ConversionError where that cannot hold them.
        """
        network = replace(self, parts=tuple(_of_type(part, np.dtype(dtype)) for part in self.parts))
        arrays = (array for part in network.parts for array in arrays_of(part))
        if not all(np.isfinite(array).all() for array in arrays):
            raise ConversionError(f"the network has numbers that {dtype} cannot hold", do="leave --dtype out")
        return network

    def noting(self, *notes: str) -> "Network":
        """The same, with more to tell."""
        return replace(self, notes=(*self.notes, *notes))
