"""The data sets that Gatewright knows by name: one row each."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from gatewright.errors import DataError

_CHAR_RNN = "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e"


@dataclass(frozen=True)
class DataFile:
    """One file of a data set: where it is published, and how to know that a copy is the right one."""

    name: str
    url: str
    sha256: str
    size: int  # bytes


@dataclass(frozen=True)
class DataSet:
    """One data set.

    `aliases` are further names for it, also for the folder that its files lie in. A data set without files
    makes its text itself, by `compose`.
    """

    name: str
    about: str
    licence: str
    files: tuple[DataFile, ...] = ()
    aliases: tuple[str, ...] = ()
    compose: Callable[[], str] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The name and the aliases."""
        return (self.name, *self.aliases)


def python_docs() -> str:
    """The English text of `help("topics")`: every topic, in the order of their names, an empty line between.

    The text is that of the running Python, so it is the same on every machine with the same version of
    Python, and differs a little between versions.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise DataError(
            "data set 'python-docs': this Python was installed without its help texts",
            expected="the module pydoc_data.topics, a part of the standard library",
            got=str(error),
            do="install Python's full standard library (on some systems the package python3-doc or "
            "libpython3-stdlib), or train on another text",
        ) from error
    return "\n\n".join(topics[name].strip("\n") for name in sorted(topics)) + "\n"


_ROWS = (
    DataSet(
        name="timemachine",
        about="The Time Machine by H. G. Wells (1895), the text that Dive into Deep Learning trains on",
        licence="public domain (the author died in 1946; Project Gutenberg eBook 35)",
        files=(
            DataFile(
                name="timemachine.txt",
                url="https://d2l-data.s3-accelerate.amazonaws.com/timemachine.txt",
                sha256="8424dbd9532ac81f7e5f0b6add90e6952baea29158309d7d1bf3884f4e12c516",
                size=178_979,
            ),
        ),
    ),
    DataSet(
        name="shakespeare",
        about="a megabyte of Shakespeare's plays, as char-rnn made it",
        licence="public domain",
        files=(
            DataFile(
                name="input.txt",
                url=f"{_CHAR_RNN}/data/tinyshakespeare/input.txt",
                sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                size=1_115_394,
            ),
        ),
        aliases=("tinyshakespeare",),
    ),
    DataSet(
        name="python-docs",
        about="the help texts that come with Python: English, half a megabyte, nothing to download",
        licence="PSF-2.0",
        compose=python_docs,
    ),
)

DATA_SETS: dict[str, DataSet] = {row.name: row for row in _ROWS}
_BY_ANY_NAME: dict[str, DataSet] = {name: row for row in _ROWS for name in row.names}


def find(name: str) -> DataSet | None:
    """The data set of that name or alias; None where there is none."""
    return _BY_ANY_NAME.get(name)


def data_set(name: str) -> DataSet:
    """The data set of that name or alias; a DataError with the nearest names where there is none."""
    row = find(name)
    if row is None:
        raise DataError(f"there is no data set named {name!r}", expected=known_names(), do=suggestion(name))
    return row


def known_names() -> str:
    """The names of all data sets, for a message."""
    return "one of " + ", ".join(sorted(DATA_SETS))


def suggestion(name: str) -> str | None:
    """What to do about a name that is none, if some known name is near to it."""
    near = get_close_matches(name.lower(), _BY_ANY_NAME, n=2)
    return "did you mean " + " or ".join(repr(one) for one in near) + "?" if near else None
