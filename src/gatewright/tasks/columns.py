"""Settings of recipes that read tables: which column is what, and how the file is written.

A recipe takes the class of the settings that it needs as a base; loaders take the recipe itself, or such an object.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal

from gatewright.tasks.settings import of_columns

MissingValues = Literal["refuse", "forward", "interpolate"]
Undated = Literal["refuse", "drop"]


@dataclass(frozen=True)
class FileSettings:
    """How a text file is written, where its content does not show it."""

    encoding: str = of_columns("", "encoding of a text file, such as cp1252; found by its content where it is empty")
    header: Literal["infer", "yes", "no"] = of_columns("infer", "whether a table's first row holds names of columns")
    decimal: Literal["infer", ".", ","] = of_columns("infer", "the sign before decimals; the other divides thousands")


@dataclass(frozen=True)
class TextColumns(FileSettings):
    """The columns of labelled texts."""

    text: str = of_columns("", "the column of the texts (several with commas between are joined); inferred where safe")
    label: str = of_columns("", "the column of the labels; inferred where safe")


@dataclass(frozen=True)
class StepTables(FileSettings):
    """The columns of a table whose rows are steps."""

    time: str = of_columns("", "the column of times, or several, as in year,month,day; inferred where safe")
    id: str = of_columns("", "the column that tells several series, sentences or recordings in one table apart")
    ignore: str = of_columns("", "columns to leave out, with commas between")
    missing: MissingValues = of_columns("refuse", "missing values and times: refuse them, or fill them in so")
    dayfirst: Literal["infer", "yes", "no"] = of_columns("infer", "whether 01/02/2020 is the first of February")
    zone: str = of_columns("", "the time zone of the times, such as Europe/Berlin, where the file does not show it")
    undated: Undated = of_columns("refuse", "rows whose time is no date, such as a total: refuse them, or drop them")


@dataclass(frozen=True)
class TimeColumns(StepTables):
    """The columns of a table whose rows are steps in time, with numbers to forecast or to predict."""

    target: str = of_columns("", "the columns to forecast or to predict, with commas between; inferred where safe")


@dataclass(frozen=True)
class SeriesColumns(TimeColumns):
    """The columns of series to forecast."""

    covariates: str = of_columns("", "columns known beforehand, such as holidays, with commas between: inputs only")


@dataclass(frozen=True)
class LabelledSeriesColumns(TimeColumns):
    """The columns of labelled series or of labelled steps in long form."""

    label: str = of_columns("", "the column of the labels; inferred where safe")


@dataclass(frozen=True)
class StepColumns(StepTables):
    """The columns of labelled steps: of tokens, or of rows of sensors."""

    text: str = of_columns("", "the column of tokens, by its name or its number from 1 on; inferred where safe")
    label: str = of_columns("", "the column of labels, by its name or its number from 1 on; inferred where safe")


@dataclass(frozen=True)
class SoundColumns(FileSettings):
    """The columns of a list of sound files, and how a stream of sound is answered."""

    file: str = of_columns(
        "", "the column of the paths of sound files, from the table's folder on; inferred where safe"
    )
    label: str = of_columns("", "the column of the labels; inferred where safe")
    id: str = of_columns("", "the column of a speaker or place: all its sounds are held out, or none")
    part: str = of_columns("", "the column that says train, validation or test; inferred where safe")
    stream_window: float = of_columns(
        0.0, "seconds of a stream in each answer; 0: the median of training sounds", least=0
    )
    stream_hop: float = of_columns(0.0, "seconds from one answer to the next; 0: a quarter of the window", least=0)
    stream_rate: int = of_columns(0, "samples a second of raw PCM from a stream; 0: the model's sample_rate", least=0)


def reading_settings(recipe: type[Any]) -> tuple[str, ...]:
    """The settings of a recipe that say how a source is read, which may differ from one source to the next."""
    bases = [base for base in recipe.__mro__ if base.__module__ == __name__]
    return tuple(field.name for field in fields(recipe) if any(field.name in vars(base) for base in bases))
