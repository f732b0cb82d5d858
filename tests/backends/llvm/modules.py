"""Small modules in LLVM's language, written by hand, and how to call what is in them."""

import ctypes

import numpy as np

SAXPY = {"saxpy": (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_float, ctypes.c_int64)}
BLOCK = {"block": (ctypes.c_void_p, ctypes.c_void_p)}


def saxpy(plus: float = 0.0) -> str:
    """Over n numbers, y = a x + y + plus; `plus` makes modules that differ in a constant."""
    return f"""
define void @saxpy(ptr %x, ptr %y, float %a, i64 %n) {{
entry:
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %body, label %end
body:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %x.i = getelementptr float, ptr %x, i64 %i
  %y.i = getelementptr float, ptr %y, i64 %i
  %x.value = load float, ptr %x.i
  %y.value = load float, ptr %y.i
  %product = fmul float %a, %x.value
  %sum = fadd float %product, %y.value
  %result = fadd float %sum, {plus!r}
  store float %result, ptr %y.i
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %body, label %end
end:
  ret void
}}
"""


def block(lanes: int, *, fused: bool) -> str:
    """Over one vector, y = x y + x: as a multiply-add where `fused`, and in two steps otherwise."""
    kind, suffix = f"<{lanes} x float>", f"v{lanes}f32"
    fma = f"  %result = call {kind} @llvm.fma.{suffix}({kind} %x.value, {kind} %y.value, {kind} %x.value)\n"
    two = f"  %product = fmul {kind} %x.value, %y.value\n  %result = fadd {kind} %product, %x.value\n"
    return (
        f"declare {kind} @llvm.fma.{suffix}({kind}, {kind}, {kind})\n"
        "define void @block(ptr %x, ptr %y) {\n"
        f"  %x.value = load {kind}, ptr %x, align 4\n  %y.value = load {kind}, ptr %y, align 4\n"
        f"{fma if fused else two}"
        f"  store {kind} %result, ptr %y, align 4\n  ret void\n}}\n"
    )


def calling(function: str) -> str:
    """A module that calls a function from elsewhere."""
    return f"declare void @{function}()\ndefine void @f() {{\n  call void @{function}()\n  ret void\n}}\n"


def run_saxpy(function, a: float = 2.0) -> np.ndarray:
    """What a saxpy gives for x = 0, 1, 2 and y = 10."""
    x, y = np.arange(3, dtype=np.float32), np.full(3, 10, dtype=np.float32)
    function(x.ctypes.data, y.ctypes.data, a, 3)
    return y
