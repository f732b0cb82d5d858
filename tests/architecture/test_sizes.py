"""Files and functions stay small enough to be read at once."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.paths import ROOT, package_files

FILE_TARGET, FILE_LIMIT = 250, 400
FUNCTION_TARGET, FUNCTION_LIMIT = 25, 60

Size = tuple[int, str]


def file_sizes() -> list[Size]:
    return [(len(path.read_text(encoding="utf-8").splitlines()), _shown(path)) for path in package_files()]


def function_sizes() -> list[Size]:
    return [
        (lines, f"{_shown(path)}:{line} {name}")
        for path in package_files()
        for lines, line, name in functions(path.read_text(encoding="utf-8"))
    ]


def functions(source: str) -> Iterator[tuple[int, int, str]]:
    """Lines, first line and name of each function; a docstring is no burden, so its lines are not counted."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            text = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
            described = (text.end_lineno or text.lineno) - text.lineno + 1 if text else 0
            yield lines - described, node.lineno, node.name


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _hold(sizes: list[Size], target: int, limit: int) -> None:
    large = sorted((size for size in sizes if size[0] > target), reverse=True)
    for lines, name in large:
        print(f"{lines} lines (target {target}): {name}")
    assert [size for size in large if size[0] > limit] == [], f"more than {limit} lines"


def test_files_can_be_read_at_once() -> None:
    _hold(file_sizes(), FILE_TARGET, FILE_LIMIT)
    assert file_sizes()


def test_functions_can_be_read_at_once() -> None:
    _hold(function_sizes(), FUNCTION_TARGET, FUNCTION_LIMIT)
    assert function_sizes()


SOURCE = '''
class Layer:
    def run(self):
        """One sentence.

        And its details.
        """
        result = 1
        return result
'''


def test_functions_are_counted_without_their_docstrings() -> None:
    assert list(functions(SOURCE)) == [(3, 3, "run")]
