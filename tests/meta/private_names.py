"""Finds, in the source of a test, the private names of other modules: what begins with one underscore."""

import ast
import re
from collections.abc import Iterator

PRIVATE = re.compile(r"_[^_]\w*")
# Of namedtuples; of torch's modules, which our layers imitate, and storages; of os and ctypes; of notebooks.
NOT_OURS = {
    "_replace",
    "_all_weights",
    "_flat_weights",
    "_flat_weights_names",
    "_parameters",
    "_replicate_for_data_parallel",
    "_cdata",
    "_exit",
    "_flags_",
    "_repr_html_",
    "_repr_latex_",
    "_repr_svg_",
}
FRAMEWORKS = {"torch"}
PATCHES = {"setattr", "delattr", "getattr", "hasattr", "object"}


def private_names(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each use; a module's own names, and those of `self` and `cls`, are its own affair."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=module, names=names):
                yield from (
                    (node.lineno, f"from {module} import {name.name}") for name in names if _is_private(name.name)
                )
            case ast.Attribute(value=owner, attr=name) if _is_private(name) and not _is_own(owner):
                yield node.lineno, ast.unparse(node)
            case ast.Call(func=ast.Attribute(attr=function) | ast.Name(id=function), args=args) if function in PATCHES:
                words = (arg.value for arg in args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))
                yield from ((node.lineno, ast.unparse(node)) for word in words if _is_private(word.rpartition(".")[2]))
            case _:
                pass


def _is_private(name: str) -> bool:
    return PRIVATE.fullmatch(name) is not None and name not in NOT_OURS


def _is_own(owner: ast.expr) -> bool:
    words = ast.unparse(owner).split(".")
    return words[0] in FRAMEWORKS or words in (["self"], ["cls"])
