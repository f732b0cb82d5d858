"""The roles of a table's columns: named by settings, inferred from well-known names, or from their content.

A recipe declares its `Role`s in a `TableKind`; `infer_roles` gives each its column, `Roles.remark` is the line that
says so, and `asks_for` is the error with the whole command where it is not clear which column has a role.
"""

import re
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.sequences.cases import require_channels
from gatewright.tasks.data.tables.header import TIME_NAMES
from gatewright.tasks.data.tables.table import Table
from gatewright.tasks.settings import listed_names, written_names

ROW_NAMES = ("index", "row", "rownames", "row_names", "no", "nr", "no.", "nr.", "#", "unnamed: 0")
_MOST_SHOWN = 20  # columns in a message


@dataclass(frozen=True)
class Roles:
    """The columns that have a role; "" and () where none has it. The order is that of the remark."""

    file: str = ""
    id: str = ""
    time: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    label: str = ""
    part: str = ""
    left_out: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def of(self, role: str) -> tuple[str, ...]:
        """The columns of a role."""
        columns: str | tuple[str, ...] = getattr(self, role)
        return columns if isinstance(columns, tuple) else (columns,) if columns else ()

    def given(self, role: str, columns: Sequence[str]) -> "Roles":
        """The same with those columns in a role."""
        return replace(self, **{role: tuple(columns) if role in _SEVERAL else columns[0]})

    def left(self, table: Table) -> list[str]:
        """The columns without a role."""
        return [column for column in table.columns if not any(column in self.of(role) for role in _NAMES)]

    @property
    def remark(self) -> str:
        """What a person is told of the choice, as in "text: review, label: class"."""
        roles = {role.replace("_", " "): self.of(role) for role in _NAMES if role != "ignore"}
        return ", ".join(f"{role}: {', '.join(columns)}" for role, columns in roles.items() if columns)


_NAMES = tuple(field.name for field in fields(Roles))
_SEVERAL = {field.name for field in fields(Roles) if field.default == ()}

Choice = Callable[[Table, Sequence[str], Roles], Sequence[str]]
"""Some of the columns that have no role yet, where others have the roles that are known."""


def all_columns(_table: Table, columns: Sequence[str], _known: Roles) -> Sequence[str]:
    """All of them."""
    return columns


def columns_where(fits: Callable[[Sequence[str]], bool]) -> Choice:
    """Those with texts that fit."""
    return lambda table, columns, _known: [column for column in columns if fits(table.texts(column))]


def columns_by(order: Callable[[Sequence[str]], int]) -> Choice:
    """All of them, in the order of a number of their texts."""
    return lambda table, columns, _known: sorted(columns, key=lambda column: order(table.texts(column)))


@dataclass(frozen=True)
class ColumnRole:
    """How the column of a role is known where no setting names it.

    It is the only column with one of the well-known `names` that `fits`; of several such columns, or where there is
    none, the only one of the `candidates`. What a message suggests is `likely` in this order.
    """

    setting: str
    names: Collection[str] = ()
    fits: Choice = all_columns
    candidates: Choice = lambda _table, _columns, _known: ()
    suggested: Collection[str] = ()  # names, or words of names, that are not safe enough to be taken unasked
    likely: Choice = all_columns

    def called(self, table: Table, known: Roles) -> list[str]:
        """The fitting columns with a well-known name."""
        return [column for column in self.fits(table, known.left(table), known) if column.lower() in self.names]

    def by_content(self, table: Table, known: Roles) -> Sequence[str]:
        """The candidates, among those with a well-known name if there are any."""
        return self.candidates(table, self.called(table, known) or self.fits(table, known.left(table), known), known)

    def suggestion(self, table: Table, known: Roles) -> str:
        """The column that a message names; "" where none is left."""
        left = known.left(table)
        words = {*self.names, *self.suggested}
        named = [column for column in left if words & words_of(column)]
        fitting = self.fits(table, left, known)
        first = [column for column in named if column in fitting]
        return next(iter((*first, *self.by_content(table, known), *named, *self.likely(table, left, known))), "")


def _dated(table: Table, columns: Sequence[str], _known: Roles) -> Sequence[str]:
    """Those that hold dates; of names such as time and index, which is often a count of rows, the first."""
    if called := [column for column in columns if column.lower() in TIME_NAMES and column.lower() not in ROW_NAMES]:
        return called
    dates = [(column, parsed) for column in columns if (parsed := table.dates((column,))) is not None]
    return [column for column, parsed in dates if parsed.form == "%Y%m%d" or not table.is_numeric(column)]


TIMES = ColumnRole("time", TIME_NAMES, candidates=_dated)
"""The times of the steps of a recording or series."""


@dataclass(frozen=True)
class TableKind:
    """The roles that the columns of a recipe's tables have, and which of them are needed.

    With `has_channels` all other columns are channels, which hold numbers. `expected` is what a message says of such
    tables.
    """

    roles: tuple[ColumnRole, ...]
    needed: tuple[str, ...]
    has_channels: bool = False
    expected: str | None = None


def infer_roles(table: Table, settings: Any, kind: TableKind, channels: Sequence[str] | None = None) -> Roles:
    """The columns of each role; `channels` are those that a model reads, which all have to be there.

    `settings` has the names of columns as fields. Well-known names go before what columns hold, so that a column that
    is called id is no candidate for the labels. Raises OptionError for a column that there is not or that is named
    twice, and DataError, with what to add, where a role that is needed is not clear.
    """
    named = known = named_roles(table, settings, [role.setting for role in kind.roles], ignores="label" in kind.needed)
    if channels is not None:
        require_channels(table.name, table.columns, channels)
        known = replace(known, channels=tuple(channels))
    for choice in (
        ColumnRole.called,
        ColumnRole.by_content,
        ColumnRole.by_content,
    ):  # by content twice: each role that is found leaves fewer candidates for the others
        for role in kind.roles:
            if not known.of(role.setting) and len(columns := choice(role, table, known)) == 1:
                known = known.given(role.setting, columns)
    _check_clear(table, kind, named, known)
    if not kind.has_channels or known.text or known.channels:
        return known
    return _with_channels(table, kind, known)


def _with_channels(table: Table, kind: TableKind, known: Roles) -> Roles:
    """What is left and holds numbers is a channel, but counts of rows are left out."""
    rows = [column for column in known.left(table) if column.lower() in ROW_NAMES and counts_rows(table, column)]
    known = replace(known, left_out=tuple(rows))
    for column in filter(table.is_mostly_numeric, left := known.left(table)):
        table.numbers(column, "keep")  # raises: it names the first value that is no number
    ids = {name for role in kind.roles if role.setting == "id" for name in (*role.names, *role.suggested)}
    if like_ids := [column for column in left if ids & words_of(column) and _are_few_whole(table, column)]:
        problem = f"{table.name}: these columns may be ids, and no channels: {', '.join(like_ids)}"
        raise asks_for(table, problem, {"ignore": (*known.ignore, *like_ids)}, expected=kind.expected)
    if words := [column for column in left if not table.is_numeric(column)]:
        problem = f"{table.name}: these columns are no numbers: {', '.join(words)}"
        raise asks_for(table, problem, {"ignore": (*known.ignore, *words)}, expected=kind.expected)
    if not left:
        raise DataError(
            f"{table.name} has no channel: no column of numbers is left",
            expected=kind.expected,
            got=shown_columns(table.columns),
        )
    return replace(known, channels=tuple(left))


def _check_clear(table: Table, kind: TableKind, named: Roles, known: Roles) -> None:
    """Refuse a table without a column for a needed role, or with several well-known names for one role."""
    unclear = [
        role
        for role in kind.roles
        if not known.of(role.setting) and (role.setting in kind.needed or role.called(table, known))
    ]
    if not unclear:
        return
    whole = known
    for role in unclear:
        whole = whole.given(role.setting, [column := role.suggestion(table, whole)])
        if not column:
            raise DataError(
                f"{table.name} has no column that may be the {role.setting}",
                expected=kind.expected,
                got=shown_columns(table.columns),
            )
    add = {
        role.setting: whole.of(role.setting) for role in kind.roles if role in unclear or role.setting in kind.needed
    }
    if kind.has_channels and not whole.text and not whole.channels:
        words = [column for column in whole.left(table) if not table.is_mostly_numeric(column)]
        add |= {"ignore": (*known.ignore, *words)} if words else {}
    several = {role.setting: role.called(table, known) for role in unclear}
    unclear_roles = [
        f"{role} ({' or '.join(columns)})" if len(columns) > 1 else role for role, columns in several.items()
    ]
    problem = f"{table.name} does not show which column is the {' and which the '.join(unclear_roles)}"
    raise asks_for(table, problem, add, expected=kind.expected)


def named_roles(table: Table, settings: Any, wanted: Collection[str], *, ignores: bool = True) -> Roles:
    """The roles that settings name.

    Raises OptionError for a column of a wanted role that there is not, and for one that has two roles.
    """
    roles = Roles()
    for role in _NAMES:
        columns = named_columns(table, getattr(settings, role, ""))
        if role in wanted or (role == "ignore" and ignores):
            table.require(columns, role)
        elif not all(column in table.columns for column in columns):
            continue
        twice = next((column for column in columns if column not in roles.left(table)), None)
        if twice is not None:
            other = next(name for name in _NAMES if twice in roles.of(name))
            raise OptionError(
                f"{table.name}, {twice!r}: the column has two roles, {other} and {role}", do="name it in one setting"
            )
        roles = roles.given(role, columns) if columns else roles
    return roles


def named_columns(table: Table, text: str) -> tuple[str, ...]:
    """The columns that a setting names; a single name may hold a comma itself."""
    return (text,) if text in table.columns else listed_names(text)


def asks_for(
    table: Table,
    problem: str,
    roles: Mapping[str, Sequence[str]],
    *,
    expected: str | None = None,
    got: str | None = None,
    lead: str = "name the columns",
) -> DataError:
    """The error that says which columns to name, in Python and as the whole option of a command."""
    return DataError(
        problem,
        expected=expected,
        got=got or shown_columns(table.columns),
        do=f"{lead}: " + ", ".join(python_setting(role, columns) for role, columns in roles.items()),
        shell=f"{lead}: add {set_options(roles)}",
    )


def counts_rows(table: Table, column: str) -> bool:
    """Whether a column of numbers goes up by one from each row to the next."""
    if not table.is_numeric(column):
        return False
    values = table.numbers(column, "keep")
    return len(values) > 1 and bool((np.diff(values) == 1).all())


def words_of(name: str) -> set[str]:
    """The name and the words in it, in lower case: `subject_id` as subject_id, subject and id."""
    return {name.lower(), *re.split(r"[^a-z]+", name.lower())}


def _are_few_whole(table: Table, column: str) -> bool:
    values = table.numbers(column, "keep")
    return bool((values == np.round(values)).all()) and len(set(values.tolist())) * 2 <= len(values)


def python_setting(role: str, columns: Sequence[str]) -> str:
    """`target='sales'`, or `target=['sales', 'price']`."""
    return f"{role}={columns[0]!r}" if len(columns) == 1 else f"{role}={list(columns)!r}"


def set_options(roles: Mapping[str, Sequence[str]]) -> str:
    """`--set 'time=Order Date' target=sales,price`, as it is written in a shell."""
    return "--set " + " ".join(shlex.quote(f"{role}={written_names(columns)}") for role, columns in roles.items())


def shown_columns(columns: Sequence[str]) -> str:
    """The names of columns for a message, the first of many."""
    more = f", and {len(columns) - _MOST_SHOWN} more" if len(columns) > _MOST_SHOWN else ""
    return ", ".join(columns[:_MOST_SHOWN]) + more
