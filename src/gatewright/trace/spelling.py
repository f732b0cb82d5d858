"""The syntax of names and numbers in the text of a Trace."""

import math

FIRST_LINE = "gatewright-trace 1"
LONGEST_NAME = 200
INFINITIES = {math.inf: "+inf", -math.inf: "-inf"}
NUMBER_STARTS = tuple("+-.0123456789")
_RESERVED = frozenset('"=,')


def is_name(name: str) -> bool:
    """Whether a value, an output or an axis can be called so in the text of a Trace."""
    plain = 0 < len(name) <= LONGEST_NAME and name.isprintable() and " " not in name
    return plain and _RESERVED.isdisjoint(name) and not name.startswith(NUMBER_STARTS)


def is_axis(name: str) -> bool:
    """Whether an axis can be called so in the text of a Trace."""
    return is_name(name) and "(" not in name and ")" not in name
