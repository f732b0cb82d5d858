"""The chips that kernels are compiled for, and what a program may take there."""

from dataclasses import dataclass, replace
from typing import Literal

import torch

from gatewright.backends.triton.kernel_precision import ProductMode
from gatewright.errors import OptionError

KIB = 1024


@dataclass(frozen=True, slots=True)
class Chip:
    """A kind of chip.

    - `architecture`: what the compiler calls it: 90 for sm_90, "gfx942".
    - `shared_bytes`: the shared memory that one program may take (CUDA C++ Programming Guide, table of compute
      capabilities; the CDNA 3 ISA guide calls it LDS).
    - `registers`: those of one thread.
    - `processors`: how many programs run at the same time, one on each; of a large chip of the kind.
    """

    name: str
    backend: Literal["cuda", "hip"]
    architecture: int | str
    lanes: int
    shared_bytes: int
    registers: int
    processors: int

    @property
    def multiplies_asynchronously(self) -> bool:
        """Whether tensor cores take 64 rows and work beside the program: sm_90, and sm_100 to sm_110."""
        return isinstance(self.architecture, int) and 90 <= self.architecture < 120

    def product_mode(self, asked: ProductMode) -> ProductMode:
        """How float32 numbers are multiplied where a mode is asked for: as float32 where the chip has no such products.

        Of AMD's chips only gfx942 multiplies in tf32, and Triton refuses to compile the mode for others.
        """
        has_mode = self.backend == "cuda" or (asked == "tf32" and self.architecture == "gfx942")
        return asked if has_mode else "ieee"


@dataclass(frozen=True, slots=True)
class OnChip:
    """Stands for tensors on a chip that need not be there: it tells what a plan asks of a tensor."""

    dtype: torch.dtype
    chip: Chip

    @property
    def device(self) -> torch.device:
        """Any that torch calls CUDA."""
        return torch.device("cuda")


CHIPS = {
    chip.name: chip
    for chip in (
        Chip("sm_80", "cuda", 80, 32, 163 * KIB, 255, 108),
        Chip("sm_86", "cuda", 86, 32, 99 * KIB, 255, 84),
        Chip("sm_89", "cuda", 89, 32, 99 * KIB, 255, 142),
        Chip("sm_90", "cuda", 90, 32, 227 * KIB, 255, 132),
        Chip("sm_100", "cuda", 100, 32, 227 * KIB, 255, 148),
        Chip("sm_120", "cuda", 120, 32, 99 * KIB, 255, 188),
        Chip("gfx942", "hip", "gfx942", 64, 64 * KIB, 512, 304),
    )
}


def chip_of(device: torch.device) -> Chip:
    """The chip of a CUDA or ROCm device; on a CPU, where kernels are interpreted, an H100.

    One that is not in CHIPS has the limits that its driver tells.
    """
    if device.type != "cuda":
        return CHIPS["sm_90"]
    properties = torch.cuda.get_device_properties(device)
    count: int = properties.multi_processor_count
    if torch.version.hip is not None:
        name: str = properties.gcnArchName.partition(":")[0]
        known = CHIPS.get(name) or Chip(name, "hip", name, properties.warp_size, 64 * KIB, 512, count)
        return replace(known, processors=count)
    architecture = 10 * properties.major + properties.minor
    name, shared = f"sm_{architecture}", properties.shared_memory_per_block_optin
    known = CHIPS.get(name) or Chip(name, "cuda", architecture, 32, shared, 255, count)
    return replace(known, processors=count)


def chip_named(name: str) -> Chip:
    """The chip of a name.

    Raises OptionError for one that is not known.
    """
    if name not in CHIPS:
        raise OptionError(
            "there is no such chip",
            expected=f"one of {', '.join(CHIPS)}",
            got=repr(name),
            do="torch.cuda.get_device_capability() is (9, 0) for sm_90, an H100 or H200",
        )
    return CHIPS[name]
