"""The archive of the Large Movie Review Dataset, read in one go and without unpacking it to disk.

Maas, Daly, Pham, Huang, Ng, Potts 2011, https://ai.stanford.edu/~amaas/data/sentiment/: 25,000 labelled reviews to
train on and 25,000 to test with, as aclImdb/<part>/<class>/<number>_<stars>.txt.
"""

import re
from pathlib import Path

from gatewright.errors import DataError
from gatewright.tasks.data.reading import decoded, opened
from gatewright.untrusted.archives import tar_members

CLASSES = ("neg", "pos")
_REVIEW = re.compile(r"(?:.*/)?(train|test)/(neg|pos|[^/]+)/(\d+)_(\d+)\.txt")
_PASSED_OVER = {"unsup"}  # reviews without a label
_LARGEST = 1 << 24  # bytes; no review comes near it


def read_reviews(path: Path) -> dict[str, list[tuple[str, str]]]:
    """The reviews of "train" and "test", each a text and its class, in the order of the archive.

    The archive is read as a stream, and nothing of it is written anywhere: what a member is called only says which part
    and class it belongs to, and links and other things that are no files are passed over.
    """
    parts: dict[str, list[tuple[str, str]]] = {"train": [], "test": []}
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
            parts[named[1]].append((text.decode(), named[2]))
    for part, reviews in parts.items():
        if not reviews:
            raise DataError(
                f"{path} holds no reviews in its part {part!r}",
                expected=f"members such as aclImdb/{part}/pos/0_9.txt",
                do="take the archive as it was published",
            )
    return parts
