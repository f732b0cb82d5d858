"""The network of a recipe: an encoding, recurrent layers, and a dense layer on each step or on a pool over time."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from gatewright.errors import OptionError
from gatewright.nn import FoldedEmbedding, LastPool, MaxPool, MeanPool, Recurrent, SharedDense
from gatewright.nn import init as initialisers
from gatewright.nn.dropout import Dropout
from gatewright.nn.embedding import TableRows, mark_rows
from gatewright.nn.heads import Pool
from gatewright.nn.patches import Patches
from gatewright.tasks.data.scaling import Scaling
from gatewright.tasks.data.texts.word_vectors import WordVectors
from gatewright.tasks.run_data import Directions, Encoding, Pooling, Sizes

State = Any  # what a recurrent layer returns: a tensor (layers, batch, hidden), or a tuple of such tensors


_FOLDED_SYMBOLS = 64
"""With fewer symbols, a layer multiplies one-hot vectors as fast as it takes columns of its matrix."""


class OneHotEncoding(nn.Module):
    """Symbols (time, batch) -> (time, batch, symbols), 1 at the symbol's place."""

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.symbols = symbols

    def forward(self, inputs: Tensor) -> Tensor:
        """The symbols as vectors of the default floating-point type."""
        vectors = functional.one_hot(inputs, self.symbols).float()
        if _FOLDED_SYMBOLS <= self.symbols <= inputs.numel() // 2:
            mark_rows(vectors, TableRows(torch.eye(self.symbols), inputs))
        return vectors


_WORD_PLACES = 2  # of the symbols of a step: the word as it is written, and in lower case


class SummedEmbedding(nn.Embedding):
    """Several symbols a step, (time, batch, symbols) -> (time, batch, features): the sum of their vectors.

    The first symbols of the table stand for unknown ones, one for each place of a step. In training, in each step with
    the probability `word_dropout`, the first two become unknown together: the word as it is, and in lower case.
    """

    def __init__(self, symbols: int, features: int, *, word_dropout: float) -> None:
        super().__init__(symbols, features)
        self.word_dropout = word_dropout

    def forward(self, input: Tensor) -> Tensor:
        """The sum over the symbols of each step."""
        if self.training and self.word_dropout:
            place = torch.arange(input.shape[-1], device=input.device)
            is_new = torch.rand(*input.shape[:-1], 1, device=input.device) < self.word_dropout
            input = torch.where(is_new & (place < _WORD_PLACES), place, input)
        return super().forward(input).sum(-2)


class KeptScaling(nn.Module):
    """A mean and a deviation for each feature, which stay with the weights."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))

    def take(self, scaling: Scaling) -> None:
        """Use this scaling from now on."""
        self.mean.copy_(torch.from_numpy(scaling.mean))
        self.deviation.copy_(torch.from_numpy(scaling.deviation))


class Standardised(KeptScaling):
    """Features (time, batch, features), each less its mean and over its deviation."""

    def forward(self, inputs: Tensor) -> Tensor:
        """The features with mean 0 and deviation 1 in what the scaling is of."""
        return (inputs - self.mean) / self.deviation


class RecipeNetwork(nn.Module):
    """inputs (time, batch[, features]) -> outputs, (time, batch, outputs) or one row an example where time is pooled.

    `cell` is what `gw.nn.Recurrent` takes: a cell, the name of one, or a Trace out of a model file. With
    `directions="both"` the layers are bidirectional; the pool "last" takes of each direction its own end.

    In training `input_dropout` falls on what the first recurrent layer reads, `dropout` between layers and before the
    output, and `weight_drop` on the recurrent matrices U, once a batch (Merity et al. 2017, 1708.02182). With
    `dropout_per="sequence"` the first two keep their masks over all steps. `tied` makes the embedding the matrix of the
    output too (Press & Wolf 2016, 1608.05859; Inan et al. 2016, 1611.01462); a row of it has `embedding` numbers, or as
    many as there are hidden units. The layers read `patch` steps as one.
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
        directions: Directions = "forward",
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        dropout_per: str = "step",
        weight_drop: float = 0.0,
        axes: Mapping[str, int] | None = None,
        init: str = "torch",
        embedding_init: str = "torch",
        output_init: str = "torch",
        tied: bool = False,
        embedding: int | None = None,
        patch: int = 1,
        word_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.encode, features = _encoder(encode, sizes, embedding or hidden, word_dropout)
        self.patch = Patches(features, hidden, patch) if patch > 1 else None
        features = hidden if patch > 1 else features
        self.input_dropout = Dropout(input_dropout, per=dropout_per)
        both = directions == "both"
        self.recurrent = Recurrent(
            cell,
            features,
            hidden,
            layers,
            dropout=dropout,
            bidirectional=both,
            dropout_per=dropout_per,
            sizes=axes,
            init=init,
        )
        self.weight_drop = weight_drop
        emitted = self.recurrent.output_size * (2 if both else 1)
        self.pool: Pool | None = None  # each step is given out
        if pool != "each step":
            self.pool = LastPool(bidirectional=both) if pool == "last" else {"mean": MeanPool, "max": MaxPool}[pool]()
        self.dropout = Dropout(dropout, per=dropout_per if self.pool is None else "step")
        self.output = SharedDense(emitted, sizes.outputs)
        if output_init != "torch":
            named = {"W.output": self.output.weight, "b.output": self.output.bias}
            initialisers.resolve(output_init)(named, {"input": emitted, "hidden": sizes.outputs})
        if isinstance(self.encode, nn.Embedding) and embedding_init != "torch":
            named = {"W.embedding": self.encode.weight}
            initialisers.resolve(embedding_init)(named, {"input": sizes.inputs, "hidden": features})
        self._check_weight_drop()
        if tied:
            self.output.weight = _shared(self.encode, self.output)

    def _check_weight_drop(self) -> None:
        if self.weight_drop and not self._recurrent_matrices():
            raise OptionError(
                "weight_drop has nothing to drop",
                got="a cell without recurrent matrices U",
                do="leave it at 0, or take another cell",
            )

    def forward(self, inputs: Tensor, state: State = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """The outputs, and the state after the last step."""
        features, state = self.features(inputs, state, lengths)
        return self.output(features), state

    def features(self, inputs: Tensor, state: State = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """What the output layer reads, and the state after the last step."""
        read = self.encode(inputs)
        if self.patch is not None:
            read, lengths = self.patch(read, lengths)
        read = self.input_dropout(read)
        if self.training and self.weight_drop:
            dropped = {
                k: functional.dropout(matrix, self.weight_drop) for k, matrix in self._recurrent_matrices().items()
            }
            hidden, state = functional_call(self.recurrent, dropped, (read, state), {"lengths": lengths})
        else:
            hidden, state = self.recurrent(read, state, lengths=lengths)
        pooled = hidden if self.pool is None else self.pool(hidden, lengths=lengths)
        return self.dropout(pooled), state

    def _recurrent_matrices(self) -> dict[str, nn.Parameter]:
        """The packed matrices that multiply a state, of every layer."""
        named = self.recurrent.named_parameters()
        return {name: parameter for name, parameter in named if name.startswith("U") and parameter.dim() > 1}


def _encoder(encode: Encoding, sizes: Sizes, embedding: int, word_dropout: float) -> tuple[nn.Module, int]:
    """What the inputs go through first, and how many features it gives."""
    match encode:
        case "values":
            return nn.Identity(), sizes.inputs
        case "standardised":
            return Standardised(sizes.inputs), sizes.inputs
        case "one-hot":
            return OneHotEncoding(sizes.inputs), sizes.inputs
        case "embedding":
            return FoldedEmbedding(sizes.inputs, embedding), embedding
        case "embedding-sum":
            return SummedEmbedding(sizes.inputs, embedding, word_dropout=word_dropout), embedding


def _shared(encode: nn.Module, output: nn.Linear) -> nn.Parameter:
    """The matrix of an embedding, for the output."""
    shared = encode.weight if isinstance(encode, nn.Embedding) else None
    if not isinstance(shared, nn.Parameter) or shared.shape != output.weight.shape:
        got = "no embedding" if shared is None else tuple(shared.shape)
        raise OptionError(
            "input and output cannot share a matrix",
            expected=f"an embedding of shape {tuple(output.weight.shape)}, as the output's matrix",
            got=str(got),
            do="leave out tied",
            shell="leave them apart, with --set tied=no",
        )
    return shared


def map_state(change: Callable[[Tensor], Tensor], state: State) -> State:
    """The state with every tensor of it changed."""
    if state is None:
        return None
    return change(state) if isinstance(state, Tensor) else tuple(change(tensor) for tensor in state)


def load_vectors(embedding: nn.Module, vectors: WordVectors) -> None:
    """Put vectors of words that others have trained in the rows of their words."""
    with torch.no_grad():
        weight: Any = embedding.get_parameter("weight")
        weight[torch.from_numpy(vectors.numbers)] = torch.from_numpy(vectors.values)


def standardise(network: nn.Module, scaling: Scaling | None) -> None:
    """Hand the scaling of the training data, if there is one, to the part of the network that standardises."""
    for module in network.modules():
        if scaling is not None and isinstance(module, Standardised):
            module.take(scaling)
