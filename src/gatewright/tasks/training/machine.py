"""The machine and the time of a run, for its result file."""

import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

PROCESSORS = Path("/proc/cpuinfo")


def machine() -> dict[str, Any]:
    """The GPU if there is one, the processor, the number of threads, the version of torch, and the time."""
    cards = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    return {
        "processor": ", ".join([*cards, processor()]),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def processor() -> str:
    """The name of the processor, or its architecture if the system reports no name."""
    lines = PROCESSORS.read_text(encoding="utf-8").splitlines() if PROCESSORS.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(filter(None, named), platform.processor() or platform.machine())
