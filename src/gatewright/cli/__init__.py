"""The command line: `gatewright COMMAND`.

A file of this folder that lists functions in `COMMANDS` adds them as commands; `_FILES` gives their order. Nothing here
imports a framework before a command that needs it has begun.
"""

import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from gatewright.cli.shell import EXIT_CODES, Command, show_error
from gatewright.errors import GatewrightError, OptionError

_FILES = ("catalogue", "training", "comparing", "tuning", "models", "converting", "exporting", "check")

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

        typer.echo(f"gatewright {__version__}")
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


def _add(command: Command) -> None:
    app.command(command.name, epilog=command.epilog)(command.function)


for _file in _FILES:
    for _command in import_module(f"{__name__}.{_file}").COMMANDS:
        _add(_command)


def main() -> None:
    """Run the command that the shell asked for, and end the process with its exit code."""
    try:
        app(prog_name="gatewright")  # however it was started
    except GatewrightError as error:
        _fail(error, code=2 if isinstance(error, OptionError) else 1)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "gatewright":
            raise
        advice = GatewrightError(
            f"this command needs the package {package!r}, which is not installed",
            do="pip install 'gatewright[train]'",
        )
        _fail(advice, code=1, cause=error)
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(GatewrightError(f"{type(error).__name__}: {error}"), code=1, cause=error)


def _fail(error: GatewrightError, *, code: int, cause: Exception | None = None) -> None:
    if os.environ.get("GATEWRIGHT_DEBUG"):
        raise cause or error
    show_error(error)
    sys.exit(code)
