"""What kernels take on a chip, compiled in processes of their own: in this one Triton's interpreter is on."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gatewright.backends.triton.chips import CHIPS, Chip, chip_of
from gatewright.backends.triton.choice import first_that_fits
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind, KernelText
from gatewright.backends.triton.resources import LaunchOptions, Resources, compile_kernel
from gatewright.errors import OptionError
from tests.backends.triton.processes import json_of

COMPILED = """
import json
from dataclasses import asdict, replace

from gatewright import cells
from gatewright.backends.triton.choice import first_that_fits
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import ArgumentKind
from gatewright.backends.triton.resident_kernel import resident_text
from gatewright.backends.triton.resources import LaunchOptions
from gatewright.backends.triton.chips import CHIPS
from gatewright.kernel_cache import resources_cache
from gatewright.schedule.plan import plan
from gatewright.trace import simplify, trace_cell

text = resident_text(plan(simplify(trace_cell(cells.gru))), {"input": 7, "hidden": 33})
memory = {argument: None for argument in text.arguments if argument.kind is ArgumentKind.LENGTHS}
constants = {"BM": 16, "BACKWARDS": False, "RAGGED": False}
candidates = [LaunchOptions(constants)]
reports = {}
chips = CHIPS | {"gfx90a": replace(CHIPS["gfx942"], name="gfx90a", architecture="gfx90a")}
for target in ("sm_90", "gfx942", "gfx90a"):
    options, resources = first_that_fits(text, chips[target], KernelPrecision(mode="tf32"), candidates, memory)
    reports[target] = {"rows": options.constants["BM"], **asdict(resources)}
before = resources_cache().status()
first_that_fits(text, CHIPS["sm_90"], KernelPrecision(mode="tf32"), candidates, memory)
after = resources_cache().status()
print(json.dumps({**reports, "read": after.hits - before.hits, "compiled": after.misses - before.misses}))
"""
LAUNCHED = """
import json

import torch
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import MockTensor

from gatewright import cells
from gatewright.backends.triton.chips import CHIPS
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.load import kernel
from gatewright.backends.triton.program_run import ProgramRun
from gatewright.backends.triton.resources import WHOLE_NUMBERS, constants_of
from gatewright.backends.triton.run_kernels import kernels_of
from gatewright.nn.engine.device_operation import without_loop
from gatewright.schedule.plan import plan
from gatewright.trace import simplify, trace_cell


class Driver:
    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)


class Elsewhere(MockTensor):
    # an array behind another one, at no multiple of 16 bytes
    @staticmethod
    def data_ptr():
        return 4


found = {}
driver.set_active(Driver())
for name, cell in (("loop", cells.gru), ("scan", cells.mingru)):
    program = without_loop(plan(simplify(trace_cell(cell))))
    run = ProgramRun(program, {"input": 8, "hidden": 33}, KernelPrecision(mode="tf32"))
    one = next(one for one in kernels_of(run, CHIPS["sm_90"], 9, 2) if name in one.text.name)
    _ = one.compiled
    function, memory = kernel(one.text), one.memory
    given = [memory.get(argument, WHOLE_NUMBERS.get(argument.kind, "float32")) for argument in one.text.arguments]
    given = [None if dtype is None else getattr(torch, dtype) for dtype in given]
    hits = []
    knobs.compilation.listener = lambda **told: hits.append(told["cache_hit"])
    constants = constants_of(one.precision) | one.options.keywords()
    numbers = (9, 2)
    if name == "scan":
        constants, numbers = {"A": constants["A"]} | one.options.keywords(), (9, 2, 9)
    function.warmup(*given, *numbers, grid=(1,), **constants)
    moved = [
        dtype if dtype is None or argument.kind == "shared" else Elsewhere(dtype)
        for argument, dtype in zip(one.text.arguments, given, strict=True)
    ]
    function.warmup(*moved, *numbers, grid=(1,), **constants)  # finds it in memory
    knobs.compilation.listener = None
    found[name] = hits
print(json.dumps(found))
"""
TEXT = KernelText("nothing", "def nothing(x): ...", (Argument(ArgumentKind.SEQUENCE, "x"),))


def test_a_kernel_is_compiled_for_chips_that_are_not_there_and_once(tmp_path: Path) -> None:
    reports = json_of(COMPILED, GATEWRIGHT_CACHE=str(tmp_path))
    for target in ("sm_90", "gfx942"):
        report = reports[target]
        assert report["rows"] == 16
        assert report["spilled_bytes"] == 0
        # three matrices, each padded to 64 x 64 numbers of four bytes, or registers in their place
        assert 8 <= report["registers"] <= CHIPS[target].registers
        assert report["shared_bytes"] <= CHIPS[target].shared_bytes
    assert reports["gfx90a"]["rows"] == 16  # which has no tf32: its products are of float32 numbers
    assert reports["sm_90"]["shared_bytes"] >= 3 * 64 * 64 * 4
    assert (reports["read"], reports["compiled"]) == (1, 0)


@pytest.mark.parametrize(
    ("architecture", "modes"),
    [(80, ("tf32", "tf32x3")), (103, ("tf32", "tf32x3")), ("gfx942", ("tf32", "ieee")), ("gfx950", ("ieee", "ieee"))],
)
def test_chips_multiply_in_modes_that_they_have(architecture: int | str, modes: tuple[str, str]) -> None:
    chip = replace(CHIPS["gfx942" if isinstance(architecture, str) else "sm_90"], architecture=architecture)
    assert (chip.product_mode("tf32"), chip.product_mode("tf32x3")) == modes
    assert chip.product_mode("ieee") == "ieee"


def test_a_launch_finds_what_was_compiled_to_see_what_it_takes(tmp_path: Path) -> None:
    """Else the first call would compile each of these kernels twice: a launch tells Triton more than its dtypes.

    Nor is one compiled again for arrays that lie elsewhere, which another number of steps or rows leads to.
    """
    found = json_of(LAUNCHED, GATEWRIGHT_CACHE=str(tmp_path / "own"), TRITON_CACHE_DIR=str(tmp_path / "triton"))
    assert found == {"loop": [True], "scan": [True]}


def test_the_processors_of_a_device_are_counted_by_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    told = SimpleNamespace(major=9, minor=0, multi_processor_count=114, shared_memory_per_block_optin=1)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: told)
    assert chip_of(torch.device("cuda")) == replace(CHIPS["sm_90"], processors=114)
    told.minor = 3
    assert chip_of(torch.device("cuda")) == Chip("sm_93", "cuda", 93, 32, 1, 255, 114)
    assert chip_of(torch.device("cpu")) is CHIPS["sm_90"]


def test_nothing_is_compiled_in_the_interpreter() -> None:
    with pytest.raises(OptionError, match="unset TRITON_INTERPRET"):
        compile_kernel(TEXT, CHIPS["sm_90"], KernelPrecision(), LaunchOptions())


@pytest.mark.parametrize(
    ("spilled", "shared", "fits"), [(0, 227 * 1024, True), (0, 227 * 1024 + 1, False), (4, 1024, False)]
)
def test_a_kernel_fits_without_spills_and_within_shared_memory(spilled: int, shared: int, fits: bool) -> None:
    assert Resources(100, spilled, shared, 4).fits(CHIPS["sm_90"]) is fits


def test_the_first_options_that_fit_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {1: Resources(255, 8, 1024, 4), 2: Resources(255, 0, 1024, 8), 3: Resources(64, 0, 1024, 16)}
    monkeypatch.setattr(
        "gatewright.backends.triton.choice.resources_of",
        lambda text, target, precision, options, memory: taken[options.warps],
    )
    candidates = [LaunchOptions(warps=number) for number in taken]
    assert first_that_fits(TEXT, CHIPS["sm_90"], KernelPrecision(), candidates) == (candidates[1], taken[2])
    assert first_that_fits(TEXT, CHIPS["sm_90"], KernelPrecision(), candidates[:1]) is None
