"""The texts that come with Python: its help, sentences of it, and the docstrings of its library by package."""

import ast
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from gatewright.errors import DataError

_FOLDERS = ("asyncio", "email", "http", "importlib", "logging", "multiprocessing", "unittest", "urllib", "xml")
_FILES = {"decimal": "_pydecimal.py", "mailbox": "mailbox.py"}
_PACKAGES = dict(sorted({**dict(zip(_FOLDERS, _FOLDERS, strict=True)), **_FILES}.items()))
_SHORTEST = 30  # characters of a paragraph


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


def python_prose() -> str:
    """The paragraphs of `python_docs` that are sentences: one a line, without grammar, code, tables and headings.

    A small network learns from these to write English in a minute or two; from all of the help texts it also has to
    learn their layout. The text differs a little between versions of Python.
    """
    paragraphs = (" ".join(lines.split()) for lines in re.split(r"\n\s*\n", python_docs()))
    return "\n".join(filter(_is_prose, paragraphs)) + "\n"


def _is_prose(paragraph: str) -> bool:
    """Whether a paragraph begins and ends as a sentence does, and is nearly all letters, spaces, commas and stops."""
    letters = sum(letter.isalpha() or letter in " ,.'" for letter in paragraph)
    is_sentence = paragraph[:1].isupper() and paragraph.endswith(".")
    return is_sentence and len(paragraph) >= 60 and letters > 0.95 * len(paragraph)


def python_docstrings() -> str:
    """The paragraphs in the docstrings of a dozen packages of Python's library, each with its package: a table of tabs.

    The columns are text and package. No module is imported. The texts differ a little between versions of Python.
    """
    library = Path(sysconfig.get_paths()["stdlib"])
    rows = {
        paragraph: package
        for package, place in _PACKAGES.items()
        for paragraph in _docstring_paragraphs(library / place)
    }
    if set(rows.values()) != set(_PACKAGES):
        raise DataError(
            "data set 'python-docstrings': this Python was installed without the source of its library",
            expected=f"{', '.join(_PACKAGES.values())} in {library}",
            got=f"docstrings in {', '.join(sorted(set(rows.values()))) or 'none'}",
            do="install Python's full standard library, or train on other texts",
        )
    return "\n".join(["text\tpackage", *(f"{text}\t{package}" for text, package in rows.items())]) + "\n"


def _docstring_paragraphs(place: Path) -> Iterator[str]:
    """Those of classes and functions, in one line each, without code and quotation marks that a table would need."""
    for file in [place] if place.is_file() else sorted(place.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                for paragraph in re.split(r"\n\s*\n", ast.get_docstring(node) or ""):
                    text = " ".join(paragraph.replace('"', "'").split())
                    if len(text) >= _SHORTEST and ">>>" not in text:
                        yield text
