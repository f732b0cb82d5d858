"""Checks of the names that a user gives to steps and outputs: those that do not fit would stand by other numbers."""

from collections.abc import Sequence
from typing import Any

from gatewright.errors import OptionError


def check_names(
    lengths: Any, symbols: Sequence[Sequence[str]] | None, labels: Sequence[str] | None, outputs: int | None
) -> None:
    """Raises OptionError where a row or a step has no symbol, or where labels are not one name an output.

    There may be symbols of more rows and steps, as where the first rows of a batch are looked at.

    - `lengths` (batch,): the steps of each row.
    - `outputs`: how many outputs the model gives at a step or for a row; None where that is not known.
    """
    if symbols is not None:
        counts = [len(row) for row in symbols]
        if len(counts) < len(lengths):
            raise OptionError(
                "there is not a sequence of symbols for each row",
                expected=f"{len(lengths)} sequences, such as [list(text)] for one row",
                got=str(len(counts)),
            )
        short = next((row for row, length in enumerate(lengths) if counts[row] < int(length)), None)
        if short is not None:
            raise OptionError(
                f"row {short} has fewer symbols than steps", expected=f"{int(lengths[short])}", got=str(counts[short])
            )
    if labels is not None and outputs is not None and len(labels) != outputs:
        raise OptionError("the labels do not fit the outputs", expected=f"{outputs} names", got=str(len(labels)))
