"""Errors that all readers of files share: missing and damaged files, and the place of an error."""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from gatewright.errors import ConversionError

MISREAD = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What goes wrong in content that is whole, and is not understood."""


def check_exists(path: Path, what: str) -> None:
    """Refuse a path that leads to no file; `what` is the file to give instead."""
    if not path.is_file():
        raise ConversionError(f"there is no file {path}", do=f"give the path of {what}")


@contextmanager
def understood(
    problem: str, *, expected: str | None = None, do: str | None = None, errors: tuple[type[Exception], ...] = MISREAD
) -> Generator[None]:
    """A block that reads content of unknown origin, whose other errors become a ConversionError of that text."""
    try:
        yield
    except ConversionError:
        raise
    except errors as error:
        got = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
        raise ConversionError(problem, expected=expected, got=got, do=do) from error


def read_whole(
    path: Path, expected: str, do: str = "copy or download the file again"
) -> AbstractContextManager[None, bool | None]:
    """A block that reads a file: a damaged file fails in as many ways as it can be damaged.

    Raises ConversionError, which names the file, for every exception of the block.
    """
    return understood(f"{path} cannot be read", expected=expected, do=do, errors=(Exception,))


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


def no_skip(files: str) -> ConversionError:
    """The error for a network that adds its input to its output."""
    return ConversionError(
        f"the input is added to the output, and {files} that are written here are chains of layers",
        do="write Gatewright's own file: target_layout='gatewright'",
        shell="write Gatewright's own file: --to gatewright",
    )
