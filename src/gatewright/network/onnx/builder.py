"""The ONNX graph of a network, part by part: one rule for each part, for any batch and any number of steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gatewright.backends.onnx.graph import Graph, Tensor
from gatewright.backends.onnx.native import OperatorNode
from gatewright.backends.onnx.steps import Ends
from gatewright.network.network import Network
from gatewright.network.onnx.window import Window
from gatewright.network.part import Array
from gatewright.network.parts import Activation, Dense, LayerNorm
from gatewright.network.recurrent import RecurrentPart

OPSET = 13
"""The lowest version of ONNX's operators in which all that is used here has the form that later versions have too: the
axes of Squeeze and ReduceSum are operands. Runtimes have had it since 2020."""
OPSET_OF_LAYER_NORM, OPSET_OF_GELU = 17, 20


def lowest_opset(network: Network) -> int:
    """The lowest version of the operators that has all that a network needs."""
    functions = {p.function if isinstance(p, Activation) else p.activation for p in network.parts
                 if isinstance(p, Activation | Dense)}  # fmt: skip
    if functions & {"gelu", "gelu_tanh"}:
        return OPSET_OF_GELU
    return OPSET_OF_LAYER_NORM if any(isinstance(part, LayerNorm) for part in network.parts) else OPSET


@dataclass(frozen=True, slots=True)
class LayerLoop:
    """A layer that is written as a Scan of its equations, and the values around it."""

    layer: RecurrentPart
    source: Tensor
    results: tuple[Tensor, ...]  # what each direction gives


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphOptions:
    """How a network is written."""

    opset: int
    dtype: np.dtype[Any]
    states: bool = False  # states as inputs and outputs
    lengths: bool = False  # an input with the length of each row
    operators: bool = True  # ONNX's recurrent operators where they compute a cell
    int8: bool = False  # matrices as whole numbers with scales, where these give the same numbers
    node_of: Callable[[RecurrentPart], OperatorNode | None] | None = None
    """The operator of a layer in a file that `gw.convert` is to read again; None for a Scan of its equations."""


@dataclass(slots=True)
class NetworkGraph:
    """A graph that is being built: what the rules of the parts read and add to."""

    graph: Graph
    network: Network
    options: GraphOptions
    inputs: Tensor = field(init=False)  # what the network reads, time first
    lengths: Tensor | None = None  # of the rows, as the file has them
    known: Tensor | None = None  # what a forecast reads beside its window
    ends: Ends | None = None  # where rows end, of the steps that the next part reads
    row_ends: Ends | None = None  # the same of the steps that the network reads
    states: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])  # (levels * directions, batch, features)
    finals: dict[str, list[Tensor]] = field(default_factory=dict[str, list[Tensor]])
    operator: str = ""  # what computes the recurrent layers
    rows: int = 0  # of `states` that the layers until now begin with
    name: str = ""  # of the part that is being added
    features: int | None = None  # that this part reads, as far as they are known
    loops: dict[str, LayerLoop] = field(default_factory=dict[str, LayerLoop])  # layers that no operator computes
    window: Window | None = None  # of a forecast
    _held: dict[int, tuple[Array, Tensor]] = field(default_factory=dict[int, tuple[Array, Tensor]])

    @property
    def readable(self) -> bool:
        """Whether the file is to be read again by `gw.convert`."""
        return self.options.node_of is not None

    def hold(self, name: str, array: Array) -> Tensor:
        """Numbers of the file, after the name of the part; those of one array are held once."""
        if id(array) not in self._held:
            self._held[id(array)] = (array, self.graph.initialiser(f"{self.name}.{name}", array))
        return self._held[id(array)][1]

    def held_already(self, array: Array) -> Tensor | None:
        """The same numbers, where an earlier part holds them."""
        return next((value for held, value in self._held.values() if np.array_equal(held, array)), None)

    def begin(self, part: RecurrentPart, value: Tensor) -> dict[str, Tensor]:
        """The states that a layer begins with, (directions, batch, features); none where they are zero."""
        if not self.states:
            names = (state.name for state in part.traces[0].states)
            return {
                name: self._initial(name, part, value)
                for name in names
                if any(name in states for states in part.initial)
            }
        start, self.rows = self.rows, self.rows + len(part.directions)
        if len(self.network.recurrent) == 1:
            return dict(self.states)
        return {name: self.graph.slice(whole, start, self.rows) for name, whole in self.states.items()}

    def _initial(self, state: str, part: RecurrentPart, value: Tensor) -> Tensor:
        """A state that stands in the file, for every row of a batch."""
        graph, size = self.graph, next(states[state].shape[-1] for states in part.initial if state in states)
        rows = [states.get(state, np.zeros((1, size))) for states in part.initial]
        most = max(map(len, rows))
        stacked = np.stack([np.broadcast_to(array, (most, size)) for array in rows])
        constant = graph.initialiser(f"{self.name}.initial_{state}", stacked)
        if most > 1:
            return constant
        batch = graph.slice(graph.shape(value), 1, 2)
        shape = graph.join_counts(graph.counts(len(rows)), batch, graph.counts(size))
        return graph.emit("Expand", constant, shape, ndim=3)

    def steps(self, value: Tensor) -> Tensor:
        """How many steps there are, (1,)."""
        return self.graph.slice(self.graph.shape(value), 0, 1)

    def count_steps(self, value: Tensor) -> Tensor:
        """How many steps the rows have, (batch, 1) or (1,)."""
        return self.graph.unsqueeze(self.ends.lengths, 1) if self.ends else self.steps(value)
