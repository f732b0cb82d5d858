"""Gates and states of a recurrent network at every step, as NumPy arrays with names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import OptionError
from gatewright.trace import Trace
from gatewright.trace.roles import GateRoles, gate_roles

Array = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LayerActivations:
    """One direction of one recurrent layer while it read a batch.

    - `name`: the layer's path in the model, with its level and direction: "recurrent.l0", "encoder.l1_reverse".
    - `trace`: the equations of its step.
    - `inputs` (time, batch, features): what it read.
    - `gates`: every gate by its name in the equations, (time, batch, units).
    - `states`: every state after each step, (time, batch, units). The first is the output.
    - `lengths` (batch,): the steps of each row in this layer. A layer that reads every second step of another one has
      fewer of them.

    Arrays are in the order of time, also those of a backward direction. After the end of a shorter row they are NaN.
    """

    name: str
    trace: Trace
    inputs: Array
    gates: Mapping[str, Array]
    states: Mapping[str, Array]
    lengths: NDArray[np.int64]

    @property
    def steps(self) -> int:
        """The steps of the longest row."""
        return int(self.lengths.max(initial=0))

    def mask(self) -> NDArray[np.bool_]:
        """Which steps belong to a row, (time, batch)."""
        return np.arange(self.steps)[:, None] < self.lengths

    @property
    def roles(self) -> GateRoles:
        """Which gates keep the old state and which replace it, computed from the equations."""
        return gate_roles(self.trace)

    @property
    def is_backward(self) -> bool:
        """Whether this direction reads from the end."""
        return self.name.endswith("_reverse")

    def values(self, name: str) -> Array:
        """A gate or a state by its name, (time, batch, units). Raises OptionError where there is none of it."""
        for values in (self.gates, self.states):
            if name in values:
                return values[name]
        raise OptionError(
            f"layer {self.name!r} has no gate or state {name!r}",
            expected=", ".join([*self.gates, *self.states]),
            do="choose one of these",
        )

    def unit(self, name: str, unit: int) -> Array:
        """One unit of a gate or a state, (time, batch). Raises OptionError where there is no such unit."""
        values = self.values(name)
        if not 0 <= unit < values.shape[-1]:
            raise OptionError(
                f"{name!r} of layer {self.name!r} has no unit {unit}", expected=f"0 to {values.shape[-1] - 1}"
            )
        return values[..., unit]


@dataclass(frozen=True, eq=False)
class Activations:
    """Every recurrent layer of a model while it read a batch of sequences.

    - `layers`: by name, in the order in which they ran.
    - `lengths` (batch,): the steps of each row; of the layer with the most, where layers differ.
    - `symbols`: for each row what its steps are, such as characters or words; None where the input is numbers.
    - `series` (time, batch, variables): the input where it is numbers, as the user gave it; None for symbols.
    - `outputs`: what the model gave, where that is an array with rows; (time, batch, outputs) or (batch, outputs).
    - `labels`: the names of the outputs, such as classes or symbols.
    - `output_kind`: what the outputs are. "next": scores of the symbol that comes next; "label": scores of each step's
      label; "class": scores of the row's class; "keys": a logit of each key in the next frame; "bit": a number
      for each step's bit, which is 1 above 0.5; "forecast": low, middle, high of the last steps, in the units of the
      data; "": something else.
    - `measured` (time, batch, variables): the series in the units of the data, where the network reads it on another
      scale, with the names `measured_names`; NaN in the steps that are forecast.
    - `rows`: what identifies each row, such as its line or its file.
    - `variables`: the names of the series' variables.
    - `patch`: how many steps of the input the layers read as one, where `symbols` and `series` have more steps.
    """

    layers: Mapping[str, LayerActivations]
    lengths: NDArray[np.int64]
    symbols: Sequence[Sequence[str]] | None = None
    series: Array | None = None
    outputs: Array | None = None
    labels: Sequence[str] | None = None
    rows: Sequence[str] | None = None
    variables: Sequence[str] | None = None
    patch: int = 1
    output_kind: str = ""
    measured: Array | None = None
    measured_names: Sequence[str] | None = None

    def __iter__(self) -> Iterator[LayerActivations]:
        return iter(self.layers.values())

    @property
    def batch(self) -> int:
        """The number of rows."""
        return len(self.lengths)

    @property
    def steps(self) -> int:
        """The steps of the longest row."""
        return int(self.lengths.max(initial=0))

    def layer(self, name: str | None = None) -> LayerActivations:
        """The layer of a name; the first one without a name. Raises OptionError where there is none of it."""
        if name is None:
            return next(iter(self))
        if name in self.layers:
            return self.layers[name]
        raise OptionError(
            f"the model has no recurrent layer {name!r}", expected=", ".join(self.layers), do="choose one of these"
        )

    def mask(self) -> NDArray[np.bool_]:
        """Which steps belong to a row, (time, batch)."""
        return np.arange(self.steps)[:, None] < self.lengths

    def has_steps_of(self, layer: LayerActivations) -> bool:
        """Whether the steps of a layer are those of the rows, so that symbols and series name them."""
        return np.array_equal(layer.lengths, self.lengths)
