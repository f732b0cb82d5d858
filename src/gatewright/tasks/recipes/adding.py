"""A network learns to add small numbers bit by bit, and then adds large ones."""

from dataclasses import dataclass

import numpy as np

from gatewright.tasks.data.batches.arrays import ArrayBatches, MadeBatches, Rows
from gatewright.tasks.data.synthetic import addition_arrays, random_pairs
from gatewright.tasks.objectives import Bits
from gatewright.tasks.recipe import Expected, Recipe, Schedule
from gatewright.tasks.run_data import Data, Sizes
from gatewright.tasks.settings import setting
from gatewright.tasks.synthetic.addition import AdditionPredictor


@dataclass(frozen=True)
class Adding(Recipe):
    """The lowest bits come first, so the carry is all that the state has to keep.

    A little noise on the input bits keeps the states for "carry" and "no carry" far apart, so that numbers of any
    length are added as well as short ones. The preset "text" is the published setting of the task.
    """

    name = "adding"
    about = "learn to add 5-bit numbers bit by bit, then add numbers of any length"
    objective_class = Bits
    expected = {"": Expected("64 bits", "exact", at_least=1.0, seconds=30)}
    presets = {
        "text": "cell=gru(update=replaces) init=truncated_normal(0.01) output_init=truncated_normal(0.01) rate=0.001 "
        "schedule=constant noise=0 fresh=no keep=last"
    }
    quick = "epochs=10"
    search = "rate=log:1e-3..1e-1 hidden=8..32 noise=0..0.3"
    predictor_class = AdditionPredictor
    next_command = "gatewright add {model} 1024 16"

    hidden: int = 16
    epochs: int = 50
    rate: float = 2e-2
    schedule: Schedule = "one-cycle"
    batch: int = setting(100, "pairs of numbers in an iteration", least=1)
    bits: int = setting(5, "bits of the numbers to train on", least=2)
    noise: float = setting(0.1, "standard deviation of the noise on the bits to train on", least=0)
    fresh: bool = setting(True, "other pairs in each iteration; or always the same")

    def data(self, source: object) -> Data:
        """Pairs made from the seed, 100 iterations an epoch; and 1,000 pairs of each length to measure on."""
        self.needs_no_data(source)
        measured = {f"{bits} bits": ArrayBatches(*_pairs(1000, bits, bits), 1000, timed=True) for bits in (5, 20, 64)}
        trained = {
            "train": MadeBatches(self._draw, 100, seed=self.seed),
            "validation": ArrayBatches(*_pairs(1000, self.bits, -1), 1000, timed=True),
        }
        signature = {
            "input": "a bit of each of two whole numbers a step, 0 or 1, the lowest bit first",
            "output": "the bit of the sum at that step: 1 above 0.5, else 0",
        }
        sizes = Sizes(inputs=2, outputs=1, variables=("first", "second"))
        return Data({**trained, **measured}, sizes, measured=tuple(measured), signature=signature)

    def _draw(self, seed: int) -> Rows:
        inputs, targets = _pairs(self.batch, self.bits, seed if self.fresh else self.seed)
        noise = np.random.default_rng(seed).normal(0, self.noise, inputs.shape).astype(np.float32)
        return Rows(inputs + noise, targets)


def _pairs(count: int, bits: int, seed: int) -> Rows:
    return Rows(*addition_arrays(random_pairs(count, bits, seed), bits))
