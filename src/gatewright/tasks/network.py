"""The network of a recipe: an encoding, recurrent layers, and a dense layer on each step or on a pool over time."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from gatewright.nn import LastPool, MaxPool, MeanPool, Recurrent, SharedDense
from gatewright.nn import init as initialisers
from gatewright.tasks.recipe import Encoding, Pooling, Sizes

State = Any  # what a recurrent layer returns: a tensor (layers, batch, hidden), or a tuple of such tensors


class OneHot(nn.Module):
    """Symbols (time, batch) -> (time, batch, symbols), 1 at the symbol's place."""

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.symbols = symbols

    def forward(self, inputs: Tensor) -> Tensor:
        """The symbols as vectors of the default floating-point type."""
        return functional.one_hot(inputs, self.symbols).float()


_POOLS = {"last": LastPool, "mean": MeanPool, "max": MaxPool}


class Network(nn.Module):
    """inputs (time, batch[, features]) -> outputs, (time, batch, outputs) or one row an example where time is pooled.

    `cell` is what `gw.nn.Recurrent` takes: a cell, the name of one, or a Trace out of a model file.
    """

    def __init__(
        self,
        cell: Any,
        sizes: Sizes,
        *,
        encode: Encoding,
        pool: Pooling,
        hidden: int,
        layers: int = 1,
        dropout: float = 0.0,
        axes: Mapping[str, int] | None = None,
        init: str = "torch",
        output_init: str = "torch",
    ) -> None:
        super().__init__()
        encoders: dict[Encoding, Callable[[], tuple[nn.Module, int]]] = {
            "values": lambda: (nn.Identity(), sizes.inputs),
            "one-hot": lambda: (OneHot(sizes.inputs), sizes.inputs),
            "embedding": lambda: (nn.Embedding(sizes.inputs, hidden), hidden),
        }
        self.encode, features = encoders[encode]()
        self.recurrent = Recurrent(cell, features, hidden, num_layers=layers, dropout=dropout, sizes=axes, init=init)
        emitted = self.recurrent.output_size
        self.dropout = nn.Dropout(dropout)
        self.pool = None if pool == "each step" else _POOLS[pool]()
        self.output = SharedDense(emitted, sizes.outputs)
        if output_init != "torch":
            named = {"W.output": self.output.weight, "b.output": self.output.bias}
            initialisers.resolve(output_init)(named, {"input": emitted, "hidden": sizes.outputs})

    def forward(self, inputs: Tensor, state: State = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """The outputs, and the state after the last step."""
        hidden, state = self.recurrent(self.encode(inputs), state, lengths=lengths)
        pooled = hidden if self.pool is None else self.pool(hidden, lengths=lengths)
        return self.output(self.dropout(pooled)), state


def map_state(change: Callable[[Tensor], Tensor], state: State) -> State:
    """The state with every tensor of it changed."""
    if state is None:
        return None
    return change(state) if isinstance(state, Tensor) else tuple(change(one) for one in state)
