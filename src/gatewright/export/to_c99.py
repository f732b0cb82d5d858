"""`gw.export.c99`: a model as C code that runs step by step."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gatewright.backends.c99.names import KEYWORDS, identifier
from gatewright.backends.c99.own_math import LARGEST_ERRORS
from gatewright.backends.c99.pair import Remarks, pair
from gatewright.backends.c99.parts import CellStack, Math
from gatewright.errors import OptionError
from gatewright.export.c_parts import parts_of, symbols_of, with_whole_numbers
from gatewright.export.c_reading import loss
from gatewright.export.network import read_network
from gatewright.export.plain_text import equations
from gatewright.export.sources import as_model_file
from gatewright.files import write_together, writing
from gatewright.int8 import Loss, quantised
from gatewright.network import Dense, Max, Mean, Network, Scale
from gatewright.network.steps import Last, PatchPart

SUFFIXES = (".c", ".h", "")
CHOICES: Mapping[str, tuple[str, ...]] = {
    "dtype": ("float32", "float64"),
    "weights": ("float32", "int8"),
    "math": ("own", "libm"),
}
MOST_LISTED = 300
"""Symbols of a vocabulary that the header names."""


@dataclass(frozen=True, slots=True)
class CFiles:
    """What was written."""

    name: str
    header: Path
    source: Path
    input: str
    output: str
    state_bytes: int
    constant_bytes: int
    loss: Loss | None  # of accuracy, by weights of eight bits
    stack: CellStack = field(repr=False)  # what they compute


def c99(
    model: object,
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    layer: str | None = None,
    dtype: str = "float32",
    weights: str = "float32",
    math: Math = "own",
    sample: ArrayLike | None = None,
) -> CFiles:
    """Write a model as a pair of C files, NAME.h and NAME.c, with `NAME_reset` and `NAME_step`.

    - `model`: what `gw.export.onnx` takes. A model of a recipe is exported as a whole; `layer` exports one recurrent
      layer alone, whose output is its first state.
    - `path`: of either file, or of both without the suffix. `name` stands in front of everything that the files define;
      without it, the file's name does.
    - `dtype`: "float32", or "float64" for double.
    - `weights`: "float32", which means those of `dtype`, or "int8": matrices of whole numbers with a scale for each
      row, summed up in `dtype`. What that costs is measured on `sample`, inputs (time, batch, features) or symbols
      (time, batch), or on random ones, and told in the header.
    - `math`: "own" has exp, tanh and their like in the file, so that compilers can vectorise them and nothing is
      linked; "libm" calls those of math.h.

    The code is C99 and C++, allocates nothing, and is what the layer computes in evaluation. Where a recipe's model
    pools over time, each step gives what the model says of the sequence so far.

    Raises OptionError for what cannot be exported, ModelFileError for a file that cannot be read or written.
    """
    for option, value in {"dtype": dtype, "weights": weights, "math": math}.items():
        if value not in CHOICES[option]:
            raise OptionError(f"{option} has no such value", expected=" or ".join(CHOICES[option]), got=repr(value))
    target = Path(os.fspath(path))
    if target.suffix not in SUFFIXES:
        raise OptionError("the path is that of no C file", expected="NAME.c, NAME.h or NAME", got=str(target))
    _check_file(target.stem)
    network = read_network(as_model_file(model), layer)
    name = _name(target.stem, name)
    exact = CellStack(name, parts_of(network), symbols_of(network), dtype, math, target.stem)  # pyright: ignore[reportArgumentType]
    stack, lost = exact, None
    if weights == "int8":
        stack = _coarse(exact)
        lost = loss(exact, stack, None if sample is None else np.asarray(sample))
    remarks = _remarks(network, stack, lost)
    texts = pair(stack, remarks)
    header, source = target.with_suffix(".h"), target.with_suffix(".c")
    with writing(source):
        header.parent.mkdir(parents=True, exist_ok=True)
    write_together({header: texts.header.encode(), source: texts.source.encode()})
    sizes = (texts.state_bytes, texts.constant_bytes)
    return CFiles(stack.name, header, source, remarks.input, remarks.output, *sizes, lost, stack)


def _check_file(stem: str) -> None:
    """The source includes the header by its name."""
    if not stem.isprintable() or set(stem) & set('"\\'):
        raise OptionError(
            "the name of the file cannot stand in an #include of C",
            expected="a name without quotation marks, backslashes and control characters",
            got=repr(stem),
            do="give the file another name",
        )


def _name(stem: str, given: str | None) -> str:
    """What is in front of all names in C: a given name, or the file's name, as far as C allows."""
    if given is None:
        name = identifier(stem)
        return f"{name}_model" if name in KEYWORDS else name
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", given, flags=re.ASCII) or given in KEYWORDS:
        raise OptionError(
            "the C code cannot have this name",
            expected="letters, digits and underscores, of which a letter is the first; and no word of C or C++",
            got=repr(given),
            do="give name='...'",
            shell="give another with --name",
        )
    return given


def _coarse(exact: CellStack) -> CellStack:
    """The stack with weights of eight bits."""
    symbols = exact.symbols
    if symbols is not None and isinstance(symbols.table, np.ndarray):
        symbols = replace(symbols, table=quantised(symbols.table, exact.dtype))
    parts = tuple(with_whole_numbers(part, exact.dtype) for part in exact.parts)
    return replace(exact, parts=parts, symbols=symbols)


def _remarks(network: Network, stack: CellStack, lost: Loss | None) -> Remarks:
    about, levels = network.about, len(network.recurrent)
    task = f"the model of the recipe {about['task']}, " if about.get("task") else ""
    stacked = f", {levels} layers" if levels > 1 else ""
    return Remarks(
        title=f"{task}{network.recurrent[0].traces[0].name}{stacked}, one step at a time in {stack.real}",
        equations={
            f"{part.name or 'the layer'}: {part.trace.name}, {part.input_size} -> {part.output_size}": equations(
                part.trace
            )
            for part in stack.parts
        },
        input=_input(network, stack),
        output=_output(network, stack),
        more=[
            *_listed("symbols", about.get("vocabulary")),
            *_listed("inputs", about.get("variables")),
            *_listed("outputs", about.get("classes")),
            *_meaning(about.get("signature")),
            *_notes(stack, lost),
        ],
    )


def _input(network: Network, stack: CellStack) -> str:
    if stack.symbols:
        return f"the number of a symbol, from 0 to {stack.symbols.count - 1}; no other is allowed"
    raw = " as they were measured" if isinstance(network.parts[0], Scale) else ""
    patches = next((part for part in network.parts if isinstance(part, PatchPart)), None)
    patch = (
        f": {patches.size} steps, the {_numbers(network.width)} of the first one first; repeat the means of the "
        "standardisation where the last steps of a sequence are fewer"
        if patches
        else ""
    )
    return f"{_numbers(stack.parts[0].input_size)}{raw}{patch}"


def _numbers(count: int) -> str:
    return "1 number" if count == 1 else f"{count} numbers"


def _output(network: Network, stack: CellStack) -> str:
    numbers = _numbers(stack.parts[-1].output_size)
    if not any(isinstance(part, Dense) for part in network.parts):
        return f"{numbers}, the state {network.recurrent[0].traces[0].states[0].name} after the step"
    pool = next((part for part in network.parts if isinstance(part, Last | Mean | Max)), None)
    so_far = (
        "" if pool is None else " of the sequence until now" if isinstance(pool, Last) else " of all steps until now"
    )
    return f"{numbers}, what the dense layer says{so_far}; no softmax is taken"


def _listed(what: str, names: Any) -> list[str]:
    """The names of the numbers of symbols or outputs, as they may stand in a comment."""
    if not names:
        return []
    shown = [_quoted(str(name)) for name in names[:MOST_LISTED]]
    rest = f", ... ({len(names)} in all)" if len(names) > MOST_LISTED else ""
    return [f"The {what} by their numbers, from 0 up:\n" + ", ".join(shown) + rest]


def _meaning(signature: Mapping[str, Any] | None) -> list[str]:
    """How inputs are prepared and outputs read, as it may stand in a comment."""
    if not signature:
        return []
    lines = (f"{_quoted(key)}: {_quoted(value)}" for key, value in signature.items())
    return ["What inputs and outputs mean:\n" + "\n".join(lines)]


def _quoted(value: Any) -> str:
    """JSON that cannot end a comment."""
    return json.dumps(value).replace("/", "\\u002f")


def _notes(stack: CellStack, lost: Loss | None) -> list[str]:
    notes = ["Made by Gatewright. Change the model and export it again, not this file."]
    if stack.math == "own":
        errors = ", ".join(f"{name} {error:g}" for name, error in LARGEST_ERRORS.items())
        text = (
            f"exp, tanh and their like are in the file; in units in the last place they are off by at most: {errors}."
        )
        notes.insert(0, text)
    if lost is not None:
        notes.insert(0, f"{lost}.")
    return notes
