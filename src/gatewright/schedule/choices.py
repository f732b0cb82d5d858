"""Options of a schedule."""

from dataclasses import dataclass
from enum import StrEnum


class Save(StrEnum):
    """What a forward run saves."""

    VALUES = "values"  # every value that the gradient needs and is costly to compute again: the fastest gradient
    NOTHING = "nothing"  # inputs and states only; the gradient repeats the step: the least memory


class Time(StrEnum):
    """How states that are affine in themselves, element by element, get from one step to the next."""

    LOOP = "loop"  # one step after the other, as all other states: the least work, parallel over rows and units
    SCAN = "scan"  # by associative scans before the loop: more work, parallel over steps too. For GPU engines


@dataclass(frozen=True, slots=True)
class Choices:
    """What is saved for the gradient, and how states that allow it get from step to step."""

    save: Save = Save.VALUES
    time: Time = Time.LOOP
