"""What the arrays of each layer and direction are called in files that hold arrays by name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Naming:
    """Names made of a prefix, a layer, a direction and the array's own name in the table of layouts."""

    template: str
    directions: tuple[str, str] | None = None  # the words for forwards and backwards
    prefix: str = ""  # what is written where nothing else is known


@dataclass(frozen=True, slots=True)
class Place:
    """Whose an array is."""

    prefix: str
    layer: int
    backwards: bool


NAMINGS: Mapping[str, tuple[Naming, ...]] = {
    "torch": (Naming("{prefix}{array}_l{layer}{direction}", ("", "_reverse")), Naming("{prefix}{array}")),
    "gluon": (Naming("{prefix}{direction}{layer}_{array}", ("l", "r")), Naming("{prefix}{array}")),
    "tf1": (
        Naming("{prefix}{direction}/multi_rnn_cell/cell_{layer}/{scope}/{array}", ("fw", "bw"), "bidirectional_rnn/"),
        Naming("{prefix}/multi_rnn_cell/cell_{layer}/{scope}/{array}", prefix="rnn"),
        Naming("{prefix}{direction}/{scope}/{array}", ("fw", "bw"), "bidirectional_rnn/"),
        Naming("{prefix}{scope}/{array}", prefix="rnn/"),
    ),
    "tf1-block": (Naming("{prefix}{scope}/{array}", prefix="rnn/"),),
    "theano": (Naming("{prefix}{array}", prefix="lstm_"),),
    "dl4mt": (Naming("{prefix}{direction}_{array}", ("", "_r"), "encoder"), Naming("{prefix}{array}")),
    "wildml": (Naming("{prefix}{array}"),),
    "d2l": (Naming("{prefix}{array}"),),
    "flax": (Naming("{prefix}{array}", prefix="cell/"),),
    "nnx": (Naming("{prefix}{array}", prefix="cell/"),),
    "equinox": (Naming("{prefix}{array}", prefix="cell."),),
}
"""By framework, the more telling first."""


def locate(name: str, naming: Naming, arrays: Sequence[str]) -> tuple[Place, str] | None:
    """Whose the array of that name is, and which; None where the name is not made so."""
    longest = sorted(arrays, key=len, reverse=True)
    words = {
        "{prefix}": "(?P<prefix>.*?)",
        "{layer}": r"(?P<layer>\d{1,4})",
        "{direction}": f"(?P<direction>{'|'.join(map(re.escape, naming.directions or ()))})",
        "{scope}": "(?P<scope>[^/]+)",
        "{array}": f"(?P<array>{'|'.join(map(re.escape, longest))})",
    }
    parts = re.split(r"(\{\w+\})", naming.template)
    found = re.fullmatch("".join(words.get(part, re.escape(part)) for part in parts), name)
    if found is None:
        return None
    read = found.groupdict()
    if "scope" in read and "layer" not in read:
        read["prefix"] += f"{read['scope']}/"
    backwards = naming.directions is not None and read["direction"] == naming.directions[1]
    return Place(read["prefix"], int(read.get("layer") or 0), backwards), read["array"]


def name_of(array: str, place: Place, naming: Naming, scope: str = "cell") -> str:
    """What an array is called there."""
    direction = naming.directions[place.backwards] if naming.directions else ""
    return naming.template.format(prefix=place.prefix, layer=place.layer, direction=direction, scope=scope, array=array)


def in_order(prefix: str) -> tuple[object, ...]:
    """A key by which cell_2 comes before cell_10."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", prefix))
