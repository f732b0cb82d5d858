"""Kernels that are compiled by Triton and run on the machine for PTX, in the place of Triton's own launches.

Arrays are tensors of the CPU. What Triton learns of them at a launch, the alignment of pointers, it learns here too.
"""

import ctypes
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from gatewright.backends.triton import (
    load,
    pass_kernels,
    persistent_kernel,
    resident_loop,
    scan_launch,
    stepped,
)
from gatewright.backends.triton.kernel_text import KernelText
from tests.backends.triton.ptx.instructions import code_of
from tests.backends.triton.ptx.machine import Cells, Code, GlobalArray, Launch

OPTIONS = ("num_warps", "num_stages", "enable_fp_fusion")
POINTERS = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.int32: "*i32",
            torch.int64: "*i64"}  # fmt: skip


@dataclass
class PtxRunner:
    """Compiles kernels for a chip and runs them.

    - `seed`: of the order of programs and warps; `early`: see the machine.
    - `without_barrier`: leave the barrier of this number out of every kernel: to see that it is missed.
    - `launched`: the names of the kernels that have run.
    """

    architecture: int = 80
    seed: int = 0
    early: bool = False
    without_barrier: int | None = None
    arrays: list[GlobalArray] = field(default_factory=list[GlobalArray])
    tensors: list[Tensor] = field(default_factory=list[Tensor])
    launched: list[str] = field(default_factory=list[str])
    _codes: dict[Any, tuple[Code, int]] = field(default_factory=dict[Any, tuple[Code, int]])

    def install(self) -> None:
        """Have all loops, passes and scans of this process run here."""
        for module in (resident_loop, stepped, pass_kernels, scan_launch, persistent_kernel):
            module.kernel = lambda text: _Kernel(self, text)  # pyright: ignore[reportAttributeAccessIssue]

    def pointer(self, name: str, tensor: Tensor) -> int:
        """The address of a tensor, which kernels may use from then on."""
        address, size = tensor.data_ptr(), tensor.numel() * tensor.element_size()
        if not any((known.address, len(known.bytes)) == (address, size) for known in self.arrays):
            memory = np.ctypeslib.as_array((ctypes.c_ubyte * size).from_address(address))
            self.arrays.append(GlobalArray(name, address, memory, Cells(size)))
        self.tensors.append(tensor)  # so that its memory is given to no other
        return address

    def code(self, function: Any, signature: Mapping[str, str], constants: Any, attributes: Any, options: Any) -> Any:
        """The code of a kernel, compiled once, and its warps."""
        key = (function, repr((signature, constants, attributes, options)))
        if key not in self._codes:
            source = ASTSource(fn=function, signature=signature, constexprs=constants, attrs=attributes)
            compiled: Any = triton.compile(source, target=GPUTarget("cuda", self.architecture, 32), options=options)
            code = code_of(self._ptx(compiled.asm["ptx"]), compiled.metadata.shared)
            self._codes[key] = (code, compiled.metadata.num_warps)
        return self._codes[key]

    def _ptx(self, text: str) -> str:
        if self.without_barrier is None:
            return text
        places = [match.span() for match in re.finditer(r"bar\.sync\s+0;", text)]
        if self.without_barrier >= len(places):
            return text
        start, end = places[self.without_barrier]
        return text[:start] + text[end:]


class _Kernel:
    def __init__(self, runner: PtxRunner, text: KernelText) -> None:
        self.runner, self.name = runner, text.name
        self.function = load.kernel(text)

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*arguments: Any, **named: Any) -> None:
            options = {name: named.pop(name) for name in OPTIONS}
            values = {parameter.name: parameter.default for parameter in self.function.params}
            values |= dict(zip(self.function.arg_names[: len(arguments)], arguments, strict=True)) | named
            self._run(grid + (1,) * (3 - len(grid)), values, options)

        return launch

    def _run(self, grid: tuple[int, ...], values: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        runner, signature, constants, attributes = self.runner, dict[str, str](), dict[Any, Any](), dict[Any, Any]()
        given: list[int] = []
        for place, parameter in enumerate(self.function.params):
            name, value = parameter.name, values[parameter.name]
            if parameter.is_constexpr or value is None:
                signature[name], constants[place,] = "constexpr", value
            elif isinstance(value, Tensor):
                signature[name] = POINTERS[value.dtype]
                if value.data_ptr() % 16 == 0:
                    attributes[place,] = [["tt.divisibility", 16]]
                given.append(runner.pointer(name, value))
            else:
                signature[name] = "i32"
                given.append(value)
        code, warps = runner.code(self.function, signature, constants, attributes, dict(options))
        for array in runner.arrays:
            array.cells = Cells(len(array.bytes))
        parameters = dict.fromkeys(code.parameters, 0) | dict(zip(code.parameters[: len(given)], given, strict=True))
        waits = self.name == "persistent"
        Launch(
            code, runner.arrays, grid, parameters, warps, runner.early, waits, random.Random(runner.seed)
        ).run()  # fmt: skip
        runner.launched.append(self.name)
