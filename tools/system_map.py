"""Writes the map of docs/system.md: an entry for each folder of the package, from the first sentence of its docstring.

    python -m tools.system_map            write the map
    python -m tools.system_map --check    fail if the map is not up to date

The parts stand in the order of tests/architecture/rules.py, the files of a folder in the order in which they can be
read: each after those of the folder that it imports.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from tests.architecture.imports import MODULES, imports_of_package
from tests.architecture.rules import ORDER
from tests.paths import PACKAGE, ROOT
from tools.generated import Generated

PARTS = [part for line in ORDER for part in line]


def the_map() -> str:
    """An entry for each folder: what it is for, and its files."""
    entries = [_entry(folder) for folder in (PACKAGE, *_folders(PACKAGE))]
    return "\n\n".join(entries)


def sentence(path: Path) -> str:
    """The first sentence of a file's docstring."""
    text = " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split())
    return (re.match(r".+?[.?!](?= |$)", text) or [text])[0]


def _entry(folder: Path) -> str:
    name = folder.relative_to(PACKAGE.parent).as_posix()
    files = ", ".join(f"[{path.stem}]({_link(path)})" for path in _files(folder))
    return f"**[`{name}/`]({_link(folder)})**: {sentence(folder / '__init__.py')}\\\n{files}".removesuffix("\\\n")


def _link(path: Path) -> str:
    return f"../{path.relative_to(ROOT).as_posix()}"


def _folders(folder: Path) -> Iterator[Path]:
    """The packages in a folder, each followed by those within it."""
    for inner in sorted((path.parent for path in folder.glob("*/__init__.py")), key=_place):
        yield inner
        yield from _folders(inner)


def _files(folder: Path) -> list[Path]:
    """The files of a folder, as they can be read one after the other."""
    files = {name: path for name, path in MODULES.items() if path.parent == folder}
    names = sorted((name for name in files if files[name].stem != "__init__"), key=lambda name: _place(files[name]))
    return [files[name] for name in reading_order(names, _needs())]


def _place(path: Path) -> tuple[int, str]:
    """Parts of the package stand in its order; within a part, names in that of the alphabet."""
    return (PARTS.index(path.stem) if path.parent == PACKAGE else 0), path.name


@lru_cache(maxsize=1)
def _needs() -> Mapping[str, set[str]]:
    """What each module imports when it is loaded."""
    needs: dict[str, set[str]] = {name: set() for name in MODULES}
    for found in imports_of_package():
        if not found.deferred:
            needs[found.importer].add(found.module)
    return needs


def reading_order(names: list[str], needs: Mapping[str, set[str]]) -> list[str]:
    """The names in their order, but each after those that it needs. No module needs itself, however indirectly."""
    left, order = list(names), list[str]()
    while left:
        order.append(next(name for name in left if not needs[name].intersection(left)))
        left.remove(order[-1])
    return order


MAP = Generated(ROOT / "docs" / "system.md", the_map, "the files' docstrings")

if __name__ == "__main__":
    MAP.main(__doc__)
