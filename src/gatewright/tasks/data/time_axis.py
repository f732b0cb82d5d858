"""When the steps of a series were: dates with their frequency, numbers of steps, or labels."""

import re
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Dates = NDArray[np.datetime64]

_WORDS = {
    "D": "daily", "B": "on business days", "h": "hourly", "min": "every minute", "s": "every second", "W": "weekly",
    "MS": "monthly", "ME": "monthly", "BMS": "monthly", "BME": "monthly", "QS": "quarterly", "QE": "quarterly",
    "BQS": "quarterly", "BQE": "quarterly", "YS": "yearly", "YE": "yearly", "BYS": "yearly", "BYE": "yearly",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class TimeAxis:
    """The times of a series' steps, in their order.

    `values` (steps,) are datetime64[us], or float64 where steps have numbers, or texts that are labels. `frequency` is
    a pandas offset alias such as "D", "MS" or "15min", and None where steps are irregular or are not dates. `form` is
    how the file writes its dates, as strftime does; `holidays` counts business days that are no steps.
    """

    values: NDArray[Any]
    frequency: str | None = None
    column: str = ""
    form: str = "%Y-%m-%d"
    zone: str | None = None
    holidays: int = 0

    def __len__(self) -> int:
        return len(self.values)

    @property
    def is_dated(self) -> bool:
        """Whether the steps have dates."""
        return self.values.dtype.kind == "M"

    @property
    def described(self) -> str:
        """As in "Date (daily)": for a person."""
        if not self.is_dated:
            kind = "numbers of steps" if self.values.dtype.kind == "f" else "labels, in the order of the file"
            return f"{self.column} ({kind})"
        zone = f", {self.zone}" if self.zone else ""
        holidays = f"; {self.holidays} without a row are taken as holidays" if self.holidays else ""
        return f"{self.column} ({frequency_in_words(self.frequency)}{zone}{holidays})"

    def continued(self, steps: int) -> NDArray[Any]:
        """The times of the next steps (steps,): dates at the frequency, or numbers at the same distance.

        Where there is neither, the texts "+1", "+2" ... say how many steps after the last they are.
        """
        if self.is_dated and self.frequency and len(self):
            import pandas as pd

            after = pd.date_range(pd.Timestamp(self.values[-1]), periods=steps + 1, freq=self.frequency)
            return after.to_numpy()[1:].astype(self.values.dtype)
        if self.values.dtype.kind == "f" and len(self) > 1:
            distances = np.diff(self.values)
            if np.allclose(distances, distances[0]):
                return self.values[-1] + distances[0] * np.arange(1, steps + 1)
        return np.array([f"+{step}" for step in range(1, steps + 1)])

    def spelled(self, values: NDArray[Any] | None = None) -> list[str]:
        """Times as the file writes them: its own, or others such as those of continued()."""
        values = self.values if values is None else values
        if values.dtype.kind == "M":
            import pandas as pd

            return list(pd.DatetimeIndex(values).strftime(self.form))
        return [f"{value:g}" if values.dtype.kind == "f" else str(value) for value in values]

    def take(self, places: Any) -> Self:
        """Those steps."""
        return replace(self, values=self.values[places])

    def to_json(self) -> dict[str, Any]:
        """What a model file keeps of it: column, frequency and form, not the times."""
        return {"column": self.column, "frequency": self.frequency, "form": self.form, "zone": self.zone}


def frequency_in_words(alias: str | None) -> str:
    """`15min` as "every 15 min", `MS` as "monthly"; "at irregular times" for None."""
    if alias is None:
        return "at irregular times"
    matched = re.fullmatch(r"(\d*)([A-Za-z]+)(-[A-Z]+)?", alias)
    if matched is None:
        return alias
    count, unit, _ = matched.groups()
    if not count:
        return _WORDS.get(unit, alias)
    units = {
        "ms": "ms",
        "h": "hours",
        "min": "minutes",
        "s": "seconds",
        "D": "days",
        "W": "weeks",
        "MS": "months",
        "ME": "months",
    }
    return f"every {count} {units[unit]}" if unit in units else alias
