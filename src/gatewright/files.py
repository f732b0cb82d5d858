"""Writing files so that nobody ever finds half of one."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from secrets import token_hex


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that at any time it holds either the old content or the new, whatever is killed when.

    Raises OSError where it cannot be written; what was there stays, and nothing is left beside it.
    """
    write_together({path: content})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write several files that belong together: each as a whole, and none before all are ready to be put in place.

    Raises OSError where one cannot be written; nothing is left beside them.
    """
    parts = {path: path.parent / f".{path.name}.{token_hex(4)}.part" for path in contents}  # two writers have two
    try:
        for path, content in contents.items():
            with parts[path].open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path, part in parts.items():
            part.replace(path)
    except BaseException:
        for part in parts.values():
            with suppress(OSError):
                part.unlink()
        raise
