"""Labelled series in long form: a row for each step, of which some are left out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gatewright.errors import DataError
from gatewright.tasks.columns import LabelledSeriesColumns, StepColumns
from gatewright.tasks.data.sequences.cases import filled_series
from gatewright.tasks.data.sequences.long_tables import read_long
from gatewright.tasks.data.tables.table import open_table
from gatewright.tasks.data.tags.steps import recordings_of, step_roles


def long_table(path: Path) -> Path:
    """Two series of ten days, the rows shuffled, without the fourth day of the first series; x counts the days."""
    days = pd.date_range("2020-01-01", periods=10, freq="D")
    rows = pd.DataFrame(
        {"id": ["a"] * 10 + ["b"] * 10, "date": [*days] * 2, "x": [*range(10), *range(100, 110)], "label": ""}
    )
    rows["label"] = rows["id"].map({"a": "u", "b": "v"})
    shuffled = rows.drop(3).iloc[np.random.default_rng(0).permutation(19)]
    shuffled.to_csv(path / "long.csv", index=False)
    return path / "long.csv"


def test_a_day_that_is_left_out_is_filled_in_within_its_own_series(tmp_path: Path) -> None:
    columns = LabelledSeriesColumns(missing="interpolate")
    read = read_long(long_table(tmp_path), columns)
    series = {key: read.sequences[place][:, 0].tolist() for place, key in enumerate(read.keys)}
    assert np.isnan(series["a"][3])
    assert series["b"] == [*range(100, 110)]
    filled = filled_series(read, "interpolate")
    assert filled.sequences[read.keys.index("a")][:, 0].tolist() == [*range(10)]


def test_a_day_that_is_left_out_is_refused_unless_it_is_to_be_filled_in(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a time is left out: 2020-01-04 is the first"):
        read_long(long_table(tmp_path), LabelledSeriesColumns())


def test_a_recording_has_the_steps_that_there_are(tmp_path: Path) -> None:
    table = open_table(long_table(tmp_path))
    columns = StepColumns(id="id")
    recordings = {recording.id: recording for recording in recordings_of(table, step_roles(table, columns), columns)}
    assert recordings["a"].values[:, 0].tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert recordings["b"].values[:, 0].tolist() == [*range(100, 110)]
