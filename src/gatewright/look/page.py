"""`page`: activations as one self-contained HTML file."""

import html
import os
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path

from gatewright.files import write_atomically
from gatewright.inspect.activity.activations import Activations
from gatewright.look.payload import LARGEST, STEPS, payload
from gatewright.look.quantised import in_script

_ASSETS = "assets"


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
    activations: Activations, *, title: str = "A recurrent network", steps: int = STEPS, largest: int = LARGEST
) -> Page:
    """A page with the gates and states of every layer, step by step.

        gw.look.page(gw.inspect.observe("runs/text", text="To be, or not to be")).save("page.html")

    It needs no server and no network. Numbers are kept in 256 levels, or in fewer (down to 16) where the page would be
    larger than `largest` bytes. The first `steps` steps of each row are shown.

    Raises OptionError where even the coarsest page is too large.
    """
    parts = payload(activations, title=title, steps=steps, largest=largest - 60_000)
    return Page(assembled(title, parts.header, parts.blob))


def assembled(title: str, header: object, blob: str, *, live: bool = False) -> str:
    """The page around a header and packed numbers."""
    folder = resources("gatewright.look") / _ASSETS
    texts = {name: (folder / f"page.{name}").read_text(encoding="utf-8") for name in ("html", "css", "js")}
    filled = {
        "TITLE": html.escape(title),
        "STYLE": texts["css"],
        "SCRIPT": texts["js"],
        "HEADER": in_script(header),
        "BLOB": blob,
        "LIVE": "true" if live else "false",
    }
    text = texts["html"]
    parts = text.split("@@")  # the template between the marks: nothing that was filled in is read as a mark
    return "".join(part if place % 2 == 0 else filled[part] for place, part in enumerate(parts))
