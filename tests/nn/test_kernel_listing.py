"""`layer.source("triton")`, and plans for chips that are not there. What is compiled, is so in a process of its own."""

from typing import Any

import pytest
import torch

import gatewright as gw
from gatewright.errors import OptionError, OptionTypeError
from tests.backends.triton.processes import json_of

# Without Triton's interpreter, which is on in this process.
COMPILED = """
import json
import gatewright as gw

layer = gw.nn.Recurrent("gru", 8, 64)
listing = layer.source("triton", chip="sm_90", batch=32)
drawing = gw.nn.Recurrent(gw.zoneout(0.1)(gw.cells.gru), 8, 64).source("triton", chip="sm_90")
kernels = [(one.place, one.text.name, str(one.resources)) for one in listing.kernels]
print(json.dumps({
    "kernels": kernels, "text": str(listing), "assembly": listing.assembly, "plan": str(layer.plan("sm_90")),
    "wide": gw.nn.Recurrent("gru", 8, 512).source("triton", chip="gfx942").kernels[1].place,
    "drawing": str(drawing.kernels[1].resources),
}))
"""


def test_texts_with_what_they_take_and_assembly() -> None:
    found = json_of(COMPILED)
    places = [(place, name) for place, name, _ in found["kernels"]]
    assert places == [("before the loop", "lines_0"), ("the loop, once", "gru_loop")]
    for _, name, taken in found["kernels"]:
        assert " registers a thread, 0 bytes spilled, " in taken
        assert f"def {name}(" in found["text"]
        assert f"{name}, " in found["assembly"]
        assert f"; sm_90: {taken}" in found["text"]
        assert f".entry {name}(" in found["assembly"]
    resident = f"  the loop         resident: {found['kernels'][1][2]}"
    assert resident in found["plan"].splitlines()
    assert " registers a thread, 0 bytes spilled, " in found["drawing"]
    assert found["wide"] == "before the first step"


def test_in_the_interpreter_texts_alone() -> None:
    listing = gw.nn.Recurrent("gru", 3, 5).source("triton", chip="sm_90")
    assert repr(listing).startswith("KernelListing(name='gru', chip=Chip(name='sm_90', ")
    assert listing.program.startswith('program "gru"\n')
    headings = [line for line in str(listing).splitlines() if line.startswith("# ----")]
    why = "not compiled: Triton's interpreter is on, unset TRITON_INTERPRET and start Python again"
    assert headings == [
        "# ---- gru: the program",
        f"# ---- lines_0, before the loop; sm_90: {why}",
        f"# ---- gru_loop, the loop, once; sm_90: {why}",
    ]
    assert "# BACKWARDS=False, RAGGED=False, BM=16, STAGES=3" in str(listing).splitlines()
    with pytest.raises(OptionError, match="unset TRITON_INTERPRET"):
        _ = listing.assembly


def places(cell: str, hidden: int, **options: object) -> list[tuple[str, str]]:
    listing = gw.nn.Recurrent(cell, 8, hidden).source("triton", **options)
    return [(kernel.place, kernel.text.name) for kernel in listing.kernels]


def test_the_loop_has_the_form_that_is_chosen() -> None:
    assert places("gru", 256) == [
        ("before the loop", "lines_0"),
        ("before the first step", "begin"),
        ("the loop, every step", "stage_0"),
        ("the loop, every step", "stage_1"),
        ("after several steps", "advance"),
    ]
    assert places("gru", 64, gradient=True) == [("the loop, once", "d_gru_loop")]
    assert places("mingru", 8, steps=64, batch=4) == [("scan", "scan_mingru")]
    assert places("mingru", 8, steps=4096) == [
        ("scan in 16 spans, totals", "scan_mingru"),
        ("scan in 16 spans, between them", "carry_mingru"),
        ("scan in 16 spans, results", "scan_mingru"),
    ]


def test_a_plan_for_a_chip_says_why_a_loop_is_not_resident() -> None:
    reason = "cuDNN cannot: the equations are not those of torch.nn's RNN, GRU or LSTM"
    wide = "as one for all steps, its matrices take 768 KiB of shared memory, and sm_80 has 163"
    assert str(gw.nn.Recurrent("gru", 8, 256).plan("sm_80")).splitlines() == [
        f"triton: kernels for sm_80; products in tf32; {reason}",
        "  before the loop  3 products, 1 stage",
        "  in the loop      3 products, 2 stages",
        f"  the loop         2 kernels a step; {wide}",
        "  gradient         3 products in the loop; 3 products, 9 sums after it",
        f"  its loop         3 kernels a step; {wide}",
        "  saved for it     3 x 256 numbers a step and row, and the states",
    ]
    narrow = str(gw.nn.Recurrent("gru", 8, 32).plan("sm_80")).splitlines()
    assert narrow[3] == "  the loop         resident, if it compiles without spills: Triton's interpreter is on"
    scanned = str(gw.nn.Recurrent("mingru", 8, 32).plan("gfx942")).splitlines()
    assert scanned[2:4] == [
        "  in scans         no products, 1 stage",
        "  gradient         scans; 2 products, 4 sums after it",
    ]
    assert gw.nn.GRU(8, 32).plan("sm_90").backend == "cudnn"


def test_a_plan_names_the_products_that_a_chip_has() -> None:
    layer = gw.nn.Recurrent("gru", 8, 8)
    assert "; products in tf32; " in str(layer.plan("gfx942"))
    layer.products = "tf32x3"
    assert "; products in tf32x3; " in str(layer.plan("sm_90"))
    assert "; products in float32, since gfx942 has none in tf32x3; " in str(layer.plan("gfx942"))


def test_what_has_no_kernels_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = gw.nn.Recurrent("gru", 3, 5)
    with pytest.raises(OptionError) as raised:
        layer.plan("sm_70")
    assert str(raised.value) == (
        "there is no such chip\n  expected: one of sm_80, sm_86, sm_89, sm_90, sm_100, sm_120, gfx942\n  got: 'sm_70'\n"
        "  do: torch.cuda.get_device_capability() is (9, 0) for sm_90, an H100 or H200"
    )
    with pytest.raises(OptionError, match=r"do: layer.source\('triton', chip='sm_90'\)"):
        layer.source(chip="sm_90")  # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.raises(OptionError, match="there is no such layer\n  expected: from 0 to 0\n"):
        layer.source("triton", layer=1)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(OptionError, match="kernels for GPUs compute in float32, and the dtype is float64"):
        layer.double().source("triton")


@pytest.mark.parametrize("backend", ["llvm", "triton"])
@pytest.mark.parametrize(
    ("extent", "kind"), [({"steps": 0}, OptionError), ({"batch": -1}, OptionError), ({"batch": "3"}, OptionTypeError)]
)
def test_extents_that_cannot_be(backend: Any, extent: dict[str, Any], kind: type[OptionError]) -> None:
    (name,) = extent
    with pytest.raises(kind, match=f"{name} is not a size\n  expected: a whole number of at least 1"):
        gw.nn.Recurrent("gru", 3, 5).source(backend, **extent)


def test_what_newtons_iterations_run_instead_of_a_loop() -> None:
    layer = gw.nn.Recurrent("unicornn", 3, 3, newton=True)
    with pytest.raises(OptionError, match="do: set layer.newton = None: the loop has kernels to show"):
        layer.source("triton")
    layer.newton = None
    assert "unicornn" in layer.source("triton").name


@pytest.mark.parametrize("products", ["bf16", torch.bfloat16, ["bfloat16"]])
def test_products_that_nobody_knows_are_refused(products: Any) -> None:
    layer = gw.nn.Recurrent("gru", 3, 5)
    message = "products is no dtype of operands\n  expected: None or 'bfloat16' or 'int8' or 'float16' or 'tf32'"
    with pytest.raises(OptionError if isinstance(products, str) else OptionTypeError, match=message):
        layer.products = products
    assert layer.products is None
