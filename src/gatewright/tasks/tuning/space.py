"""The search space, read from a text such as `rate=log:1e-4..1e-1 hidden=64,128,256 dropout=0..0.5`."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gatewright.errors import OptionError
from gatewright.tasks.recipe import Recipe
from gatewright.tasks.settings import from_texts

if TYPE_CHECKING:
    from optuna import Trial

_LOG = "log:"


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]

    def draw(self, trial: "Trial", name: str) -> Any:
        """The value of a trial."""
        return trial.suggest_categorical(name, self.values)


@dataclass(frozen=True)
class Range:
    """A number between two others, both included; evenly spread, or its logarithm is."""

    low: float
    high: float
    log: bool

    def draw(self, trial: "Trial", name: str) -> Any:
        """The value of a trial; a whole number where the setting is one."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)


Space = Mapping[str, Choice | Range]


def read_space(kind: type[Recipe], text: str) -> Space:
    """The space that a text describes, each value read by the type of its setting.

    Raises OptionError for a text that cannot be read, a setting that there is not, or a value that it cannot have.
    """
    space: dict[str, Choice | Range] = {}
    for part in shlex.split(text):
        name, equals, values = part.partition("=")
        if not equals or not values or name in space:
            raise _unreadable(part, "is there twice" if name in space else "gives no values")
        space[name] = _read(kind, name, values)
    if not space:
        raise _unreadable(text, "names no setting")
    return space


def _read(kind: type[Recipe], name: str, text: str) -> Choice | Range:
    log = text.startswith(_LOG)
    low, dots, high = text.removeprefix(_LOG).partition("..")
    if not dots:
        if log:
            raise _unreadable(f"{name}={text}", "log: stands before a range")
        return Choice(tuple(_value(kind, name, value) for value in text.split(",")))
    first, last = _value(kind, name, low), _value(kind, name, high)
    if not all(isinstance(bound, int | float) and not isinstance(bound, bool) for bound in (first, last)):
        raise _unreadable(f"{name}={text}", "is a range of what are no numbers")
    if first >= last or (log and first <= 0):
        raise _unreadable(f"{name}={text}", "goes from the lower number to the higher, above 0 where it is log:")
    return Range(first, last, log)


def _value(kind: type[Recipe], name: str, text: str) -> Any:
    return getattr(kind.restored(from_texts(kind, [f"{name}={text}"])), name)


def _unreadable(text: str, problem: str) -> OptionError:
    return OptionError(
        f"--search cannot be read: {problem}",
        expected="settings with values or ranges, as in 'rate=log:1e-4..1e-1 hidden=64,128 dropout=0..0.5'",
        got=repr(text),
    )
