"""Vectors of numbers as LLVM has them: one dtype, one width."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from llvmlite import ir

from gatewright.backends.coefficients import Dtype

Products = Literal["bfloat16", "int8"] | None
"""The dtype to which the operands of products are rounded; None leaves them as they are."""
PRODUCTS: tuple[Products, ...] = (None, "bfloat16", "int8")
Value = ir.Value
_ELEMENTS = {"float32": ir.FloatType(), "float64": ir.DoubleType()}


@dataclass(frozen=True)
class VectorType:
    """`width` numbers of one dtype, in one register if the target has one so wide. A width of 1 is a plain scalar."""

    dtype: Dtype
    width: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.width & (self.width - 1):
            raise ValueError(f"a vector has a power of two of lanes, not {self.width}")

    @cached_property
    def limits(self) -> "np.finfo[Any]":
        """What the dtype can hold."""
        return np.finfo(self.dtype)

    @property
    def element_bytes(self) -> int:
        return self.limits.bits // 8

    @property
    def element(self) -> Any:
        """The IR type of one number."""
        return _ELEMENTS[self.dtype]

    @cached_property
    def numbers(self) -> Any:
        """The IR type of the vector."""
        return self._wide(self.element)

    @cached_property
    def integers(self) -> Any:
        """The IR type of the same register when it is read as integers."""
        return self._wide(ir.IntType(self.limits.bits))

    @cached_property
    def halves(self) -> Any:
        """The IR type of 16 bits for each lane."""
        return self._wide(ir.IntType(16))

    @cached_property
    def mask(self) -> Any:
        """The IR type of what a comparison gives: one bit a lane."""
        return self._wide(ir.IntType(1))

    @property
    def suffix(self) -> str:
        """What LLVM appends to the name of an intrinsic for this type."""
        return f"f{self.limits.bits}" if self.width == 1 else f"v{self.width}f{self.limits.bits}"

    def splat(self, number: float) -> Value:
        """A constant with a number in every lane."""
        return self._repeated(self.numbers, ir.Constant(self.element, float(number)))

    @cached_property
    def poison(self) -> Value:
        """Lanes that nobody reads."""
        return _spelled(self.numbers, "poison")

    @cached_property
    def all_first(self) -> Value:
        """A choice of lanes: the first one, everywhere."""
        return ir.Constant(ir.VectorType(ir.IntType(32), self.width), None)

    def splat_integer(self, number: int) -> Value:
        """A constant with an integer in every lane."""
        return self._repeated(self.integers, ir.Constant(ir.IntType(self.limits.bits), number))

    def bits_of(self, number: float) -> int:
        """The bits of a number of the dtype, read as an integer."""
        return int(np.array(number, self.dtype).view(f"i{self.element_bytes}"))

    def first(self, lanes: int) -> Value:
        """A constant mask that holds the first lanes."""
        lanes_set = [lane < lanes for lane in range(self.width)]
        return ir.Constant(self.mask, lanes_set if self.width > 1 else lanes_set[0])

    def _wide(self, element: Any) -> Any:
        return element if self.width == 1 else ir.VectorType(element, self.width)

    def _repeated(self, kind: Any, constant: Any) -> Value:
        if self.width == 1:
            return constant
        return _spelled(kind, f"splat ({constant.type} {constant.get_reference()})")


def _spelled(vector: Any, text: str) -> Value:
    """A constant as LLVM writes it; llvmlite knows that of scalars only."""
    constant: Any = ir.FormattedConstant(vector.element, text)
    constant.type = vector
    return constant
