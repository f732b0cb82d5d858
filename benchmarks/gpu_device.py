"""The device that GPU benchmarks run on: what it is, and how calls are timed there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.setup import rounded
from benchmarks.timing import Call, Method, Timing, race_runs, seconds_of


@dataclass(frozen=True)
class BenchmarkDevice:
    """A CUDA device, or the CPU, on which Triton's interpreter stands in for it. `quick` is for small problems."""

    device: torch.device
    method: Method
    is_gpu: bool
    quick: bool = False

    @classmethod
    def present(cls, *, quick: bool) -> "BenchmarkDevice":
        """The device of this machine. Raises RuntimeError for a long run without a GPU."""
        if torch.cuda.is_available():
            method = Method(sample=2e-3, fewest=3, most=9, budget=0.05) if quick else Method(5e-3, 5, 31, 0.4)
            return cls(torch.device("cuda"), method, is_gpu=True, quick=quick)
        if not quick:
            raise RuntimeError("there is no GPU that torch can use: --quick tries everything in Triton's interpreter")
        return cls(torch.device("cpu"), Method(sample=0.0, fewest=2, most=2, budget=0.0), is_gpu=False, quick=True)

    def race(self, calls: Mapping[str, Call]) -> dict[str, Timing]:
        """Time each call in every round, on the device's own clock."""
        run = self._events if self.is_gpu else seconds_of
        return race_runs({name: _bound(run, call) for name, call in calls.items()}, self.method)

    def _events(self, call: Call, count: int) -> float:
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(count):
            call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3

    @property
    def is_broken(self) -> bool:
        """Whether an error of a kernel has made the device useless to this process."""
        if not self.is_gpu:
            return False
        try:
            torch.cuda.synchronize()
        except RuntimeError:
            return True
        return False

    def description(self) -> dict[str, Any]:
        """What a reader needs to know of the device."""
        if not self.is_gpu:
            return {"name": "Triton's interpreter, on the CPU: no time means anything"}
        properties = torch.cuda.get_device_properties(self.device)
        return {
            "name": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "processors": properties.multi_processor_count,
            "memory_GiB": round(properties.total_memory / 2**30),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            **self._rates(),
        }

    def _rates(self) -> dict[str, float]:
        """What bounds a kernel: products of large matrices, a copy, and a launch that does nothing else."""
        allow_tf32(allowed=True)
        size = 64 if self.quick else 8192
        square = torch.randn(size, size, device=self.device)
        narrow, target = square.bfloat16(), torch.empty_like(square)
        small = torch.zeros(1, device=self.device)
        timings = self.race(
            {
                "tf32": lambda: torch.mm(square, square, out=target),
                "bfloat16": lambda: narrow @ narrow,
                "copy": lambda: target.copy_(square),
                "launch": lambda: small.add_(1),
            }
        )
        operations, moved = 2 * size**3, 2 * 4 * size**2
        return {
            "tf32_tflops": rounded(operations / timings["tf32"].median / 1e12),
            "bfloat16_tflops": rounded(operations / timings["bfloat16"].median / 1e12),
            "copy_gbps": rounded(moved / timings["copy"].median / 1e9),
            "launch_us": rounded(timings["launch"].median * 1e6),
        }


def allow_tf32(*, allowed: bool) -> None:
    """Whether float32 numbers may be multiplied in tf32: by cuBLAS, by cuDNN, and by our kernels, which follow it."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def told(error: BaseException) -> str:
    """The kind of an error, and its first line."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _bound(run: Callable[[Call, int], float], call: Call) -> Callable[[int], float]:
    return lambda count: run(call, count)
