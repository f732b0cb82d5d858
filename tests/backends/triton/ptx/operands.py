"""The operands of PTX: registers of 32 lanes, numbers, special registers and addresses."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.backends.triton.ptx.machine import LANES, Warp

Value = Any
"""Of 32 lanes, or one number for all of them."""
Read = Callable[[Warp], Value]
Write = Callable[..., None]
Run = Callable[[Warp], None]

BITS = {1: np.dtype("u1"), 2: np.dtype("u2"), 4: np.dtype("u4"), 8: np.dtype("u8")}
DTYPES = {
    **{f"{kind}{8 * size}": np.dtype(f"u{size}") for kind in "ub" for size in (1, 2, 4, 8)},
    **{f"s{8 * size}": np.dtype(f"i{size}") for size in (1, 2, 4, 8)},
    **{f"f{8 * size}": np.dtype(f"f{size}") for size in (2, 4, 8)},
    "bf16": np.dtype("u2"),
    "tf32": np.dtype("u4"),
    "bf16x2": np.dtype("u4"),
    "f16x2": np.dtype("u4"),
}
"""The numbers of each kind; those that NumPy has not are bits."""
_AXES = {"x": 0, "y": 1, "z": 2}


def lanes(value: Value) -> np.ndarray:
    """A value with all of its lanes."""
    return np.broadcast_to(np.asarray(value), (32,))


def listed(operand: str) -> list[str]:
    """The operands in braces."""
    return [part.strip() for part in operand.strip("{} ").split(",")]


@dataclass
class Operands:
    """Makes functions that read and write operands; registers are numbered as they are met."""

    numbers: dict[str, int] = field(default_factory=dict[str, int])

    def number(self, register: str) -> int:
        """The number of a register."""
        return self.numbers.setdefault(register, len(self.numbers))

    def read(self, operand: str, kind: str) -> Read:
        """What reads an operand as numbers of a kind, such as f32."""
        if kind == "pred":
            return self._read_predicate(operand)
        dtype = DTYPES[kind]
        if operand == "%tid.x":
            return lambda warp: (LANES + 32 * warp.number).astype(dtype)
        special = re.fullmatch(r"%(n?)ctaid\.([xyz])", operand)
        if special:
            axis = _AXES[special[2]]
            if special[1]:
                return lambda warp: dtype.type(warp.program.launch.grid[axis])
            return lambda warp: dtype.type(warp.program.place[axis])
        if operand.startswith("%"):
            return self._read_register(operand, dtype)
        number = _number(operand, dtype)
        return lambda warp: number

    def _read_predicate(self, operand: str) -> Read:
        if not operand.startswith(("%", "!")):
            value = int(operand) != 0
            return lambda warp: value
        register = self.number(operand.removeprefix("!"))
        if operand.startswith("!"):
            return lambda warp: ~warp.registers[register]
        return lambda warp: warp.registers[register]

    def _read_register(self, operand: str, dtype: np.dtype) -> Read:
        register = self.number(operand)

        def read(warp: Warp) -> Value:
            value = warp.registers[register]
            if value.dtype.itemsize != dtype.itemsize:
                value = value.astype(BITS[dtype.itemsize])
            return value.view(dtype)

        return read

    def write(self, operand: str) -> Write:
        """What writes a register, in the lanes of a guard where there is one."""
        register = self.number(operand)

        def write(warp: Warp, value: Value, guard: np.ndarray | None = None) -> None:
            value = lanes(value)
            if value.dtype != np.bool_:
                value = np.ascontiguousarray(value).view(BITS[value.dtype.itemsize])
            if guard is not None:
                old = warp.registers[register]
                value = np.where(guard, value, np.zeros(32, value.dtype) if old is None else old)
            warp.registers[register] = value

        return write

    def address(self, operand: str) -> Read:
        """What gives the addresses of an operand such as [%rd1 + 16]. Shared memory begins at 0."""
        match = re.fullmatch(r"\[\s*(\S+?)\s*(?:\+\s*(-?\d+)\s*)?\]", operand)
        assert match, operand
        base, offset = match[1], int(match[2] or 0)
        if base.startswith("%"):
            register = self.number(base)
            return lambda warp: warp.registers[register].astype(np.int64) + offset
        place = np.full(32, offset + (0 if base == "global_smem" else int(base)))
        return lambda warp: place


def _number(operand: str, dtype: np.dtype) -> Value:
    """A constant: 0f3F800000 has the bits of a float32 number, and 0d... those of a float64."""
    if operand == "global_smem":
        bits, size = 0, dtype.itemsize
    elif operand.startswith(("0f", "0d")):
        bits, size = int(operand[2:], 16), 4 if operand[1] == "f" else 8
    else:
        bits, size = int(operand, 0), dtype.itemsize
    return np.array([bits & (1 << 8 * size) - 1], BITS[size]).view(dtype)[0]
