"""The archive of the Large Movie Review Dataset, read in one go and without unpacking it to disk.

Maas, Daly, Pham, Huang, Ng, Potts 2011, https://ai.stanford.edu/~amaas/data/sentiment/: 25,000 labelled reviews to
train on and 25,000 to test with, as aclImdb/<part>/<class>/<number>_<stars>.txt.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gatewright.errors import DataError
from gatewright.tasks.data.ragged import LabelledSequences, Ragged
from gatewright.tasks.data.reading import decoded, opened
from gatewright.untrusted.archives import tar_members

CLASSES = ("neg", "pos")
_PARTS = ("train", "test")
_REVIEW = re.compile(r"(?:.*/)?(train|test)/(neg|pos|[^/]+)/(\d+)_(\d+)\.txt")
_PASSED_OVER = {"unsup"}  # reviews without a label
_LARGEST = 1 << 24  # bytes; no review comes near it


def read_reviews(path: Path) -> tuple[LabelledSequences, LabelledSequences]:
    """The reviews to train on and those to test with, each (bytes,) of UTF-8, in the order of the archive.

    The archive is read as a stream, and nothing of it is written anywhere: what a member is called only says which part
    and class it belongs to, and links and other things that are no files are passed over. 65 MB of texts are held.
    """
    parts: dict[str, tuple[bytearray, list[int], list[int]]] = {part: (bytearray(), [], []) for part in _PARTS}
    for part, label, text in _reviews(path):
        texts, lengths, labels = parts[part]
        texts += text
        lengths.append(len(text))
        labels.append(label)
    empty = next((part for part, (_, lengths, _) in parts.items() if not lengths), None)
    if empty is not None:
        raise DataError(
            f"{path} holds no reviews in its part {empty!r}",
            expected=f"members such as aclImdb/{empty}/pos/0_9.txt",
            do="take the archive as it was published",
        )
    train, test = (
        LabelledSequences(
            Ragged.from_lengths(np.frombuffer(texts, np.uint8), lengths), np.array(labels, np.int64), CLASSES
        )
        for texts, lengths, labels in parts.values()
    )
    return train, test


def _reviews(path: Path) -> Iterator[tuple[str, int, bytes]]:
    """The part, the number of the class and the text of each review."""
    with opened(path) as source:
        for member in tar_members(source):
            named = _REVIEW.fullmatch(member.name)
            if named is None or named[2] in _PASSED_OVER:
                continue
            where = f"{path}, member {member.name}"
            if named[2] not in CLASSES:
                raise DataError(f"{where}: the class is unknown", expected="one of " + ", ".join(CLASSES), got=named[2])
            if not 0 < member.size <= _LARGEST:
                raise DataError(f"{where}: this is no review", expected="a text", got=f"{member.size} bytes")
            text = member.read()
            decoded(where, text)  # raises: it is no text
            yield named[1], CLASSES.index(named[2]), text
