"""Whether what a JSON file holds is of the kinds that its reader declares."""

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin


def misfit(content: Any, kinds: Mapping[str, Any], *, optional: frozenset[str] = frozenset()) -> tuple[str, Any] | None:
    """The first entry that is missing or of another kind, as what it should be and what it is; None where all fit.

    Entries without a kind may be anything.
    """
    if not isinstance(content, dict):
        return "an object of JSON", content
    for name, kind in kinds.items():
        if name not in content:
            if name not in optional:
                return f"{name}: {spelled(kind)}", "no such entry"
        elif not fits(kind, content[name]):
            return f"{name}: {spelled(kind)}", content[name]
    return None


def fits(kind: Any, value: Any) -> bool:
    """Whether a value is of a kind: str, int, float (any number), None, Any, dict[...] or a union of those."""
    if kind is Any:
        return True
    if get_origin(kind) in (Union, UnionType):
        return any(fits(one, value) for one in get_args(kind))
    if get_origin(kind) is dict:
        keys, values = get_args(kind)
        return isinstance(value, dict) and all(fits(keys, key) and fits(values, one) for key, one in value.items())
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is kind


def spelled(kind: Any) -> str:
    """A kind in words."""
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(spelled, get_args(kind)))
    words = {str: "a text", int: "a whole number", float: "a number", NoneType: "null", dict: "an object"}
    return words[get_origin(kind) or kind]
