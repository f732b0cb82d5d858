"""What the commands share: their declaration, output, errors and exit codes."""

import json
import math
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rich.text import Text
from typer.core import TyperCommand

from gatewright.errors import GatewrightError, NonFiniteError, WriteError
from gatewright.terminal import Terminal
from gatewright.untrusted.printable import print_text, printable, printable_json

EXIT_CODES = {
    0: "success",
    1: "the command started and failed: a wrong result, a loss that is not finite, a full disk",
    2: "the command did not start: an invalid option, or data, a model or a package that is missing or damaged",
    130: "stopped by Ctrl-C; training keeps a checkpoint",
    143: "stopped by SIGTERM; training keeps a checkpoint",
}


class SettingsCommand(TyperCommand):
    """A command whose `--set` takes all the assignments after it: `--set hidden=64 epochs=5`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `--set` before every further assignment, and go on as typer does."""
        return super().parse_args(ctx, list(repeat_option(args, "--set")))


def repeat_option(args: Sequence[str], option: str) -> Iterator[str]:
    """The words of a command, the option put before each assignment that follows its first one."""
    follows_value = False  # of the option, or of another assignment that belongs to it
    for before, word in pairwise(["", *args]):
        is_further = follows_value and before != option and "=" in word and not word.startswith("-")
        if is_further:
            yield option
        follows_value = before == option or is_further
        yield word


@dataclass(frozen=True)
class Command:
    """A function that typer makes a command of, with examples of its use."""

    function: Callable[..., Any]
    examples: tuple[str, ...]
    kind: type[TyperCommand] = SettingsCommand

    @property
    def name(self) -> str:
        """What it is called by."""
        return self.function.__name__

    @property
    def epilog(self) -> str:
        """The examples, at the end of the help."""
        return "\n\n".join(("Examples:", *(f"    {example}" for example in self.examples)))


FAILURES = (NonFiniteError, WriteError)
"""The errors that come up when the work has begun; all others say that it could not begin."""


def exit_code(error: GatewrightError) -> int:
    """The exit code of a command that ends with that error."""
    return 1 if isinstance(error, FAILURES) or type(error) is GatewrightError else 2


def given(**options: Any) -> dict[str, Any]:
    """The options that a command was given: those that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def out() -> Terminal:
    """Where results go. Lines in a file or pipe are never wrapped."""
    return Terminal(soft_wrap=not sys.stdout.isatty())


def messages(*, quiet: bool = False) -> Terminal:
    """Where progress and advice go."""
    return Terminal(stderr=True, quiet=quiet)


def print_json(content: Mapping[str, Any]) -> None:
    """A result for machines: one JSON object, the only thing on standard output. A number that is none is null."""
    print_text(printable_json(json.dumps(_finite(content), ensure_ascii=False, indent=2, allow_nan=False)))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def show_error(error: GatewrightError) -> None:
    """One message, its first line marked."""
    first, *others = error.in_shell().split("\n")
    console = messages()
    if console.is_terminal:
        others = [_wrapped(line, console.width) for line in others]
    console.print(Text.assemble(("error: ", "bold red"), printable(first)), *others, sep="\n", soft_wrap=True)


def _wrapped(line: str, width: int) -> str:
    """A line of what was expected or came, in lines of a terminal; a `do` stays whole, as it may be a command."""
    if len(line) <= width or not line.startswith(("  expected: ", "  got: ")):
        return line
    return textwrap.fill(
        line, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )
