"""The data sets that Gatewright knows by name."""

from difflib import get_close_matches

from gatewright.errors import DataError
from gatewright.tasks.data.published.data_set import DataSet, Kind
from gatewright.tasks.data.published.numbers import NUMBERS
from gatewright.tasks.data.published.texts import TEXTS

_ROWS = TEXTS + NUMBERS
DATA_SETS: dict[str, DataSet] = {row.name: row for row in _ROWS}
BY_ANY_NAME: dict[str, DataSet] = {name: row for row in _ROWS for name in row.names}


def find_data_set(name: str) -> DataSet | None:
    """The data set of that name or alias; None where there is none."""
    return BY_ANY_NAME.get(name)


def data_set(name: str) -> DataSet:
    """The data set of that name or alias; a DataError with the nearest names where there is none."""
    row = find_data_set(name)
    if row is None:
        raise DataError(f"there is no data set named {name!r}", expected=known_names(), do=suggestion(name))
    return row


def known_names(*kinds: Kind) -> str:
    """The names of all data sets, or of those of some kinds, for a message."""
    return "one of " + ", ".join(sorted(name for name, row in DATA_SETS.items() if row.kind in kinds or not kinds))


def suggestion(name: str, *kinds: Kind) -> str | None:
    """A hint with the known names that are most like an unknown one; None where none is like it."""
    names = [known for known, row in BY_ANY_NAME.items() if row.kind in kinds or not kinds]
    near = get_close_matches(name.lower(), names, n=2)
    return "did you mean " + " or ".join(repr(known) for known in near) + "?" if near else None
