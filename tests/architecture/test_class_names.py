"""A class name stands in one file of the package only, so that a reader who meets it knows which class it is."""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from tests.architecture.imports import MODULES


def classes(source: str) -> Iterator[str]:
    """The names of all classes of a source, those in functions and other classes included."""
    yield from (node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef))


def shared(names: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """The names that several modules have, with these modules."""
    places: dict[str, list[str]] = defaultdict(list)
    for module, found in names.items():
        for name in found:
            places[name].append(module)
    return {name: modules for name, modules in sorted(places.items()) if len(modules) > 1}


def test_a_class_name_is_unique() -> None:
    found = shared({module: classes(path.read_text(encoding="utf-8")) for module, path in MODULES.items()})
    assert found == {}, "\n".join(f"{name}: {', '.join(modules)}" for name, modules in found.items())


def test_a_shared_name_is_found() -> None:
    assert shared({"a": ["Plan", "_Row"], "b": ["Part", "_Row"], "c": ["Plan"]}) == {
        "Plan": ["a", "c"],
        "_Row": ["a", "b"],
    }
    assert list(classes("class A:\n    class B: ...\ndef f():\n    class C: ...")) == ["A", "B", "C"]
