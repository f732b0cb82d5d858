"""Tables of the user's own: how they are written, their header, their numbers, and what is wrong with them."""

import gzip
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gatewright.errors import DataError, OptionError
from gatewright.tasks.columns import SeriesColumns
from gatewright.tasks.data.forecasting.series import read_series
from gatewright.tasks.data.tables.table import open_table
from tests.tasks.data.formats import put

TABLE = "date,load,heat\n2020-01,1,2.5\n2020-02,-3e-1,4\n"


@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        TABLE.replace(",", "\t"),
        TABLE.replace(",", ";"),
        TABLE.replace(",", "|"),
        TABLE.replace("\n", "\r\n"),
        TABLE.replace("\n", "\r"),
        TABLE.removesuffix("\n"),
        "\ufeff" + TABLE,
        TABLE.replace("\n", "\n\n"),
        TABLE.replace("date", ""),
        TABLE.replace("2020-01", '"2020-01"').replace("2.5", '"2.5"'),
        TABLE.replace("2020-01", '"2020-01"').replace("date", '"date"').replace(",", "\t"),
        TABLE.replace(",", ";").replace(".", ","),
    ],
)
def test_a_table_is_read_however_it_was_written(tmp_path: Path, text: str) -> None:
    series = read_series(put(tmp_path / "any.csv", text))
    assert series.names == ("load", "heat")
    assert series.values.tolist() == [[1, 2.5], [-0.3, 4]]
    assert series.times is not None
    assert series.times.spelled() == ["2020-01", "2020-02"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_other_unicode_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    path = put(tmp_path / "any.csv", TABLE.replace("heat", "Wärme"), encoding)
    assert open_table(path).columns == ("date", "load", "Wärme")


def test_latin_1_is_detected_and_said(tmp_path: Path) -> None:
    path = put(tmp_path / "any.csv", TABLE.replace("heat", "Wärme"), "latin-1")
    table = open_table(path)
    assert table.columns == ("date", "load", "Wärme")
    assert table.remarks == ("encoding: cp1252, as its content shows (--set encoding=... names another)",)
    assert open_table(path, encoding="latin-1").columns == ("date", "load", "Wärme")
    with pytest.raises(DataError, match="is no text encoded as utf-8\n  got: byte 0xe4 in line 1 "):
        open_table(path, encoding="utf-8")
    with pytest.raises(DataError, match="there is no encoding 'latin-99'"):
        open_table(path, encoding="latin-99")


def test_packed_tables_json_lines_parquet_and_frames_are_alike(tmp_path: Path) -> None:
    frame = pd.DataFrame({"date": pd.to_datetime(["2020-01-01", "2020-02-01"]), "load": [1, 2], "heat": [2.5, 4.0]})
    frame.to_csv(tmp_path / "any.csv.gz", index=False)
    frame.assign(date=frame["date"].astype(str)).to_json(tmp_path / "any.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "any.parquet")
    assert gzip.decompress((tmp_path / "any.csv.gz").read_bytes()).startswith(b"date,load")
    sources = [
        tmp_path / "any.csv.gz",
        tmp_path / "any.jsonl",
        tmp_path / "any.parquet",
        frame,
        frame.set_index("date"),
    ]
    for source in (*sources, frame.set_index("date").rename_axis(None)):
        series = read_series(source)
        assert series.names == ("load", "heat")
        assert series.values.tolist() == [[1, 2.5], [2, 4]]
        assert series.times is not None
        assert series.times.values.astype("datetime64[M]").astype(str).tolist() == ["2020-01", "2020-02"]


@pytest.mark.parametrize(
    ("text", "names", "values", "times"),
    [
        ("1,2\n3,4\n", ("column 1", "column 2"), [[1, 2], [3, 4]], None),
        ("a,b\n1,2\n3,4\n", ("a", "b"), [[1, 2], [3, 4]], None),
        ("mon,2\ntue,4\n", ("column 2",), [[2], [4]], ["mon", "tue"]),
        ("value\n1\n2\n", ("value",), [[1], [2]], None),
        ("5\n6\n", ("column 1",), [[5], [6]], None),
        (",a\n0,1\n1,2\n", ("a",), [[1], [2]], ["0", "1"]),
        (",0,1\n0,5,6\n1,7,8\n", ("0", "1"), [[5, 6], [7, 8]], ["0", "1"]),
        ("date,0,1\n2020-01-01,5,6\n2020-01-02,7,8\n", ("0", "1"), [[5, 6], [7, 8]], ["2020-01-01", "2020-01-02"]),
        ("7,8\n", ("column 1", "column 2"), [[7, 8]], None),
        ("0,1,2,3\n0.5,0.25,0.5,0.5\n", ("0", "1", "2", "3"), [[0.5, 0.25, 0.5, 0.5]], None),
    ],
)
def test_headers_and_times_are_told_from_numbers(
    tmp_path: Path, text: str, names: tuple[str, ...], values: list[list[float]], times: list[str] | None
) -> None:
    series = read_series(put(tmp_path / "any.csv", text))
    assert (series.names, series.values.tolist()) == (names, values)
    assert (None if series.times is None else series.times.spelled()) == times


@pytest.mark.parametrize("text", ["0,1\n1000.71,1000.84\n1010.03,1005.90\n", "0,1\n5,6\n", "x,2\n1,3\n"])
def test_a_first_row_that_may_be_either_is_asked_for(tmp_path: Path, text: str) -> None:
    path = put(tmp_path / "any.csv", text)
    with pytest.raises(DataError) as caught:
        open_table(path)
    first = text.split("\n", maxsplit=1)[0].replace(",", ", ")
    assert caught.value.in_shell() == (
        f"{path}: the first row may be a header or a row of values\n  got: {first}\n"
        "  do: add --set header=yes, or --set header=no"
    )
    rows = text.count("\n")
    assert (len(open_table(path, header="yes")), len(open_table(path, header="no"))) == (rows - 1, rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " is empty"),
        ("\n\n", " holds no rows"),
        ("date,load\n", " holds a header and no rows\n  got: date, load"),
        ("date,load,load\n2020-01,1,2\n", ": two columns are called 'load'"),
        (
            TABLE + "2020-03,1\n",
            ", line 4: the row has too many or too few fields\n  expected: 3 fields divided by commas",
        ),
        (TABLE + "2020-03,1,2,3\n", ", line 4: the row has too many .*\n.*\n  got: 4: '2020-03,1,2,3'"),
        (TABLE + "2020-03,,1\n", ", line 4, 'load': a value is missing\n.*\n  got: ''\n  do: missing='forward' or"),
        (TABLE + "2020-03,1,NaN\n", ", line 4, 'heat': a value is missing\n.*\n  got: 'NaN'"),
        (TABLE + "2020-03,1", ", line 4: the row has too many or too few fields"),
        (
            TABLE + '2020-03,"1,2\n',
            ", line 4: the row cannot be divided into fields\n.*\n  got: unexpected end of data",
        ),
        (",,\n,,\n", " holds no values\n  got: empty fields in 2 rows"),
        ("a,b\n1," + "2" * 131_073, ", line 2: the row cannot be .*\n.* within, of at most 131,072 characters each\n"),
        ("a,b\nNaN,2\n1,3\n", ", line 2, 'a': a value is missing\n.*\n  got: 'NaN'"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = put(tmp_path / "any.csv", text)
    with pytest.raises(DataError, match=re.escape(str(path)) + message):
        read_series(path)


def test_half_of_a_character_is_no_text(tmp_path: Path) -> None:
    path = put(tmp_path / "any.jsonl", '{"a": "b"}\n{"a": "x\\ud800"}\n')
    with pytest.raises(DataError) as raised:
        open_table(path)
    assert str(raised.value).splitlines() == [
        f"{path}, line 2, 'a': half of a character, which no text has",
        "  got: \\ud800",
        "  do: mend the row, or leave it out",
    ]


def test_columns_of_parquet_may_nest_or_be_bytes(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": ["x", "y"], "list": [["p", "q"], []], "bytes": ["ä".encode(), b"\xff"]})
    frame.to_parquet(tmp_path / "any.parquet")
    table = open_table(tmp_path / "any.parquet")
    assert table.texts("a") == ["x", "y"]
    assert table.texts("bytes") == ["ä", "\\xff"]
    assert len(table.texts("list")) == 2


@pytest.mark.parametrize("value", ["inf", "-Infinity", "much", "1_000", "1e999", "12%"])
def test_what_is_no_finite_number_is_told_with_its_line(tmp_path: Path, value: str) -> None:
    path = put(tmp_path / "any.csv", f'{TABLE}"2020\n03",1,1\n2020-04,1,{value}\n')
    with pytest.raises(DataError, match=f"any.csv, line 6, 'heat': this is no finite number\n.*\n  got: '{value}'"):
        open_table(path).numbers("heat")
    assert open_table(path).numbers("load").tolist() == [1, -0.3, 1, 1]


def test_the_option_that_leaves_a_column_out_can_be_pasted(tmp_path: Path) -> None:
    path = put(tmp_path / "any.csv", "date,Net Sales\n2020-01-01,5 kg\n")
    with pytest.raises(DataError) as caught:
        open_table(path).numbers("Net Sales")
    assert str(caught.value.shell).endswith("or leave out the column with --set 'ignore=Net Sales'")


def test_a_quoted_field_may_hold_lines_and_its_row_begins_where_it_does(tmp_path: Path) -> None:
    table = open_table(put(tmp_path / "any.csv", 'text,b\n"one\ntwo ""2""",x\n\nlast,y\n'))
    assert [table.texts("text"), table.texts("b")] == [['one\ntwo "2"', "last"], ["x", "y"]]
    assert [table.place(row).rpartition(", ")[2] for row in (0, 1)] == ["line 2", "line 5"]


def test_between_tabs_a_quotation_mark_is_a_mark(tmp_path: Path) -> None:
    table = open_table(put(tmp_path / "any.tsv", '" so it goes, he said\t0\n5" pipe\t1\n'))
    assert table.texts("column 1") == ['" so it goes, he said', '5" pipe']


def test_columns_that_are_not_named_are_not_parsed(tmp_path: Path) -> None:
    path = put(tmp_path / "any.csv", TABLE.replace("-3e-1", "much"))
    assert read_series(path, SeriesColumns(target="heat")).values.tolist() == [[2.5], [4]]
    with pytest.raises(OptionError, match="any.csv has no column 'oil'\n  expected: one of date, load, heat"):
        read_series(path, SeriesColumns(target="oil"))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1,5", "2,25"], [1.5, 2.25]),
        (["1.234,5", "2"], [1234.5, 2]),
        (["1.234.567", "2"], [1234567, 2]),
        (["1,234,567", "2,000"], [1234567, 2000]),
        (["1,234.5", "2,000"], [1234.5, 2000]),
        (["0,125", "1,250"], [0.125, 1.25]),
        (["1 234", "5\u00a0678"], [1234, 5678]),
        (["1.234", "5678"], [1.234, 5678]),
        (["1.234", "0.678"], [1.234, 0.678]),
        (["+1", "-2e3"], [1, -2000]),
    ],
)
def test_numbers_are_read_by_the_whole_column(tmp_path: Path, texts: list[str], expected: list[float]) -> None:
    table = open_table(put(tmp_path / "any.csv", "a;b\n" + "".join(f"{text};x\n" for text in texts)), header="yes")
    assert table.numbers("a").tolist() == expected


@pytest.mark.parametrize(("sign", "readings"), [(",", (1.234, 1234)), (".", (1234, 1.234))])
def test_signs_that_may_mean_two_things_are_asked_for(tmp_path: Path, sign: str, readings: tuple[float, float]) -> None:
    path = put(tmp_path / "any.csv", f"date;a\n2020-01-01;1{sign}234\n2020-01-02;200\n")
    with pytest.raises(DataError) as caught:
        open_table(path).numbers("a")
    assert caught.value.in_shell() == (
        f"{path}, line 2, 'a': 1{sign}234 may be 1234 or 1.234, and no value of the column shows which\n"
        "  do: say which sign stands before decimals: add --set decimal=, or --set decimal=. "
        "(the other one divides thousands)"
    )
    for decimal, reading in zip((",", "."), readings, strict=True):
        assert open_table(path, decimal=decimal).numbers("a").tolist() == [reading, 200]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("other", "a"), [("0,5", [1.234, 200]), ("0.5", [1234, 200]), ("1.234,5", [1.234, 200]), ("1,234,567", [1234, 200])]
)
def test_signs_that_may_mean_two_things_are_those_of_the_other_columns(
    tmp_path: Path, other: str, a: list[float]
) -> None:
    path = put(tmp_path / "any.csv", f"a;b;c\n1,234;{other};1.234\n200;7;200\n")
    table = open_table(path)
    assert table.numbers("a").tolist() == a
    assert table.numbers("c").tolist() == [1234 if a[0] < 2 else 1.234, 200]


def test_thousands_in_a_file_that_commas_divide_are_quoted(tmp_path: Path) -> None:
    path = put(tmp_path / "any.csv", 'date,a,b\n2020-01-01,"1,234",1.234\n2020-01-02,"2,000",200\n')
    assert open_table(path).numbers("a").tolist() == [1234, 2000]
    assert open_table(path).numbers("b").tolist() == [1.234, 200]


@pytest.mark.parametrize(
    ("texts", "expected", "told"),
    [
        (["$ 1,206.29", "$7.5", "-$3"], [1206.29, 7.5, -3], "'$ 1,206.29' is read as 1206.29"),
        (["1.206,29 €", "7,5 €", "3"], [1206.29, 7.5, 3], "'1.206,29 €' is read as 1206.29"),
        (["EUR 12", "EUR 13", "14"], [12, 13, 14], "'EUR 12' is read as 12"),
        (["1.3%", "2 %", "0"], [1.3, 2, 0], "'1.3%' is read as 1.3"),
        (["13", "(12.5)", "14"], [13, -12.5, 14], "'(12.5)' is read as -12.5"),
        (["($12.50)", "$13.00", ""], [-12.5, 13, np.nan], "'($12.50)' is read as -12.5"),
        (["\u221212.5", "13"], [-12.5, 13], "'\u221212.5' is read as -12.5"),
    ],
)
def test_marks_beside_numbers_are_left_out_and_told_of(
    tmp_path: Path, texts: list[str], expected: list[float], told: str
) -> None:
    table = open_table(put(tmp_path / "any.csv", "a|b\n" + "".join(f"{text}|x\n" for text in texts)), header="yes")
    np.testing.assert_array_equal(table.numbers("a", "keep"), expected)
    assert table.fitted_remark(["a", "b"]) == (f"a: {told}",)


@pytest.mark.parametrize(
    ("texts", "row", "expected"),
    [
        (["1.3%", "2", "-0.5%"], 1, "a number with '%', as in other rows"),
        (["1.3", "2", "5%"], 2, "a number such as -12.5"),
        (["$5", "€6", "$7"], 1, "a number with '$', as in other rows"),
        (["5", "(6", "7"], 1, "a number such as -12.5"),
    ],
)
def test_numbers_with_other_marks_are_named(tmp_path: Path, texts: list[str], row: int, expected: str) -> None:
    table = open_table(put(tmp_path / "any.csv", "a|b\n" + "".join(f"{text}|x\n" for text in texts)), header="yes")
    with pytest.raises(DataError) as caught:
        table.numbers("a")
    assert f"line {row + 2}, 'a': this is no finite number\n  expected: {expected}\n  got: '{texts[row]}'\n" in str(
        caught.value
    )


def test_numbers_with_units_are_named(tmp_path: Path) -> None:
    path = put(tmp_path / "any.csv", "date,x,volume\n2020-01-01,1,1.2M\n2020-01-02,2,350K\n2020-01-03,3,1M\n")
    with pytest.raises(DataError) as caught:
        read_series(path)
    assert caught.value.in_shell() == (
        f"{path}, line 2, 'volume': this is no finite number\n  expected: a number such as -12.5\n  got: '1.2M'\n"
        "  do: mend the value, leave out the row, or leave out the column with --set ignore=volume"
    )
    assert read_series(path, SeriesColumns(ignore="volume")).names == ("x",)


def test_the_first_line_may_name_the_separator_as_excel_reads_it(tmp_path: Path) -> None:
    for sign, first in ((";", "sep=;"), ("\t", '"sep=\t"'), ("|", "SEP=|")):
        path = put(tmp_path / "any.csv", f"{first}\r\na{sign}b,c\r\n1{sign}2\r\n3{sign}x\r\n")
        table = open_table(path, header="yes")
        assert table.columns == ("a", "b,c")
        with pytest.raises(DataError, match="any.csv, line 4, 'b,c': this is no finite number"):
            table.numbers("b,c")


def test_what_signs_were_taken_for_is_told(tmp_path: Path) -> None:
    quoted = open_table(put(tmp_path / "any.csv", 'a,b\n"1,234",x\n"2,345",y\n'))
    assert quoted.numbers("a").tolist() == [1234, 2345]
    assert quoted.fitted_remark(["a"]) == ("a: '1,234' is read as 1234; decimal=',' reads 1.234",)
    others = open_table(put(tmp_path / "any.csv", "a;b\n1.234;0,5\n200;7\n"))
    assert others.numbers("a").tolist() == [1234, 200]
    assert others.fitted_remark(["a", "b"]) == ("a: '1.234' is read as 1234; decimal='.' reads 1.234",)


def test_missing_values_are_filled_as_is_asked(tmp_path: Path) -> None:
    table = open_table(put(tmp_path / "any.csv", "a,b\n1,\nNA,2\n?,3\n4,4\n"))
    assert table.numbers("a", "forward").tolist() == [1, 1, 1, 4]
    assert table.numbers("a", "interpolate").tolist() == [1, 2, 3, 4]
    assert np.isnan(table.numbers("a", "keep")).tolist() == [False, True, True, False]
    with pytest.raises(DataError, match="line 3, 'a': a value is missing, and in 1 more row\n"):
        table.numbers("a")
    assert table.numbers("b", "interpolate").tolist() == [2, 2, 3, 4]
    with pytest.raises(DataError, match="line 2, 'b': a value is missing\n(.*\n)*  do: forward has no value before it"):
        table.numbers("b", "forward")


def test_where_there_is_no_such_column_the_option_can_be_pasted(tmp_path: Path) -> None:
    table = open_table(put(tmp_path / "any.csv", "the time,value\n0,1\n1,2\n"))
    with pytest.raises(OptionError) as caught:
        table.require(["machine"], "id")
    assert caught.value.shell == "name one of its columns, as in --set 'id=the time'"
    assert caught.value.do == "name one of its columns as id"
