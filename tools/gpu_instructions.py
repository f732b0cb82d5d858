"""Counts what a step of the resident form consists of on an H100: `python -m tools.gpu_instructions`.

It prints the table of docs/gpu.md: the instructions of one warp in the loop over time, and the barriers among them,
from the machine code. No GPU is needed.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gatewright import cells
from gatewright.backends.triton.chips import CHIPS
from gatewright.backends.triton.program_run import ProgramRun
from gatewright.backends.triton.run_kernels import loop_kernels
from gatewright.schedule.plan import plan
from gatewright.schedule.residuals import save
from gatewright.trace import simplify, trace_cell
from tools.gpu_kernels import PRECISIONS

CHIP, ROWS = CHIPS["sm_90"], 16
LOOPS = (
    ("GRU, reset after", cells.gru(reset="after"), "inference", ((64, "bfloat16"), (64, "tf32"), (128, "bfloat16"))),
    ("GRU, reset before, saving r, z and n", cells.gru, "saving", ((64, "tf32"), (128, "bfloat16"))),
    ("its gradient", cells.gru, "gradient", ((64, "tf32"), (128, "bfloat16"))),
    ("LSTM, saving", cells.lstm, "saving", ((128, "bfloat16"),)),
)
_INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+([^;]*);")
_BRANCH = re.compile(r"\bBRA\b.*?0x([0-9a-f]+)")


@dataclass(frozen=True)
class Loop:
    """The instructions of the longest loop of a kernel."""

    instructions: Sequence[str]

    @property
    def barriers(self) -> int:
        """Those at which all warps wait for one another."""
        return sum("BAR.SYNC" in text for text in self.instructions)


def longest_loop(machine_code: str) -> Loop:
    """What lies between the branch back that spans most, and where it leads."""
    listed = [(int(address, 16), text) for address, text in _INSTRUCTION.findall(machine_code)]
    branches = [(address, int(found[1], 16)) for address, text in listed if (found := _BRANCH.search(text))]
    end, start = max((pair for pair in branches if pair[1] < pair[0]), key=lambda pair: pair[0] - pair[1])
    return Loop([text for address, text in listed if start <= address <= end])


def machine_code(binary: bytes) -> str:
    """The instructions of a compiled kernel."""
    from triton import knobs  # pyright: ignore[reportMissingTypeStubs]

    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder, "kernel.cubin")
        cubin.write_bytes(binary)
        listing = [knobs.nvidia.cuobjdump.path, "-sass", str(cubin)]
        return subprocess.run(listing, capture_output=True, text=True, check=True).stdout


def table() -> str:
    """One line for each loop."""
    names = ("loop", "H", "operands", "warps", "instructions", "barriers", "registers", "shared memory")
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    for title, cell, kind, sizes in LOOPS:
        step = simplify(trace_cell(cell))
        pair = save(step, (step.states[0].name,))
        program = plan({"inference": step, "saving": pair.forward, "gradient": pair.backward}[kind])
        for place, (units, operands) in enumerate(sizes):
            extents = {axis: units for shape in program.shapes.values() for axis in shape}
            run = ProgramRun(program, extents, PRECISIONS[operands], backwards=kind == "gradient")
            (kernel,) = loop_kernels(run, CHIP, ROWS)
            loop, resources = longest_loop(machine_code(kernel.compiled.binary)), kernel.compiled.resources
            shared = f"{resources.shared_bytes / 1024:.0f} KiB"
            counts = (resources.warps, len(loop.instructions), loop.barriers, resources.registers, shared)
            first = "" if place else f" {title}"
            lines.append(f"|{first} | {' | '.join(map(str, (units, operands, *counts)))} |")
    return "\n".join(lines)


def main() -> int:
    """Print the table."""
    sys.stdout.write(table() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
