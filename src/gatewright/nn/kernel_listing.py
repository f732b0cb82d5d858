"""The kernels that a layer runs on a GPU: their texts in Triton's language, what they take, and their assembly."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from gatewright.backends.triton.chips import Chip
from gatewright.backends.triton.load import is_interpreted
from gatewright.backends.triton.run_kernels import RunKernel
from gatewright.schedule.program import Program
from gatewright.schedule.text import to_text

_NOT_COMPILED = "not compiled: Triton's interpreter is on, unset TRITON_INTERPRET and start Python again"


@dataclass(frozen=True)
class KernelListing:
    """The kernels of a layer for a chip, which need not be there; as a string, the Program and every kernel's text.

    Headings tell what the kernels take.

    - `program`: what is computed before the loop, in it and after it, with the names of the equations. torch multiplies
      what is outside of the loop, and sums over rows and steps.
    - `kernels`: in the order of their launches. Each has its `text`, its `place` in the run, the `options` of its
      launch, and, compiled when they are asked for, its `resources` (registers, spilled bytes, shared memory, warps)
      and its `assembly`. Where TRITON_INTERPRET is set nothing can be compiled.
    - `assembly`: PTX of every kernel, or AMD's assembly.
    """

    name: str
    chip: Chip
    kernels: tuple[RunKernel, ...] = field(repr=False)
    _program: Program = field(repr=False)

    @cached_property
    def program(self) -> str:
        """The Program, as text."""
        return to_text(self._program)

    @property
    def assembly(self) -> str:
        """The instructions of every kernel.

        Raises OptionError while Triton's interpreter is on.
        """
        return self._listed("assembly")

    def __str__(self) -> str:
        return f"# ---- {self.name}: the program\n\n{self.program.strip()}\n\n{self._listed('text')}"

    def _listed(self, part: Literal["text", "assembly"]) -> str:
        mark = "#" if part == "text" else "//"
        blocks: list[str] = []
        for kernel in self.kernels:
            taken = _NOT_COMPILED if is_interpreted() else str(kernel.resources)
            shown = kernel.text.text if part == "text" else kernel.compiled.assembly
            heading = f"{mark} ---- {kernel.text.name}, {kernel.place}; {self.chip.name}: {taken}"
            told = ", ".join(f"{name}={value}" for name, value in kernel.options.constants.items())
            blocks.append(f"{heading}\n{mark} {told or 'no constants'}\n\n{shown.strip()}\n")
        return "\n".join(blocks)
