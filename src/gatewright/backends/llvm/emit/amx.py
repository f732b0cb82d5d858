"""The instructions of Intel's AMX: registers of 16 rows of 64 bytes, and products of two of them.

The processor has eight such tiles for each thread. A thread says first how large each is; here all have the full size.
A row of sums holds 16 numbers of float32, a row of operands 16 words of two bfloat16 numbers. Denormal numbers are
taken for 0, and rounding is to the nearest whatever the thread's settings are.

A tile is named by a constant in the instruction, so the caller deals them out, as an assembler programmer would.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from llvmlite import ir

from gatewright.backends.llvm.emit.emitter import INDEX, POINTER, Emitter, Index
from gatewright.backends.llvm.emit.vector_type import Value

TILES = 8
TILE_ROWS = 16
TILE_WORDS = 16
"""How many words, or sums, a row of a tile holds."""
_ROW_BYTES = 64
_CONFIGURATION = "amx_configuration"


def configuration() -> bytes:
    """What `ldtilecfg` reads: palette 1 at byte 0, the bytes of each tile's rows from 16, their number from 48."""
    columns = _ROW_BYTES.to_bytes(2, "little") * TILES
    return (bytes([1]).ljust(16, b"\0") + columns).ljust(48, b"\0") + bytes([TILE_ROWS] * TILES).ljust(16, b"\0")


class AmxTiles:
    """Emits the instructions for one function. It configures the tiles before it uses any, and releases them before it
    returns: the configuration belongs to the thread, which other code uses later.

    This is all that kernels know of AMX: tests derive from it, and put functions in place of the instructions.
    """

    label: ClassVar[str] = "AMX tiles"

    def __init__(self, e: Emitter) -> None:
        self.e = e

    def configure(self) -> None:
        """Give all tiles their full size; they are 0."""
        self._emit("ldtilecfg", [self.configuration_pointer()])

    def release(self) -> None:
        """Leave the tiles as a thread has them that never used any: the system no longer saves them."""
        self._emit("tilerelease", [])

    def zero(self, tile: int) -> None:
        self._emit("tilezero", [_number(tile)])

    def load(self, tile: int, pointer: Value, stride: Index) -> None:
        """Load 16 rows that lie `stride` bytes apart."""
        self._emit("tileloadd64", [_number(tile), pointer, self.e.index(stride)])

    def store(self, tile: int, pointer: Value, stride: Index) -> None:
        """Store 16 rows `stride` bytes apart."""
        self._emit("tilestored64", [_number(tile), pointer, self.e.index(stride)])

    def dot(self, sums: int, rows: int, weights: int) -> None:
        """Add to `sums[m, n]` both products of the words `rows[m, k]` and `weights[k, n]`, over all k."""
        self._emit("tdpbf16ps", [_number(sums), _number(rows), _number(weights)])

    def configuration_pointer(self) -> Value:
        """Where the configuration lies, a constant of the module."""
        module = self.e.module
        constant: Any = module.globals.get(_CONFIGURATION)
        if constant is None:
            content = ir.Constant(ir.ArrayType(ir.IntType(8), 64), bytearray(configuration()))
            constant = ir.GlobalVariable(module, content.type, _CONFIGURATION)
            constant.linkage, constant.global_constant, constant.initializer = "internal", True, content
        return constant.ptrtoint(INDEX).inttoptr(POINTER)  # llvmlite gives it a pointer type of its own

    def _emit(self, instruction: str, operands: Sequence[Any]) -> None:
        self.e.call_intrinsic(f"llvm.x86.{instruction}", ir.VoidType(), operands)


def _number(tile: int) -> Any:
    return ir.Constant(ir.IntType(8), tile)
