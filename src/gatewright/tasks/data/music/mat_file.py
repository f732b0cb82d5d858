"""The MATLAB 5 format, as far as matrices of numbers in cell arrays go.

A header of 128 bytes, then elements: a type, a size, and content on a border of 8 bytes. A variable is an element of
type matrix, often in one of type compressed; a cell array is a matrix that holds matrices. "MAT-File Format"
(The MathWorks, https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf) describes it.

Why not `scipy.io.loadmat`: a damaged file can crash SciPy's reader and the process with it, and a small packed file can
fill the memory; data sets are files from strangers. SciPy in a child process with limits would be safe on POSIX only
(Windows has no such limits), would start an interpreter for each file, and could not say which cell is damaged.
"""

import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from gatewright.errors import DataError
from gatewright.tasks.data.ragged import Array
from gatewright.tasks.data.reading import opened
from gatewright.untrusted.unpacking import DATA_LIMIT

_MATRIX, _COMPRESSED = 14, 15
_CELLS = 1  # the class of a matrix that holds matrices
_NUMERIC = range(6, 16)  # the classes of matrices of numbers; 5 is sparse
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}

_ORDERS: Mapping[bytes, Literal["<", ">"]] = {b"IM": "<", b"MI": ">"}


class _Element(NamedTuple):
    """An element of a file: the type of its content, the content, and the bytes after it."""

    kind: int
    content: memoryview
    rest: memoryview


class _Matrix(NamedTuple):
    """A matrix with content that is not parsed yet."""

    kind: int
    shape: tuple[int, ...]
    name: str
    content: memoryview


def read_cells(path: Path) -> dict[str, list[Array]]:
    """The cell arrays of a file by name, each as the list of its matrices of numbers; other variables are left out."""
    with opened(path) as source:
        content = source.read()
    order = _ORDERS.get(content[126:128])
    if not content.startswith(b"MATLAB 5.0 MAT-file") or order is None:
        raise DataError(
            f"{path} is not a MATLAB 5 file",
            expected="MATLAB 5.0 MAT-file ...",
            got=repr(content[:24]),
            do="save it in MATLAB with: save('name.mat', '-v7')",
        )
    reader = _MatReader(path, order, DATA_LIMIT.of(len(content)))
    return {matrix.name: reader.cells(matrix) for matrix in reader.variables(memoryview(content)[128:])}


class _MatReader:
    """Reads elements in the byte order of their file."""

    def __init__(self, path: Path, order: Literal["<", ">"], most: int) -> None:
        self._path, self._left = path, most  # bytes that may still be unpacked
        self._order: Literal["<", ">"] = order

    def variables(self, content: memoryview) -> Iterator[_Matrix]:
        """The cell arrays of a file."""
        for place, outer in enumerate(self._elements("the file", content), 1):
            where = f"variable {place}"
            element = self._element(where, self._unpacked(where, outer)) if outer.kind == _COMPRESSED else outer
            if element.kind == _MATRIX:
                matrix = self._matrix(where, element.content)
                if matrix.kind == _CELLS:
                    yield matrix

    def cells(self, matrix: _Matrix) -> list[Array]:
        """The matrices of numbers in a cell array, each (rows, columns, ...)."""
        matrices = [
            self._numbers(f"{matrix.name}, cell {place}", element)
            for place, element in enumerate(self._elements(matrix.name, matrix.content), 1)
        ]
        if len(matrices) != math.prod(matrix.shape):
            raise self._damaged(matrix.name, f"{len(matrices)} cells of {math.prod(matrix.shape)}")
        return matrices

    def _numbers(self, where: str, element: _Element) -> Array:
        if element.kind != _MATRIX:
            raise self._damaged(where, f"an element of type {element.kind}")
        matrix = self._matrix(where, element.content)
        kind, numbers, _ = self._element(where, matrix.content)
        if matrix.kind not in _NUMERIC or kind not in _TYPES:
            raise DataError(f"{self._path}: {where} holds no numbers", got=f"class {matrix.kind}, type {kind}")
        dtype = np.dtype(_TYPES[kind]).newbyteorder(self._order)
        if len(numbers) != math.prod(matrix.shape) * dtype.itemsize:
            shown = " x ".join(map(str, matrix.shape))
            raise self._damaged(where, f"{len(numbers)} bytes for {shown} numbers of {dtype.itemsize} bytes")
        return np.frombuffer(numbers, dtype).reshape(matrix.shape, order="F")

    def _matrix(self, where: str, content: memoryview) -> _Matrix:
        flags = self._element(where, content)
        shape = self._element(where, flags.rest)
        name = self._element(where, shape.rest)
        if len(flags.content) != 8 or not 8 <= len(shape.content) <= 128 or len(shape.content) % 4:
            raise self._damaged(where, "a matrix without flags and sizes")
        sizes = struct.unpack(f"{self._order}{len(shape.content) // 4}i", shape.content)
        if min(sizes) < 0:
            raise self._damaged(where, f"sizes {sizes}")
        kind = struct.unpack_from(f"{self._order}I", flags.content)[0] & 0xFF
        return _Matrix(kind, sizes, bytes(name.content).decode("latin-1"), name.rest)

    def _elements(self, where: str, content: memoryview) -> Iterator[_Element]:
        while content:
            element = self._element(where, content)
            content = element.rest
            yield element

    def _element(self, where: str, content: memoryview) -> _Element:
        if len(content) < 8:
            raise self._damaged(where, f"{len(content)} bytes where an element begins")
        kind, size = struct.unpack_from(f"{self._order}II", content)
        if kind >> 16:  # type and size in four bytes, the content in the other four
            kind, size, start, end = kind & 0xFFFF, kind >> 16, 4, 8
        else:
            start, end = 8, 8 + size + (0 if kind == _COMPRESSED else -size % 8)
        if start + size > min(end, len(content)):
            raise self._damaged(where, f"{len(content) - start} bytes of {size}")
        return _Element(kind, content[start : start + size], content[end:])

    def _unpacked(self, where: str, element: _Element) -> memoryview:
        unpacker = zlib.decompressobj()
        try:
            unpacked = unpacker.decompress(element.content, self._left + 1)
        except zlib.error as error:
            raise self._damaged(where, str(error)) from error
        self._left -= len(unpacked)
        if self._left < 0 or not unpacker.eof:
            raise self._damaged(where, f"no end within {len(unpacked)} unpacked bytes")
        return memoryview(unpacked)

    def _damaged(self, where: str, what: str) -> DataError:
        return DataError(f"{self._path} is cut short or damaged in {where}", got=what, do="get the file again")
