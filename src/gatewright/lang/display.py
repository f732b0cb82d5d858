"""How cells, Traces and layers show themselves: as text by `print`, as LaTeX and HTML in a notebook.

What they show is written by `gatewright.inspect.display`, which imports most of the package. This part of the package
must not import that one: the front of the package gives a function that loads it, which runs at the first use.
"""

from collections.abc import Callable
from typing import Protocol


class Display(Protocol):
    """What writes a cell, a Trace or a layer. Each function gives None where the equations cannot be written."""

    def text(self, shown: object) -> str | None:
        """Plain text."""
        ...

    def latex(self, shown: object) -> str | None:
        """LaTeX between dollar signs."""
        ...

    def html(self, shown: object) -> str | None:
        """A part of an HTML page."""
        ...


_loaders: list[Callable[[], Display]] = []


def use(loader: Callable[[], Display]) -> None:
    """Set the function that loads the display."""
    _loaders[:] = [loader]


def current() -> Display:
    """The display, loaded when it is first needed."""
    return _loaders[0]()


class NotebookDisplay:
    """Equations where a notebook asks for them."""

    __slots__ = ()

    def _repr_latex_(self) -> str | None:
        return current().latex(self)

    def _repr_html_(self) -> str | None:
        return current().html(self)


class TextDisplay(NotebookDisplay):
    """Equations where `print` or a notebook asks for them; `repr` stays what it is."""

    __slots__ = ()

    def __str__(self) -> str:
        return current().text(self) or repr(self)
