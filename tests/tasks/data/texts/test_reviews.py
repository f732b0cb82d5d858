"""The archive of reviews: read as a stream, in its parts."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from gatewright.errors import DataError
from gatewright.tasks.data.texts.labelled import decoded_texts, load_labelled_texts, load_texts_to_measure

REVIEWS = {
    "aclImdb/README": "about them",
    **{f"aclImdb/train/neg/{number}_2.txt": f"a dull film {number}" for number in range(10)},
    "aclImdb/train/unsup/3_0.txt": "no label",
    **{f"aclImdb/train/pos/{number}_9.txt": f"a fine film {number}, so très bon " for number in range(10)},
    "aclImdb/test/pos/0_10.txt": "\ufeffgood",
    "aclImdb/test/neg/0_1.txt": "bad",
}


def archive(folder: Path, reviews: dict[str, str]) -> Path:
    path = folder / "reviews.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        for name, text in reviews.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            packed.addfile(member, io.BytesIO(text.encode()))
    return path


def test_reviews_are_read_in_their_parts_and_a_share_is_held_out(tmp_path: Path) -> None:
    parts = load_labelled_texts(archive(tmp_path, REVIEWS)).parts
    assert parts.train.classes == ("neg", "pos")
    assert decoded_texts(parts.test) == ["\ufeffgood", "bad"]
    assert parts.test.labels.tolist() == [1, 0]
    assert [len(part) for part in parts] == [18, 2, 2]
    texts = [text for name, text in REVIEWS.items() if "/train/" in name and "unsup" not in name]
    assert sorted(decoded_texts(parts.train) + decoded_texts(parts.validation)) == sorted(texts)
    assert np.bincount(parts.train.labels).tolist() == [9, 9]


def test_reviews_are_measured_with_the_classes_of_a_model(tmp_path: Path) -> None:
    path = archive(tmp_path, REVIEWS)
    measured = load_texts_to_measure(path, classes=("pos", "other", "neg"))
    assert {part: np.bincount(texts.labels).tolist() for part, texts in measured.items()} == {
        "train": [10, 0, 10],
        "test": [1, 0, 1],
    }
    with pytest.raises(DataError, match="has other classes than the model\n  expected: good, bad\n  got: neg, pos"):
        load_texts_to_measure(path, classes=("good", "bad"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "aclImdb/train/meh/0_5.txt",
            "so so",
            "aclImdb/train/meh/0_5.txt: the class is unknown\n  expected: one of neg",
        ),
        ("aclImdb/train/pos/11_9.txt", "", "11_9.txt: this is no review\n  expected: a text\n  got: 0 bytes"),
        ("aclImdb/train/pos/11_9.txt", "\0", "11_9.txt is not UTF-8 text"),
    ],
)
def test_what_is_no_review_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_labelled_texts(archive(tmp_path, {**REVIEWS, name: text}))


def test_an_archive_without_a_part_is_refused(tmp_path: Path) -> None:
    reviews = {name: text for name, text in REVIEWS.items() if "/test/" not in name}
    with pytest.raises(
        DataError, match="holds no reviews in its part 'test'\n  expected: members such as aclImdb/test/"
    ):
        load_labelled_texts(archive(tmp_path, reviews))
