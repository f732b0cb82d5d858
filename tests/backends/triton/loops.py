"""A Program on random numbers, its loop by a resident kernel in Triton's interpreter, all other passes by NumPy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl

from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind
from gatewright.backends.triton.load import kernel
from gatewright.backends.triton.resident_kernel import resident_text
from gatewright.schedule.interpret import ProgramInterpreter
from gatewright.schedule.program import Program
from tests.schedule.running import Given, Results, after, compute

BM = 16
DOUBLE = KernelPrecision("float64", "float64")


@dataclass
class ResidentLoop(ProgramInterpreter):
    """Runs the loop of a Program by its kernel; the arrays have the type of the kernel's numbers."""

    precision: KernelPrecision = DOUBLE

    def run_loop(self) -> None:
        """All steps by one launch."""
        if not self.program.loop:
            return
        text = resident_text(self.program, self.sizes)
        arrays = [self.array(argument) for argument in text.arguments]
        tensors = [None if array is None else torch.from_numpy(array) for array in arrays]
        grid = (triton.cdiv(self.batch, BM),)
        with np.errstate(all="ignore"):  # what is computed in padded lanes is thrown away
            kernel(text)[grid](*tensors, self.steps, self.batch, **constants(self.precision, self.backwards))

    def array(self, argument: Argument) -> np.ndarray | None:
        """What a pointer of the kernel points to; what the kernel writes must be in the arrays of the interpreter."""
        name, kind = argument.name, argument.kind
        if kind is ArgumentKind.STATE:
            return self.states[name]
        if kind is ArgumentKind.START:
            start = np.array(self.states[name][-1 if self.backwards else 0])
            self.states[name][-1 if self.backwards else 0] = np.nan  # the kernel writes it
            return start
        if kind is ArgumentKind.SEQUENCE:
            return np.ascontiguousarray(self.inputs[name]) if name in self.inputs else self.sequences[name]
        return np.ascontiguousarray(self.shared[name]) if kind is ArgumentKind.SHARED else None


def constants(precision: KernelPrecision, backwards: bool, ragged: bool = False) -> dict[str, Any]:
    """The constants of a launch in the interpreter."""
    return {
        "BACKWARDS": backwards, "RAGGED": ragged, "BM": BM, "A": getattr(tl, precision.numbers),
        "D": getattr(tl, precision.operands), "P": precision.mode, "EMULATED": precision.operands == "bfloat16",
    }  # fmt: skip


def by_kernel(given: Given, program: Program, precision: KernelPrecision) -> Results:
    """What a Program gives with its loop by a kernel."""

    def cast(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: array.astype(precision.numbers) for name, array in arrays.items()}

    loop = ResidentLoop(
        program, cast(given.sequences), cast(given.params), given.sizes, compute, given.backwards, precision
    )
    result = loop.run(cast(given.states))
    return {
        "states": {name: after(whole, given.backwards) for name, whole in result.states.items()},
        "emits": result.emits,
        "sums": result.sums,
    }
