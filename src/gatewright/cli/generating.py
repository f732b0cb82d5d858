"""`gatewright generate`: what a model of a text or of music makes up."""

from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gatewright.cli.options import AsJson, ModelPath
from gatewright.cli.results import argument, print_line
from gatewright.cli.shell import Command, given, messages, print_json
from gatewright.errors import OptionError
from gatewright.files import write_atomically
from gatewright.untrusted.printable import print_text

if TYPE_CHECKING:
    from gatewright.tasks.model import Model

_OF_DRAWING = ("finish", "temperature", "top_k", "top_p", "seed")
_OF_TEXT = ("finish", "top_k", "top_p", "beam")
_OF_MUSIC = ("tempo",)
_LENGTH = 200


def generate(
    model: ModelPath,
    *,
    prompt: Annotated[
        str | None,
        typer.Option(
            help="What to continue: a text; for music a MIDI file, or notes such as 'C4 E4 G4|C4 F4 A4'. "
            "Default: a beginning from the training data."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File for the result: a MIDI file for music, otherwise a text file.")
    ] = None,
    length: Annotated[int, typer.Option(min=0, help="Characters, words, or frames of music to generate.")] = _LENGTH,
    finish: Annotated[bool, typer.Option("--finish", help="Continue to the end of the sentence.")] = False,
    temperature: Annotated[
        float | None,
        typer.Option(min=0, help="Sampling temperature; 0 takes the most probable symbol.", show_default="1.0"),
    ] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Sample among the k most probable symbols.")] = None,
    top_p: Annotated[
        float | None, typer.Option(min=0, max=1, help="Sample among the fewest symbols with this total probability.")
    ] = None,
    beam: Annotated[
        int | None, typer.Option(min=1, help="Beam search with this many beams, instead of sampling.")
    ] = None,
    tempo: Annotated[float | None, typer.Option(help="Music: quarter notes a minute.", show_default="120")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the sampling.", show_default="0")] = None,
    as_json: AsJson = False,
) -> None:
    """Continue a prompt with a model of text or of music; text is printed while it is generated."""
    from gatewright.tasks.model import load_model
    from gatewright.tasks.recipes.music import Music

    chosen = given(finish=finish or None, temperature=temperature, top_k=top_k, top_p=top_p)
    chosen |= given(beam=beam, tempo=tempo, seed=seed)
    drawing = [name for name in chosen if name in _OF_DRAWING]
    if beam is not None and drawing:
        raise OptionError(
            "a search with beams draws nothing",
            expected="--beam, or the options of drawing",
            got=", ".join(f"--{name.replace('_', '-')}" for name in drawing),
            do="leave one of the two out",
        )
    loaded = load_model(model)
    music = isinstance(loaded.recipe, Music)
    wrong = next((name for name in (_OF_TEXT if music else _OF_MUSIC) if name in chosen), None)
    if wrong is not None:
        kind = "music" if music else "a text"
        raise OptionError(f"a model of {kind} has no option --{wrong.replace('_', '-')}", do="leave it out")
    if music:
        _music(loaded, model, prompt, out, length=length, as_json=as_json, **chosen)
    else:
        _text(loaded, prompt, out, length=length, as_json=as_json, **chosen)


def _text(
    model: "Model",
    prompt: str | None,
    out: Path | None,
    *,
    length: int,
    as_json: bool,
    beam: int | None = None,
    **options: Any,
) -> None:
    from gatewright.tasks.language.generator import TextGenerator

    writer = TextGenerator(model)
    prompt = writer.beginning(prompt)
    unknown = writer.unknown(prompt)
    if beam is not None:
        pieces = iter([writer.search(prompt, length=length, beams=beam)])
    else:
        pieces = writer.stream(prompt, length=length, **options)
    if unknown and not as_json:
        print_line(messages(), f"the model does not know {', '.join(map(repr, unknown))}, and reads it as unknown")
    if as_json or out is not None:
        text = "".join(pieces)
        if out is not None:
            write_atomically(out, f"{prompt}{text}\n".encode())
            print_line(messages(quiet=as_json), f"{out}: {len(prompt) + len(text):,} characters")
        if as_json:
            print_json({"prompt": prompt, "text": text, "unknown": unknown})
        return
    waiting = ""  # a line may end with two characters, which come one by one
    for piece in chain([prompt], pieces):
        text = waiting + piece
        waiting = "\r" if text.endswith("\r") else ""
        print_text(text.removesuffix("\r"), end="")
    print_text(waiting)


def _music(
    model: "Model",
    folder: Path,
    notes: str | None,
    out: Path | None,
    *,
    length: int,
    as_json: bool,
    tempo: float = 120.0,
    **options: Any,
) -> None:
    """The prompt and what follows it: as a MIDI file, as JSON, or a line for each chord."""
    import numpy as np

    from gatewright.tasks.data.music.midi import notes_of_frames
    from gatewright.tasks.music.generator import MusicGenerator

    composer = MusicGenerator(model)
    prompt = composer.prompt(notes)
    written = composer.compose(prompt, length=length, **options)
    roll, frames = np.concatenate([prompt, written]), composer.frames_per_beat
    if out is not None:
        composer.save(out, roll, tempo=tempo)
    if as_json:
        names = {"prompt": notes_of_frames(prompt), "notes": notes_of_frames(written), "file": out and str(out)}
        print_json({**names, "frames_per_beat": frames, "tempo": tempo})
    elif out is not None:
        beats = len(roll) / frames
        of_prompt = f"{len(prompt)} of the prompt and {len(written)} more frames"
        print_text(f"{out}  {of_prompt}, {beats:g} quarter notes, {60 * beats / tempo:.1f} s at {tempo:g} a minute")
    else:
        print_text("  beat  beats  keys")
        beat = 0.0
        for keys, same in groupby(notes_of_frames(roll).split("|") if len(roll) else []):
            beats = len(list(same)) / frames
            print_text(f"{beat:6.2f} {beats:6.2f}  {keys}")
            beat += beats
        print_line(messages(), f"hear it: gatewright generate {argument(folder)} --out tune.mid")


COMMANDS = (
    Command(
        generate,
        (
            'gatewright generate runs/text --prompt "The " --length 500 --temperature 0.7',
            "gatewright generate runs/text --finish",
            'gatewright generate runs/text --prompt "If " --beam 4',
            "gatewright generate runs/music --out tune.mid",
            "gatewright generate runs/music --prompt start.mid --length 128 --seed 7 --out tune.mid",
        ),
    ),
)
