"""Several kernel calls as one: they are written down once, and gone through without Python in between."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from gatewright.backends.llvm.jit.compile import compile_module
from gatewright.backends.llvm.jit.machine_code import Signature
from gatewright.backends.llvm.jit.target import named

_FUNCTIONS: dict[str, Signature] = {
    "bind": (ctypes.c_void_p,),
    "perform": (),
    "repeat": (ctypes.c_int64, *[ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64] * 2),
    "copy": (ctypes.c_void_p, *[ctypes.c_int64] * 4, ctypes.c_void_p),
}
# A call without arguments costs half as much as one with a single argument, so a script is bound to its code: every
# script has this module for itself. A copy looks like a kernel, whose arguments it takes for its own.
_MODULE = """
%call = type { ptr, ptr, i64, i64, i64, i64 }

@calls = internal global ptr null

declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define void @bind(ptr %first) {
  store ptr %first, ptr @calls
  ret void
}

define void @copy(ptr %to, i64 %from, i64 %bytes, i64 %unused.0, i64 %unused.1, ptr %unused.2) {
  %source = inttoptr i64 %from to ptr
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %source, i64 %bytes, i1 false)
  ret void
}

define void @perform() {
entry:
  %first = load ptr, ptr @calls
  br label %next
next:
  %call = phi ptr [ %first, %entry ], [ %following, %do ]
  %kernel = load ptr, ptr %call
  %ended = icmp eq ptr %kernel, null
  br i1 %ended, label %end, label %do
do:
  %table.at = getelementptr %call, ptr %call, i64 0, i32 1
  %steps.at = getelementptr %call, ptr %call, i64 0, i32 2
  %batch.at = getelementptr %call, ptr %call, i64 0, i32 3
  %first.at = getelementptr %call, ptr %call, i64 0, i32 4
  %last.at = getelementptr %call, ptr %call, i64 0, i32 5
  %table = load ptr, ptr %table.at
  %steps = load i64, ptr %steps.at
  %batch = load i64, ptr %batch.at
  %first.row = load i64, ptr %first.at
  %last.row = load i64, ptr %last.at
  call void %kernel(ptr %table, i64 %steps, i64 %batch, i64 %first.row, i64 %last.row, ptr null)
  %following = getelementptr %call, ptr %call, i64 1
  br label %next
end:
  ret void
}

define void @repeat(i64 %times, ptr %input, ptr %sources, i64 %in.bytes, ptr %targets, ptr %output, i64 %out.bytes) {
entry:
  br label %next
next:
  %time = phi i64 [ 0, %entry ], [ %later, %do ]
  %more = icmp slt i64 %time, %times
  br i1 %more, label %do, label %end
do:
  %in.at = mul i64 %time, %in.bytes
  %source = getelementptr i8, ptr %sources, i64 %in.at
  call void @llvm.memcpy.p0.p0.i64(ptr %input, ptr %source, i64 %in.bytes, i1 false)
  call void @perform()
  %out.at = mul i64 %time, %out.bytes
  %target = getelementptr i8, ptr %targets, i64 %out.at
  call void @llvm.memcpy.p0.p0.i64(ptr %target, ptr %output, i64 %out.bytes, i1 false)
  %later = add i64 %time, 1
  br label %next
end:
  ret void
}
"""


class Call(ctypes.Structure):
    """One call of a kernel without a seat, as the script keeps it; see `kernels.PASS_ARGUMENTS`."""

    _fields_ = [
        ("kernel", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
        ("steps", ctypes.c_int64),
        ("batch", ctypes.c_int64),
        ("first", ctypes.c_int64),
        ("last", ctypes.c_int64),
    ]


class Script:
    """Kernel calls, one after the other, by one call from Python.

    `perform()` goes through them once. With `keep_lock` it keeps Python's lock meanwhile: giving it up and taking it
    again costs more than a small kernel, and milliseconds where another thread takes it in between. `repeat(times,
    input, sources, input_bytes, targets, output, output_bytes)` goes through them again and again without that lock:
    before each turn the next part of `sources` is copied to `input`, and after it `output` to the next part of
    `targets`; all of them are addresses.

    The memory and code that the calls use have to live for as long as one of the two functions; `keep` are objects that
    they hold on to for that purpose.
    """

    def __init__(self, calls: Sequence["Call | Copy"], *, keep_lock: bool, keep: Sequence[object]) -> None:
        library = compile_module(_MODULE, _FUNCTIONS, key="script", target=named())
        copy = address_of(library["copy"])
        entries = [call.as_call(copy) if isinstance(call, Copy) else call for call in calls]
        kept = (Call * (len(entries) + 1))(*entries)  # the last one is empty, which ends the script
        library["bind"](ctypes.addressof(kept))
        perform: Any = library["perform"]
        repeat: Any = library["repeat"]
        if keep_lock:
            locked: Any = ctypes.PYFUNCTYPE(None)(address_of(perform))
            locked.code, perform = perform, locked
        perform.keep = repeat.keep = (kept, *keep)
        self.perform: Callable[[], None] = perform
        self.repeat: Callable[..., None] = repeat


class Copy:
    """A copy of memory between the calls of a script."""

    def __init__(self, target: int, source: int, size: int) -> None:
        self.target, self.source, self.size = target, source, size

    def as_call(self, copy: int) -> Call:
        """The copy in the form of a kernel's call."""
        return Call(copy, self.target, self.source, self.size, 0, 0)


def address_of(function: Callable[..., None]) -> int:
    """Where the code of a compiled function begins."""
    address = ctypes.cast(function, ctypes.c_void_p).value  # pyright: ignore[reportArgumentType]
    assert address is not None
    return address
