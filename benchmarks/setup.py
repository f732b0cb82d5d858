"""What all sections of one run share."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from textwrap import fill
from typing import Any

from benchmarks import machine
from benchmarks.machine import FusedMultiplyAdd
from benchmarks.shapes import Shape
from benchmarks.timing import Method, Timing


@dataclass(frozen=True)
class Setup:
    """How many threads, which shapes, for how long; and what the machine can do."""

    threads: int
    quick: bool
    shapes: tuple[Shape, ...]
    method: Method
    peaks: Mapping[int, float] = field(default_factory=dict)

    @cached_property
    def fma(self) -> FusedMultiplyAdd:
        """What is timed in every race, beside the peers: the peak while they ran."""
        return FusedMultiplyAdd()

    def peak_of(self, timing: Timing, threads: int) -> float:
        """Operations a second of all threads, out of what one reached in a race."""
        return self.fma.flops / timing.median * self.peaks[threads] / self.peaks[1]

    def on_machine(self) -> tuple["Setup", dict[str, Any]]:
        """The same with the machine's peaks, and the machine's description."""
        seconds = 0.3 if self.quick else 2.0
        tell("machine: multiplications and additions, copies")
        counts = sorted({1, self.threads})
        peaks = {count: machine.peak(count, seconds) for count in counts}
        described = machine.description() | {
            "peak": {str(count): rounded(value) for count, value in peaks.items()},
            "copy": {str(count): rounded(machine.copy_bandwidth(count, seconds)) for count in counts},
        }
        return Setup(self.threads, self.quick, self.shapes, self.method, peaks), described


def tell(line: str) -> None:
    """Say how far it has come."""
    print(fill(line, 80, subsequent_indent="  "), file=sys.stderr, flush=True)


def rounded(value: float) -> float:
    """Four digits: more are not measured."""
    return float(f"{value:.4g}")
