"""`page`: activations as one self-contained HTML file."""

import html
import os
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path

from gatewright.files import write_atomically
from gatewright.inspect.activity.activations import Activations
from gatewright.look.payload import LARGEST, NO_EXTRAS, STEPS, Extras, payload
from gatewright.look.quantised import in_script

_ASSETS = "assets"
_AROUND = 70_000  # bytes of the page around its data: text, style and script
_SCRIPTS = (
    "data",
    "measures",
    "colours",
    "text",
    "surface",
    "charts",
    "series",
    "roll",
    "summaries",
    "lists",
    "answers",
    "matches",
    "control",
    "events",
    "live",
    "start",
)
"""The files of the page's script, in the order in which they are joined."""


@dataclass(frozen=True)
class Page:
    """An HTML page. A notebook shows it in a frame."""

    html: str

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page, whole or not at all."""
        target = Path(path)
        write_atomically(target, self.html.encode("utf-8", "replace"))
        return target

    def _repr_html_(self) -> str:
        frame = html.escape(self.html, quote=True)
        return f'<iframe srcdoc="{frame}" width="100%" height="900" style="border: 0" sandbox="allow-scripts"></iframe>'


def page(
    activations: Activations,
    *,
    title: str = "A recurrent network",
    steps: int = STEPS,
    largest: int = LARGEST,
    extras: Extras = NO_EXTRAS,
) -> Page:
    """A page with the gates and states of every layer, step by step.

        gw.look.page(gw.inspect.observe("runs/text", text="To be, or not to be")).save("page.html")

    It needs no server and no network. Numbers are kept in 256 levels, or in fewer (down to 16) where the page would be
    larger than `largest` bytes. The first `steps` steps of each row are shown.

    Raises OptionError where even the coarsest page is too large.
    """
    parts = payload(activations, title=title, steps=steps, largest=largest - _AROUND, extras=extras)
    return Page(assembled(title, parts.header, parts.blob))


def assembled(title: str, header: object, blob: str, *, live: bool = False) -> str:
    """The page around a header and packed numbers."""
    folder = resources("gatewright.look") / _ASSETS
    texts = {name: (folder / f"page.{name}").read_text(encoding="utf-8") for name in ("html", "css")}
    filled = {
        "TITLE": html.escape(title),
        "STYLE": texts["css"],
        "SCRIPT": _script(),
        "HEADER": in_script(header),
        "BLOB": blob,
        "LIVE": "true" if live else "false",
    }
    text = texts["html"]
    parts = text.split("@@")  # the template between the marks: nothing that was filled in is read as a mark
    return "".join(part if place % 2 == 0 else filled[part] for place, part in enumerate(parts))


def _script() -> str:
    """All files of the script in one function, so that no name of theirs is one of the window's."""
    folder = resources("gatewright.look") / _ASSETS / "script"
    parts = [(folder / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS]
    return "\n".join(['(() => {\n"use strict";\n', *parts, "})();"])
