"""What a step should take on a GPU by arithmetic, beside what others publish: `python -m benchmarks.gpu_arithmetic`.

Nothing here was measured by us. The command prints the tables of docs/gpu.md.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch

from gatewright import cells
from gatewright.axes import bind
from gatewright.backends.triton.chips import CHIPS
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind
from gatewright.backends.triton.stepped import SteppedLoop
from gatewright.backends.triton.tiles import grid_of, step_tile, vector_array
from gatewright.backends.triton.writer import padded
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Product, Program
from gatewright.trace import simplify, trace_cell

PUBLISHED = {
    "FlashRNN 2024: LSTM, H100, 16 rows, 1,024 steps, forward, us a step": {"64 units": 1.9, "128 units": 3.2},
    "FlashRNN 2024: cuDNN float16, the same, forward": {"768 units": 2.0},
    "FlashRNN 2024: the same, forward and backward": {"fused": 13.3, "cuDNN": 5.1},
    "accelerated-scan: (8, 1536, 4096), forward, ms": {"A100": 0.714},
    "Dive into Deep Learning 2020: The Time Machine, tokens a second": {"from scratch": 14693, "concise": 194937},
}
"""Figures of others, and what they were measured for."""

CLOCK = 1.755e9
"""Of an H100, in hertz."""
SHARED_BYTES = 128
"""That a processor reads from its shared memory in a cycle."""
L2_RATE = 5.5e12
"""Bytes a second from the L2 cache, by all processors together."""
GAP = 1e-6
"""Seconds between two kernels of a graph."""
MEMORY_RATE = 3.35e12
"""Bytes a second from the memory of an H100."""
H100 = CHIPS["sm_90"]
FIRST_ESTIMATES = {
    (64, 16): {"bfloat16": 0.7, "tf32": 0.9},
    (128, 16): {"bfloat16": 1.2, "tf32": 1.9},
    (256, 16): {"bfloat16": 1.8, "tf32": 1.9},
    (512, 32): {"bfloat16": 2.2},
    (1024, 32): {"bfloat16": 3.1},
}
"""Microseconds of a forward step of a GRU with its reset after the product, by units and rows, as they were estimated
before there were kernels: the goals. Latencies are in them."""
STEPPED_CASES = (
    *(("GRU, reset after", units, rows, "bfloat16") for units in (256, 512, 1024) for rows in (1, 32)),
    ("GRU, reset after", 1024, 128, "bfloat16"),
    ("GRU, reset after", 512, 32, "tf32"),
    *(("GRU, reset after", 1024, rows, "tf32") for rows in (1, 32)),
    ("LSTM", 512, 32, "bfloat16"),
    *(("LSTM", 1024, rows, "bfloat16") for rows in (1, 32)),
)
SCANS = (
    ("a scan of given slopes and offsets, (8, 1536, 4096)", (8, 1536, 4096), 2, 1),
    ("a scan of minGRU's gates, (8, 1536, 4096)", (8, 1536, 4096), 2, 1),
    ("a scan of three given arrays, (8, 1536, 4096)", (8, 1536, 4096), 3, 1),
    ("the first line in spans, (1, 256, 65536)", (1, 256, 65536), 4, 1),
)
"""What is scanned, its extent, and the arrays that are read and written."""
PRECISIONS = {"bfloat16": KernelPrecision(operands="bfloat16"), "tf32": KernelPrecision(mode="tf32")}
CELLS = {"GRU, reset after": cells.gru(reset="after"), "LSTM": cells.lstm}


@dataclass(frozen=True)
class StepArithmetic:
    """A forward step: the bytes that its busiest processor reads, and the seconds that this takes."""

    tile: tuple[int, int]
    programs: int
    kernels: int
    read_bytes: float
    seconds: float


def resident_seconds(cell: str, units: int, dtype: str) -> float | None:
    """The least time of a step of the resident form: all padded matrices are read from shared memory, at full speed.
    None where they do not fit."""
    program = plan(simplify(trace_cell(CELLS[cell])))
    matrices = {term.matrix for stage in program.loop for product in stage.products for term in product.terms}
    itemsize = 2 if dtype == "bfloat16" else 4
    size = len(matrices) * padded(units) ** 2 * itemsize
    return size / SHARED_BYTES / CLOCK if size <= H100.shared_bytes else None


def stepped(cell: str, units: int, rows: int, dtype: str) -> StepArithmetic:
    """A step of the stepped form, by the tiles that it would take."""
    program = plan(simplify(trace_cell(CELLS[cell])))
    sizes = {axis: units for leaf in program.trace.leaves() for axis in leaf.shape}
    loop = SteppedLoop(program, sizes, PRECISIONS[dtype])
    arrays = _arrays(loop, sizes, rows, dtype)
    read, tile, programs = 0.0, (0, 0), 0
    for group in loop.groups:
        options = step_tile(program, group, sizes, arrays, rows, H100)
        tile = options.constants["BM"], options.constants["BN"]
        programs = prod(grid_of(options, group, sizes, rows))
        waves = -(-programs // H100.processors)
        read += waves * _bytes_of(group.products, tile, arrays, rows, program)
    return StepArithmetic(tile, programs, len(loop.groups), read, read / (L2_RATE / H100.processors))


def _arrays(loop: SteppedLoop, sizes: Mapping[str, int], rows: int, dtype: str) -> dict[Argument, torch.Tensor]:
    """What the loop runs on, without memory."""
    narrow = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    arrays: dict[Argument, torch.Tensor] = {}
    for argument in loop.table:
        if argument.kind is ArgumentKind.LENGTHS:
            continue
        shape = bind(loop.program.shapes[argument.name], sizes)
        is_matrix = argument.kind is ArgumentKind.SHARED and len(shape) == 2
        own = narrow if is_matrix or argument.kind is ArgumentKind.COPY else torch.float32
        arrays[argument] = torch.empty(rows, *shape, dtype=own, device="meta")
    return arrays


def _bytes_of(
    products: Iterable[Product],
    tile: tuple[int, int],
    arrays: Mapping[Argument, torch.Tensor],
    rows: int,
    program: Program,
) -> float:
    """That a program reads of vectors and matrices."""
    terms = [term for product in products for term in product.terms]
    vectors = {term.vector.name: vector_array(program, term.vector, arrays) for term in terms}
    size = sum(vector.shape[-1] * vector.element_size() * min(tile[0], rows) for vector in vectors.values())
    for term in terms:
        matrix = arrays[Argument(ArgumentKind.SHARED, term.matrix)]
        size += min(tile[1], matrix.shape[-2]) * matrix.shape[-1] * matrix.element_size()
    return size


def stepped_table() -> Iterator[str]:
    """What the busiest processor reads in a step of the stepped form."""
    titles = ("forward step", "H", "rows", "operands", "tile (rows x features)", "programs")
    yield from _head((*titles, "KiB read by a processor", "us"))
    before = ""
    for cell, units, rows, dtype in STEPPED_CASES:
        step = stepped(cell, units, rows, dtype)
        tile = f"{step.tile[0]} x {step.tile[1]}"
        told = [units, rows, dtype, tile, step.programs, f"{step.read_bytes / 1024:.0f}", f"{step.seconds * 1e6:.1f}"]
        yield _row([cell if cell != before else "", *told])
        before = cell


def scan_table() -> Iterator[str]:
    """The least time of a scan: every array is read or written once."""
    yield from _head(
        ("(batch, features, steps), float32", "arrays read and written", "MB", "least time at 3.35 TB/s (H100), ms")
    )
    for title, extent, read, written in SCANS:
        moved = 4 * prod(extent) * (read + written)
        yield _row([title, f"{read} + {written}", f"{moved / 1e6:.0f}", f"{moved / MEMORY_RATE * 1e3:.2f}"])


def comparison_table() -> Iterator[str]:
    """A step of each form by arithmetic beside what others publish, and beside the first estimates."""
    yield from _head(
        (
            "forward step, us",
            "H",
            "rows",
            "operands",
            "published",
            "first estimate",
            "arithmetic: resident, at least",
            "arithmetic: stepped",
        )
    )
    published = {64: "1.9 (FlashRNN, fused)", 128: "3.2 (FlashRNN, fused)", 768: "2.0 (cuDNN, float16)"}
    for units, figure in published.items():
        yield _row(["LSTM", units, 16, "bfloat16", figure, "", *_both("LSTM", units, 16, "bfloat16")])
    for (units, rows), goals in FIRST_ESTIMATES.items():
        for dtype, goal in goals.items():
            both = _both("GRU, reset after", units, rows, dtype)
            yield _row(["GRU, reset after", units, rows, dtype, "", goal, *both])


def _both(cell: str, units: int, rows: int, dtype: str) -> tuple[str, str]:
    step, resident = stepped(cell, units, rows, dtype), resident_seconds(cell, units, dtype)
    at_least = "does not fit" if resident is None else f"{resident * 1e6:.2f}"
    return at_least, f"{(step.seconds + step.kernels * GAP) * 1e6:.1f}"


def _head(titles: Sequence[str]) -> Iterator[str]:
    yield _row(titles)
    yield "|" + "---|" * len(titles)


def _row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |".replace("|  |", "| |")


def main() -> None:
    """Print the tables."""
    for table in (comparison_table, stepped_table, scan_table):
        print("\n".join(table()), end="\n\n")


if __name__ == "__main__":
    main()
