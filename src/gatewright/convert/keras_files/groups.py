"""Names of the groups of layers in a file of Keras 3: `lstm`, `dense`, `lstm_1`, by class and number."""

import re
from collections.abc import Sequence


def group_names(kinds: Sequence[str]) -> list[str]:
    """The groups of layers of these classes, in order."""
    counts: dict[str, int] = {}
    names: list[str] = []
    for kind in kinds:
        name = snake_case(kind)
        count = counts[name] = counts.get(name, -1) + 1
        names.append(f"{name}_{count}" if count else name)
    return names


def kind_of(group: str) -> str:
    """The class in a name such as lstm_1."""
    return re.sub(r"_\d+$", "", group)


def snake_case(kind: str) -> str:
    """SimpleRNN as simple_rnn."""
    once = re.sub(r"\W+", "", kind)
    once = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", once)
    return re.sub("([a-z])([A-Z])", r"\1_\2", once).lower()
