"""The archive of the Large Movie Review Dataset, read in one go and without unpacking it to disk.

Maas, Daly, Pham, Huang, Ng, Potts 2011, https://ai.stanford.edu/~amaas/data/sentiment/: 25,000 labelled reviews to
train on and 25,000 to test with, as aclImdb/<part>/<class>/<number>_<stars>.txt.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gatewright.errors import DataError
from gatewright.tasks.data.ragged import LabelledSequences, Ragged
from gatewright.tasks.data.reading import decoded, opened
from gatewright.untrusted.archives import TarMember, tar_members

CLASSES = ("neg", "pos")
_REVIEW = re.compile(r"(?:.*/)?(train|test)/(neg|pos|[^/]+)/(\d+)_(\d+)\.txt")
_PASSED_OVER = {"unsup"}  # reviews without a label
_LARGEST = 1 << 24  # bytes; no review comes near it


class _Review(NamedTuple):
    part: str
    label: int
    text: bytes


class _Growing:
    """Texts that are gathered one after the other, in one array of bytes."""

    def __init__(self) -> None:
        self.content, self.lengths, self.labels = bytearray(), list[int](), list[int]()

    def add(self, review: _Review) -> None:
        self.content += review.text
        self.lengths.append(len(review.text))
        self.labels.append(review.label)

    def finished(self) -> LabelledSequences:
        texts = Ragged.from_lengths(np.frombuffer(self.content, np.uint8), self.lengths)
        return LabelledSequences(texts, np.array(self.labels, np.int64), CLASSES)


def read_reviews(path: Path) -> tuple[LabelledSequences, LabelledSequences]:
    """The reviews to train on and those to test with, each (bytes,) of UTF-8, in the order of the archive.

    The archive is read as a stream, and nothing of it is written anywhere: what a member is called only says which part
    and class it belongs to, and links and other things that are no files are passed over. 65 MB of texts are held.
    """
    parts = {"train": _Growing(), "test": _Growing()}
    for review in _reviews(path):
        parts[review.part].add(review)
    empty = next((name for name, part in parts.items() if not part.lengths), None)
    if empty is not None:
        raise DataError(
            f"{path} holds no reviews in its part {empty!r}",
            expected=f"members such as aclImdb/{empty}/pos/0_9.txt",
            do="take the archive as it was published",
        )
    return parts["train"].finished(), parts["test"].finished()


def _reviews(path: Path) -> Iterator[_Review]:
    with opened(path) as source:
        for member in tar_members(source):
            named = _REVIEW.fullmatch(member.name)
            if named is None or named[2] in _PASSED_OVER:
                continue
            where = f"{path}, member {member.name}"
            if named[2] not in CLASSES:
                raise DataError(f"{where}: the class is unknown", expected="one of " + ", ".join(CLASSES), got=named[2])
            yield _Review(named[1], CLASSES.index(named[2]), _text(where, member))


def _text(where: str, member: TarMember) -> bytes:
    if not 0 < member.size <= _LARGEST:
        raise DataError(f"{where}: this is no review", expected="a text", got=f"{member.size} bytes")
    text = member.read()
    decoded(where, text)
    return text
