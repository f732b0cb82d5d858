"""What somebody beside a run hears of it, and can ask of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


def _ignore(epoch: int, validation: Mapping[str, float]) -> None:
    del epoch, validation


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Watch:
    """`validated` is called after each validation, and ends the run if it raises.

    `stop` is asked after each iteration whether the run is to stop, as by Ctrl-C: with its state kept.
    """

    validated: Callable[[int, Mapping[str, float]], None] = _ignore
    stop: Callable[[], bool] = _never
