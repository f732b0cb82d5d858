"""What the commands share: how they are declared, and how they speak."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from gatewright.errors import GatewrightError


@dataclass(frozen=True)
class Command:
    """A function that typer makes a command of, with examples of its use."""

    function: Callable[..., Any]
    examples: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it is called by."""
        return self.function.__name__

    @property
    def epilog(self) -> str:
        """The examples, at the end of the help."""
        return "\n\n".join(("Examples:", *(f"    {one}" for one in self.examples)))


def out() -> Console:
    """Where results go. Lines in a file or pipe are never wrapped."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def messages(*, quiet: bool = False) -> Console:
    """Where progress and advice go."""
    return Console(stderr=True, highlight=False, quiet=quiet)


def print_json(content: Mapping[str, Any]) -> None:
    """A result for machines: one JSON object, the only thing on standard output."""
    typer.echo(json.dumps(content, ensure_ascii=False, indent=2))


def show_error(error: GatewrightError) -> None:
    """One message, its first line marked."""
    first, *others = str(error).split("\n")
    console = messages()
    console.print(Text.assemble(("error: ", "bold red"), first), *others, sep="\n", soft_wrap=True, markup=False)
