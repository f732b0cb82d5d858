"""The data sets by name."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gatewright.errors import DataError
from gatewright.tasks.data.published.data_set import DataSet
from gatewright.tasks.data.published.python_texts import python_docs, python_docstrings, python_prose
from gatewright.tasks.data.published.registry import DATA_SETS, data_set
from gatewright.tasks.data.texts.labelled import decoded_texts, load_labelled_texts


@pytest.mark.parametrize("row", DATA_SETS.values(), ids=lambda row: row.name)
def test_a_row_says_where_its_text_comes_from(row: DataSet) -> None:
    assert row.about
    assert row.licence
    assert bool(row.files) != (row.compose is not None)
    for file in row.files:
        assert file.url.startswith("https://")
        assert file.url.endswith(f"/{file.name}")
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert file.size > 0


def test_no_name_is_given_twice() -> None:
    names = [name for row in DATA_SETS.values() for name in row.names]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", ["shakespeare", "tinyshakespeare"])
def test_a_set_is_found_by_its_name_and_its_alias(name: str) -> None:
    assert data_set(name).name == "shakespeare"


def test_an_unknown_name_lists_the_names_and_the_nearest() -> None:
    with pytest.raises(DataError) as caught:
        data_set("TimeMashine")
    assert str(caught.value) == (
        "there is no data set named 'TimeMashine'\n"
        "  expected: one of airline, arrowhead, basic-motions, etth1, etth2, ewt, gun-point, imdb, italy-power-demand, "
        "japanese-vowels, jsb, mnist, musedata, nottingham, osu-leaf, piano-midi, ptb, python-docs, "
        "python-docstrings, python-prose, shakespeare, sms-spam, sst2, sunspots, timemachine, trec\n"
        "  do: did you mean 'timemachine'?"
    )


def test_python_docs_is_english_text_and_the_same_each_time() -> None:
    text = python_docs()
    assert text == python_docs()
    assert len(text) > 300_000
    assert text.startswith('The "assert" statement')
    assert text.endswith("\n")
    assert "\n\n\n\n" not in text[:1000]


def test_python_prose_is_sentences_of_python_docs() -> None:
    text = python_prose()
    lines = text.splitlines()
    assert len(text) > 100_000
    assert text.endswith("\n")
    assert all(line[0].isupper() and line.endswith(".") and "::=" not in line and "  " not in line for line in lines)
    words = " ".join(python_docs().split())
    assert all(line in words for line in lines[::20])


def test_python_docs_without_the_help_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    compose: Callable[[], str] | None = data_set("python-docs").compose
    assert compose is not None
    with pytest.raises(DataError, match="this Python was installed without its help texts"):
        compose()


def test_python_docstrings_are_told_apart_by_package() -> None:
    assert python_docstrings() == python_docstrings()
    loaded = load_labelled_texts("python-docstrings")
    train, validation, test = loaded.parts
    assert loaded.columns == {"text": "text", "label": "package"}
    assert {"asyncio", "email", "unittest", "xml"} < set(train.classes)
    assert len(train) + len(validation) + len(test) > 2500
    texts = decoded_texts(train)
    assert len(set(texts)) == len(texts)
    assert all(">>>" not in text and "\t" not in text for text in texts)


def test_python_docstrings_without_the_source_of_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"stdlib": str(tmp_path)})
    with pytest.raises(DataError, match="this Python was installed without the source of its library"):
        python_docstrings()
