"""Settings of recipes that read tables: which column is what, and how the file is written.

A recipe takes the class of the settings that it needs as a base; loaders take the recipe itself, or such an object.
"""

from dataclasses import dataclass
from typing import Literal

from gatewright.tasks.settings import setting

MissingValues = Literal["refuse", "forward", "interpolate"]


@dataclass(frozen=True)
class FileSettings:
    """How a text file is written, where its content does not show it."""

    encoding: str = setting("", "encoding of a text file, such as cp1252; found by its content where it is empty")
    header: Literal["infer", "yes", "no"] = setting("infer", "whether a table's first row holds names of columns")
    decimal: Literal["infer", ".", ","] = setting("infer", "the sign before decimals; the other one divides thousands")


@dataclass(frozen=True)
class TextColumns(FileSettings):
    """The columns of labelled texts."""

    text: str = setting("", "the column of the texts (several with commas between are joined); inferred where safe")
    label: str = setting("", "the column of the labels; inferred where safe")


@dataclass(frozen=True)
class TimeColumns(FileSettings):
    """The columns of a table whose rows are steps in time."""

    time: str = setting("", "the column of times, or several, as in year,month,day; inferred where safe")
    target: str = setting("", "the columns to forecast or to predict, with commas between; inferred where safe")
    id: str = setting("", "the column that tells several series in one table apart")
    ignore: str = setting("", "columns to leave out, with commas between")
    missing: MissingValues = setting("refuse", "missing values and times: refuse them, or fill them in so")
    dayfirst: Literal["infer", "yes", "no"] = setting("infer", "whether 01/02/2020 is the first of February")


@dataclass(frozen=True)
class SeriesColumns(TimeColumns):
    """The columns of series to forecast."""

    covariates: str = setting("", "columns known beforehand, such as holidays, with commas between: inputs only")


@dataclass(frozen=True)
class LabelledSeriesColumns(TimeColumns):
    """The columns of labelled series or of labelled steps in long form."""

    label: str = setting("", "the column of the labels; inferred where safe")


def listed(text: str) -> tuple[str, ...]:
    """`sales, price` as ("sales", "price")."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
