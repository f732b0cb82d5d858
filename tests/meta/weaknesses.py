"""Finds, in the source of a test, the known ways in which tests cannot fail."""

import ast
import re
from collections.abc import Callable, Iterator

LOOSE = 0.01
TOLERANCES = {"atol", "rtol", "abs", "rel", "abs_tol", "rel_tol"}
# Comparisons that answer, and do not raise: as a statement of their own they check nothing.
ANSWERS = {"allclose", "array_equal", "array_equiv", "equal", "isclose"}
# A function so named raises where its check fails, so that a test may leave its assertions to it.
CHECKS = re.compile(r"_*(assert|check|expect|golden|fail|raises|warns|gradcheck|gradgradcheck)")

Weakness = tuple[int, str]


def weaknesses(source: str) -> list[Weakness]:
    """Line numbers and descriptions, in order."""
    return sorted({found for node in ast.walk(ast.parse(source)) for rule in RULES for found in rule(node)})


def swallowed_errors(node: ast.AST) -> Iterator[Weakness]:
    if isinstance(node, ast.ExceptHandler) and all(_does_nothing(line) for line in node.body):
        yield node.lineno, "an `except` that does nothing hides the failure"
    if isinstance(node, ast.Call) and _name(node) == "suppress":
        hidden = {_identifier(error) for error in node.args} & {
            "Exception",
            "BaseException",
            "AssertionError",
        }
        if hidden:
            yield node.lineno, f"suppress({', '.join(sorted(hidden))}) hides the failure"


def hidden_nans(node: ast.AST) -> Iterator[Weakness]:
    if isinstance(node, ast.Call) and _name(node) == "nan_to_num":
        yield node.lineno, "nan_to_num makes a NaN look right"
    if isinstance(node, ast.keyword) and node.arg == "equal_nan" and not _is_constant(node.value, False):
        yield node.value.lineno, "equal_nan lets two failures agree"


def loose_tolerances(node: ast.AST) -> Iterator[Weakness]:
    if isinstance(node, ast.keyword) and node.arg in TOLERANCES and isinstance(node.value, ast.Constant):
        value = node.value.value
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= LOOSE:
            yield (
                node.value.lineno,
                f"{node.arg}={value} is too loose to fail (a narrow dtype? derive it from its eps)",
            )


def unused_answers(node: ast.AST) -> Iterator[Weakness]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _name(node.value) in ANSWERS:
        yield node.lineno, f"the answer of {_name(node.value)} is not asserted"
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Compare):
        yield node.lineno, "a comparison without `assert`"


def truncating_zips(node: ast.AST) -> Iterator[Weakness]:
    if isinstance(node, ast.Call) and _name(node) == "zip" and len(node.args) > 1:
        strict = [word.value for word in node.keywords if word.arg == "strict"]
        if not (strict and _is_constant(strict[0], True)):
            yield node.lineno, "zip without strict=True truncates"


def asserted_constants(node: ast.AST) -> Iterator[Weakness]:
    if not isinstance(node, ast.Assert) or _is_constant(node.test, False):
        return
    if isinstance(node.test, ast.Constant | ast.Tuple):
        yield node.lineno, "asserts what is always true"


def silent_skips(node: ast.AST) -> Iterator[Weakness]:
    if isinstance(node, ast.Attribute) and node.attr in {"skip", "xfail"} and _identifier(node.value) == "mark":
        yield node.lineno, f"mark.{node.attr}: skip where a condition holds (skipif, with a reason), or mend"
    if isinstance(node, ast.Call) and _name(node) == "skip" and not (node.args or node.keywords):
        yield node.lineno, "a skip without a reason"


def empty_tests(node: ast.AST) -> Iterator[Weakness]:
    if not (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")):
        return
    if not any(_can_fail(part) for part in ast.walk(node)):
        yield node.lineno, f"{node.name} has no assertion"
    for part in _own_nodes(node):
        if isinstance(part, ast.Return):
            yield part.lineno, f"{node.name} returns early: skip with a reason, or assert"


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function, without those of functions and classes inside it."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield node
            yield from _own_nodes(node)


def _identifier(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _name(call: ast.Call) -> str:
    return _identifier(call.func)


def _is_constant(node: ast.AST, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _does_nothing(node: ast.AST) -> bool:
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_text or isinstance(node, ast.Pass | ast.Continue)


def _can_fail(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return CHECKS.match(_name(node)) is not None
    return isinstance(node, ast.Assert | ast.Raise)


RULES: tuple[Callable[[ast.AST], Iterator[Weakness]], ...] = (
    swallowed_errors,
    hidden_nans,
    loose_tolerances,
    unused_answers,
    truncating_zips,
    asserted_constants,
    silent_skips,
    empty_tests,
)
