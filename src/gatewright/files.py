"""Writing files so that nobody ever finds half of one."""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from re import escape, fullmatch
from secrets import token_hex

from gatewright.errors import WriteError

_PART = ".part"


@contextmanager
def writing(path: Path) -> Generator[None]:
    """Whatever keeps the body from writing that file becomes a WriteError that names it."""
    try:
        yield
    except (OSError, ValueError) as error:  # a path with a NUL is a ValueError
        reason = error.strerror if isinstance(error, OSError) else None
        raise WriteError(
            f"{path} cannot be written: {reason or error}",
            do="see that there is room, or give a path in a folder that can be written to",
        ) from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that at any time it holds either the old content or the new, whatever is killed when.

    Raises WriteError where it cannot be written; what was there stays, and nothing is left beside it.
    """
    write_together({path: content})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write several files that belong together: each as a whole, and none before all are ready to be put in place.

    Raises WriteError where one cannot be written; nothing is left beside them.
    """
    parts = {path: path.parent / f".{path.name}.{token_hex(4)}{_PART}" for path in contents}  # two writers have two
    try:
        for path, content in contents.items():
            with writing(path), parts[path].open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path, part in parts.items():
            with writing(path):
                part.replace(path)
    except BaseException:
        for part in parts.values():
            with suppress(OSError, ValueError):
                part.unlink()
        raise


def remove_parts(*paths: Path) -> None:
    """Remove what writers that were killed left beside these files; for whoever alone may write them now."""
    for path in paths:
        with suppress(OSError):
            for part in list(path.parent.iterdir()):
                if fullmatch(rf"\.{escape(path.name)}\.[0-9a-f]{{8}}{escape(_PART)}", part.name):
                    part.unlink()
