"""`page`: activations as one self-contained HTML file."""

import html
import os
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from torch import nn

from gatewright.errors import DataError
from gatewright.files import write_atomically
from gatewright.inspect.activity.activations import Activations
from gatewright.inspect.activity.observe import Source, observations
from gatewright.inspect.activity.record import record
from gatewright.inspect.dynamics.state_space import dead_units, state_rank
from gatewright.inspect.gradients.reading import readings
from gatewright.look.extras import NO_EXTRAS, Extras
from gatewright.look.joined import cut, first_rows
from gatewright.look.measured import measured
from gatewright.look.payload import LARGEST, ROWS, STEPS, payload
from gatewright.look.quantised import in_script
from gatewright.tasks.run import Run, open_run

_ASSETS = "assets"
_SCRIPTS = (
    "data",
    "measures",
    "colours",
    "text",
    "surface",
    "charts",
    "series",
    "roll",
    "heat",
    "summaries",
    "lists",
    "answers",
    "matches",
    "control",
    "events",
    "dynamics",
    "training",
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
    source: Activations | Source | nn.Module,
    data: Any = None,
    *,
    title: str | None = None,
    steps: int = STEPS,
    rows: int = ROWS,
    largest: int = LARGEST,
    gradients: bool = True,
    extras: Extras | None = None,
    **reading: Any,
) -> Page:
    """A page with the gates and states of every layer, step by step.

        gw.look.page("runs/text", text="To be, or not to be").save("page.html")
        gw.look.page(model, inputs, symbols=[list(text)]).save("page.html")

    It needs no server and no network. Numbers are kept in 256 levels, or in fewer (down to 16) where the page would be
    larger than `largest` bytes. The first `steps` steps of the first `rows` rows are shown.

    - `source`: a run (its folder, a model file, a `Run`) or a torch module, with the data that it reads; or activations
      that were recorded before, which show no gradients.
    - `gradients`: also show what each output looked at, over the last 32 steps, and the effective memory. They are
      measured on as many rows as some seconds allow.
    - `extras`: measures that were made before, in place of those.
    - `reading`: `text`, and the settings of columns and files of a run; `lengths`, `symbols` and `labels` of a module.

    Raises OptionError where even the coarsest page is too large.
    """
    if isinstance(source, Activations):
        seen, own = source, Extras(ranks=state_rank(source), dead=dead_units(source)) if source.steps else NO_EXTRAS
    else:
        opened = source if isinstance(source, nn.Module | Run) else open_run(source)
        title = title or (title_of(opened) if isinstance(opened, Run) else None)
        seen, own = observed(opened, data, rows=rows, steps=steps, gradients=gradients, **reading)
    title = title or "A recurrent network"
    around = len(assembled(title, None, "").encode("utf-8", "replace"))
    parts = payload(
        seen,
        title=title,
        steps=steps,
        largest=largest - around,
        extras=own if extras is None else extras,
    )
    return Page(assembled(parts.header["title"], parts.header, parts.blob))


def observed(
    source: Run | nn.Module, data: Any, *, rows: int, steps: int, gradients: bool, **reading: Any
) -> tuple[Activations, Extras]:
    """The activations of the first rows of data, and all measures. Raises DataError where there is no row."""
    if isinstance(source, Run):
        seen = first_rows(observations(source, data, **reading), rows)
    else:
        names = {name: reading[name] for name in ("lengths", "symbols", "labels") if name in reading}
        seen = cut(record(source, data, **names), rows)
    if seen is None or not seen.steps:
        raise DataError("there is nothing to look at: the data has no rows")
    return seen, measured(source, seen, readings(source, data, **reading), steps=steps, gradients=gradients)


def title_of(run: Run) -> str:
    """The title of a page about a run."""
    recipe = run.model.recipe
    return f"{recipe.name}: a network of {recipe.cell} cells" if hasattr(recipe, "cell") else recipe.name


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
