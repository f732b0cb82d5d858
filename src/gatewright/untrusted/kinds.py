"""Whether what a JSON file holds is of the kinds that its reader declares."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

Misfit = tuple[str, Any]
"""What an entry should be, with its place before it, and what it is."""

MISSING = "no such entry"
"""What an entry is that is not there."""

_GREATEST = 2**63  # of a whole number that arrays and tensors can count with
_SPELLED = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    NoneType: "null",
    dict: "an object",
}


@dataclass(frozen=True)
class Rule:
    """What holds of each value of a kind beside its type: `Annotated[int, Rule("from 1 on", lambda n: n >= 1)]`."""

    words: str
    holds: Callable[[Any], bool]


Count = Annotated[int, Rule("from 1 on", lambda value: value >= 1)]
Finite = Annotated[float, Rule("that is finite", isfinite)]
Positive = Annotated[float, Rule("above 0", lambda value: isfinite(value) and value > 0)]


def misfit(content: Any, kinds: Mapping[str, Any], *, optional: frozenset[str] = frozenset()) -> Misfit | None:
    """The first entry that is missing or of another kind, as what it should be and what it is; None where all fit.

    A kind is str, int, float (any number), bool, None, Any, list[...], dict[...], a Literal of texts, a TypedDict, a
    union of those, or one of them that is Annotated with a `Rule`. Entries without a kind may be anything.
    """
    if not isinstance(content, dict):
        return "an object of JSON", content
    for name, kind in kinds.items():
        if name not in content:
            if name not in optional:
                return f"{name}: {spelled(kind)}", MISSING
        elif (wrong := _misfit_at(name, kind, content[name])) is not None:
            return wrong
    return None


def misfit_of(kind: Any, content: Any) -> Misfit | None:
    """The same for the entries of a TypedDict."""
    return misfit(content, get_type_hints(kind, include_extras=True), optional=kind.__optional_keys__)


def _misfit_at(place: str, kind: Any, value: Any) -> Misfit | None:
    """The misfit that lies deepest within a value, so that the entry at fault is named."""
    kind = _without_requirement(kind)
    if fits(kind, value):
        return None
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    for member in members:
        if is_typeddict(member) and isinstance(value, dict):
            wrong = misfit_of(member, value)
            return wrong and (f"{place}.{wrong[0]}", wrong[1])
        if get_origin(member) is list and isinstance(value, list):
            (entry,) = get_args(member)
            at_fault = next(number for number, item in enumerate(value) if not fits(entry, item))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            return _misfit_at(f"{place}[{at_fault}]", entry, value[at_fault])
    return f"{place}: {spelled(kind)}", value


def fits(kind: Any, value: Any) -> bool:
    """Whether a value is of a kind, as `misfit` knows them."""
    kind, origin = _without_requirement(kind), get_origin(kind)
    if kind is Any:
        return True
    if is_typeddict(kind):
        return misfit_of(kind, value) is None
    if origin in (Union, UnionType):
        return any(fits(member, value) for member in get_args(kind))
    if origin is Annotated:
        base, *rules = get_args(kind)
        return fits(base, value) and all(rule.holds(value) for rule in rules)
    if origin is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if origin in (list, dict):
        return _holds(origin, get_args(kind), value)
    if kind is float:
        return type(value) is float or fits(int, value)
    return type(value) is kind and not (kind is int and abs(value) >= _GREATEST)


def _holds(origin: type, kinds: tuple[Any, ...], value: Any) -> bool:
    """Whether a list has entries of its kind alone, or an object keys and values of theirs."""
    if not isinstance(value, origin):
        return False
    if origin is list:
        return all(fits(kinds[0], entry) for entry in value)
    return all(fits(kinds[0], key) and fits(kinds[1], entry) for key, entry in value.items())


def spelled(kind: Any) -> str:
    """A kind in words."""
    kind, origin = _without_requirement(kind), get_origin(kind)
    if origin in (Union, UnionType):
        return " or ".join(map(spelled, get_args(kind)))
    if origin is Annotated:
        base, *rules = get_args(kind)
        return spelled(base) + "".join(f" {rule.words}" for rule in rules)
    if origin is Literal:
        return "one of " + ", ".join(get_args(kind))
    if origin is list:
        return f"a list, each {spelled(get_args(kind)[0])}"
    return _SPELLED[dict if is_typeddict(kind) else origin or kind]


def _without_requirement(kind: Any) -> Any:
    """A kind without the NotRequired that stands around it in a TypedDict."""
    return get_args(kind)[0] if getattr(get_origin(kind), "_name", "") in ("NotRequired", "Required") else kind
