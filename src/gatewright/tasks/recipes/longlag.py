"""Two tasks with long time lags: the adding problem, and copy memory."""

from dataclasses import dataclass
from typing import Any, Literal

from gatewright.tasks.data.batches.arrays import ArrayBatches, MadeBatches
from gatewright.tasks.data.synthetic import COPY_SYMBOLS, copy_arrays, marked_sums
from gatewright.tasks.objectives import Classes, NumberTargets, Objective
from gatewright.tasks.recipe import Expected, Recipe
from gatewright.tasks.run_data import Data, Encoding, Pooling, Sizes
from gatewright.tasks.settings import setting
from gatewright.tasks.synthetic.long_lags import LagPredictor
from gatewright.trace import Trace, trace_cell
from gatewright.trace.roles import gate_roles


@dataclass(frozen=True)
class LongLag(Recipe):
    """Sequences are generated from the seed, new ones in each iteration, so that the network cannot memorise them.

    "adding": the sum of the two marked numbers among `lag` numbers. Always answering 1 has a squared error of 1/6.
    "copy": repeat ten symbols after `lag` steps. Guessing is right in 1 of 8.
    If the cell has gates that keep or replace its state, their biases begin with memories of up to `lag` steps
    (Tallec and Ollivier 2018); memory=drawn leaves the biases as `init` draws them.
    """

    name = "longlag"
    about = "add two marked numbers of 600, or repeat ten symbols after 1,000 steps"
    expected = {"": Expected("test", "loss", at_most=5.3e-5, seconds=320)}
    presets = {"copy": "task=copy lag=1000"}
    predictor_class = LagPredictor
    quick = "lag=20 hidden=32 epochs=4 iterations=50"
    search = "rate=log:1e-3..2e-2 hidden=32,64,128 clip=log:0.1..10"

    hidden: int = 64
    epochs: int = 36
    rate: float = 3e-3
    schedule: Literal["constant", "cosine", "one-cycle"] = "one-cycle"
    batch: int = 20
    clip: float = 1.0
    task: Literal["adding", "copy"] = setting("adding", "the task")
    lag: int = setting(600, "steps between the input and the answer, at most", least=2)
    memory: Literal["lag", "drawn"] = setting(
        "lag", "initial gate biases: for memories of up to lag steps, or drawn by init"
    )
    iterations: int = setting(500, "batches in an epoch", least=1)

    def objective(self) -> Objective:
        """The squared error of the sum, or cross entropy of the symbols to repeat."""
        return NumberTargets(close=0.04) if self.task == "adding" else Classes()

    def input_encoding(self) -> Encoding:
        """Numbers and their marks, or symbols one-hot."""
        return "values" if self.task == "adding" else "one-hot"

    def pooling(self) -> Pooling:
        """The last state for the sum; each step for the symbols."""
        return "last" if self.task == "adding" else "each step"

    def initialiser(self, cell: Any) -> str:
        """The setting `init`; with memory=lag, gates that keep or replace the state get biases for the lag."""
        trace = cell if isinstance(cell, Trace) else trace_cell(cell)
        chrono = self.memory == "lag" and gate_roles(trace).signs()
        return f"{self.init} + chrono(max_steps={self.lag})" if chrono else self.init

    def data(self, source: object) -> Data:
        """Sequences generated from the seed: new ones in each iteration, and 1,000 each for validation and test."""
        self.needs_no_data(source)
        make = marked_sums if self.task == "adding" else copy_arrays
        drawn = MadeBatches(lambda seed: make(self.batch, self.lag, seed), self.iterations, seed=self.seed)
        measured = {part: make(1000, self.lag, seed) for seed, part in enumerate(("validation", "test"))}
        timed = self.task == "copy"
        parts = {"train": drawn, **{part: ArrayBatches(*rows, 100, timed=timed) for part, rows in measured.items()}}
        if self.task == "adding":
            sizes = Sizes(2, 1, variables=("value", "mark"))
            signature = {
                "input": "a number from 0 to 1 and its mark a step; the mark is 1 at two steps, else 0",
                "output": "the sum of the two marked numbers, after the last step",
            }
        else:
            sizes = Sizes(COPY_SYMBOLS, COPY_SYMBOLS, classes=tuple(map(str, range(COPY_SYMBOLS))))
            signature = {
                "input": "a symbol a step: 1 to 8 in the first ten, then 0, and 9 in the last eleven",
                "output": "a score for each symbol; those of the last ten steps repeat the first ten",
            }
        return Data(parts, sizes, signature=signature)
