"""Tables as people and programs really write them: each is read as it is meant, or refused with what to do."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gatewright.errors import GatewrightError
from gatewright.tasks.data.ragged import doubtful_classes
from gatewright.tasks.recipe import Data
from gatewright.tasks.recipes import get

COUNT = 40
WORDS = ["the", "film", "is", "a", "joy", "and", "an", "hour", "too", "long", "but", "fine"]


def text(row: int) -> str:
    return " ".join(WORDS[(7 * row + 3 * place) % len(WORDS)] for place in range(5 + row % 4))


TEXTS = [f"{text(row)},{'yn'[row % 2]}" for row in range(COUNT)]
DAYS = [f"{pd.Timestamp('2020-01-01') + pd.Timedelta(days=row):%Y-%m-%d},{row % 9}.5" for row in range(COUNT)]
STEPS = [f"{step},{step % 7}.5,{step % 3},{'ab'[step // 5 % 2]}" for step in range(80)]
LEFT_OUT = "id: id, time: time, channels: x, label: label, left out: index"
SERIES = [f"{series},{step},{series * step % 7}.5,{'ab'[series % 2]}" for series in range(12) for step in range(8)]


def read(recipe: str, folder: Path, first: str, rows: list[str], **settings: Any) -> Data:
    path = folder / "table.csv"
    path.write_text("\n".join((first, *rows)) + "\n")
    return get(recipe).composed(settings).data(path)


def prefixed(rows: list[str]) -> list[str]:
    return [f"{place},{row}" for place, row in enumerate(rows)]


def ended(rows: list[str]) -> list[str]:
    return [f"{row},," for row in rows]


@pytest.mark.parametrize(
    ("recipe", "header", "rows", "remark"),
    [
        ("texts", ",text,label", prefixed(TEXTS), "text: text, label: label"),
        ("texts", "Unnamed: 0,text,label", prefixed(TEXTS), "text: text, label: label"),
        ("texts", "text,label,,", ended(TEXTS), "text: text, label: label"),
        ("texts", "# by hand\n# 2020\ntext,label", TEXTS, "left out: lines 1 to 2, comments with #"),
        ("series", "date,x,,", [*ended(DAYS), ",,,", ",,,"], "time: date (daily), forecast: x"),
        ("series", "# MW, hourly mean, of 3\ndate,x", DAYS, "left out: lines 1 to 1, comments with #"),
        ("tagging", "Unnamed: 0,a,x,y,label", prefixed(STEPS), "channels: a, x, y, label: label, left out: Unnamed: 0"),
        ("tagging", "time,x,y,label,,", ended(STEPS), "time: time, channels: x, y, label: label"),
        ("sequences", ",id,time,x,label", prefixed(SERIES), LEFT_OUT),
    ],
)  # fmt: skip
def test_what_programs_add_to_tables_is_left_out(
    recipe: str, header: str, rows: list[str], remark: str, tmp_path: Path
) -> None:
    assert read(recipe, tmp_path, header, rows).remarks[0] == remark


def test_dates_and_truth_values_are_known_by_what_they_hold(tmp_path: Path) -> None:
    rows = [
        row.replace(f",{step},", f",2020-01-0{step + 1},", 1) for row in SERIES for step in [int(row.split(",")[1])]
    ]
    data = read("sequences", tmp_path, "id,when,x,label", rows)
    assert data.remarks[0] == "id: id, time: when, channels: x, label: label"
    rows = [row.replace("a", "True").replace("b", "False") for row in STEPS]
    data = read("tagging", tmp_path, "time,x,y,moving", rows)
    assert data.remarks[0] == "time: time, channels: x, y, label: moving"
    assert data.sizes.classes == ("False", "True")


def test_lines_behind_comments_keep_their_numbers(tmp_path: Path) -> None:
    with pytest.raises(GatewrightError, match=r"table.csv, line 8, 'x': this is no finite number"):
        read("series", tmp_path, "# one\n# two\ndate,x", [*DAYS[:4], "2020-01-05,1o", *DAYS[5:]])
    hashed = read("texts", tmp_path, "#tag it is,y", ["#tag he is,n", *TEXTS], header="no")
    assert hashed.remarks == ("text: column 1, label: column 2",)
    assert hashed.origin["train"] > 0


@pytest.mark.parametrize(
    ("recipe", "header", "rows", "message"),
    [
        (
            "texts",
            "text,text,label",
            [f"ok,{row}" for row in TEXTS],
            (
                "{path}: two columns are called 'text'\n  expected: a name of its own for each column\n"
                "  do: rename one; or, if the first row is no header, add --set header=no"
            ),
        ),
        (
            "texts",
            "text,label\ntext,label",
            TEXTS,
            "{path}, line 2: the header comes again\n  got: text, label\n  do: leave out the row",
        ),
        (
            "texts",
            "text,label",
            [*TEXTS, "text,label", *TEXTS],
            "{path}, line 42: the header comes again\n  got: text, label\n  do: leave out the row",
        ),
        (
            "series",
            "date,load\n,MW",
            DAYS,
            (
                "{path}, line 2, 'load': this is no finite number\n  expected: a number such as -12.5\n  got: 'MW'\n"
                "  do: line 2 may hold the units, or a second header: leave it out"
            ),
        ),
        (
            "series",
            "Sales of the shop\n\ndate,x",
            DAYS,
            (
                "{path}, line 3: the row has too many or too few fields\n"
                "  expected: 1 fields divided by commas, as in the first row\n  got: 2: 'date,x'\n"
                "  do: leave out the lines before it, if the table begins here"
            ),
        ),
        (
            "series",
            "date,x",
            [f"{row} MW" for row in DAYS],
            (
                "{path}, line 2, 'x': this is no finite number\n  expected: a number such as -12.5\n  got: '0.5 MW'\n"
                "  do: mend the value, leave out the row, or leave out the column with --set ignore=x"
            ),
        ),
        ("texts", "text", list(map(text, range(COUNT))), "{path} has no column that may be the label\n  got: text"),
        (
            "sequences",
            "subject,id,time,x,label",
            [f"{place // 24},{row}" for place, row in enumerate(SERIES)],
            (
                "{path}: these columns may be ids, and no channels: subject\n  expected: a row for each step, as in "
                "id,time,x,y,label; or a series in each row, after its label, without a header\n"
                "  got: subject, id, time, x, label\n  do: name the columns: add --set ignore=subject"
            ),
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(
    recipe: str, header: str, rows: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(GatewrightError) as caught:
        read(recipe, tmp_path, header, rows)
    assert caught.value.in_shell() == message.format(path=tmp_path / "table.csv")


def test_columns_of_several_levels_are_called_by_all_of_them() -> None:
    days = pd.date_range("2020-01-01", periods=COUNT)
    levels = pd.MultiIndex.from_product([["AAPL"], ["open", "close"]])
    frame = pd.DataFrame(np.arange(2.0 * COUNT).reshape(COUNT, 2), days, levels)
    assert get("series").composed({}).data(frame).sizes.variables == ("AAPL open", "AAPL close")


def test_doubtful_classes_are_told() -> None:
    assert doubtful_classes(("bad", "good", "very good")) == ()
    assert doubtful_classes(("bad", "Good", "good", "very_good", "very good")) == (
        "classes that differ only in capital letters or spaces: 'Good' and 'good', 'very_good' and 'very good'",
    )
    assert doubtful_classes(("a", "b", "a;b", "c|d")) == ("each combination of labels is a class of its own: 'a;b'",)
