"""The command line: `gatewright COMMAND`.

A file of this folder that lists functions in `COMMANDS` adds them as commands; `_FILES` gives their order. Nothing here
imports a framework before a command that needs it has begun.
"""

import os
import sys
import warnings
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from traceback import format_exception
from typing import Annotated

import typer

from gatewright.cli.shell import EXIT_CODES, exit_code, messages, show_error
from gatewright.errors import GatewrightError, OptionError
from gatewright.untrusted.printable import print_text, printable

_FILES = (
    "catalogue",
    "training",
    "comparing",
    "tuning",
    "models",
    "predicting",
    "generating",
    "looking",
    "converting",
    "exporting",
    "check",
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        from gatewright import __version__

        print_text(f"gatewright {__version__}")
        raise typer.Exit


@app.callback(epilog="\n\n".join(["Exit codes:", *(f"{code}: {what}" for code, what in EXIT_CODES.items())]))
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show where in the code an error came from.")] = False,
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Gated recurrent networks from their equations."""
    if debug:
        os.environ["GATEWRIGHT_DEBUG"] = "1"


for _file in _FILES:
    for _command in import_module(f"{__name__}.{_file}").COMMANDS:
        app.command(_command.name, cls=_command.kind, epilog=_command.epilog)(_command.function)


def main() -> None:
    """Run the command that the shell asked for, and end the process with its exit code."""
    try:
        _prepare_streams()
        try:
            app(prog_name="gatewright")  # however it was started
        finally:
            sys.stdout.flush()  # else Python does it behind our back, and nobody hears of what goes wrong
    except GatewrightError as error:
        _fail(error)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "gatewright":
            raise
        advice = OptionError(
            f"this command needs the package {package!r}, which is not installed",
            do="pip install 'gatewright[train]'",
        )
        _fail(advice, cause=error)
    except (MemoryError, RuntimeError) as error:
        if not _lacks_memory(error):
            raise
        _fail(GatewrightError("there is not enough memory", do="ask for smaller sizes, or less at a time"), cause=error)
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        where = error.filename or "standard output, or a file without a name"  # all others are named
        _fail(GatewrightError(f"{where}: {error.strerror or error}"), cause=error)


def _prepare_streams() -> None:
    """Let everything be printed, whatever letters the terminal's encoding lacks: as `\\u03c3`, or the like."""
    if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison] (closed by the shell: 2>&-)
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (for as long as the process lives)
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison] (closed by the shell: >&-)
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
        raise OptionError("standard output is closed", do="send it to a file, or to nobody: > /dev/null")
    warnings.formatwarning = _warning  # its text may hold names of somebody's data
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return printable(f"{filename}:{lineno}: {category.__name__}: {message}") + "\n"


def _lacks_memory(error: Exception) -> bool:
    """Whether memory was asked for that is not there; torch has no error of its own for that on a CPU."""
    signs = ("not enough memory", "can't allocate memory", "out of memory", "Storage size calculation overflowed")
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in signs)


def _fail(error: GatewrightError, *, cause: Exception | None = None) -> None:
    if os.environ.get("GATEWRIGHT_DEBUG"):
        messages().print("".join(format_exception(cause or error)), soft_wrap=True)
    else:
        show_error(error)
    sys.exit(exit_code(error))
