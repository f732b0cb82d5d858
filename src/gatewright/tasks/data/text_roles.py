"""Which columns of a table hold texts and their labels: as settings name them, or inferred where that is safe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gatewright.errors import DataError
from gatewright.tasks.columns import TextColumns
from gatewright.tasks.data.table_header import LABEL_NAMES, TEXT_NAMES
from gatewright.tasks.data.table_roles import named_columns, set_option
from gatewright.tasks.data.tables import Table


@dataclass(frozen=True)
class TextRoles:
    """The columns of labelled texts, and a line for a person where they were inferred."""

    text: tuple[str, ...]
    label: str
    remark: str = ""


def text_roles(
    table: Table, settings: TextColumns, *, labelled: bool = True, usual: Mapping[str, str] | None = None
) -> TextRoles:
    """The columns of texts and labels of a table.

    They are those that settings name; the `usual` ones of "text" and "label", where the table has them; those with
    well-known names; else the one of few different values is the label, and the one of several words the text.
    """
    usual = {role: name for role, name in (usual or {}).items() if name in table.columns}
    settings = TextColumns(text=settings.text or usual.get("text", ""), label=settings.label or usual.get("label", ""))
    texts = named_columns(table, settings.text)
    table.require(texts, "text")
    table.require([settings.label] if settings.label and labelled else [], "label")
    if texts and (settings.label or not labelled):
        return TextRoles(texts, settings.label)
    label = settings.label or (_label(table, texts) if labelled else "")
    texts = texts or _texts(table, label)
    if not texts or (labelled and not label):
        raise _asks_for_text(table, texts, label, labelled=labelled)
    remark = f"text: {', '.join(texts)}" + (f", label: {label}" if label else "")
    return TextRoles(texts, label, remark)


def _label(table: Table, texts: Sequence[str]) -> str:
    left = [column for column in table.columns if column not in texts]
    known = [column for column in left if column.lower() in LABEL_NAMES]
    if len(known) == 1:
        return known[0]
    few = [column for column in known or left if _few_values(table, column)]
    return few[0] if len(few) == 1 else ""


def _texts(table: Table, label: str) -> tuple[str, ...]:
    left = [column for column in table.columns if column != label]
    known = [column for column in left if column.lower() in TEXT_NAMES]
    if len(known) == 1:
        return (known[0],)
    worded = _worded(table, label)
    if len(worded) == 1:
        return (worded[0],)
    return (left[0],) if len(left) == 1 and not _few_values(table, left[0]) else ()


def _few_values(table: Table, column: str) -> bool:
    texts = table.texts(column)
    return len(set(texts)) <= max(2, len(texts) // 4)


def _worded(table: Table, label: str) -> list[str]:
    """The columns of several words in most rows, those with a well-known name if there are any."""
    left = [column for column in table.columns if column != label]
    known = [column for column in left if column.lower() in TEXT_NAMES]
    return [column for column in known or left if _is_worded(table.texts(column))]


def _is_worded(texts: Sequence[str]) -> bool:
    return len(set(texts)) > len(texts) // 4 and sum(" " in text.strip() for text in texts) * 2 > len(texts)


def _asks_for_text(table: Table, texts: Sequence[str], label: str, *, labelled: bool) -> DataError:
    wanted = "the columns of the texts and of the labels" if labelled else "the column of the texts"
    text = ",".join(texts or _worded(table, label)[:1]) or "COLUMN"
    left = [column for column in table.columns if column != text and _few_values(table, column)]
    label = label or next(iter(left), "COLUMN")
    command = f"{set_option('text', text)}" + f" {set_option('label', label)}" * labelled
    return DataError(
        f"{table.name} does not show which are {wanted}",
        got=", ".join(table.columns)[:200],
        do=f"name them: text={text!r}" + f", label={label!r}" * labelled,
        shell=f"name them: add {command}",
    )
