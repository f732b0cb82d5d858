"""The encoding of a table: UTF-8, what a byte order mark says, or what charset-normalizer finds; lines as text."""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gatewright.errors import DataError
from gatewright.tasks.data.reading import PIECE, decoded, likely_encoding, opened

_LOOKED_AT = 1 << 20  # bytes that the encoding is told by


class FileEncoding(NamedTuple):
    """The name of an encoding, and whether it was told by the content alone."""

    name: str
    is_detected: bool = False

    @property
    def remark(self) -> str:
        """A line for a person, where it was detected."""
        return f"encoding: {self.name}, as its content shows (--set encoding=... names another)" * self.is_detected


def encoding_of(path: Path, name: str = "") -> FileEncoding:
    """The encoding of that name; without a name UTF-8, or what the bytes of the file show.

    UTF-16 is read with a byte order mark or without. UTF-32 and content that no encoding explains are a DataError.
    """
    if name:
        try:
            return FileEncoding(codecs.lookup(name).name)
        except LookupError as error:
            raise DataError(
                f"there is no encoding {name!r}",
                expected="a name such as utf-8, cp1252 or utf-16",
                shell="write --set encoding=NAME",
            ) from error
    decoder = codecs.getincrementaldecoder("utf-8")()
    with opened(path) as source:
        start = piece = source.read(PIECE)
        try:
            while piece:
                if b"\0" in piece:
                    return _without_utf8(path, start, piece)
                decoder.decode(piece)
                piece = source.read(PIECE)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return _without_utf8(path, start, piece or start)
    return FileEncoding("utf-8")


def _without_utf8(path: Path, start: bytes, piece: bytes) -> FileEncoding:
    likely = likely_encoding(start, 0)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and likely == "UTF-16":
        return FileEncoding("utf-16")
    if b"\0" in start:
        if likely in ("UTF-16LE", "UTF-16BE"):
            return FileEncoding(likely.lower(), is_detected=True)
        decoded(path, start)  # raises: it is UTF-32, or no text
    if b"\0" in piece:
        raise DataError(f"{path} is no text", got="a NUL, which no text has", do="give a text file")
    return FileEncoding(_of_one_byte(path, piece[:_LOOKED_AT]), is_detected=True)


def _of_one_byte(path: Path, sample: bytes) -> str:
    """Of text that is neither UTF-8 nor UTF-16; the encoding of Western Europe where it is as likely as another."""
    from charset_normalizer import from_bytes

    matches = from_bytes(sample)
    best = matches.best()
    if best is None:
        raise DataError(
            f"{path} is not UTF-8 text, and its encoding cannot be told",
            expected="text in a known encoding",
            do="name it: encoding='cp1252', for example",
            shell="name it, for example with --set encoding=cp1252",
        )
    likely = {name for match in matches if match.chaos <= best.chaos for name in match.could_be_from_charset}
    return "cp1252" if likely & {"cp1252", "latin_1"} else best.encoding


def encoded_lines(path: Path, encoding: str) -> Iterator[str]:
    """The lines of a text file, which end with "\\n", without a byte order mark; a wrong byte is a DataError."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line, pending = 1, list[str]()  # parts of a line, joined once, so that a line of any length takes linear time
    returns: bool | None = None  # whether lines end with a carriage return alone, as on an old Macintosh
    with opened(path) as source:
        while True:
            piece = source.read(PIECE)
            try:
                text = decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                place = error.object[: error.start].count(b"\n") + line
                raise DataError(
                    f"{path} is no text encoded as {encoding}",
                    got=f"byte 0x{error.object[error.start]:02x} in line {place} ({error.reason})",
                    do="name the encoding of the file: encoding='cp1252', for example, or leave it out to have it "
                    "found",
                    shell="name the encoding of the file, for example with --set encoding=cp1252, or leave it out",
                ) from error
            if "\0" in text:
                raise DataError(f"{path} is no text", expected=f"text encoded as {encoding}", got="a NUL")
            if returns is None:
                text, returns = text.removeprefix("\ufeff"), "\r" in text and "\n" not in text
            first, *others = (text.replace("\r", "\n") if returns else text).split("\n")
            pending.append(first)
            for other in others:
                yield "".join(pending).removesuffix("\r") + "\n"
                pending = [other]
            line += len(others)
            if not piece:
                break
    if unfinished := "".join(pending):
        yield f"{unfinished}\n"
