"""The name of a parameter: `W.r` belongs to the space `W` and serves the gate `r`."""

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

Value = TypeVar("Value")


class Param(NamedTuple):
    """A parameter of a cell, by its space and its gate.

    `str` gives `W.r`, as traces, files and dicts of arrays spell it, and `Param.parse` reads that. A name without a dot
    is a space with an empty gate: it is no parameter of a cell, but a trace from a file may have one.
    """

    space: str
    gate: str

    @classmethod
    def parse(cls, name: str) -> "Param":
        """Split a name at its first dot."""
        space, _, gate = name.partition(".")
        return cls(space, gate)

    def __str__(self) -> str:
        return f"{self.space}.{self.gate}" if self.gate else self.space


def in_space(parameters: Mapping[str, Value], *spaces: str) -> dict[str, Value]:
    """Those of some parameters, by name, that belong to the given spaces."""
    return {name: value for name, value in parameters.items() if Param.parse(name).space in spaces}
