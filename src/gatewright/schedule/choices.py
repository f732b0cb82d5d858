"""What a schedule may choose."""

from dataclasses import dataclass
from enum import StrEnum


class Save(StrEnum):
    """What a forward run saves."""

    VALUES = "values"  # every dear value that the gradient needs: the fastest gradient
    NOTHING = "nothing"  # inputs and states only; the gradient repeats the step: the least memory


class Time(StrEnum):
    """How states that are affine in themselves, element by element, get from one step to the next."""

    LOOP = "loop"  # as all others do, one step after the other: the least work, which rows and units can share
    SCAN = "scan"  # by associative scans, before the loop: more work, which steps can share as well


@dataclass(frozen=True, slots=True)
class Choices:
    """What a schedule may choose."""

    save: Save = Save.VALUES
    time: Time = Time.LOOP
