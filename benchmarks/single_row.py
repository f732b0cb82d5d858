"""The section about one row: how fast its loop reads the recurrent matrix, beside a plain loop."""

import ctypes

import numpy as np
import torch

import gatewright as gw
from benchmarks.machine import native_engine
from benchmarks.names import FORWARD, PLAIN, TRAINING, Record
from benchmarks.races import as_record
from benchmarks.setup import Setup, rounded, tell
from benchmarks.timing import Call, race

SIZES = (128, 256, 512, 1024)
STEPS, INPUTS = (100, 500), 16
"""The loop's own time is the difference of two lengths: a call has a cost of its own besides."""
_SUMS, _LANES = 8, 16


def single_row(setup: Setup) -> list[Record]:
    """A GRU of one row and few inputs. Its gradient is that by the input alone: both loops read one matrix a step."""
    return [_sized(setup, size) for size in (SIZES[:1] if setup.quick else SIZES)]


def _sized(setup: Setup, size: int) -> Record:
    layer = gw.nn.GRU(INPUTS, size, backend="llvm").requires_grad_(requires_grad=False)
    plain = StreamedProduct(3 * size, size)
    modes = {FORWARD: _forward, TRAINING: _training}
    calls: dict[str, Call] = {
        f"{name} {steps}": make(layer, steps, size) for name, make in modes.items() for steps in STEPS
    }
    timings = race({PLAIN: plain, **calls}, setup.method)
    runs = {PLAIN: as_record(timings[PLAIN])}
    for name in modes:
        short, long = (timings[f"{name} {steps}"] for steps in STEPS)
        more = STEPS[1] - STEPS[0]
        median, least = (long.median - short.median) / more, (long.least - short.least) / more
        runs[name] = {"median": rounded(median), "least": rounded(least), "rounds": long.rounds}
    rates = ", ".join(f"{name} {plain.bytes / run['median'] / 1e9:.0f}" for name, run in runs.items())
    tell(f"single row H={size}: {rates} GB/s of one matrix a step")
    return {"hidden": size, "bytes": plain.bytes, "runs": runs}


def _forward(layer: gw.nn.GRU, steps: int, size: int) -> Call:
    x = torch.randn(steps, 1, INPUTS)

    @torch.inference_mode()
    def call() -> object:
        return layer(x)

    return call


def _training(layer: gw.nn.GRU, steps: int, size: int) -> Call:
    x, weight = torch.randn(steps, 1, INPUTS, requires_grad=True), torch.randn(steps, 1, size)

    def call() -> object:
        x.grad = None
        return layer(x)[0].backward(weight)

    return call


class StreamedProduct:
    """A matrix times one vector in float32: eight sums of sixteen lanes, the matrix read once from its beginning on."""

    def __init__(self, rows: int, depth: int) -> None:
        self.bytes = 4 * rows * depth
        self._arguments = [np.ones(rows * depth + _LANES, np.float32), np.ones(depth, np.float32)]
        self.result = np.empty(rows, np.float32)
        self._engine = native_engine(_source())
        signature = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_int64)
        self._function = signature(self._engine.get_function_address("product"))
        matrix, vector = self._arguments
        start = matrix.ctypes.data + -matrix.ctypes.data % 64
        self._places = (start, vector.ctypes.data, self.result.ctypes.data, depth, rows // (_SUMS * _LANES))

    def __call__(self) -> None:
        """Multiply once."""
        self._function(*self._places)


def _source() -> str:
    """LLVM's language. A block has 128 rows of the matrix, which lie side by side for each element of the vector."""
    vector, line = f"<{_LANES} x float>", 4 * _SUMS * _LANES
    sums = range(_SUMS)
    phis = "\n".join(f"  %s{i} = phi {vector} [ zeroinitializer, %block ], [ %n{i}, %turn ]" for i in sums)
    steps = "\n".join(
        f"""  %p{i} = getelementptr i8, ptr %weights, i64 {4 * _LANES * i}
  %w{i} = load {vector}, ptr %p{i}, align 64
  %n{i} = call {vector} @llvm.fma.v{_LANES}f32({vector} %w{i}, {vector} %splat, {vector} %s{i})"""
        for i in sums
    )
    stores = "\n".join(
        f"""  %y{i} = getelementptr i8, ptr %out, i64 {4 * _LANES * i}
  store {vector} %n{i}, ptr %y{i}, align 4"""
        for i in sums
    )
    return f"""
declare {vector} @llvm.fma.v{_LANES}f32({vector}, {vector}, {vector})
define void @product(ptr %matrix, ptr %x, ptr %y, i64 %depth, i64 %blocks) {{
entry:
  br label %block
block:
  %b = phi i64 [ 0, %entry ], [ %b.next, %end ]
  %first = mul i64 %b, %depth
  %offset = mul i64 %first, {line}
  %panel = getelementptr i8, ptr %matrix, i64 %offset
  %place = mul i64 %b, {line}
  %out = getelementptr i8, ptr %y, i64 %place
  br label %turn
turn:
  %k = phi i64 [ 0, %block ], [ %k.next, %turn ]
{phis}
  %along = mul i64 %k, {line}
  %weights = getelementptr i8, ptr %panel, i64 %along
  %element = getelementptr float, ptr %x, i64 %k
  %number = load float, ptr %element, align 4
  %lane = insertelement {vector} poison, float %number, i32 0
  %splat = shufflevector {vector} %lane, {vector} poison, <{_LANES} x i32> zeroinitializer
{steps}
  %k.next = add i64 %k, 1
  %more = icmp slt i64 %k.next, %depth
  br i1 %more, label %turn, label %end
end:
{stores}
  %b.next = add i64 %b, 1
  %again = icmp slt i64 %b.next, %blocks
  br i1 %again, label %block, label %done
done:
  ret void
}}
"""
