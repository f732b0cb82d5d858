"""Labelled texts from tables, folders and memory, and texts without labels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gatewright.errors import DataError, GatewrightError
from gatewright.tasks.columns import TextColumns
from gatewright.tasks.data.texts.labelled import LabelledTexts, load_labelled_texts, read_texts
from tests.tasks.data.formats import put

COUNT = 20
TEXTS = [f"a film to see {place}" for place in range(COUNT)]
MOODS = ["bad" if place % 2 else "good" for place in range(COUNT)]
KINDS = ["long" if place % 3 else "short" for place in range(COUNT)]
NAMES = ("review", "mood", "number", "user")
COLUMNS = (TEXTS, MOODS, list(range(COUNT)), [f"user{place}" for place in range(COUNT)])


def table(places: Sequence[int], names: Sequence[str] = NAMES, separator: str = ",", *, header: bool = True) -> str:
    rows = zip(*(COLUMNS[place] for place in places), strict=True)
    first = f"{separator.join(names[place] for place in places)}\n" * header
    return first + "".join(f"{separator.join(map(str, row))}\n" for row in rows)


def load(source: object, **settings: str) -> LabelledTexts:
    return load_labelled_texts(source, TextColumns(**settings), validation=0.25, test=0.25)  # pyright: ignore[reportArgumentType]


def pairs(read: LabelledTexts) -> dict[str, str]:
    return {
        part.sequences[place].tobytes().decode(): part.classes[part.labels[place]]
        for part in read.parts
        for place in range(len(part))
    }


EXPECTED = dict(zip(TEXTS, MOODS, strict=True))


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        (table((0, 1)), "text: review, label: mood"),
        (table((1, 0)), "text: review, label: mood"),
        (table((0, 1), header=False), "text: column 1, label: column 2"),
        (table((1, 0), header=False), "text: column 2, label: column 1"),
        (table((2, 3, 0, 1)), "text: review, label: mood"),
        (table((0, 1), separator=";"), "text: review, label: mood"),
        (table((0, 1), separator="\t"), "text: review, label: mood"),
        (table((0, 1), ("review text", "sentiment")), "text: review text, label: sentiment"),
        (table((2, 1, 0), ("text", "label", "id")), "text: text, label: label"),
    ],
)
def test_the_columns_of_texts_and_labels_are_told_apart(tmp_path: Path, text: str, remark: str) -> None:
    read = load(put(tmp_path / "texts.csv", text))
    assert read.remarks == (remark,)
    assert pairs(read) == EXPECTED


def test_json_lines_frames_and_lists_are_read(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": TEXTS, "label": MOODS, "of": [{"nested": 1}] * COUNT})
    frame.to_json(tmp_path / "texts.jsonl", orient="records", lines=True)
    pair = (TEXTS, MOODS)
    for source in (tmp_path / "texts.jsonl", frame, pair, (np.array(TEXTS), pd.Series(MOODS))):
        assert pairs(load(source)) == EXPECTED
    assert load(tmp_path / "texts.jsonl").columns == {"text": "text", "label": "label"}
    numbered = load((TEXTS, [place % 2 for place in range(COUNT)]))
    assert numbered.parts.train.classes == ("0", "1")


def test_a_folder_for_each_class_holds_its_texts(tmp_path: Path) -> None:
    for place, (text, mood) in enumerate(EXPECTED.items()):
        for part in ("", "train", "test"):
            folder = tmp_path / ("parts" if part else "whole") / part / mood
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{place}.txt").write_text(text if part == "train" or not part else f"{text} again")
    whole = load(tmp_path / "whole")
    assert whole.remarks == ("text: *.txt files, label: the 2 folders that hold them",)
    assert pairs(whole) == EXPECTED
    parts = load(tmp_path / "parts").parts
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (15, 5, 20)
    (tmp_path / "whole" / "bad" / "1.txt").write_text(" \n")
    with pytest.raises(DataError, match=r"bad.1.txt: the text is missing"):
        load(tmp_path / "whole")


def refusal(source: object, **settings: str) -> str:
    with pytest.raises(GatewrightError) as caught:
        load(source, **settings)
    return caught.value.in_shell()


def test_what_is_ambiguous_is_asked_for_with_the_command(tmp_path: Path) -> None:
    frame = pd.DataFrame({"review": TEXTS, "mood": MOODS, "kind": KINDS})
    frame.to_csv(tmp_path / "texts.csv", index=False)
    assert refusal(tmp_path / "texts.csv") == (
        f"{tmp_path / 'texts.csv'} does not show which column is the label\n"
        "  got: review, mood, kind\n  do: name the columns: add --set text=review label=mood"
    )
    assert pairs(load(tmp_path / "texts.csv", label="mood")) == EXPECTED
    assert pairs(load(tmp_path / "texts.csv", label="kind")) == dict(zip(TEXTS, KINDS, strict=True))
    joined = load(tmp_path / "texts.csv", text="kind,review", label="mood")
    assert pairs(joined) == {f"{kind}\n{text}": EXPECTED[text] for kind, text in zip(KINDS, TEXTS, strict=True)}
    header = put(tmp_path / "header.csv", table((0, 1), ("what they wrote", "mood")))
    assert refusal(header) == (
        f"{header}: the first row may be a header or a row of values\n  got: what they wrote, mood\n"
        "  do: add --set header=yes, or --set header=no"
    )
    assert pairs(load(header, header="yes")) == EXPECTED
    assert refusal(frame, label="class").startswith("the DataFrame has no column 'class'\n  expected: one of review, ")


def test_wrong_labels_and_objects_are_refused(tmp_path: Path) -> None:
    for name in ("train.csv", "test.csv"):
        put(tmp_path / name, table((0, 1)))
    assert len(load(tmp_path).parts.test) == COUNT
    put(tmp_path / "test.csv", table((0, 1)).replace("good", "fine"))
    assert refusal(tmp_path) == (
        f"{tmp_path / 'test.csv'}, line 2: the label is unknown\n  expected: one of bad, good\n  got: 'fine'"
    )
    numbers = put(tmp_path / "numbers.csv", table((0, 2), ("text", "", "label")))
    assert refusal(numbers).startswith(f"{numbers}, line 2: there are 20 different labels for 20 texts\n")
    assert refusal((TEXTS, MOODS[1:])) == "each text has a label\n  expected: 20 labels\n  got: 19"
    assert refusal(TEXTS).startswith("these are no labelled texts\n  expected: a path, a pandas DataFrame, or (texts,")
    assert refusal(pd.DataFrame({"text": TEXTS, "label": [None, *MOODS[1:]]})).startswith(
        "the DataFrame, row 0: the label is missing\n"
    )


def test_texts_without_labels_have_their_place(tmp_path: Path) -> None:
    lines = read_texts(put(tmp_path / "lines.txt", "good it is\n\nbad\n"))
    assert (lines.texts, lines.keys) == (["good it is", "bad"], {"line": [1, 3]})
    for names in (NAMES, ("text", "label", "id", "by")):
        whole = read_texts(put(tmp_path / "texts.csv", table((1, 0, 3), names)))
        assert whole.texts == TEXTS
        assert whole.keys == {"line": list(range(2, COUNT + 2))}
    assert read_texts(tmp_path / "texts.csv", TextColumns(text="by")).texts[0] == "user0"
    assert read_texts(tmp_path / "texts.csv", usual={"text": "by", "label": "none"}).texts[0] == "user0"
    assert read_texts(["a b", "c"]).keys == {"line": range(1, 3)}
    assert read_texts(pd.Series(["a b", "c"])).texts == ["a b", "c"]
    assert read_texts(pd.DataFrame({"text": ["a", "b"]})).keys == {"row": [0, 1]}
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    put(tmp_path / "folder" / "inner" / "a.txt", "some text\n")
    assert read_texts(tmp_path / "folder").keys == {"file": ["inner/a.txt"]}
    with pytest.raises(DataError, match="the first row may be a header or a row of values\n  got: good it is"):
        read_texts(put(tmp_path / "one.csv", "good it is\nbad it is\n"))
