"""The machine: what it is, how fast it multiplies and adds, how fast it copies."""

import ctypes
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np

PACKAGES = ("gatewright", "torch", "onnxruntime", "onnx", "openvino", "jax", "jaxlib", "numpy", "llvmlite")
_WIDTHS = {"avx512f": 16, "avx": 8}  # float32 in the widest vector; elsewhere 4
_CHAINS = {8: 12}  # AVX has registers for so many and no more; elsewhere 24


def description() -> dict[str, Any]:
    """What a reader needs to know of the machine and of what was installed."""
    features = llvm.get_host_cpu_features()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "vector_features": sorted(name for name, has in features.items() if has and _is_of_vectors(name)),
        "system": f"{platform.system()} {platform.machine()}",
        "memory_GiB": round(_memory() / 2**30),
        "largest_cache_MiB": round(_largest_cache() / 2**20, 1),
        "python": sys.version.split()[0],
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _is_of_vectors(feature: str) -> bool:
    return feature.startswith(("avx", "fma", "sse4", "neon", "sve", "amx"))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    told = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return " ".join([told[0] if told else platform.processor(), f"({llvm.get_host_cpu_name()})"])


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0


def _largest_cache() -> int:
    """The size of the last level's cache; 32 MiB where the system does not tell."""
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    told = [path.read_text().strip() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    return max((int(size[:-1]) * units[size[-1]] for size in told if size[-1:] in units), default=2**25)


def native_engine(source: str) -> llvm.ExecutionEngine:
    """Code in LLVM's language, compiled for this processor with its widest vectors."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features()
    flags = ",".join(filter(None, [features.flatten(), "-prefer-256-bit" if features.get("avx512f") else ""]))
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=flags, opt=3, jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(source), machine)
    engine.finalize_object()
    return engine


class FusedMultiplyAdd:
    """Multiplications and additions in registers: independent chains of them, on the widest vectors there are."""

    TURNS = 20_000

    def __init__(self, turns: int = TURNS) -> None:
        features = llvm.get_host_cpu_features()
        width = next((lanes for name, lanes in _WIDTHS.items() if features.get(name)), 4)
        chains = _CHAINS.get(width, 24)
        self._engine = native_engine(_source(width, chains))
        self._function = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(
            self._engine.get_function_address("chains")
        )
        self._sink = np.zeros(width, np.float32)
        self._turns = turns
        self.flops = turns * chains * width * 2

    def __call__(self) -> None:
        """Do `flops` operations. Other threads run meanwhile."""
        self._function(self._turns, self._sink.ctypes.data)


def _source(width: int, count: int) -> str:
    """LLVM's language: every turn continues each chain once, so that a processor can work on all at a time."""
    vector, zeros, factor = f"<{width} x float>", "zeroinitializer", _splat(width, "0.5")
    chains = range(count)
    phis = "\n".join(f"  %c{i} = phi {vector} [ {zeros}, %entry ], [ %n{i}, %turn ]" for i in chains)
    steps = "\n".join(
        f"  %n{i} = call {vector} @llvm.fma.v{width}f32({vector} %c{i}, {vector} {factor}, {vector} %addend)"
        for i in chains
    )
    sums = "\n".join(f"  %s{i + 1} = fadd {vector} {f'%s{i}' if i else zeros}, %n{i}" for i in chains)
    return f"""
declare {vector} @llvm.fma.v{width}f32({vector}, {vector}, {vector})
define void @chains(i64 %turns, ptr %sink) {{
entry:
  %addend = load {vector}, ptr %sink, align 4
  br label %turn
turn:
  %t = phi i64 [ 0, %entry ], [ %next, %turn ]
{phis}
{steps}
  %next = add i64 %t, 1
  %more = icmp slt i64 %next, %turns
  br i1 %more, label %turn, label %end
end:
{sums}
  store {vector} %s{count}, ptr %sink, align 4
  ret void
}}
"""


def _splat(width: int, number: str) -> str:
    return "<" + ", ".join([f"float {number}"] * width) + ">"


def peak(threads: int, seconds: float) -> float:
    """Operations a second of all threads together: the best of what was seen in that time."""
    kernels = [FusedMultiplyAdd() for _ in range(threads)]
    return kernels[0].flops * threads / _best(kernels, seconds)


def copy_bandwidth(threads: int, seconds: float) -> float:
    """Bytes a second, read and written, of a copy from memory to memory: the best of what was seen in that time."""
    size = int(min(2 * _largest_cache(), (_memory() or 2**31) // 8)) // threads
    pairs = [(np.ones(size, np.uint8), np.full(size, 2, np.uint8)) for _ in range(threads)]  # both are touched
    copies = [lambda source=source, target=target: np.copyto(target, source) for source, target in pairs]
    return 2 * size * threads / _best(copies, seconds)


def _best(calls: list[Callable[[], None]], seconds: float) -> float:
    """The least time in which all calls, each on a thread of its own, are done."""
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        best = min(best, _together(calls))
    return best


def _together(calls: list[Callable[[], None]]) -> float:
    start = threading.Barrier(len(calls))
    spans: list[tuple[float, float]] = []

    def run(call: Callable[[], None]) -> None:
        start.wait()
        began = time.perf_counter()
        call()
        spans.append((began, time.perf_counter()))

    workers = [threading.Thread(target=run, args=(call,)) for call in calls[1:]]
    for worker in workers:
        worker.start()
    run(calls[0])
    for worker in workers:
        worker.join()
    return max(end for _, end in spans) - min(began for began, _ in spans)
