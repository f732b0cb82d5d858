"""A Program on random numbers, its loop by a resident kernel in Triton's interpreter, all other passes by NumPy.

In a process without the interpreter the kernel runs on a GPU.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import triton

from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind
from gatewright.backends.triton.load import is_interpreted, kernel
from gatewright.backends.triton.resident_kernel import resident_text
from gatewright.backends.triton.resources import LaunchOptions, constants_of
from gatewright.schedule.interpret import ProgramInterpreter
from gatewright.schedule.plan import plan
from tests.backends.triton.drawn import seeds_of
from tests.schedule.running import Given, Results, after, compute

BM = 16
DOUBLE = KernelPrecision("float64", "float64")


@dataclass
class ResidentLoop(ProgramInterpreter):
    """Runs the loop of a Program by its kernel; the arrays have the type of the kernel's numbers.

    A state whose start is all zero is not given: the kernel has to know that by itself.
    """

    precision: KernelPrecision = DOUBLE
    lengths: tuple[int, ...] | None = None
    starts: dict[str, np.ndarray] = field(default_factory=dict)

    def run_loop(self) -> None:
        """All steps by one launch."""
        if not self.program.loop:
            return
        text = resident_text(self.program, self.sizes)
        arrays = [self.array(argument) for argument in text.arguments]
        device = "cpu" if is_interpreted() else "cuda"
        tensors = [None if array is None else torch.from_numpy(array).to(device) for array in arrays]
        grid = (triton.cdiv(self.batch, BM),)
        constants = {
            "BACKWARDS": self.backwards, "RAGGED": self.lengths is not None, "BM": BM, **constants_of(self.precision),
        }  # fmt: skip
        with np.errstate(all="ignore"):  # what is computed in padded lanes is thrown away
            kernel(text)[grid](*tensors, self.steps, self.batch, **constants, **LaunchOptions().keywords())
        for array, tensor in zip(arrays, tensors, strict=True):
            if array is not None and tensor is not None and tensor.is_cuda:
                array[...] = tensor.cpu().numpy()

    def array(self, argument: Argument) -> np.ndarray | None:
        """What a pointer of the kernel points to; what the kernel writes are the interpreter's own arrays."""
        name, kind = argument.name, argument.kind
        if kind is ArgumentKind.STATE:
            return self.states[name]
        if kind is ArgumentKind.START:
            start = np.array(self.states[name][-1 if self.backwards else 0])
            if any(store.name == name for stage in self.program.loop for store in stage.stores):
                self.states[name][-1 if self.backwards else 0] = np.nan  # the kernel is to write it
            return start if start.any() else None
        if kind is ArgumentKind.SEQUENCE:
            return np.ascontiguousarray(self.inputs[name]) if name in self.inputs else self.sequences[name]
        if kind is ArgumentKind.SEEDS:
            return seeds_of(self.program.trace, self.steps, self.batch)[name]
        if kind is ArgumentKind.LENGTHS:
            return None if self.lengths is None else np.array(self.lengths, np.int32)
        return np.ascontiguousarray(self.shared[name])


def loop_of(
    given: Given, precision: KernelPrecision = DOUBLE, lengths: tuple[int, ...] | None = None
) -> tuple[ResidentLoop, Results]:
    """The arrays of a run with the loop by a kernel, and its results."""

    def cast(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {name: array.astype(precision.numbers) for name, array in arrays.items()}

    loop = ResidentLoop(
        plan(given.trace), cast(given.sequences), cast(given.params), given.sizes, compute, given.backwards,
        precision, lengths,
    )  # fmt: skip
    result = loop.run(cast(given.states))
    states = {name: after(whole, given.backwards) for name, whole in result.states.items()}
    return loop, {"states": states, "emits": result.emits, "sums": result.sums}
