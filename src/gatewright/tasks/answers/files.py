"""Tables of answers as files: CSV, TSV, JSON lines and Parquet, told apart by their suffix."""

import io
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from gatewright.errors import OptionError

if TYPE_CHECKING:
    from pandas import DataFrame

_DIGITS = "%.9g"  # enough for a float32 to come back as it was


def table_of(rows: Iterable[Mapping[str, Any]]) -> "DataFrame":
    """Answers that came one after the other, as a table."""
    import pandas as pd

    return pd.DataFrame(list(rows))


def _separated(sign: str) -> Callable[[Any], bytes]:
    return lambda frame: frame.to_csv(index=False, sep=sign, float_format=_DIGITS, lineterminator="\n").encode()


def _json_lines(frame: Any) -> bytes:
    return frame.to_json(
        orient="records", lines=True, double_precision=9, force_ascii=False, date_format="iso"
    ).encode()


def _parquet(frame: Any) -> bytes:
    content = io.BytesIO()
    try:
        frame.to_parquet(content, index=False)
    except ImportError as error:
        raise OptionError(
            "a .parquet file needs the package 'pyarrow', which is not installed",
            do="pip install pyarrow, or write a .csv file",
        ) from error
    return content.getvalue()


FORMATS: Mapping[str, Callable[[Any], bytes]] = {
    ".csv": _separated(","),
    ".tsv": _separated("\t"),
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
"""By suffix: a DataFrame as the content of such a file."""
