"""Object code becomes functions, which let other threads run, can be read, and leave memory again."""

import ctypes
import gc
import threading

import numpy as np
import pytest

from gatewright.backends.llvm.jit.machine_code import CompileError, Library, Signature, emit_assembly, emit_object
from gatewright.backends.llvm.jit.target import TARGET_NAMES, Target, runnable, target_named
from tests.backends.llvm.memory import growth, needs_proc
from tests.backends.llvm.modules import BLOCK, SAXPY, block, run_saxpy, saxpy

HERE = [name for name in TARGET_NAMES if runnable(target_named(name))]


def load(source: str, functions: dict[str, Signature] = SAXPY, target: Target | None = None) -> Library:
    """Compile a module and load it."""
    target = target or target_named("host")
    return Library(source, functions, emit_object(source, functions, target), target, from_cache=False)


@pytest.mark.parametrize("name", HERE)
def test_a_function_computes(name: str) -> None:
    library = load(saxpy(plus=0.5), target=target_named(name))
    assert run_saxpy(library["saxpy"]).tolist() == [10.5, 12.5, 14.5]
    assert library.target.name == name


@pytest.mark.parametrize("name", HERE)
def test_vectors_compute_in_every_width_that_runs_here(name: str) -> None:
    target = target_named(name)
    lanes = target.lanes("float32")
    library = load(block(lanes, fused=target.has_fma), BLOCK, target)
    x, y = np.arange(lanes, dtype=np.float32), np.full(lanes, 3, dtype=np.float32)
    library["block"](x.ctypes.data, y.ctypes.data)
    assert y.tolist() == [4.0 * number for number in range(lanes)]


def test_large_copies_find_their_functions() -> None:
    module = """
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)
define void @copies(ptr %a, ptr %b, i64 %n) {
  call void @llvm.memset.p0.i64(ptr %a, i8 7, i64 %n, i1 false)
  call void @llvm.memcpy.p0.p0.i64(ptr %b, ptr %a, i64 %n, i1 false)
  %shifted = getelementptr i8, ptr %b, i64 1
  store i8 1, ptr %b
  call void @llvm.memmove.p0.p0.i64(ptr %shifted, ptr %b, i64 %n, i1 false)
  ret void
}
"""
    library = load(module, {"copies": (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)})
    a, b = np.zeros(1000, np.uint8), np.zeros(1001, np.uint8)
    library["copies"](a.ctypes.data, b.ctypes.data, 1000)
    assert set(a.tolist()) == {7}
    assert b.tolist() == [1, 1] + [7] * 999
    assert "memset" in library.assembly


def test_constants_are_found_wherever_the_code_lies() -> None:
    numbers = [float(number) + 0.25 for number in range(64)]
    table = ", ".join(f"float {number!r}" for number in numbers)
    module = f"""
@table = private constant [64 x float] [{table}]
define void @look_up(ptr %y, i64 %i) {{
  %place = getelementptr [64 x float], ptr @table, i64 0, i64 %i
  %found = load float, ptr %place
  store float %found, ptr %y
  ret void
}}
"""
    libraries = [load(module, {"look_up": (ctypes.c_void_p, ctypes.c_int64)}) for _ in range(8)]
    y = np.zeros(1, np.float32)
    for index, library in enumerate(libraries):
        library["look_up"](y.ctypes.data, 8 * index)
        assert y[0] == numbers[8 * index]


def test_a_module_may_have_functions_of_its_own() -> None:
    module = """
define internal float @twice(float %x) {
  %result = fadd float %x, %x
  ret float %result
}
define void @f(ptr %x) {
  %before = load float, ptr %x
  %after = call float @twice(float %before)
  store float %after, ptr %x
  ret void
}
"""
    library = load(module, {"f": (ctypes.c_void_p,)})
    x = np.array([21.0], np.float32)
    library["f"](x.ctypes.data)
    assert x[0] == 42.0


def test_other_threads_run_meanwhile() -> None:
    module = """
define void @wait(ptr %flag, i64 %turns) {
entry:
  br label %body
body:
  %i = phi i64 [ %turns, %entry ], [ %next, %body ]
  %seen = load volatile i64, ptr %flag
  %next = sub i64 %i, 1
  %raised = icmp ne i64 %seen, 0
  %over = icmp eq i64 %next, 0
  %stop = or i1 %raised, %over
  br i1 %stop, label %end, label %body
end:
  store volatile i64 %next, ptr %flag
  ret void
}
"""
    library = load(module, {"wait": (ctypes.c_void_p, ctypes.c_int64)})
    flag = np.zeros(1, np.int64)
    raiser = threading.Timer(0.02, flag.fill, [1])
    raiser.start()
    library["wait"](flag.ctypes.data, 1 << 36)  # minutes, if nobody can raise the flag
    raiser.join()
    assert flag[0] > 0


def test_the_module_and_its_instructions_can_be_read() -> None:
    library = load(saxpy())
    assert library.ir == saxpy()
    assert library.assembly == emit_assembly(saxpy(), target_named("host"))
    assert "saxpy:" in library.assembly


def test_code_that_cannot_be_loaded_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    code = emit_object(saxpy(), SAXPY, target_named("host"))
    with pytest.raises(CompileError, match="the code that was generated for 'host' cannot be loaded"):
        Library(saxpy(), SAXPY, code[:-100], target_named("host"), from_cache=False)
    with pytest.raises(CompileError, match="axpy"):
        Library(saxpy(), {"axpy": ()}, code, target_named("host"), from_cache=False)
    assert capfd.readouterr().err == ""


def test_a_function_outlives_its_library() -> None:
    library = load(saxpy())
    function = library["saxpy"]
    del library
    gc.collect()
    assert run_saxpy(function).tolist() == [10.0, 12.0, 14.0]


@needs_proc
def test_loading_again_and_again_takes_no_memory() -> None:
    code = emit_object(saxpy(), SAXPY, target_named("host"))

    def turn(number: int) -> None:
        library = Library(saxpy(), SAXPY, code, target_named("host"), from_cache=True)
        assert run_saxpy(library["saxpy"], a=float(number))[1] == 10.0 + number

    assert growth(turn, 600) < 300 * 1024
