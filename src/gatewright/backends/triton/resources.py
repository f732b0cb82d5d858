"""What a kernel takes on a chip: registers, spilled bytes and shared memory. No GPU is needed to compile for one."""

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from gatewright.backends.triton.chips import Chip
from gatewright.backends.triton.compiled import compile_as_launched
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind, KernelText
from gatewright.backends.triton.load import is_interpreted, kernel
from gatewright.errors import OptionError

Memory = Mapping[Argument, str | None]
"""The dtypes of arrays that are not float32; None of an array that is left out."""
WHOLE_NUMBERS = {ArgumentKind.LENGTHS: "int32", ArgumentKind.COUNTERS: "int32", ArgumentKind.SEEDS: "int64"}
"""The dtypes of arrays that have no numbers of the Program."""


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """How a kernel is compiled and launched.

    - `constants`: its own constexpr parameters. Tiles have BM rows, BN features and BK terms of a sum at a time.
    - `stages`: those of the pipeline of loads.
    """

    constants: Mapping[str, int | bool] = field(default_factory=dict[str, int | bool])
    warps: int = 4
    stages: int = 1

    def keywords(self) -> dict[str, Any]:
        """What a launch is given by name. A product and a sum may become one operation, which rounds once."""
        return {**self.constants, "num_warps": self.warps, "num_stages": self.stages, "enable_fp_fusion": True}


@dataclass(frozen=True, slots=True)
class Resources:
    """What one program of a kernel takes.

    - `registers`: of each thread.
    - `spilled_bytes`: memory of each thread for values that found no register.
    - `shared_bytes`: shared memory of the program.
    """

    registers: int
    spilled_bytes: int
    shared_bytes: int
    warps: int

    def fits(self, chip: Chip) -> bool:
        """Whether a program can run on a chip, and without spilling: the compiler does not check shared memory."""
        return self.shared_bytes <= chip.shared_bytes and not self.spilled_bytes

    def __str__(self) -> str:
        warps = "1 warp" if self.warps == 1 else f"{self.warps} warps"
        return (
            f"{self.registers} registers a thread, {self.spilled_bytes} bytes spilled, "
            f"{self.shared_bytes / 1024:.0f} KiB of shared memory, {warps}"
        )


@dataclass(frozen=True, slots=True)
class KernelAssembly:
    """A kernel compiled for a chip: its assembly (PTX, or AMD's), what it takes, and its machine code as a file."""

    assembly: str
    resources: Resources
    binary: bytes


def compile_kernel(
    text: KernelText,
    chip: Chip,
    precision: KernelPrecision,
    options: LaunchOptions,
    memory: Memory | None = None,
) -> KernelAssembly:
    """Compile a kernel for a chip that need not be there.

    Raises OptionError while Triton's interpreter is on: then nothing can be compiled.
    """
    from triton.backends.compiler import GPUTarget

    if is_interpreted():
        raise OptionError(
            "kernels cannot be compiled while Triton's interpreter is on",
            expected="a process without the environment variable TRITON_INTERPRET",
            got="TRITON_INTERPRET is set",
            do="unset TRITON_INTERPRET, and start Python again",
        )
    function = kernel(text)
    names: list[str] = function.arg_names
    arguments: dict[str, Any] = dict.fromkeys(names, 2)  # of numbers any will do
    values: dict[str, Any] = {**text.constants, **constants_of(precision, chip), **options.constants}
    if text.by_table:
        values |= {f"E{number}": _element(argument, memory or {}) for number, argument in enumerate(text.arguments)}
    else:
        values |= {name: _dtype(argument, memory or {}) for name, argument in zip(names, text.arguments, strict=False)}
    values |= {name: getattr(torch, dtype) for name, dtype in text.workspace.items()}
    arguments |= {name: value for name, value in values.items() if name in names}
    told = LaunchOptions(warps=options.warps, stages=options.stages).keywords()
    target = GPUTarget(chip.backend, chip.architecture, chip.lanes)
    compiled = compile_as_launched(function, target, arguments, told)
    if chip.backend == "hip":
        return _of_amd(compiled, options.warps)
    return KernelAssembly(compiled.asm["ptx"], _of_cubin(compiled, options.warps), compiled.asm["cubin"])


def constants_of(precision: KernelPrecision, chip: Chip | None = None) -> dict[str, Any]:
    """The constexpr parameters by which a kernel learns the dtypes that it computes in. One with products of its own
    needs the chip."""
    import triton.language as tl

    return {
        "A": getattr(tl, precision.numbers),
        "D": getattr(tl, precision.operands),
        "P": chip.product_mode(precision.mode) if chip else precision.mode,
        "EMULATED": is_interpreted(),
    }


def _dtype(argument: Argument, memory: Memory) -> torch.dtype | None:
    """That of the elements of an array; None of one that is left out."""
    dtype = memory.get(argument, WHOLE_NUMBERS.get(argument.kind, "float32"))
    return None if dtype is None else getattr(torch, dtype)


def _element(argument: Argument, memory: Memory) -> Any:
    """The type of the elements of an array whose address a table holds; an array that is left out has any type."""
    import triton.language as tl

    return getattr(tl, memory.get(argument) or WHOLE_NUMBERS.get(argument.kind, "float32"))


def _of_cubin(compiled: Any, warps: int) -> Resources:
    from triton import knobs

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.cubin")
        file.write_bytes(compiled.asm["cubin"])
        command = [knobs.nvidia.cuobjdump.path, "-res-usage", str(file)]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    usage_of_kernel = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    if usage_of_kernel is None:
        raise RuntimeError(f"cuobjdump says nothing of registers: {usage}")
    return Resources(int(usage_of_kernel[1]), int(usage_of_kernel[2]), compiled.metadata.shared, warps)


def _of_amd(compiled: Any, warps: int) -> KernelAssembly:
    assembly: str = compiled.asm["amdgcn"]
    numbers = dict(re.findall(r"\.(vgpr_count|private_segment_fixed_size|group_segment_fixed_size):\s*(\d+)", assembly))
    spilled, shared = int(numbers["private_segment_fixed_size"]), int(numbers["group_segment_fixed_size"])
    resources = Resources(int(numbers["vgpr_count"]), spilled, max(shared, compiled.metadata.shared), warps)
    return KernelAssembly(assembly, resources, compiled.asm["hsaco"])
