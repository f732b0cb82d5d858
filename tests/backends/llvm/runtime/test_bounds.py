"""Kernels touch nothing but their arrays: beside them lie zones that are looked at, or no memory at all."""

import ctypes
import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.backends.llvm.guarded import ZONE, Guarded
from tests.paths import ROOT, subprocess_environment

CELLS = ("gru", "layer_norm(gru)", "fastgrnn_low_rank", "sru", "masked(lstm_projected)")
SHAPES = {"float32": [(5, 3, 5, 17), (2, 1, 33, 33)], "float64": [(5, 9, 17, 5), (7, 2, 3, 1)]}

RUN = """
import sys
import numpy as np
from tests.backends.llvm.engines import On, leaves, run
from tests.backends.llvm.guarded import Fenced
from tests.backends.llvm.runtime.test_bounds import CELLS, SHAPES
from tests.backends.llvm.runtime.test_engine import given_for, pair_of

at_end = sys.argv[1] == "end"
for name in CELLS:
    for trace in pair_of(name):
        for dtype, shapes in SHAPES.items():
            for shape in shapes:
                given = given_for(trace, shape)
                print(name, trace.name, dtype, shape, flush=True)
                found = run(given, On(dtype), Fenced(dtype, at_end=at_end))
                assert all(np.isfinite(array).all() for array in leaves(found))
print("done")
"""

BEYOND = """
import ctypes
import sys
from tests.backends.llvm.guarded import Fenced

at_end, address = sys.argv[1] == "end", None
array = Fenced("float32", at_end=at_end).empty((5,))
array[:] = 1.0
print("within", flush=True)
ctypes.c_char.from_address(array.ctypes.data + (20 if at_end else -1)).value
print("beyond", flush=True)
"""


def child(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = subprocess_environment()
    environment["PYTHONPATH"] += f":{ROOT}"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is closed by Linux's own call")
@pytest.mark.parametrize("side", ["end", "start"])
def test_no_kernel_reads_or_writes_where_no_memory_is(side: str) -> None:
    ran = child(RUN, side)
    assert ran.returncode == 0, f"{ran.stderr}\nwhile running {ran.stdout.splitlines()[-1:]}"
    assert ran.stdout.endswith("done\n")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is closed by Linux's own call")
@pytest.mark.parametrize("side", ["end", "start"])
def test_one_byte_beyond_is_seen(side: str) -> None:
    ran = child(BEYOND, side)
    assert (ran.stdout, ran.returncode) == ("within\n", -signal.SIGSEGV)


@pytest.mark.parametrize("place", [-1, 12, -ZONE, 11 + ZONE])
@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_write_beside_an_array_is_seen(place: int, value: float) -> None:
    memory = Guarded("float32")
    array = memory.empty((3, 4))
    memory.check()
    assert np.isnan(array).all()
    ctypes.c_float.from_address(array.ctypes.data + 4 * place).value = value
    with pytest.raises(AssertionError, match="out of bounds"):
        memory.check()


def test_a_write_to_what_was_given_is_seen() -> None:
    memory = Guarded("float64")
    copied = memory.contiguous(np.ones((2, 3)))
    memory.check()
    copied[1, 1] = 2.0
    with pytest.raises(AssertionError, match="wrote to what it was given"):
        memory.check()
