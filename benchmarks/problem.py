"""One task for all: numbers that go in, what has to come out, and whether it does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.cells import BenchmarkCell
from benchmarks.shapes import Shape

Array = NDArray[Any]
Results = dict[str, Array]
TOLERANCE = 2e-5
"""The largest difference to the float64 reference that is allowed, as a share of the largest number in each result."""


@dataclass(frozen=True)
class Job:
    """What is timed, `call`, and what reads the results off what it returned."""

    call: Callable[[], Any]
    read: Callable[[Any], Results]


class Problem:
    """A cell at a shape, with weights, an input and the gradient by the output: the same for everybody."""

    def __init__(self, cell: BenchmarkCell, shape: Shape, params: Mapping[str, Array] | None = None) -> None:
        self.cell, self.shape = cell, shape
        self._references: dict[str, Results] = {}
        rng = np.random.default_rng(0)

        def draw(*extents: int, scale: float = 1.0) -> Array:
            return (rng.standard_normal(extents) * scale).astype(np.float32)

        self.x = draw(shape.steps, shape.batch, shape.inputs)
        self.weight = draw(shape.steps, shape.batch, shape.hidden)
        self.params = params or {
            name: draw(*tensor.shape, scale=shape.hidden**-0.5)
            for name, tensor in cell.build(shape, "torch").state_dict().items()
        }

    def first_step(self) -> "Problem":
        """The same weights for a sequence of one step."""
        return Problem(self.cell, replace(self.shape, steps=1), self.params)

    def reference(self, mode: str) -> Results:
        """What comes out in float64, by the loop written by hand and torch's autograd."""
        if mode not in self._references:
            from benchmarks.peers import torch_loop

            job = getattr(torch_loop, mode)(self, threads=1, dtype=torch.float64)
            self._references[mode] = job.read(job.call())
        return self._references[mode]

    def differences(self, mode: str, results: Results) -> dict[str, float]:
        """The largest difference of each result, as a share of its largest number."""
        wanted = self.reference(mode)
        if wanted.keys() != results.keys():
            raise ValueError(f"results {sorted(results)} where {sorted(wanted)} are wanted")
        return {name: _difference(results[name], want) for name, want in wanted.items()}


def _difference(got: Array, want: Array) -> float:
    if got.shape != want.shape:
        raise ValueError(f"a result of shape {got.shape} where {want.shape} is wanted")
    return float(np.abs(got.astype(np.float64) - want).max() / max(np.abs(want).max(), 1e-30))


def disagreement(problem: Problem, mode: str, results: Results) -> tuple[float, str | None]:
    """The largest difference of results to the reference, and where they are not equal to it, a sentence."""
    try:
        differences = problem.differences(mode, results)
    except ValueError as error:
        return float("nan"), str(error)
    worst = max(differences, key=lambda name: (np.isnan(differences[name]), differences[name]))
    largest = differences[worst]
    if largest <= TOLERANCE:  # false for NaN
        return largest, None
    return largest, f"{worst} is off by {largest:.1e} of its largest number, allowed are {TOLERANCE:.0e}"
