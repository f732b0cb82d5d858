"""AMX by functions of LLVM IR, as Intel's manual defines the instructions: kernels for it run on any processor.

Each function that uses tiles has its own, on the stack: a thread has them only between `configure` and `release`.
Where an operand's size is not what the instruction needs, the processor would raise an exception. Here all sums become
NaN instead.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from gatewright.backends.llvm.emit.amx import AmxTiles
from gatewright.backends.llvm.emit.emitter import INDEX, Emitter, Index
from gatewright.backends.llvm.emit.vector_type import Value

_I8, _I16, _I32, _FLOAT = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.FloatType()
_CONFIGURATION, _TILE, _TILES, _ROW = 64, 1024, 8, 64  # bytes, bytes, tiles, bytes
_LEAST_NORMAL = float(2.0**-126)
Body = Callable[["_Writer", list[Any]], None]


class EmulatedAmx(AmxTiles):
    """Calls a function in place of each instruction."""

    label = "emulated AMX tiles"

    def __init__(self, e: Emitter) -> None:
        super().__init__(e)
        self._file = e.with_width(1).reserve_numbers((_CONFIGURATION + _TILES * _TILE) // 4, "tiles")

    def configure(self) -> None:
        self._call("configure", _configure, self.configuration_pointer())

    def release(self) -> None:
        self._call("release", _release)

    def zero(self, tile: int) -> None:
        self._call("zero", _zero, tile)

    def load(self, tile: int, pointer: Value, stride: Index) -> None:
        self._call("load", _load, tile, pointer, stride)

    def store(self, tile: int, pointer: Value, stride: Index) -> None:
        self._call("store", _store, tile, pointer, stride)

    def dot(self, sums: int, rows: int, weights: int) -> None:
        self._call("dot", _dot, sums, rows, weights)

    def _call(self, name: str, body: Body, *operands: Index) -> None:
        values = [self._file, *map(self.e.index, operands)]
        self.e.call(_function(self.e.module, f"emulated_{name}", [value.type for value in values], body), values)


def _function(module: Any, name: str, kinds: list[Any], body: Body) -> Any:
    if name not in module.globals:
        function: Any = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        builder: Any = ir.IRBuilder(function.append_basic_block("entry"))
        body(_Writer(builder), list(function.args))
        builder.ret_void()
    return module.get_global(name)


class _Writer:
    """Writes code on a file of tiles: the configuration, and the bytes of each tile."""

    def __init__(self, builder: Any) -> None:
        self.builder, self.e = builder, Emitter(builder, "float32", 1)

    def tile(self, file: Value, tile: Value) -> Value:
        """Where a tile begins."""
        return self.e.byte_address(file, self.e.add_index(self.e.mul_index(tile, _TILE), _CONFIGURATION))

    def rows(self, file: Value, tile: Value) -> Value:
        return self.builder.zext(self.e.load_entry(_I8, file, self.e.add_index(tile, 48)), INDEX)

    def bytes(self, file: Value, tile: Value) -> Value:
        """How many bytes a row has."""
        return self.builder.zext(self.e.load_entry(_I16, file, self.e.add_index(tile, 8)), INDEX)

    def clear(self, pointer: Value, size: int) -> None:
        with self.e.loop(0, size // 4, 1, "cleared") as at:
            self.e.store(0.0, self.e.address(pointer, at.index))

    def copy(self, file: Value, tile: Value, pointer: Value, stride: Value, *, stores: bool) -> None:
        """Copy the rows that the configuration gives a tile, from memory or to it."""
        e = self.e
        with (
            e.loop(0, self.rows(file, tile), 1, "row") as row,
            e.loop(0, self.bytes(file, tile), 1, "byte") as byte,
        ):
            inside = e.add_index(e.mul_index(row.index, _ROW), byte.index)
            outside = e.add_index(e.mul_index(row.index, stride), byte.index)
            places = [e.byte_address(self.tile(file, tile), inside), e.byte_address(pointer, outside)]
            source, target = places if stores else reversed(places)
            self.builder.store(self.builder.load(source, typ=_I8), target, align=1)

    def flushed(self, x: Value) -> Value:
        """A number, 0 of its sign where it is denormal."""
        is_denormal = self.e.compare("<", self.e.abs(x), _LEAST_NORMAL)
        return self.e.select(is_denormal, self.e.copysign(0.0, x), x)

    def number(self, row: Value, index: Index) -> Value:
        """A bfloat16 number of a row as float32."""
        half = self.builder.zext(self.e.load_entry(_I16, row, index), _I32)
        return self.flushed(self.e.from_bits(self.e.shift_left(half, 16)))

    def multiplied(self, a: Value, b: Value, total: Value) -> Value:
        """A product added to a sum, rounded once."""
        return self.flushed(self.e.call_intrinsic("llvm.fma.f32", _FLOAT, (a, b, total)))

    def added(self, a: Value, b: Value) -> Value:
        return self.flushed(self.e.add(self.flushed(a), self.flushed(b)))


def _configure(w: _Writer, arguments: list[Any]) -> None:
    file, configuration = arguments
    with w.e.loop(0, _CONFIGURATION // 4, 1, "word") as at:
        w.e.store(w.e.load(w.e.address(configuration, at.index)), w.e.address(file, at.index))
    w.clear(w.e.byte_address(file, _CONFIGURATION), _TILES * _TILE)


def _release(w: _Writer, arguments: list[Any]) -> None:
    w.clear(arguments[0], _CONFIGURATION + _TILES * _TILE)


def _zero(w: _Writer, arguments: list[Any]) -> None:
    w.clear(w.tile(*arguments), _TILE)


def _load(w: _Writer, arguments: list[Any]) -> None:
    file, tile, pointer, stride = arguments
    w.clear(w.tile(file, tile), _TILE)
    w.copy(file, tile, pointer, stride, stores=False)


def _store(w: _Writer, arguments: list[Any]) -> None:
    file, tile, pointer, stride = arguments
    w.copy(file, tile, pointer, stride, stores=True)


def _dot(w: _Writer, arguments: list[Any]) -> None:
    """The manual's TDPBF16PS: the even and the odd elements have sums of their own, which are added to each other and
    only then to the destination."""
    e, (file, sums, left, right) = w.e, arguments
    rows, width = w.rows(file, sums), w.e.div_index(w.bytes(file, sums), 4)
    words = e.div_index(w.bytes(file, left), 4)
    sizes = [
        e.compare_index("==", rows, w.rows(file, left)),
        e.compare_index("==", w.bytes(file, sums), w.bytes(file, right)),
        e.compare_index("==", words, w.rows(file, right)),
        e.compare_index("!=", words, 0),
    ]
    is_allowed = sizes[0]
    for condition in sizes[1:]:
        is_allowed = w.builder.and_(is_allowed, condition)
    with e.loop(0, rows, 1, "m") as m, e.loop(0, width, 1, "n") as n:
        row = e.byte_address(w.tile(file, left), e.mul_index(m.index, _ROW))
        zeros = {"even": e.constant(0.0), "odd": e.constant(0.0)}
        with e.loop(0, words, 1, "k", zeros) as k:
            column = e.byte_address(w.tile(file, right), e.mul_index(k.index, _ROW))
            following: dict[str, Value] = {}
            for half, name in enumerate(zeros):
                element = w.number(row, e.add_index(e.mul_index(k.index, 2), half))
                weight = w.number(column, e.add_index(e.mul_index(n.index, 2), half))
                following[name] = w.multiplied(element, weight, k.values[name])
            k.carry(following)
        place = e.byte_address(w.tile(file, sums), e.mul_index(m.index, _ROW))
        place = e.address(place, n.index)
        total = w.added(e.load(place), w.added(k.values["even"], k.values["odd"]))
        e.store(e.select(is_allowed, total, float("nan")), place)
