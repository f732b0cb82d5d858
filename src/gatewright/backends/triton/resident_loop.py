"""Launches the resident form of a Program's loop with the first options that fit on the chip."""

from collections.abc import Iterator, Mapping
from math import prod

from torch import Tensor

from gatewright.backends.triton.chips import KIB, Chip, chip_of
from gatewright.backends.triton.choice import first_that_fits, resources_of
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import LENGTHS, Argument, ArgumentKind
from gatewright.backends.triton.launch import memory_of, on_device, pointers
from gatewright.backends.triton.load import is_interpreted, kernel
from gatewright.backends.triton.resident_kernel import resident_text
from gatewright.backends.triton.resources import LaunchOptions, Memory, constants_of
from gatewright.backends.triton.writer import padded
from gatewright.schedule.program import Program

ROWS_OF_PRODUCTS = 16  # the fewest that tensor cores multiply
ELEMENTS_OF_A_THREAD = 8  # of each value; LSTMs have about 15 values alive
MOST_WARPS = 16
BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


class ResidentLoop:
    """The loop of a Program as one launch, in which every program takes a tile of rows through all steps."""

    def __init__(
        self, program: Program, sizes: Mapping[str, int], precision: KernelPrecision, *, backwards: bool = False
    ) -> None:
        self.program, self.sizes, self.precision, self.backwards = program, sizes, precision, backwards
        self.kernel = resident_text(program, sizes)
        self._chosen: dict[tuple[object, ...], LaunchOptions | None] = {}

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """The arrays that a caller gives."""
        return self.kernel.arguments

    def run(self, arrays: Mapping[Argument, Tensor | None], steps: int, batch: int) -> None:
        """Take all steps. `arrays` are those of `arguments`. A START that is absent or None is zeros; without LENGTHS
        all rows take all steps.

        Raises ValueError where the kernel does not fit on the device: ask `options` before.
        """
        if not batch or not self.program.loop:
            return
        like = next(array for array in arrays.values() if array is not None)
        options = self.options(arrays)
        if options is None:
            raise ValueError(f"the resident form of {self.program.trace.name} does not fit on this device")
        with on_device(like):
            kernel(self.kernel)[(-(-batch // options.constants["BM"]),)](
                *pointers(self.kernel.arguments, arrays), steps, batch,
                **constants_of(self.precision, chip_of(like.device)), **options.keywords(),
            )  # fmt: skip

    def options(self, arrays: Mapping[Argument, Tensor | None]) -> LaunchOptions | None:
        """How it is launched on the device of these arrays; None where it does not fit there."""
        like = next(array for array in arrays.values() if array is not None)
        memory = memory_of(self.kernel.arguments, arrays)
        key = (like.device, *memory.values())
        if key not in self._chosen:
            chip = chip_of(like.device) if like.is_cuda else None
            self._chosen[key] = self.options_on(chip, memory)
        return self._chosen[key]

    def options_on(self, chip: Chip | None, memory: Memory) -> LaunchOptions | None:
        """The first options with which the kernel fits on a chip; without one, those of the interpreter."""
        ragged = memory.get(LENGTHS) is not None
        candidates = list(self.candidates(ragged=ragged))
        if chip is None:
            return candidates[0]
        room = _room(chip)[0]
        candidates = [options for options in candidates if self.least_bytes(options, memory) <= room]
        if is_interpreted():  # nothing can be compiled: the bound decides
            return candidates[0] if candidates else None
        fitting = first_that_fits(self.kernel, chip, self.precision, candidates, memory)
        return fitting[0] if fitting else None

    def obstacle_on(self, chip: Chip, memory: Memory) -> str:
        """Why the kernel does not fit on a chip; empty where it does."""
        if self.options_on(chip, memory) is not None:
            return ""
        last = list(self.candidates(ragged=memory.get(LENGTHS) is not None))[-1]
        least, (room, kind) = self.least_bytes(last, memory), _room(chip)
        if least > room:
            return f"its matrices take {least / KIB:.0f} KiB of {kind}, and {chip.name} has {room / KIB:.0f}"
        taken = resources_of(self.kernel, chip, self.precision, last, memory)
        return f"compiled for {chip.name} it takes {taken}"

    def candidates(self, *, ragged: bool) -> Iterator[LaunchOptions]:
        """Options in the order of preference: loads ahead of their steps first, then few elements of a thread."""
        shapes = [
            self.program.shapes[argument.name] for argument in self.kernel.arguments if argument.name != "lengths"
        ]
        widest = max((padded(self.sizes[axis]) for shape in shapes for axis in shape), default=1)
        has_products = any(stage.products for stage in self.program.loop)
        rows = ROWS_OF_PRODUCTS if has_products else 1
        warps = max(1, min(MOST_WARPS, rows * widest // (32 * ELEMENTS_OF_A_THREAD)))
        for stages in (3, 1):
            for count in dict.fromkeys((warps, min(2 * warps, MOST_WARPS))):
                constants = {"BACKWARDS": self.backwards, "RAGGED": ragged, "BM": rows, "STAGES": stages}
                yield LaunchOptions(constants, count)

    def least_bytes(self, options: LaunchOptions, memory: Memory) -> int:
        """What matrices and loads that are ahead take of shared memory, or of AMD's registers: a bound that saves
        compiling in vain."""
        stored = {store.name for stage in self.program.loop for store in stage.stores}
        stages, rows = options.constants["STAGES"], options.constants["BM"]
        total = 0
        for argument in self.kernel.arguments:
            shape = self.program.shapes.get(argument.name, ())
            elements = prod(padded(self.sizes[axis]) for axis in shape)
            if argument.kind is ArgumentKind.SHARED and len(shape) > 1:
                total += elements * BYTES[self.precision.operands]
            elif argument.kind is ArgumentKind.SEQUENCE and argument.name not in stored:
                total += elements * rows * (stages - 1) * BYTES[memory.get(argument) or "float32"]
        return total


def _room(chip: Chip) -> tuple[int, str]:
    """The bytes of a processor in which matrices stay through all steps, and what that memory is."""
    if chip.backend == "cuda":
        return chip.shared_bytes, "shared memory"
    # Triton keeps them in registers of AMD's chips: a compute unit has four files, each for the lanes of a wave
    return 4 * chip.registers * chip.lanes * 4, "registers"
