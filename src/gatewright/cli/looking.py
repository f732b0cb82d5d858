"""`gatewright look`: a page that shows what the gates and states of a trained network do while it reads."""

import sys
import webbrowser
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gatewright.cli.options import ModelPath, Reading
from gatewright.cli.results import print_line
from gatewright.cli.shell import Command, given, messages
from gatewright.errors import DataError, GatewrightError, OptionError
from gatewright.untrusted.printable import print_text

if TYPE_CHECKING:
    from gatewright.inspect import Activations
    from gatewright.look import Page
    from gatewright.look.extras import Extras
    from gatewright.look.session import LiveSession
    from gatewright.tasks.run import Run

STANDARD_INPUT = "-"
PAGE_NAME = "look.html"
_STEPS, _ROWS = 2000, 16
_LEAST_STEPS = 100
_SAMPLE = 600  # symbols that a language model writes where it is given nothing to read
_GREETING = "type here"  # of a live page of a model that writes no text
_CHARACTERS_A_STEP = 12  # of a text that are read for each step asked for: a word with the space after it


def look(
    model: ModelPath,
    *,
    text: Annotated[
        str | None, typer.Option(help="A file with a text to read; - is standard input.", metavar="FILE")
    ] = None,
    data: Annotated[str | None, typer.Option(help="A file or folder, as `predict` takes it.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--out", help="The HTML file.", show_default=f"{PAGE_NAME} in the run's folder"),
    ] = None,
    title: Annotated[str | None, typer.Option(help="The title of the page.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of each row that are shown.", show_default=str(_STEPS))
    ] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Rows of the data that are shown.", show_default=str(_ROWS))
    ] = None,
    gradients: Annotated[
        bool,
        typer.Option(
            "--gradients/--no-gradients",
            help="Measure what each output looked at, over the last 32 steps, and the effective memory; "
            "on the first rows, for some seconds.",
        ),
    ] = True,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Serve a page on this machine that reads while you type, or forecasts.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="With --live: the port.", show_default="a free one")
    ] = None,
    reading: Reading = None,
) -> None:
    """Write a page that shows the gates and states of a trained network while it reads a text, series or table.

    The page is one HTML file that needs no server. Without --text and --data a forecaster reads the end of its series,
    and other models the data that they were measured on. Where that is no longer there, a language model reads a sample
    that it writes itself.
    """
    if live:
        others = given(data=data, out=output, steps=steps, rows=rows, **{"no-gradients": None if gradients else True})
        _live(model, text, title, port, others, show=show)
        return
    if port is not None:
        raise OptionError("--port is the port of a live page", do="add --live, or leave out --port")
    from gatewright.look.page import observed, title_of
    from gatewright.look.payload import ROWS, STEPS

    target = output or (model / PAGE_NAME if model.is_dir() else model.parent / PAGE_NAME)
    _check_target(target, text, data)
    with messages().status("reading"):
        run, settings = _opened(model, reading)
        source = _source(run, text, data, steps or STEPS)
        if source == {"data": None} and run.predictor(**settings).needs_data:
            print_line(messages(), "shown: data that the model was measured on; name other data with --data")
        seen, extras = observed(run, rows=rows or ROWS, steps=steps or STEPS, gradients=gradients, **source, **settings)
        page, shown = _fitting(seen, extras, title or title_of(run), steps, rows)
    page.save(target)
    if shown:
        print_line(messages(), shown)
    size = target.stat().st_size
    print_text(f"{target}  {size / 1e6:.1f} MB" if size >= 1e5 else f"{target}  {size / 1e3:.0f} kB")
    if show:
        webbrowser.open(target.resolve().as_uri())


def _live(
    model: Path, text: str | None, title: str | None, port: int | None, others: dict[str, Any], *, show: bool
) -> None:
    """Serve the live page until Ctrl-C."""
    import secrets

    try:
        from gatewright.look.live import listening, serve
    except ModuleNotFoundError as error:
        raise OptionError(
            f"a live page needs the package {error.name!r}, which is not installed", do="pip install 'gatewright[look]'"
        ) from error
    from gatewright.look.page import title_of
    from gatewright.look.session import LiveSession

    if others:
        raise OptionError(f"a live page has no option --{next(iter(others))}", do="leave it out")
    with messages().status("loading"):
        run, _ = _opened(model, None)
        session = LiveSession(run)
        content = _first_text(run, session, text)
        session.warm_up(content)
    own, token = listening(port or 0), secrets.token_urlsafe(24)
    address = f"http://127.0.0.1:{own.getsockname()[1]}/?token={token}"
    print_text(address)
    sys.stdout.flush()
    print_line(messages(), "it answers to this address alone, until Ctrl-C")
    if show:
        webbrowser.open(address)
    serve(session, own, token=token, title=title or title_of(run), text=content)


def _first_text(run: "Run", session: "LiveSession", text: str | None) -> str:
    """What a live page reads at first: the text that was named, or what the model's own texts begin with."""
    from gatewright.look.payload import STEPS
    from gatewright.tasks.language.generator import TextGenerator

    if text is not None:
        return _text(run, text)[:STEPS]
    return TextGenerator(run.model).beginning(None) if session.writes else _GREETING


def _check_target(target: Path, text: str | None, data: str | None) -> None:
    """Refuse a file that is no page, or that is about to be read."""
    if target.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"--out {target} is no page", expected=".html", got=target.suffix or "no suffix")
    if text is not None and data is not None:
        raise OptionError("there are --text and --data", do="leave one of them out")
    for name, source in (("--text", text), ("--data", data)):
        is_file = source not in (None, STANDARD_INPUT) and target.exists() and Path(source).exists()
        if is_file and target.samefile(str(source)):
            raise OptionError(f"--out {target} is the file that {name} names", do="write the page to another file")


def _opened(model: Path, reading: list[str] | None) -> tuple["Run", dict[str, Any]]:
    from gatewright.tasks.run import open_run
    from gatewright.tasks.settings import from_texts

    run = open_run(model)
    return run, dict(from_texts(type(run.model.recipe), reading or []))


def _source(run: "Run", text: str | None, data: str | None, steps: int) -> dict[str, Any]:
    """What is read: a text, where the model reads one, or data."""
    from gatewright.tasks.data.texts.text import read_text

    if text is not None:
        return {"data": None, "text": _cut(run, _text(run, text), steps)}
    if _is_language_model(run) and data is not None:
        return {"data": None, "text": _cut(run, read_text(data), steps)}
    if _is_language_model(run) and not _has_own_text(run):
        return {"data": None, "text": _cut(run, _sample(run), steps)}
    return {"data": data}


def _text(run: "Run", source: str) -> str:
    """The text of a file, or of standard input."""
    from gatewright.tasks.data.reading import decoded
    from gatewright.tasks.data.texts.text import read_text

    recipe = run.model.recipe
    if not (_is_language_model(run) or getattr(recipe, "reads_lines", False) or recipe.name == "tagging"):
        raise OptionError(
            f"a model of the recipe {recipe.name!r} reads no text",
            expected=recipe.data_forms or None,
            do="leave out --text, and name the data with --data",
        )
    if source != STANDARD_INPUT:
        return read_text(source)
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] (closed by the shell: <&-)
        raise OptionError("standard input is closed", do="name a file with --text, or send a text: < FILE")
    content = decoded("standard input", sys.stdin.buffer.read())
    if not content:
        raise DataError("standard input is empty")
    return content


def _has_own_text(run: "Run") -> bool:
    """Whether a language model's own text is still there to be read. A message says why it is not."""
    try:
        next(run.predictor().own_inputs())
    except GatewrightError as error:
        print_line(messages(), f"the text that the model was trained on cannot be read: {error.problem}")
        return False
    return True


def _sample(run: "Run") -> str:
    """What a language model writes itself."""
    from gatewright.tasks.language.generator import TextGenerator

    writer = TextGenerator(run.model)
    prompt = writer.beginning(None)
    print_line(messages(), f"shown: a sample that the model writes itself, from {prompt!r} on; give a text with --text")
    return "".join(chain([prompt], writer.stream(prompt, length=_SAMPLE, temperature=0.8)))


def _is_language_model(run: "Run") -> bool:
    from gatewright.tasks.language.recipe import LanguageModel

    return isinstance(run.model.recipe, LanguageModel)


def _cut(run: "Run", text: str, steps: int) -> str:
    """As much of a text as can be shown, and a little more: gates of a whole book need more memory than there is."""
    return text[: steps + 1 if run.model.recipe.name == "text" else _CHARACTERS_A_STEP * steps]


def _fitting(
    seen: "Activations", extras: "Extras", title: str, steps: int | None, rows: int | None
) -> tuple["Page", str]:
    """A page with fewer steps, then with fewer rows, where it would be too large and nobody asked for so many."""
    from gatewright.look import page
    from gatewright.look.joined import cut
    from gatewright.look.payload import PageSizeError

    shown, count, whole = steps or _STEPS, seen.batch, seen.batch
    while True:
        try:
            made = page(cut(seen, count), title=title, steps=shown, extras=extras)
        except PageSizeError:
            if steps is None and min(shown, seen.steps * seen.patch) > _LEAST_STEPS:
                shown = min(shown, seen.steps * seen.patch) // 2
            elif rows is None and count > 1:
                count //= 2
            else:
                raise
            continue
        parts = [f"the first {count} of {whole} rows"] if count < whole else []
        if seen.steps * seen.patch > shown:
            parts.append(f"the first {shown:,} steps")
        return made, f"shown: {', '.join(parts)}" if parts else ""


COMMANDS = (
    Command(
        look,
        (
            "gatewright look runs/text --text letter.txt --open",
            "echo 'To be, or not to be' | gatewright look runs/text --text - --out page.html",
            "gatewright look runs/texts --data mails.csv --rows 8",
            "gatewright look runs/series",
            "gatewright look runs/text --live --open",
        ),
    ),
)
