"""Every cell as C code gives what the reference gives."""

from pathlib import Path

import numpy as np
import pytest

from gatewright import cells
from gatewright.axes import bind
from gatewright.backends.c99.pair import Remarks, pair
from gatewright.backends.c99.parts import Stack
from gatewright.export.c_parts import folded
from gatewright.export.c_reading import run as reference
from gatewright.backends.c99.parts import Part
from gatewright.trace import Trace, trace_cell
from tests.backends.c99.compiled import build, main_of, run
from tests.backends.odd_cells import ODD
from tests.cells.cases import ALL, SIZES
from tests.parity.assertions import assert_parity

STEPS = 6
CASES = {f"{case.cell.label}": (trace_cell(case.cell), case.sizes) for case in ALL}
CASES |= {name: (trace_cell(cell), SIZES) for name, cell in ODD.items()}


def stack_of(trace: Trace, sizes, rng: np.random.Generator, **options) -> Stack:
    params = {v.name: rng.normal(size=bind(v.shape, sizes)) / np.sqrt(2) for v in trace.params}
    small, constants = folded(trace, params, sizes)
    return Stack("model", (Part("", small, constants, sizes),), **options)


def written(stack: Stack, folder: Path) -> Path:
    texts = pair(stack, Remarks("a test"))
    (folder / f"{stack.name}.h").write_text(texts.header)
    (folder / f"{stack.name}.c").write_text(texts.source)
    (folder / "main.c").write_text(main_of(stack.name, stack.dtype, stack.symbols is not None))
    return folder / f"{stack.name}.c"


def check(stack: Stack, folder: Path, rng: np.random.Generator, steps: int = STEPS, **flags) -> None:
    source = written(stack, folder)
    program = build(folder, source, folder / "main.c", **flags)
    xs = rng.normal(size=(steps, 1, stack.parts[0].input_size)).astype(stack.dtype)
    got = run(program, xs, stack.dtype, stack.parts[-1].output_size)
    assert_parity(got, reference(stack, xs)[:, 0], dtype=stack.dtype, steps=steps, backend="C")


@pytest.mark.parametrize("math", ["own", "libm"])
@pytest.mark.parametrize("name", CASES)
def test_a_cell_gives_what_the_reference_gives(name: str, math: str, tmp_path: Path, rng: np.random.Generator) -> None:
    trace, sizes = CASES[name]
    check(stack_of(trace, sizes, rng, math=math), tmp_path, rng)
