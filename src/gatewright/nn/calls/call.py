"""What a cell is run on: one call of one direction of a layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from gatewright.axes import bind
from gatewright.nn.engine.ragged import Ragged
from gatewright.nn.packed_cell import Asked, PackedCell


@dataclass(frozen=True, slots=True)
class Call:
    """A cell over a sequence.

    - `inputs`: every input of the cell by name, (time, batch, ...).
    - `packed`: the parameters, in the order of the cell's layout.
    - `states`: every state by name, (batch, ...), where the cell begins; None is zeros.
    - `noises`: random values by name, (time, batch, ...); without them their means.
    - `active` (time, batch): rows keep their states where it is False. Where rows end before, it says so too.
    - `ragged`: rows end before the last step; what is emitted behind the end is 0.
    - `gates`: give out every gate.
    """

    cell: PackedCell
    inputs: Mapping[str, Tensor]
    packed: Sequence[Tensor]
    states: Mapping[str, Tensor | None]
    noises: Mapping[str, Tensor] | None = None
    active: Tensor | None = None
    ragged: Ragged | None = None
    gates: bool = False

    @property
    def like(self) -> Tensor:
        """The sequence that the cell reads."""
        return next(iter(self.inputs.values()))

    @property
    def asked(self) -> Asked:
        """What is asked of the cell."""
        return not self.noises, self.active is not None, self.gates

    @property
    def sequences(self) -> dict[str, Tensor]:
        """All that comes anew at every step, by name."""
        return {**self.inputs, **(self.noises or {})}

    @property
    def starts(self) -> dict[str, Tensor]:
        """The initial states, zeros where none are given."""
        like, shapes = self.like, {state.name: bind(state.shape, self.cell.sizes) for state in self.cell.trace.states}
        return {n: like.new_zeros(like.shape[1], *shapes[n]) if one is None else one for n, one in self.states.items()}
