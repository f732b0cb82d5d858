"""Writing files so that nobody ever finds half of one."""

import os
from contextlib import suppress
from pathlib import Path
from secrets import token_hex


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that at any time it holds either the old content or the new, whatever is killed when.

    Raises OSError where it cannot be written; what was there stays, and nothing is left beside it.
    """
    part = path.parent / f".{path.name}.{token_hex(4)}.part"  # two writers have two of them
    file = part.open("xb")
    try:
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
