"""The name of a parameter: `W.r` belongs to the space `W` and serves the gate `r`."""

from typing import NamedTuple


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
