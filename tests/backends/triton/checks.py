"""Checks of kernels in a process of their own on a GPU: one that fails is told, and the others run all the same."""

import sys
import time
from collections.abc import Callable


class Checks:
    """Runs checks, and says at the end which of them failed."""

    def __init__(self) -> None:
        self.count, self.failures = 0, list[str]()
        self._began = time.perf_counter()

    def run(self, title: str, check: Callable[[], object]) -> None:
        """Run a check."""
        self.count += 1
        try:
            check()
        except Exception as error:  # noqa: BLE001 (Triton's errors have no common base)
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            self.failures.append(f"{title}: {type(error).__name__}: {' | '.join(lines[:4])[:400]}")

    def end(self, what: str) -> None:
        """Print the summary; where a check failed, end the process with an error."""
        seconds = time.perf_counter() - self._began
        print(f"{what}: {self.count - len(self.failures)} of {self.count} checks passed in {seconds:.0f} s")
        if self.failures:
            sys.exit("\n".join(self.failures))
