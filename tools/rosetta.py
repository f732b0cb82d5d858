"""Writes the tables of docs/rosetta.md: how each framework keeps its recurrent layers, and which convert to which.

python -m tools.rosetta            write the tables
python -m tools.rosetta --check    fail if they are not up to date
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from gatewright import convert
from gatewright.cell_config.config import Family
from gatewright.convert import (
    Activation,
    AddInput,
    BatchNorm,
    CellConfig,
    Dense,
    Embedding,
    LayerNorm,
    Masking,
    Max,
    Mean,
    Network,
    OneHot,
    Recurrent,
    Reshape,
    Scale,
    Step,
)
from gatewright.convert.explain import LETTERS, mapping
from gatewright.convert.heads import AROUND
from gatewright.convert.layouts import Layout, Stored, layouts
from gatewright.convert.patterns import pattern
from gatewright.convert.proof import kind_of
from gatewright.errors import ConversionError
from tests.paths import ROOT
from tools.generated import Generated


def _layer(inputs: int = 2, directions: int = 1, **settings: Any) -> Recurrent:
    """A small LSTM, which every format has."""
    shapes = {"W": (2, inputs), "U": (2, 2), "b": (2,)}
    drawn = {f"{kind}.{gate}": np.full(shape, 0.5, np.float32) for kind, shape in shapes.items() for gate in "ifgo"}
    return Recurrent(CellConfig("lstm"), (drawn,) * directions, **settings)


ONES = np.ones(2, np.float32)
SQUARE = np.ones((2, 2), np.float32)
WHOLE = {"gatewright": ".safetensors", "keras": ".keras", "onnx": ".onnx", "rtneural": ".json", "torch": ".pt"}
NETWORKS: dict[str, Network] = {
    "symbols in an embedding": Network((Embedding(SQUARE), _layer())),
    "the same, symbol 0 is padding": Network((Embedding(SQUARE, masks_zero=True), _layer())),
    "symbols one-hot": Network((OneHot(2), _layer())),
    "features standardised": Network((Scale(ONES, ONES), _layer())),
    "steps of one value are padding": Network((Masking(0.0), _layer())),
    "a layer of both directions": Network((_layer(directions=2, padding="zeros"),)),
    "their sum, product or mean": Network((_layer(directions=2, padding="zeros", merge="sum"),)),
    "the last output alone": Network((_layer(returns="last"),)),
    "the mean of all steps": Network((_layer(), Mean())),
    "the maximum of all steps": Network((_layer(), Max())),
    "a dense layer with an activation": Network((_layer(), Dense(SQUARE, ONES, "relu"))),
    "an activation alone": Network((_layer(), Activation("relu"))),
    "layer normalisation": Network((_layer(), LayerNorm(0.1, ONES, ONES))),
    "batch normalisation, as after training": Network((_layer(), BatchNorm(ONES, ONES, 0.1, ONES, ONES))),
    "one step of the sequence": Network((_layer(), Step(-2))),
    "another shape": Network((Reshape((3, 2)), _layer())),
    "the input added to the output": Network((_layer(), AddInput(2))),
}
PARTS_TEXT = """\
Files of whole models keep what stands around the layers, or the conversion is refused. Files of arrays by name, state
dicts of PyTorch among them, are a stack of layers: what has no place there is left out, and the report says so; where
the table above names an embedding or a head, those are kept. The report also names every array of the file that was
read and is no part of the network."""
FAMILIES: dict[Family, str] = {"gru": "The GRU", "lstm": "The LSTM", "rnn": "The simple network"}
NAMES = {
    "hard_sigmoid_theano": "hard sigmoid, slope 0.2",
    "hard_sigmoid_keras3": "hard sigmoid, slope 1/6",
}


def the_tables() -> str:
    """All families, and what stands around their layers."""
    families = (_family(family, title) for family, title in FAMILIES.items())
    around = _table(("layout", "of", "before", "after"), _around())
    return "\n\n".join((*families, "## Around the layers", around, "## Parts of networks", PARTS_TEXT, _parts()))


def _parts() -> str:
    """Which format keeps which part: each is written, and read again."""
    with TemporaryDirectory() as folder:
        rows = [(what, *(_kept(network, one, Path(folder)) for one in WHOLE)) for what, network in NETWORKS.items()]
    return _table(("part", *(f"`{one}`" for one in WHOLE)), rows)


def _kept(network: Network, layout: str, folder: Path) -> str:
    """What becomes of a network in a file of that format."""
    path = folder / f"model{WHOLE[layout]}"
    try:
        convert.write(network, path, layout)
    except ConversionError:
        return "refused"
    again = convert.read(path, layout)
    wanted, got = ([(kind_of(part), getattr(part, "returns", "")) for part in one.parts] for one in (network, again))
    return "yes" if wanted == got else "left out"


def _around() -> list[tuple[str, ...]]:
    """What stands before and after the recurrent layers, where a framework has names for it."""
    rows: list[tuple[str, ...]] = []
    for row in AROUND:
        keys = ", ".join(f"`{row.framework}/{family}`" for family in row.families if layouts(row.framework, family))
        before = _laid(row.embedding, "embedding ") if row.embedding else "one-hot vectors" if row.one_hot else ""
        head = _laid(row.weight, "dense ") + (f", bias `{row.bias}`" if row.bias else "") if row.weight else ""
        ends = [f"then {row.activation}"] if head and row.activation != "identity" else []
        rows.append((keys, row.title, before, ", ".join(["mean of all steps"] * row.mean + [head] * bool(head) + ends)))
    return rows


def _laid(array: tuple[str, str], what: str) -> str:
    name, axes = array
    return f"{what}`{name}` ({axes.replace(' ', ', ')})"


def _family(family: Family, title: str) -> str:
    rows = layouts(family=family)
    return "\n\n".join(
        [
            f"## {title}",
            "### Where things lie",
            _table(("layout", "of", "gates, in order", "arrays and their shapes"), [_where(row) for row in rows]),
            "### What is computed",
            _table(_columns(family), [_what(row, family) for row in rows]),
            "### Which converts to which",
            *_matrix(rows),
        ]
    )


def _where(row: Layout) -> tuple[str, ...]:
    gates = ", ".join(row.theirs.get(gate, gate) for gate in row.gates.split())
    arrays = "; ".join(_array(row, name, one, held) for name, one, held in row.stored())
    return f"`{row.key}`", f"[{row.title}]({row.source})", gates, arrays


def _array(row: Layout, name: str, one: Stored, gates: tuple[str, ...]) -> str:
    axes, sides = pattern(one.axes), len(one.kinds.split())
    shape = ", ".join(
        _length(group, sides, len(gates), joined=index == axes.joined) for index, group in enumerate(axes.groups)
    )
    said = f"`{name}` ({shape})"
    own = one.gates.split()
    if own and "{gate}" not in one.name and len(own) > 1:
        said += " of " + ", ".join(row.theirs.get(gate, gate) for gate in own)
    if one.buffer:
        said += f", each gate's numbers in the order of ({', '.join(LETTERS[axis] for axis in one.buffer.split())})"
    if one.layers:
        said += " for each layer, one below the other"
    return said + (", if it has biases" if one.optional and one.kinds != "p" else "")


def _length(group: tuple[str, ...], sides: int, gates: int, *, joined: bool) -> str:
    if joined:
        return "I + H"
    count = 1
    letters = ""
    for axis in group:
        count *= {"side": sides, "gate": gates}.get(axis, 1)
        letters += LETTERS.get(axis, "")
    if group == ("state",):
        return "H"
    return f"{count if count > 1 or not letters else ''}{letters}"


def _columns(family: Family) -> tuple[str, ...]:
    of_family = {"gru": ("reset", "gate of 1"), "lstm": ("added to f", "peepholes"), "rnn": ()}[family]
    return ("layout", *of_family, "biases a gate", "activations")


def _what(row: Layout, family: Family) -> tuple[str, ...]:
    kinds = {kind for one in row.arrays for kind in one.kinds.split()}
    of_family = {
        "gru": (f"{row.reset} the product", f"{row.update} the old state" if row.update == "keeps" else row.update),
        "lstm": (f"{row.forget_bias:g}", "yes" if row.peepholes else "if there are" if "p" in kinds else "no"),
        "rnn": (),
    }[family]
    biases = {"b", "bh"} & kinds
    inside = [one for one in row.arrays if one.kinds == "bh" and one.gates == "n"]
    count = "1, and 2 for the candidate" if inside else str(len(biases))
    return f"`{row.key}`", *of_family, count, _activations(row, family)


def _activations(row: Layout, family: Family) -> str:
    said: list[str] = []
    if family != "rnn":
        said.append("gates: " + " or ".join(NAMES.get(one, one) for one in row.gate))
    said.append(("candidate: " if family != "rnn" else "") + " or ".join(NAMES.get(one, one) for one in row.activation))
    if family == "lstm":
        said.append("memory: " + (" or ".join(NAMES.get(one, one) for one in row.output) or "as the candidate's"))
    if row.clips:
        said.append("clipped on request: memory" + (", projection" if row.projection else ""))
    return "; ".join(said)


def _matrix(rows: tuple[Layout, ...]) -> list[str]:
    """A table of all pairs; conditions and refusals are letters, which are explained below it."""
    letters: dict[str, str] = {}
    lines = [(f"`{one.key}`", *(_cell(one, other, letters) for other in rows)) for one in rows]
    titles = ("from, to", *(f"`{row.key}`" for row in rows))
    return [_table(titles, lines), "\n".join(f"- {letter}: {reason}" for reason, letter in letters.items())]


def _cell(one: Layout, other: Layout, letters: dict[str, str]) -> str:
    found = mapping(one, other)
    reasons = [f"refused: {found.refused}"] if found.refused else list(found.conditions)
    zero = [moved.parameter for moved in found.moved if moved.target == "must be zero" and moved.source != "zero"]
    if zero:
        reasons.append(f"where {', '.join(zero)} {'is' if len(zero) == 1 else 'are'} zero")
    if not reasons:
        return "exact"
    marks = [letters.setdefault(reason, _letter(len(letters))) for reason in reasons]
    return ("**no** " if found.refused else "exact ") + ", ".join(marks)


def _letter(index: int) -> str:
    return chr(ord("a") + index) if index < 26 else f"a{chr(ord('a') + index - 26)}"


def _table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [titles, ("---",) * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


TABLES = Generated(ROOT / "docs" / "rosetta.md", the_tables, "src/gatewright/convert/layouts.py")

if __name__ == "__main__":
    TABLES.main(__doc__)
