"""The settings of a recipe: declared as fields of a frozen dataclass, set from text, and checked."""

import csv
import dataclasses
import io
import math
import types
from collections.abc import Iterable, Mapping
from decimal import Decimal
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from gatewright.errors import OptionError

Settings = TypeVar("Settings")

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_NOTHING = ("none", "auto", "null", "")


GROUPS = ("task", "columns", "network", "training")
"""What settings are about, in the order in which a person is shown them."""


def setting(
    default: Any, about: str, *, least: float | None = None, below: float | None = None, group: str = "task"
) -> Any:
    """A field of a recipe, with a line that says what it is, the range that it may have, and one of `GROUPS`.

    A text of the group "columns" may also be given as a list of names, which `written_names` puts into one text. A
    default of None is shown as "auto" where the line says what "auto" is, otherwise as "none"; both mean None.

    A recipe that only has another default writes `hidden: int = 16`: line, range and group stay.
    """
    facts = {"about": about, "least": least, "below": below, "group": group}
    return dataclasses.field(default=default, metadata=facts)


def written_names(names: Iterable[object]) -> str:
    """`("sales", "net, gross")` as `sales,"net, gross"`: one text, as the fields of a line of CSV."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    return line.getvalue()


def listed_names(text: str) -> tuple[str, ...]:
    """`sales, "net, gross"` as ("sales", "net, gross"): a name that holds a comma itself is in double quotes."""
    rows = csv.reader(text.splitlines(keepends=True), skipinitialspace=True)
    return tuple(name.strip() for row in rows for name in row if name.strip())


of_columns = partial(setting, group="columns")
of_network = partial(setting, group="network")
of_training = partial(setting, group="training")


@dataclasses.dataclass(frozen=True)
class SettingDescription:
    """One setting as a person is shown it."""

    name: str
    kind: str
    default: object
    about: str
    group: str

    @property
    def shown_default(self) -> str:
        """The default as --set takes it."""
        words = {"True": "yes", "False": "no", "None": "auto" if "auto" in self.about else "none"}
        return self.default if isinstance(self.default, str) else words.get(str(self.default), str(self.default))


def described(recipe: type[Any]) -> list[SettingDescription]:
    """Every setting of a recipe, in the order in which they are declared."""
    kinds = get_type_hints(recipe)
    listed = ((field, _facts(recipe, field.name)) for field in dataclasses.fields(recipe))
    return [
        SettingDescription(field.name, _spell(kinds[field.name]), field.default, facts["about"], facts["group"])
        for field, facts in listed
    ]


def from_texts(recipe: type[Any], assignments: Iterable[str]) -> dict[str, Any]:
    """The settings that `key=value` texts give, each value read by the type of its field.

    Raises OptionError for a text without "=", a key that is no setting, or a value of another type.
    """
    kinds, settings = get_type_hints(recipe), dict[str, Any]()
    for assignment in assignments:
        key, equals, text = (part.strip() for part in assignment.partition("="))
        if not equals:
            raise OptionError(f"--set {assignment} gives no value", expected="key=value", do=f"write --set {key}=...")
        _check_known(recipe, [key])
        settings[key] = _read(kinds[key], text, key)
    return settings


def from_plain(recipe: type[Settings], values: Mapping[str, Any]) -> Settings:
    """The recipe with those settings, as JSON keeps them; every value is checked."""
    _check_known(recipe, values)
    kinds = get_type_hints(recipe)
    checked: dict[str, Any] = {}
    for key, value in values.items():
        kind, facts = kinds[key], _facts(recipe, key)
        checked[key] = _as_names(value) if kind is str and facts["group"] == "columns" else value
        if not any(_is_a(choice, checked[key]) for choice in _choices(kind)):
            raise _wrong(kind, repr(checked[key]), key)
        _check_range(facts, checked[key], key)
    return recipe(**checked)


def _as_names(value: object) -> object:
    """Names of columns as one text; in a DataFrame, names may be whole numbers."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return value
    names = tuple(cast("Iterable[object]", value))
    return written_names(names) if all(isinstance(name, str | int) for name in names) else names


def _check_known(recipe: type[Any], keys: Iterable[str]) -> None:
    known = [field.name for field in dataclasses.fields(recipe)]
    for key in keys:
        if key in (renamed := getattr(recipe, "renamed", {})):
            raise OptionError(f"recipe {recipe.name!r} has no setting {key!r}", do=f"it is called {renamed[key]!r} now")
        if key not in known:
            near = get_close_matches(key, known, n=3)
            raise OptionError(
                f"recipe {recipe.name!r} has no setting {key!r}",
                expected="one of " + ", ".join(sorted(known)),
                do="did you mean " + " or ".join(near) + "?" if near else None,
            )


def _facts(recipe: type[Any], name: str) -> Mapping[str, Any]:
    """What `setting` was told, by the nearest class that used it for that name."""
    for base in recipe.__mro__:
        field = getattr(base, "__dataclass_fields__", {}).get(name)
        if field is not None and "about" in field.metadata:
            return field.metadata
    return {"about": "", "least": None, "below": None, "group": "task"}


def _read(kind: Any, text: str, key: str) -> Any:
    choices = _choices(kind)
    if choices and type(None) in choices and text.lower() in _NOTHING:
        return None
    for choice in choices:
        value = _read_as(choice, text)
        if value is not None:
            return value
    raise _wrong(kind, repr(text), key)


def _choices(kind: Any) -> tuple[Any, ...]:
    """The members of a union; a plain type is its own."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _read_as(kind: Any, text: str) -> Any:
    if get_origin(kind) is Literal:
        return text if text in get_args(kind) else None
    if kind is bool:
        return text.lower() in _TRUE if text.lower() in (*_TRUE, *_FALSE) else None
    if kind is str:
        return text
    try:
        return kind(text)
    except (TypeError, ValueError):
        return None


def _is_a(kind: Any, value: object) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if kind is float:
        return isinstance(value, float | int) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _check_range(facts: Mapping[str, Any], value: object, key: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    least, below = facts["least"], facts["below"]
    if below is None and isinstance(value, int) and value >= 2**63:
        below = 2**63  # what a tensor can count
    too_small, too_large = least is not None and value < least, below is not None and value >= below
    if too_small or too_large or (isinstance(value, float) and not math.isfinite(value)):
        bounds = (("at least", least), ("below", below))
        wanted = " and ".join(f"{word} {_spell_number(bound)}" for word, bound in bounds if bound is not None)
        raise OptionError(
            f"setting {key!r} is out of range", expected=wanted or "a finite number", got=_spell_number(value)
        )


def _spell_number(value: float) -> str:
    """A number in a few letters; a whole number may be too large for a float."""
    return f"{value:g}" if isinstance(value, float) or abs(value) < 10**6 else f"{Decimal(value):.5g}"


def _wrong(kind: Any, got: str, key: str) -> OptionError:
    return OptionError(f"setting {key!r} cannot have this value", expected=_spell(kind), got=got)


_SPELLED = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    type(None): "none",
}


def _spell(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    return " or ".join(_spell(choice) for choice in choices) if len(choices := _choices(kind)) > 1 else _SPELLED[kind]


def read_axes(text: str) -> dict[str, int]:
    """`projection=64, context=40` as {"projection": 64, "context": 40}."""
    sizes: dict[str, int] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, size = map(str.strip, part.partition("="))
        if not size.isdecimal():
            raise OptionError(f"setting 'axes' cannot be read at {part!r}", expected="name=size, as in projection=64")
        sizes[name] = int(size)
    return sizes
