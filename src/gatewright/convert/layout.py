"""The rows of the table of layouts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gatewright.cell_config.config import ACTIVATION_FIELDS, CellConfig, Family, Reset

Update = Literal["keeps", "replaces"]
_STRUCTURE = ("family", "reset", "peepholes", "coupled", "projection")


@dataclass(frozen=True, slots=True)
class Stored:
    """One array, or one for each gate where its name says `{gate}`.

    `kinds` are what it holds (`patterns.AXES`), `axes` where that lies in it, `gates` whose it is: those of the row
    where it is empty. `buffer` are the axes in which the numbers of each gate follow one another, where those belie its
    shape.
    """

    name: str
    kinds: str
    axes: str
    gates: str = ""
    optional: bool = False
    layers: bool = False  # whether all layers lie in it, those of the first layer first
    buffer: str = ""


def row_arrays(kernel: str, recurrent: str, bias: str, gates: str = "hidden") -> tuple[Stored, ...]:
    """The arrays of a layer that multiplies rows from the left: `gates` is how the units of its gates lie in them."""
    return Stored(kernel, "W", f"input {gates}"), Stored(recurrent, "U", f"state {gates}"), Stored(bias, "b", gates)


FUSED = "(gate hidden)"
"""All gates side by side in one array."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How one framework keeps one kind of layer."""

    framework: str
    family: Family
    title: str
    gates: str  # ours, in the order of the arrays
    arrays: tuple[Stored, ...]
    source: str  # where the layout is documented
    variant: str = ""
    reset: Reset | None = None
    update: Update = "keeps"
    theirs: Mapping[str, str] = field(default_factory=dict[str, str])  # a gate's name there, where it is not ours
    gate: tuple[str, ...] = ("sigmoid",)  # activations that the framework has; the first is its default
    activation: tuple[str, ...] = ("tanh",)
    output: tuple[str, ...] = ("tanh",)  # empty where the framework takes the candidate's for both
    forget_bias: float = 0.0  # added in its equations
    peepholes: bool = False
    coupled: bool = False
    projection: bool = False
    clip: bool = False  # whether pre-activations can be clipped
    clips: bool = False  # whether its memory and its projection can be clipped
    scopes: tuple[str, ...] = ()  # names of its cell in a path, where those of its arrays are too common

    @property
    def stacked(self) -> bool:
        """Whether one array holds all layers."""
        return any(array.layers for array in self.arrays)

    @property
    def key(self) -> str:
        """The name of the row: `keras/gru`, `keras/gru-before`."""
        return f"{self.framework}/{self.family}" + (f"-{self.variant}" if self.variant else "")

    @property
    def cell_config(self) -> CellConfig:
        """The config of such a layer with the framework's defaults."""
        return CellConfig(
            self.family,
            reset=self.reset,
            gate=self.gate[0],
            activation=self.activation[0],
            output=self.having("output")[0],
            forget_bias=self.forget_bias,
            peepholes=self.peepholes,
            coupled=self.coupled,
            projection=self.projection,
        )

    equations = cell_config  # the earlier name

    def having(self, what: str) -> tuple[str, ...]:
        """The activations that the framework has for its gate, activation or output."""
        return getattr(self, what) or self.activation

    @property
    def optional_peepholes(self) -> bool:
        """Whether its layers may have peepholes or none."""
        return any(array.optional and array.kinds == "p" for array in self.arrays)

    def choices(self, name: str) -> tuple[Any, ...]:
        """The values that an override of that name may have; empty where any will do."""
        if name == "peepholes" and self.optional_peepholes:
            return (False, True)
        if name in _STRUCTURE:
            return (getattr(self, name),)
        return self.having(name) if name in ACTIVATION_FIELDS[self.family] else ()

    def agrees(self, overrides: Mapping[str, Any]) -> bool:
        """Whether such a layer can have all of these overrides."""
        return all(
            value is None or not (choices := self.choices(name)) or value in choices
            for name, value in overrides.items()
        )

    def by_gate(self) -> tuple[str, ...]:
        """The names of its arrays, all of one gate before those of the next."""
        gates = [self.theirs.get(gate, gate) for gate in self.gates.split()]
        return tuple(array.name.format(gate=gate) for gate in gates for array in self.arrays)

    def stored(self) -> tuple[tuple[str, Stored, tuple[str, ...]], ...]:
        """Every array by its name, with the gates that it holds."""
        listed: list[tuple[str, Stored, tuple[str, ...]]] = []
        for stored in self.arrays:
            gates = tuple((stored.gates or self.gates).split())
            if "{gate}" in stored.name:
                listed += [(stored.name.format(gate=self.theirs.get(gate, gate)), stored, (gate,)) for gate in gates]
            else:
                listed.append((stored.name, stored, gates))
        return tuple(listed)
