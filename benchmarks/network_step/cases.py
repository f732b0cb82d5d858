"""The networks that are measured, with their weights and one batch of data: the same arrays for every peer."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
GATES = {"GRU": 3, "LSTM": 4}


@dataclass(frozen=True)
class NetworkCase:
    """An embedding (or numbers), one recurrent layer of torch.nn's kind, a linear layer, a loss.

    - `vocabulary`: the rows of the embedding. With 0 the inputs are numbers of `inputs` features.
    - `every_step`: the linear layer reads every step; otherwise it reads the last one.
    - `loss`: the cross entropy of `outputs` classes, or the mean squared error of `outputs` numbers.
    """

    title: str
    layer: Literal["GRU", "LSTM"]
    steps: int
    batch: int
    vocabulary: int
    inputs: int
    hidden: int
    outputs: int
    every_step: bool = True
    loss: Literal["cross entropy", "squared error"] = "cross entropy"

    @property
    def shape(self) -> str:
        """T,B,V,I,H."""
        return ",".join(map(str, (self.steps, self.batch, self.vocabulary, self.inputs, self.hidden)))

    @property
    def operations(self) -> int:
        """Those of the products of a training step, as few as there can be.

        An embedding with fewer rows than there are symbols may be multiplied once, and numbers need no gradient.
        """
        lines, outer = self.steps * self.batch, GATES[self.layer] * self.hidden
        projected = min(self.vocabulary, lines) if self.vocabulary else lines
        passes_of_input = 3 if self.vocabulary else 2
        of_input = passes_of_input * projected * self.inputs * outer
        of_state = 3 * lines * self.hidden * outer
        of_head = 3 * (lines if self.every_step else self.batch) * self.hidden * self.outputs
        return 2 * (of_input + of_state + of_head)

    @cached_property
    def weights(self) -> Mapping[str, Array]:
        """All parameters by the names of torch's modules."""
        rng, gates, bound = np.random.default_rng(0), GATES[self.layer], self.hidden**-0.5

        def draw(*shape: int) -> Array:
            return rng.uniform(-bound, bound, shape).astype(np.float32)

        embedding = {"embedding.weight": draw(self.vocabulary, self.inputs)} if self.vocabulary else {}
        return embedding | {
            "recurrent.weight_ih_l0": draw(gates * self.hidden, self.inputs),
            "recurrent.weight_hh_l0": draw(gates * self.hidden, self.hidden),
            "recurrent.bias_ih_l0": draw(gates * self.hidden),
            "recurrent.bias_hh_l0": draw(gates * self.hidden),
            "head.weight": draw(self.outputs, self.hidden),
            "head.bias": draw(self.outputs),
        }

    @cached_property
    def inputs_of_batch(self) -> Array:
        """Symbols (time, batch), or numbers (time, batch, inputs)."""
        rng = np.random.default_rng(1)
        if self.vocabulary:
            return rng.integers(0, self.vocabulary, (self.steps, self.batch))
        return rng.standard_normal((self.steps, self.batch, self.inputs)).astype(np.float32)

    @cached_property
    def targets(self) -> Array:
        """Classes, or numbers (..., outputs), for every line that the linear layer reads."""
        rng = np.random.default_rng(2)
        lines = (self.steps, self.batch) if self.every_step else (self.batch,)
        if self.loss == "cross entropy":
            return rng.integers(0, self.outputs, lines)
        return rng.standard_normal((*lines, self.outputs)).astype(np.float32)


CASES = (
    NetworkCase("The Time Machine", "GRU", 35, 32, 28, 28, 256, 28),
    NetworkCase("1,000 words", "GRU", 35, 32, 1000, 256, 256, 1000),
    NetworkCase("Penn Treebank, small", "GRU", 35, 20, 10_000, 200, 200, 10_000),
    NetworkCase("512 units", "GRU", 100, 16, 100, 512, 512, 100),
    NetworkCase("MNIST, row by row", "GRU", 28, 100, 0, 28, 128, 10, every_step=False),
    NetworkCase("Sentiment", "LSTM", 128, 32, 10_000, 100, 128, 2, every_step=False),
    NetworkCase("Forecast", "LSTM", 96, 64, 0, 7, 128, 24, every_step=False, loss="squared error"),
)
QUICK = (
    NetworkCase("quick, words", "GRU", 7, 4, 30, 12, 32, 30),
    NetworkCase("quick, series", "LSTM", 6, 4, 0, 5, 32, 3, every_step=False, loss="squared error"),
)
"""For a look whether everything works: what they take says nothing."""
_BY_TITLE = {case.title: case for case in (*CASES, *QUICK)}


def case_of(title: str) -> NetworkCase:
    """The case with a title."""
    return _BY_TITLE[title]
