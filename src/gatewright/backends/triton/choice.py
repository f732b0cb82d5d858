"""Which options a kernel is launched with: the first that fit on the chip, as its compiler says.

What a kernel takes follows from its text, dtypes and options, never from the number of steps or rows. It is kept on
disk, so that nothing is compiled to be chosen from twice.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from gatewright.backends.triton.chips import Chip
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import KernelText
from gatewright.backends.triton.resources import LaunchOptions, Memory, Resources, compile_kernel
from gatewright.kernel_cache import KernelCache, resources_cache
from gatewright.untrusted.json_text import parse_json


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
    compiled = compile_kernel(text, chip, precision, options, memory)
    cache.store(description, json.dumps(asdict(compiled.resources)).encode())
    return compiled.resources
