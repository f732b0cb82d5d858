"""Results on disk: written whole or not at all."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FORMAT = 1


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file beside its place, and only then put it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(part).chmod(0o644)
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a file of text."""
    write_bytes(path, text.encode())


def save(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result."""
    write_text(path, json.dumps({"format": FORMAT, **result}, indent=1) + "\n")


def load(path: Path) -> dict[str, Any]:
    """Read a result. Raises ValueError where it is of another format."""
    result = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(result, dict) or result.get("format") != FORMAT:
        raise ValueError(f"{path} is not a result of format {FORMAT}: measure again")
    return result
