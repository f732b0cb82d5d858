"""Reads which modules a source imports, wherever in it the import stands."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.paths import PACKAGE, package_files

DYNAMIC = {"import_module", "__import__"}


@dataclass(frozen=True)
class Import:
    """`importer` imports `module`; it is `deferred` where that is inside a function, or for types only."""

    importer: str
    module: str
    line: int
    deferred: bool

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}: imports {self.module}"


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in package_files()}


@cache
def imports_of_package() -> tuple[Import, ...]:
    """Every import of every file of the package."""
    return tuple(
        found
        for name, path in MODULES.items()
        for found in imports_of(path.read_text(encoding="utf-8"), name, is_package=path.stem == "__init__")
    )


def imports_of(source: str, importer: str, is_package: bool = False) -> list[Import]:
    package = importer if is_package else importer.rpartition(".")[0]
    return [
        Import(importer, module, line, deferred)
        for node, deferred in _statements(ast.parse(source), False)
        for module, line in _targets(node, package)
    ]


def graph_of(imports: Iterable[Import]) -> dict[str, set[str]]:
    """The modules of the package that each module imports."""
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for found in imports:
        if found.module in MODULES and found.module != found.importer:
            graph[found.importer].add(found.module)
    return graph


def cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of modules that reach each other, each sorted; a module that only imports itself is no group."""
    reached = {name: _reached(name, graph) for name in graph}
    groups = {tuple(sorted({name, *(other for other in reached[name] if name in reached[other])})) for name in graph}
    return [list(group) for group in sorted(groups) if len(group) > 1]


def _reached(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - reached
        reached |= new
        waiting.extend(new)
    return reached


def _statements(tree: ast.AST, deferred: bool) -> Iterator[tuple[ast.AST, bool]]:
    for node in ast.iter_child_nodes(tree):
        yield node, deferred
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _is_for_types(node)
        yield from _statements(node, deferred or later)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def _targets(node: ast.AST, package: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, ast.Import):
        yield from ((alias.name, node.lineno) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        source = _resolve(node, package)
        for alias in node.names:
            # `from gatewright.trace import ir` names a module, `from gatewright.trace.ir import Var` what is
            # in one.
            inner = f"{source}.{alias.name}"
            yield (inner if inner in MODULES or source == PACKAGE.name else source), node.lineno
    elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in DYNAMIC:
        first = node.args[0] if node.args else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value, node.lineno


def _resolve(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, node.module] if node.module else above)
