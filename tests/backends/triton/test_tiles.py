"""The tiles of kernels of stages: by size, and what the kernels take with them on chips that are not there."""

from dataclasses import replace

import pytest
import triton

from gatewright.backends.triton.chips import CHIPS
from gatewright.backends.triton.stage_kernel import stage_groups
from gatewright.backends.triton.tiles import elementwise_tile, product_tile
from gatewright.schedule.plan import plan
from tests.backends.triton.processes import json_of
from tests.backends.triton.staged import traces

# A process of its own, because Triton's interpreter is on in this one.
COMPILED = """
import json
import torch
from gatewright import cells, layer_norm
from gatewright.backends.triton.chips import CHIPS
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind
from gatewright.backends.triton.resources import LaunchOptions, compile_kernel
from gatewright.backends.triton.value_places import place_of
from gatewright.backends.triton.stepped import SteppedLoop
from gatewright.backends.triton.tiles import step_tile
from gatewright.schedule.plan import plan
from gatewright.schedule.residuals import save
from gatewright.trace import simplify, trace_cell

step = simplify(trace_cell(layer_norm(cells.gru)))
program = plan(save(step, ("h",)).backward)
sizes = {axis: 512 for shape in program.shapes.values() for axis in shape}
precision = KernelPrecision("float32", "bfloat16")
loop = SteppedLoop(program, sizes, precision, backwards=True)
products = [group for group in loop.groups if group.products]
names = {term.matrix for group in products for product in group.products for term in product.terms}
memory = {Argument(ArgumentKind.SHARED, name): "bfloat16" for name in names}
like = {argument: torch.empty(0) for argument in loop.table}
arrays = like | {argument: torch.empty(0, dtype=torch.bfloat16) for argument in memory}
taken = []
for name in ("sm_90", "gfx942"):
    for group, text in zip(loop.groups, loop.texts):
        tile = step_tile(program, group, sizes, arrays, 32, CHIPS[name])
        constants = {"BACKWARDS": True, "RAGGED": True, "ALIGNMENT": 16, **tile.constants}
        options = LaunchOptions(constants, tile.warps, tile.stages)
        kernel = compile_kernel(text, CHIPS[name], precision, options, memory)
        taken.append((name, text.name, str(kernel.resources), kernel.resources.fits(CHIPS[name])))
print(json.dumps(taken))
"""


def test_kernels_fit_on_chips() -> None:
    taken = json_of(COMPILED)
    assert len(taken) == 8
    assert all(fits for *_, fits in taken), taken


@pytest.mark.parametrize(
    ("hidden", "batch", "rows", "features"),
    [(256, 1, 16, 8), (1024, 1, 16, 8), (1024, 16, 16, 8), (1024, 128, 32, 32), (4096, 1, 16, 32)],
)
def test_a_tile_of_products_spreads_what_is_read(hidden: int, batch: int, rows: int, features: int) -> None:
    """Where one wave of programs will do, the tile is that whose programs read the fewest bytes."""
    sizes = {"input": 8, "hidden": hidden}
    (group,) = stage_groups(plan(traces("lstm")["step"]).loop, sizes, products_loaded=False)
    terms = [term for product in group.products for term in product.terms]
    bytes_of = {term.matrix: 2 for term in terms} | {term.vector.name: 4 for term in terms}
    tile = product_tile(group, sizes, batch, bytes_of, CHIPS["sm_90"])
    assert (rows, features) == (tile.constants["BM"], tile.constants["BN"])
    assert tile.constants["BK"] * tile.stages * (rows * 4 + features * 4 * 2) <= 96 * 1024


def test_tiles_of_matrix_instructions_of_amd() -> None:
    sizes = {"input": 8, "hidden": 256}
    (group,) = stage_groups(plan(traces("lstm")["step"]).loop, sizes, products_loaded=False)
    terms = [term for product in group.products for term in product.terms]
    bytes_of = {term.matrix: 2 for term in terms} | {term.vector.name: 4 for term in terms}
    assert product_tile(group, sizes, 1, bytes_of, CHIPS["gfx942"]).constants["BN"] == 16


def test_triton_3_4_multiplies_by_16_features(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"input": 8, "hidden": 256}
    (group,) = stage_groups(plan(traces("lstm")["step"]).loop, sizes, products_loaded=False)
    bytes_of = {name: 4 for product in group.products for term in product.terms for name in (term.matrix, "h")}
    widths: dict[str, int] = {}
    for version in ("3.4.0", "3.5.1"):
        monkeypatch.setattr(triton, "__version__", version)
        widths[version] = product_tile(group, sizes, 1, bytes_of, CHIPS["sm_90"]).constants["BN"]
    assert widths == {"3.4.0": 16, "3.5.1": 8}


def test_no_asynchronous_products() -> None:
    """From 64 rows on Triton multiplies asynchronously, which several of its versions do wrongly."""
    sizes = {"input": 8, "hidden": 1024}
    (group,) = stage_groups(plan(traces("lstm")["step"]).loop, sizes, products_loaded=False)
    bytes_of = {name: 4 for product in group.products for term in product.terms for name in (term.matrix, "h")}
    chips = [*CHIPS.values(), replace(CHIPS["sm_100"], architecture=103)]  # a B300
    rows = {chip.architecture: product_tile(group, sizes, 256, bytes_of, chip).constants["BM"] for chip in chips}
    assert (rows[90], rows[100], rows[103]) == (32, 32, 32)
    assert (rows[80], rows[120], rows["gfx942"]) == (64, 64, 64)


def test_stages_without_products_share_a_kernel_where_whole_axes_fit() -> None:
    loop = plan(traces("layer_norm(gru)")["step"]).loop
    narrow, wide = (
        stage_groups(loop, {"input": 8, "hidden": hidden}, products_loaded=False) for hidden in (2048, 2049)
    )
    assert [group.whole for group in narrow] == [False, True, False, True]
    assert len(wide) == len(loop)
    tile = elementwise_tile(narrow[1], {"input": 8, "hidden": 2048}, 5)
    assert (tile.constants, tile.warps) == ({"BM": 1, "BN": 2048}, 16)
