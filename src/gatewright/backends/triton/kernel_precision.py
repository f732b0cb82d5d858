"""The dtypes in which kernels compute: of sums, gates and states, and of the operands of products."""

from typing import Literal, NamedTuple

Number = Literal["float32", "float64"]
Operand = Literal["float32", "bfloat16", "float16", "float64"]
ProductMode = Literal["ieee", "tf32", "tf32x3"]


class KernelPrecision(NamedTuple):
    """The dtypes of a kernel.

    - `numbers`: sums, gates and states. float64 is for the interpreter, in which kernels are tested.
    - `operands`: what operands of products are rounded to.
    - `mode`: how float32 operands are multiplied; other operands have "ieee".
    """

    numbers: Number = "float32"
    operands: Operand = "float32"
    mode: ProductMode = "ieee"
