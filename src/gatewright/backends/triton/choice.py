"""Which options a kernel is launched with: the first that fit on the chip, as its compiler says.

What a kernel takes follows from its text, dtypes and options, never from the number of steps or rows. It is kept on
disk, so that nothing is compiled to be chosen from twice.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

import torch

from gatewright.backends.triton.chips import CHIPS, Chip
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument, KernelText
from gatewright.backends.triton.resources import Resources, compile_kernel
from gatewright.kernel_cache import KernelCache, resources_cache
from gatewright.untrusted.json_text import parse_json

Memory = Mapping[Argument, str | None]
"""The dtypes of arrays that are not float32; None of an array that is left out."""


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """How a kernel is compiled and launched: its own constexpr parameters, warps, stages of pipelines."""

    constants: Mapping[str, int | bool] = field(default_factory=dict[str, int | bool])
    warps: int = 4
    stages: int = 1


def first_that_fits(
    text: KernelText,
    chip: Chip,
    precision: KernelPrecision,
    candidates: Iterable[LaunchOptions],
    memory: Memory | None = None,
) -> tuple[LaunchOptions, Resources] | None:
    """The first options with which a kernel needs no more shared memory than there is and spills nothing; None if it
    does with none of them. The candidates are in the order of preference."""
    for options in candidates:
        resources = resources_of(text, chip, precision, options, memory)
        if resources.fits(chip):
            return options, resources
    return None


def resources_of(
    text: KernelText,
    chip: Chip,
    precision: KernelPrecision,
    options: LaunchOptions,
    memory: Memory | None = None,
    cache: KernelCache | None = None,
) -> Resources:
    """What a kernel takes with these options: compiled now, or read from the cache on disk."""
    cache = cache or resources_cache()
    arrays = sorted((argument.kind, argument.name, dtype) for argument, dtype in (memory or {}).items())
    key = [version("triton"), chip.name, *precision, arrays, asdict(options), text.text]
    description = json.dumps(key)
    stored = cache.load(description)
    if stored is not None:
        values: Any = parse_json(stored.decode())
        return Resources(**values)
    compiled = compile_kernel(
        text,
        chip,
        precision,
        memory=memory,
        constants=options.constants,
        warps=options.warps,
        stages=options.stages,
    )
    cache.store(description, json.dumps(asdict(compiled.resources)).encode())
    return compiled.resources


def chip_of(device: torch.device) -> Chip:
    """The chip of a CUDA or ROCm device. One that is not in CHIPS has the limits that its driver tells."""
    properties = torch.cuda.get_device_properties(device)
    if torch.version.hip is not None:
        name: str = properties.gcnArchName.partition(":")[0]
        return CHIPS.get(name) or Chip(name, "hip", name, properties.warp_size, 64 * 1024, 512)
    architecture = 10 * properties.major + properties.minor
    known = CHIPS.get(f"sm_{architecture}")
    return known or Chip(f"sm_{architecture}", "cuda", architecture, 32, properties.shared_memory_per_block_optin, 255)
