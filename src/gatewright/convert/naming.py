"""Names of arrays in files of arrays by name: how they tell the layer and the direction."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

FORWARDS, BACKWARDS = False, True


@dataclass(frozen=True, slots=True)
class Naming:
    """Names made of a prefix, a layer, a direction and the array's own name in the table of layouts."""

    template: str
    directions: tuple[str, str] | None = None  # the words for forwards and backwards
    prefix: str = ""  # of written names
    reads_only: bool = False  # names that are understood, and that nothing is written by
    modules: bool = False  # whether layers that are not of one shape are modules of their own: 0.name, 1.name

    @property
    def tells_direction(self) -> bool:
        """Whether also a layer that reads forwards says so: then it has another that reads backwards."""
        return self.directions is not None and self.directions[FORWARDS] not in ("", "l")


@dataclass(frozen=True, slots=True)
class LayerPlace:
    """The layer and direction that an array belongs to, by its name."""

    prefix: str
    layer: int
    backwards: bool
    scope: str = ""  # the name of its cell
    paired: bool = False  # whether its name says that there is a layer of the other direction too


_FORWARD = ("forward", "backward")
NAMINGS: Mapping[str, tuple[Naming, ...]] = {
    "torch": (Naming("{prefix}{array}_l{layer}{direction}", ("", "_reverse"), modules=True), Naming("{prefix}{array}")),
    "gluon": (
        Naming("{prefix}_unfused.{layer}.{direction}.{array}", ("l_cell", "r_cell"), reads_only=True),
        Naming("{prefix}_unfused.{layer}.{array}", reads_only=True),  # as MXNet 1's save_parameters has them
        Naming("{prefix}{direction}{layer}_{array}", ("l", "r"), modules=True),
        Naming("{prefix}{array}"),
    ),
    "tf1": (
        Naming("{prefix}cell_{layer}/bidirectional_rnn/{direction}/{scope}/{array}", ("fw", "bw"),
               "stack_bidirectional_rnn/"),
        Naming("{prefix}{direction}/multi_rnn_cell/cell_{layer}/{scope}/{array}", ("fw", "bw"), reads_only=True),
        Naming("{prefix}/multi_rnn_cell/cell_{layer}/{scope}/{array}", prefix="rnn"),
        Naming("{prefix}{direction}/{scope}/{array}", ("fw", "bw"), "bidirectional_rnn/"),
        Naming("{prefix}{scope}/{array}", prefix="rnn/"),
    ),
    "tf1-block": (Naming("{prefix}{scope}/{array}", prefix="rnn/"),),
    "theano": (Naming("{prefix}{array}", prefix="lstm_"),),
    "dl4mt": (Naming("{prefix}{direction}_{array}", ("", "_r"), "encoder"), Naming("{prefix}{array}")),
    "wildml": (Naming("{prefix}{array}"),),
    "d2l": (Naming("{prefix}{array}"),),
    "flax": (
        Naming("{prefix}layers_{layer}/{direction}_rnn/cell/{array}", _FORWARD, "params/"),
        Naming("{prefix}layers_{layer}/cell/{array}", prefix="params/"),
        Naming("{prefix}{direction}_rnn/cell/{array}", _FORWARD, "params/"),
        Naming("{prefix}cell/{array}", prefix="params/"),
        Naming("{prefix}{array}", reads_only=True),
    ),
    "nnx": (
        Naming("{prefix}layers/{layer}/{direction}_rnn/cell/{array}", _FORWARD),
        Naming("{prefix}layers/{layer}/cell/{array}"),
        Naming("{prefix}{direction}_rnn/cell/{array}", _FORWARD),
        Naming("{prefix}cell/{array}"),
        Naming("{prefix}{array}", reads_only=True),
    ),
    "equinox": (Naming("{prefix}{layer}.{array}", prefix="cells."), Naming("{prefix}{array}", prefix="cell.")),
}  # fmt: skip
"""By framework, the more telling first."""

SEPARATORS: Mapping[str, str] = {"tf1": "/", "tf1-block": "/", "flax": "/", "nnx": "/", "equinox": "."}
"""Where the names of arrays are paths."""


LONGEST = 400
"""No framework has longer names; a hostile file may, and to take them apart would last."""


def path_of(name: str, framework: str) -> str:
    """The name as the framework's own paths are written.

    `['params']['cell']['hn']['kernel']`, `.cell.weight_ih`, `rnn/gru_cell/kernel:0` and `cell/dense_i/kernel/value`
    are other ways to write a path.
    """
    separator = SEPARATORS.get(framework)
    if separator is None:
        return name
    opened = re.sub(r"\[['\"]?([^\[\]'\"]*)['\"]?\]", r".\1", re.sub(r":\d+$", "", name))
    steps = [step for step in re.split(r"[./]", opened) if step]
    return separator.join(steps[:-1] if steps[-1:] == ["value"] else steps)


def locate(name: str, naming: Naming, arrays: Sequence[str]) -> tuple[LayerPlace, str] | None:
    """The layer that an array belongs to by its name, and the array's own name; None for names of another form."""
    match = _expression(naming, tuple(arrays)).fullmatch(name) if len(name) <= LONGEST else None
    if match is None:
        return None
    read = match.groupdict()
    scope = read.get("scope", "")
    if "scope" in read and "layer" not in read:
        read["prefix"] += f"{scope}/"
    backwards = naming.directions is not None and read["direction"] == naming.directions[BACKWARDS]
    place = LayerPlace(read["prefix"], int(read.get("layer") or 0), backwards, scope, naming.tells_direction)
    return place, read["array"]


@cache
def _expression(naming: Naming, arrays: tuple[str, ...]) -> re.Pattern[str]:
    longest = sorted(arrays, key=len, reverse=True)
    words = {
        "{prefix}": "(?P<prefix>.*?)",
        "{layer}": r"(?P<layer>\d{1,4})",
        "{direction}": f"(?P<direction>{'|'.join(map(re.escape, naming.directions or ()))})",
        "{scope}": "(?P<scope>[^/]+)",
        "{array}": f"(?P<array>{'|'.join(map(re.escape, longest))})",
    }
    parts = re.split(r"(\{\w+\})", naming.template)
    return re.compile("".join(words.get(part, re.escape(part)) for part in parts))


def name_of(array: str, place: LayerPlace, naming: Naming) -> str:
    """The full name of an array."""
    direction = naming.directions[place.backwards] if naming.directions else ""
    return naming.template.format(
        prefix=place.prefix, layer=place.layer, direction=direction, scope=place.scope, array=array
    )


def territory(place: LayerPlace, naming: Naming) -> str:
    """The beginning that all names in a layer's module share."""
    before = naming.template.partition("{array}")[0]
    return name_of("", place, replace(naming, template=before)) if before else ""


def module_of(place: LayerPlace, naming: Naming) -> str:
    """The name by which a user chooses a layer: its prefix, and its number where that follows at once."""
    before, numbered, _ = naming.template.partition("{layer}")
    if not numbered or "{array}" in before or "{direction}" in before:
        return place.prefix
    return before.format(prefix=place.prefix, scope=place.scope) + str(place.layer)


def numbers_of(prefix: str) -> tuple[int, ...]:
    """All numbers in a prefix, from the left to the right."""
    return tuple(int(digits) for digits in re.findall(r"\d{1,9}", prefix))


def in_order(prefix: str) -> tuple[tuple[bool, int, str], ...]:
    """A sort key that puts cell_2 before cell_10."""
    parts = [part for part in re.split(r"(\d+)", prefix) if part]
    return tuple((part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts)


def unnumbered(prefix: str) -> str:
    """The prefix without its numbers. Layers of one stack have the same."""
    return re.sub(r"_?\d+", "", prefix)
