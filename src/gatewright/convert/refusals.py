"""Errors that all readers of files share: missing and damaged files, and the place of an error."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from gatewright.errors import ConversionError


def check_exists(path: Path, what: str) -> None:
    """Refuse a path that leads to no file; `what` is the file to give instead."""
    if not path.is_file():
        raise ConversionError(f"there is no file {path}", do=f"give the path of {what}")


@contextmanager
def read_whole(path: Path, expected: str, do: str = "copy or download the file again") -> Generator[None]:
    """A block that reads a file: a damaged file fails in as many ways as it can be damaged.

    Raises ConversionError, which names the file, for every exception of the block but for one that is such already.
    """
    try:
        yield
    except ConversionError:
        raise
    except Exception as error:
        raise ConversionError(
            f"{path} cannot be read",
            expected=expected,
            got=f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}",
            do=do,
        ) from error


@contextmanager
def located(where: str, do: str | None = None) -> Generator[None]:
    """A block that puts a place, such as the file and the layer, before its errors, and may replace their advice."""
    try:
        yield
    except ConversionError as error:
        if do:
            error.do, error.shell = do, None
        error.locate(where)
        raise
