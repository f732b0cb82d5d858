"""Which column of a table is what, and what a person is told where that is not clear."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gatewright.errors import GatewrightError, OptionError
from gatewright.tasks.recipes import get

DAYS = "".join(f"2020-01-{day:02d},{day}.5,{day % 7},{day % 2}\n" for day in range(1, 29))


def long_frame(id: str, label: str) -> pd.DataFrame:
    """Eight series of six steps, two channels, and a label of each series that is a number."""
    rows = [(place, step, place * step, place + step, place % 2) for place in range(8) for step in range(6)]
    return pd.DataFrame(rows, columns=[id, "t", "a", "b", label])


def refusal(recipe: str, source: object, **settings: Any) -> GatewrightError:
    with pytest.raises(GatewrightError) as caught:
        get(recipe).composed(settings).data(source)
    return caught.value


def last_line(error: GatewrightError) -> str:
    return error.in_shell().splitlines()[-1]


def test_texts_that_are_not_clear_are_asked_for_in_python_and_in_the_shell() -> None:
    frame = pd.DataFrame({"note": [f"w{row % 13}" for row in range(40)], "kind": [f"k{row % 11}" for row in range(40)]})
    error = refusal("texts", frame)
    assert str(error) == (
        "the DataFrame does not show which column is the text and which the label\n  got: note, kind\n"
        "  do: name the columns: text='note', label='kind'"
    )
    assert last_line(error) == "  do: name the columns: add --set text=note label=kind"
    assert get("texts").composed({"text": "note", "label": "kind"}).data(frame).remarks == ("text: note, label: kind",)


@pytest.mark.parametrize(
    ("id", "label", "options"),
    [
        ("device", "class", "id=device label=class"),
        ("subject_id", "activity", "id=subject_id label=activity"),
        ("Session", "target", "id=Session label=target"),
        ("trial", "y", "id=trial label=y"),
        ("recording", "Type of event", "id=recording 'label=Type of event'"),
        ("first", "last", "id=first label=last"),
    ],
)
def test_ids_and_labels_of_series_are_suggested(id: str, label: str, options: str) -> None:
    frame = long_frame(id, label)
    error = refusal("sequences", frame)
    assert last_line(error) == f"  do: name the columns: add --set {options}"
    assert error.do == f"name the columns: id={id!r}, label={label!r}"
    read = get("sequences").composed({"id": id, "label": label}).data(frame)
    assert read.remarks[0] == f"id: {id}, time: t, channels: a, b, label: {label}"


def test_a_command_names_all_that_is_needed_at_once(tmp_path: Path) -> None:
    frame = long_frame("trial", "outcome").assign(mood=list("ghjk") * 12)
    error = refusal("sequences", frame)
    assert last_line(error) == "  do: name the columns: add --set id=trial label=outcome ignore=mood"
    named = get("sequences").composed({"id": "trial", "label": "outcome", "ignore": "mood"})
    assert named.data(frame).sizes.variables == ("a", "b")
    assert last_line(refusal("sequences", frame, id="trial", label="outcome")).endswith("add --set ignore=mood")
    times = frame.rename(columns={"trial": "id", "a": "step", "outcome": "label"})
    error = refusal("sequences", times, ignore=["mood"])
    assert error.problem == "the DataFrame does not show which column is the time (t or step)"
    assert last_line(error) == "  do: name the columns: add --set id=id time=t label=label"
    broken = tmp_path / "broken.csv"
    broken.write_text("x,y,label\n" + "1,2,a\n" * 5 + "1,2o,b\n")
    assert refusal("tagging", broken).problem == f"{broken}, line 7, 'y': this is no finite number"


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    path = tmp_path / "sales.csv"
    path.write_text('date,Net Sales,"cost, gross",promo\n' + DAYS)
    return path


@pytest.mark.parametrize(
    ("settings", "variables"),
    [
        ({"target": ["Net Sales", "cost, gross"], "covariates": ("promo",)}, ("Net Sales", "cost, gross", "promo")),
        ({"target": ["cost, gross"]}, ("cost, gross",)),
        ({"target": "cost, gross"}, ("cost, gross",)),
        ({"target": 'promo,"cost, gross"'}, ("promo", "cost, gross")),
        ({"target": pd.Index(["promo"])}, ("promo",)),
        ({"ignore": ["promo", "cost, gross"]}, ("Net Sales",)),
    ],
)
def test_columns_are_named_in_lists_and_in_quotes(
    sales: Path, settings: dict[str, Any], variables: tuple[str, ...]
) -> None:
    assert get("series").composed(settings).data(sales).sizes.variables == variables


def test_columns_of_a_frame_may_be_called_by_numbers(sales: Path) -> None:
    frame = pd.read_csv(sales).set_axis([0, 1, 2, 3], axis="columns")
    read = get("series").composed({"time": 0, "target": [1, 2]}).data(frame)
    assert read.sizes.variables == ("1", "2")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"target": "net sales"},
            (
                "{path} has no column 'net sales'\n  expected: one of date, Net Sales, cost, gross, promo\n"
                "  do: did you mean 'Net Sales'?"
            ),
        ),
        (
            {"target": "Net Sales", "ignore": "promotion"},
            (
                "{path} has no column 'promotion'\n  expected: one of date, Net Sales, cost, gross, promo\n"
                "  do: did you mean 'promo'?"
            ),
        ),
        (
            {"target": "promo", "covariates": ["promo"]},
            "{path}, 'promo': the column has two roles, target and covariates\n  do: name it in one setting",
        ),
        ({"variables": "promo"}, "recipe 'series' has no setting 'variables'\n  do: it is called 'target' now"),
        ({"target": [0.5]}, "setting 'target' cannot have this value\n  expected: a text\n  got: (0.5,)"),
    ],
)
def test_wrong_names_of_columns_are_refused(sales: Path, settings: dict[str, Any], message: str) -> None:
    error = refusal("series", sales, **settings)
    assert isinstance(error, OptionError)
    assert error.in_shell() == message.format(path=sales)


def test_a_setting_that_was_renamed_is_known_to_files_and_told_to_people() -> None:
    series = get("series")
    assert series.reopened({"variables": "promo"}).settings()["target"] == "promo"
    with pytest.raises(OptionError, match="it is called 'target' now"):
        series.configured(["variables=promo"])
