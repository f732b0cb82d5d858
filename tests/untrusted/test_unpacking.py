"""Packed content gives no more bytes than it may."""

import io
import zipfile
from pathlib import Path

import pytest

from gatewright.untrusted.unpacking import BoundedReader, TooMuchUnpackedError, UnpackedLimit, too_large_zip


def test_a_limit_is_a_floor_and_then_a_ratio() -> None:
    limit = UnpackedLimit(floor=100, ratio=10)
    assert [limit.of(packed) for packed in (0, 10, 11)] == [100, 100, 110]


def test_a_stream_gives_what_it_may_and_no_byte_more() -> None:
    assert BoundedReader(io.BytesIO(b"x" * 10), 10).read() == b"x" * 10
    pieces = BoundedReader(io.BytesIO(b"x" * 11), 10)
    assert pieces.read(10) == b"x" * 10
    with pytest.raises(TooMuchUnpackedError, match="more than 10 bytes come out of it"):
        pieces.read(1)
    with pytest.raises(TooMuchUnpackedError):
        BoundedReader(io.BytesIO(b"x" * 11), 10).read()


def test_the_members_of_a_zip_count_together(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name in "ab":
            opened.writestr(name, bytes(600))
    assert too_large_zip(path, UnpackedLimit(floor=1200, ratio=1)) is None
    assert too_large_zip(path, UnpackedLimit(floor=1199, ratio=1)) == 1200
