"""The fields of a request to a live page, each checked to be what it stands for."""

import math
from collections.abc import Mapping
from typing import Any

from gatewright.errors import OptionError


def text_of(fields: Mapping[str, Any], name: str = "text") -> str:
    """A text; an empty one where the field is missing. Raises OptionError for anything else."""
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise _unreadable(name, "a text", value)
    return value


def whole_number_of(fields: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """A whole number. Raises OptionError for anything else, and where it is missing and has no default."""
    value = fields.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _unreadable(name, "a whole number", value)
    return value


def number_of(fields: Mapping[str, Any], name: str, default: float | None = None) -> float:
    """A finite number. Raises OptionError for anything else, and where it is missing and has no default."""
    value = fields.get(name, default)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise _unreadable(name, "a number", value)
    return float(value)


def _unreadable(name: str, expected: str, value: object) -> OptionError:
    return OptionError(f"{name} cannot be read", expected=expected, got=repr(value)[:80])
