"""The console that everything is printed through: what is printed is text, and nothing in it is a command.

Names of files, arrays, classes and words come from elsewhere. Rich would take `[bold]` in them for its markup, and
hands on to the terminal what begins its commands.
"""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.status import Status
from rich.text import Text

from gatewright.untrusted.printable import printable


class Terminal(Console):
    """A console of Rich without markup, emoji codes and highlighting, on which text cannot steer the terminal.

    Styles are given by `style=` or `rich.text.Text`.
    """

    def __init__(self, *, stderr: bool = False, quiet: bool = False, soft_wrap: bool = False, **options: Any) -> None:
        super().__init__(
            stderr=stderr, quiet=quiet, soft_wrap=soft_wrap, markup=False, emoji=False, highlight=False, **options
        )

    def render_str(self, text: str, **options: Any) -> Text:
        """Text of a string, before its width is measured."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What is written: Rich's own commands, and text that has none."""
        for segment in super().render(renderable, options):
            if segment.control or (text := printable(segment.text)) == segment.text:
                yield segment
            else:
                yield Segment(text, segment.style)

    def status(self, status: RenderableType, **options: Any) -> Status:
        """A line that says what is being done while it is; its text has no markup either."""
        return _PlainStatus(_plain(status), console=self, **options)


class _PlainStatus(Status):
    def update(self, status: RenderableType | None = None, **options: Any) -> None:
        super().update(None if status is None else _plain(status), **options)


def _plain(content: RenderableType) -> RenderableType:
    return Text(printable(content)) if isinstance(content, str) else content
