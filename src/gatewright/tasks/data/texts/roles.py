"""The columns of texts and labels of a table: named by settings, or inferred where that is safe."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gatewright.tasks.columns import TextColumns
from gatewright.tasks.data.tables import roles
from gatewright.tasks.data.tables.header import LABEL_NAMES, TEXT_NAMES, has_few_values
from gatewright.tasks.data.tables.roles import ColumnRole, Roles, TableKind
from gatewright.tasks.data.tables.table import Table

_of_few_values = roles.columns_where(has_few_values)
_of_many_words = roles.columns_where(
    lambda texts: len(set(texts)) > len(texts) // 4 and sum(" " in text.strip() for text in texts) * 2 > len(texts)
)


def _worded(table: Table, columns: Sequence[str], known: Roles) -> Sequence[str]:
    """Those of several words in most rows; else the only one that is left."""
    worded = _of_many_words(table, columns, known)
    return worded or (columns if len(columns) == 1 and not _of_few_values(table, columns, known) else ())


_longest_first = roles.columns_by(lambda texts: -sum(map(len, texts)))
_fewest_values_first = roles.columns_by(lambda texts: len(set(texts)))
_TEXT = ColumnRole("text", TEXT_NAMES, candidates=_worded, likely=_longest_first)
_LABEL = ColumnRole("label", LABEL_NAMES, candidates=_of_few_values, likely=_fewest_values_first)
_LABELLED = TableKind((_TEXT, _LABEL), ("text", "label"))
_UNLABELLED = TableKind((_TEXT,), ("text",))


def text_roles(
    table: Table, settings: TextColumns, *, labelled: bool = True, usual: Mapping[str, str] | None = None
) -> Roles:
    """The columns of texts and labels of a table.

    They are those that settings name, or the `usual` ones of "text" and "label" where the table has them; else they are
    inferred. Several columns of texts are joined.
    """
    present = {*table.columns}
    known = {role: names for role, names in (usual or {}).items() if {*roles.named_columns(table, names)} <= present}
    asked = {role: getattr(settings, role) or known.get(role, "") for role in ("text", "label")}
    return roles.infer_roles(table, replace(settings, **asked), _LABELLED if labelled else _UNLABELLED)
