"""The machine and the time of a run, for its result."""

import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

PROCESSORS = Path("/proc/cpuinfo")


def machine() -> dict[str, Any]:
    """The graphics card where there is one, the processor, how many threads of it, which torch, and the time now."""
    cards = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    return {
        "processor": ", ".join([*cards, processor()]),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def processor() -> str:
    """The processor's name, or its kind where the system does not tell more."""
    lines = PROCESSORS.read_text(encoding="utf-8").splitlines() if PROCESSORS.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(filter(None, named), platform.processor() or platform.machine())
