"""Data that is not a model's own: matched by name where it can be, and refused with both sides where it cannot."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import gatewright as gw
from gatewright.errors import DataError
from gatewright.tasks.run import Run
from tests.quick_runs import QuickRun


@pytest.fixture
def series(quick_run: QuickRun) -> Run:
    """A model of the channels a and b, and the classes high and low."""
    return gw.tasks.open(quick_run("sequences")[1])


def swapped(row: list[str]) -> list[str]:
    return row[::-1]


def first_alone(row: list[str]) -> list[str]:
    return row[:1]


def in_thousandths(row: list[str]) -> list[str]:
    return [name if name.isalpha() else str(1000 * float(name)) for name in row]


def changed(
    run: Run, folder: Path, change: Callable[[list[str]], list[str]], classes: dict[str, str] | None = None
) -> Path:
    """The series that the model was trained on, each row changed and some classes called otherwise."""
    for path in sorted(Path(str(run.model.source)).rglob("*.csv")):
        name = (classes or {}).get(path.parent.name, path.parent.name)
        rows = [change(line.split(",")) for line in path.read_text().splitlines()]
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / path.name).write_text("\n".join(map(",".join, rows)) + "\n")
    return folder


def test_columns_are_matched_by_their_names(series: Run, tmp_path: Path) -> None:
    source = str(series.model.source)
    other = changed(series, tmp_path / "swapped", swapped)
    assert series.evaluate(other) == series.evaluate(source)
    np.testing.assert_array_equal(series.predict(other)["p_high"], series.predict(source)["p_high"])


def expect_refused(run: Run, source: Path, *told: str) -> None:
    for ask in (run.predict, run.evaluate):
        with pytest.raises(DataError) as caught:
            ask(str(source))
        assert all(text in str(caught.value) for text in told)


def test_a_column_that_is_missing(series: Run, tmp_path: Path) -> None:
    other = changed(series, tmp_path / "first", first_alone)
    expect_refused(series, other, "lacks channels", "\n  expected: a, b\n  got: a\n")


def test_other_units(series: Run, tmp_path: Path) -> None:
    other = changed(series, tmp_path / "thousandths", in_thousandths)
    expect_refused(series, other, f"{other}: the numbers of 'a' are of another scale", "any_scale=True")
    assert len(series.predict(other, any_scale=True)) == 40
    assert series.evaluate(other, any_scale=True)["test"]["loss"] > 0


def test_a_class_that_the_model_does_not_know(series: Run, tmp_path: Path) -> None:
    other = changed(series, tmp_path / "middle", list, {"low": "middle"})
    assert len(series.predict(other)) == 40  # its classes are not read
    with pytest.raises(DataError) as caught:
        series.evaluate(other)
    assert "\n  expected: the model's: high, low\n  got: high, middle\n" in str(caught.value)


def texts(path: Path, *labels: str) -> Path:
    rows = [f"text number {place},{labels[place % len(labels)]}" for place in range(30)]
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    return path


def test_classes_of_texts(quick_run: QuickRun, tmp_path: Path) -> None:
    run = gw.tasks.open(quick_run("texts")[1])
    with pytest.raises(DataError) as caught:
        run.evaluate(texts(tmp_path / "other.csv", "0", "2"))
    assert "\n  expected: 0, 1\n  got: 0, 2\n" in str(caught.value)
    report = run.evaluate(texts(tmp_path / "one.csv", "1")).reports["test"]
    assert report.classes == ("0", "1")
    assert report.confusion.sum(1).tolist() == [0, 30]  # every row of the file, and none of class 0


def test_a_forecast_in_other_units(quick_run: QuickRun, tmp_path: Path) -> None:
    run = gw.tasks.open(quick_run("series")[1])
    values = Path(str(run.model.source)).read_text().splitlines()[1:]
    other = tmp_path / "thousandths.csv"
    other.write_text("value\n" + "\n".join(str(1000 * float(value)) for value in values) + "\n")
    expect_refused(run, other, f"{other}: the numbers of 'value' are of another scale", "any_scale=True")
    assert len(run.predict(other, any_scale=True)) == len(run.predict())
