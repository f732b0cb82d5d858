"""Emits arithmetic on vectors that are held in registers: numbers, their bits, and their lanes.

No fast-math flag is set anywhere, so that a NaN comes out where one went in and no sum is reassociated; the one liberty
is `fma`, which is fused where the target can.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partialmethod
from typing import Any, Literal, Self

from llvmlite import ir

from gatewright.backends.llvm.emit.vector_type import Dtype, Value, VectorType

Relation = Literal["<", "<=", "==", "!=", ">", ">="]
Operand = Value | float
"""A vector of the emitter's type, or a number that stands in every lane."""
Bits = Value | int
"""A vector of integers as wide as the numbers, or an integer that stands in every lane."""


class Arithmetic:
    """Emits at the builder's place. Every method takes the `name` of its value; within a scope the scope's name is put
    in front, and a value without a name of its own has the scope's.
    """

    def __init__(self, builder: ir.IRBuilder, dtype: Dtype, width: int) -> None:
        self.vector = VectorType(dtype, width)
        self._builder: Any = builder  # llvmlite is not typed
        self._scopes: list[str] = []
        self._widths: dict[int, Self] = {width: self}

    def with_width(self, width: int) -> Self:
        """An emitter at the same place for vectors of another width; of 1 for scalars."""
        if width not in self._widths:
            other = self._widths[width] = type(self)(self._builder, self.vector.dtype, width)
            other._scopes, other._widths = self._scopes, self._widths
        return self._widths[width]

    @contextmanager
    def scope(self, name: str) -> Generator[None]:
        """Put a name in front of the names of all values that are emitted within."""
        self._scopes.append(name)
        try:
            yield
        finally:
            self._scopes.pop()

    # Numbers

    def constant(self, number: float) -> Value:
        """A number in every lane."""
        return self.vector.splat(number)

    def _two_numbers(self, instruction: str, a: Operand, b: Operand, name: str = "") -> Value:
        return getattr(self._builder, instruction)(self._value(a), self._value(b), self._name(name))

    add = partialmethod(_two_numbers, "fadd")
    sub = partialmethod(_two_numbers, "fsub")
    mul = partialmethod(_two_numbers, "fmul")
    div = partialmethod(_two_numbers, "fdiv")

    def neg(self, a: Operand, name: str = "") -> Value:
        return self._builder.fneg(self._value(a), self._name(name))

    def fma(self, a: Operand, b: Operand, c: Operand, name: str = "") -> Value:
        """Multiply and add, a * b + c: rounded once where the target has such an instruction, else twice."""
        return self._intrinsic("llvm.fmuladd", (a, b, c), name)

    def sqrt(self, a: Operand, name: str = "") -> Value:
        return self._intrinsic("llvm.sqrt", (a,), name)

    def abs(self, a: Operand, name: str = "") -> Value:
        return self._intrinsic("llvm.fabs", (a,), name)

    def copysign(self, magnitude: Operand, sign: Operand, name: str = "") -> Value:
        return self._intrinsic("llvm.copysign", (magnitude, sign), name)

    def smaller(self, a: Operand, b: Operand, name: str = "") -> Value:
        """The smaller of a and b, but b where either is NaN: one instruction on x86."""
        return self.select(self.compare("<", a, b, f"{name}.first"), a, b, name)

    def larger(self, a: Operand, b: Operand, name: str = "") -> Value:
        """The larger of a and b, but b where either is NaN: one instruction on x86, and relu(x) is larger(0, x)."""
        return self.select(self.compare(">", a, b, f"{name}.first"), a, b, name)

    def minimum(self, a: Operand, b: Operand, name: str = "") -> Value:
        """The smaller of a and b, and NaN where either is."""
        return self.select(self.is_nan(a, f"{name}.nan"), a, self.smaller(a, b, f"{name}.of_numbers"), name)

    def maximum(self, a: Operand, b: Operand, name: str = "") -> Value:
        """The larger of a and b, and NaN where either is."""
        return self.select(self.is_nan(a, f"{name}.nan"), a, self.larger(a, b, f"{name}.of_numbers"), name)

    # Masks

    def compare(self, relation: Relation, a: Operand, b: Operand, name: str = "") -> Value:
        """A mask. As in Python, NaN differs from everything and is in no other relation."""
        compare = self._builder.fcmp_unordered if relation == "!=" else self._builder.fcmp_ordered
        return compare(relation, self._value(a), self._value(b), self._name(name))

    def is_nan(self, a: Operand, name: str = "") -> Value:
        return self._builder.fcmp_unordered("uno", self._value(a), self._value(0.0), self._name(name))

    def select(self, mask: Value, a: Operand, b: Operand, name: str = "") -> Value:
        """Take a in the lanes of the mask, b in the others."""
        return self._builder.select(mask, self._value(a), self._value(b), self._name(name))

    # The bits of numbers

    def bits(self, a: Operand, name: str = "") -> Value:
        """The bits of each number, as an integer."""
        return self._builder.bitcast(self._value(a), self.vector.integers, self._name(name))

    def from_bits(self, bits: Bits, name: str = "") -> Value:
        """The numbers that have these bits."""
        return self._builder.bitcast(self._integer(bits), self.vector.numbers, self._name(name))

    def _two_integers(self, instruction: str, a: Bits, b: Bits, name: str = "") -> Value:
        return getattr(self._builder, instruction)(self._integer(a), self._integer(b), self._name(name))

    add_bits = partialmethod(_two_integers, "add")
    and_bits = partialmethod(_two_integers, "and_")
    or_bits = partialmethod(_two_integers, "or_")
    xor_bits = partialmethod(_two_integers, "xor")
    mul_bits = partialmethod(_two_integers, "mul")  # as many bits of the product are kept as a number has
    shift_left = partialmethod(_two_integers, "shl")
    shift_right = partialmethod(_two_integers, "lshr")  # zeros come in from the left
    shift_right_signed = partialmethod(_two_integers, "ashr")  # the sign's bit comes in from the left

    def larger_bits(self, a: Bits, b: Bits, name: str = "") -> Value:
        """The larger of two integers with a sign."""
        a, b = self._integer(a), self._integer(b)
        return self._builder.select(self._builder.icmp_signed(">", a, b), a, b, self._name(name))

    def smaller_bits(self, a: Bits, b: Bits, name: str = "") -> Value:
        """The smaller of two integers with a sign."""
        a, b = self._integer(a), self._integer(b)
        return self._builder.select(self._builder.icmp_signed("<", a, b), a, b, self._name(name))

    def to_whole(self, a: Operand, name: str = "") -> Value:
        """The nearest integers, ties to even; 0 for NaN, and the last one for what is beyond it."""
        nearest, suffix = self._intrinsic("llvm.rint", (a,), name), self.vector.suffix
        function = f"llvm.fptosi.sat.{suffix.replace('f', 'i')}.{suffix}"
        return self.call_intrinsic(function, self.vector.integers, [nearest], name)

    def from_whole(self, bits: Bits, name: str = "") -> Value:
        """The numbers nearest to integers with a sign."""
        return self._builder.sitofp(self._integer(bits), self.vector.numbers, self._name(name))

    def whole_quotient(self, a: Operand, b: Operand, name: str = "") -> Value:
        """The integer nearest to a / b, which is computed in float64 and holds no more bits than a number."""
        wide = type(self)(self._builder, "float64", self.vector.width)
        operands = (self._value(operand) for operand in (a, b))
        if self.vector.dtype == "float32":
            operands = (self._builder.fpext(operand, wide.vector.numbers) for operand in operands)
        quotient = wide.to_whole(wide.div(*operands))
        return quotient if self.vector.dtype == "float64" else self._builder.trunc(quotient, self.vector.integers)

    def select_bits(self, mask: Value, a: Bits, b: Bits, name: str = "") -> Value:
        """Take the bits of a in the lanes of the mask, those of b in the others."""
        return self._builder.select(mask, self._integer(a), self._integer(b), self._name(name))

    def bitcast(self, a: Value, kind: Any, name: str = "") -> Value:
        """The same register as a vector of another type."""
        return self._builder.bitcast(a, kind, self._name(name))

    # Lanes

    def splat(self, scalar: Value, name: str = "") -> Value:
        """A scalar in every lane."""
        if self.vector.width == 1:
            return scalar
        zero, nothing = ir.Constant(ir.IntType(64), 0), self.vector.poison
        lane = self._builder.insert_element(nothing, scalar, zero, self._name(f"{name}.lane"))
        return self._builder.shuffle_vector(lane, nothing, self.vector.all_first, self._name(name))

    def lane(self, a: Value, lane: int, name: str = "") -> Value:
        """The scalar in one lane."""
        if self.vector.width == 1:
            return a
        return self._builder.extract_element(a, ir.Constant(ir.IntType(64), lane), self._name(name))

    def choose(self, a: Value, b: Value, lanes: Sequence[int], name: str = "") -> Value:
        """A vector of these lanes, counted through a and then through b."""
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))
        return self._builder.shuffle_vector(a, b, mask, self._name(name))

    def sum_lanes(self, a: Value, name: str = "") -> Value:
        """The sum of all lanes, a scalar."""
        return self.fold_lanes(a, 1, name)

    def fold_lanes(self, a: Value, count: int, name: str = "") -> Value:
        """The sum of the parts of `count` lanes each: the upper half is added to the lower until one part is left."""
        half = self.vector.width // 2
        if self.vector.width == count:
            return a
        narrow = self.with_width(half)
        if half == 1:
            return narrow.add(self.lane(a, 0, f"{name}.lower"), self.lane(a, 1, f"{name}.upper"), name)
        lower = self._pick(a, range(half), f"{name}.lower{half}")
        upper = self._pick(a, range(half, 2 * half), f"{name}.upper{half}")
        return narrow.fold_lanes(narrow.add(lower, upper, f"{name}.by{half}"), count, name)

    # What llvmlite needs

    def _name(self, name: str) -> str:
        return ".".join(filter(None, (*self._scopes, name.strip("."))))

    def _value(self, operand: Operand) -> Value:
        return operand if isinstance(operand, Value) else self.constant(operand)

    def _integer(self, operand: Bits) -> Value:
        return operand if isinstance(operand, Value) else self.vector.splat_integer(operand)

    def _pick(self, a: Value, lanes: Sequence[int], name: str) -> Value:
        return self.choose(a, self.vector.poison, lanes, name)

    def _intrinsic(self, stem: str, operands: Sequence[Operand], name: str) -> Value:
        values = [self._value(operand) for operand in operands]
        return self.call_intrinsic(f"{stem}.{self.vector.suffix}", self.vector.numbers, values, name)

    def call_intrinsic(self, function: str, result: Any, arguments: Sequence[Any], name: str = "") -> Value:
        """Call a function that LLVM knows by its name."""
        module = self._builder.module
        declared = module.globals.get(function)
        if declared is None:
            kind = ir.FunctionType(result, [argument.type for argument in arguments])
            declared = ir.Function(module, kind, function)
        return self._builder.call(declared, arguments, self._name(name))
