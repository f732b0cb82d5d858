"""Lines of C, indented by the braces that are open."""

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from textwrap import wrap

WIDTH = 100


class CodeLines:
    """Collects the lines of a function's body."""

    def __init__(self, depth: int = 1) -> None:
        self.lines: list[str] = []
        self._depth = depth

    def add(self, line: str) -> None:
        """A line; of an assignment that is too long, what is after the sign goes to the next."""
        text = "    " * self._depth + line
        head, sign, value = text.partition(" = ")
        if len(text) <= WIDTH or not sign:
            self.lines.append(text)
        else:
            self.lines += [f"{head} =", "    " * (self._depth + 1) + value]

    def gap(self) -> None:
        """An empty line between what stands before and what follows."""
        if self.lines and self.lines[-1]:
            self.lines.append("")

    @contextmanager
    def loop(self, index: str, bound: str) -> Generator[None]:
        """A loop from 0 up."""
        self.add(f"for (int {index} = 0; {index} < {bound}; ++{index}) {{")
        self._depth += 1
        yield
        self._depth -= 1
        self.add("}")


def loop(bound: str, statement: str) -> list[str]:
    """A loop over one statement, in a function."""
    return [f"    for (int i = 0; i < {bound}; ++i) {{", f"        {statement}", "    }"]


def function(head: str, lines: Sequence[str]) -> str:
    """A function; parameters that it does not use are named as such."""
    text = "\n".join(lines)
    parameters = [word for word in ("state", "symbol", "x") if _has(head.partition("(")[2], word)]
    unused = [f"    (void){word};" for word in parameters if not _has(text, word)]
    return "\n".join([head, "{", *unused, *lines, "}", ""])


def comment(lines: Sequence[str]) -> str:
    """A comment, whatever the lines hold."""
    lines = [line.replace("*/", "* /").replace("/*", "/ *") for line in lines]
    if len(lines) == 1:
        return f"/* {lines[0]} */"
    return "\n".join(["/*", *(f" * {line}".rstrip() for line in lines), " */"])


def wrapped(line: str) -> list[str]:
    """A line of a comment as lines that are not too long. What it is indented by, and more, its parts are too."""
    spaces = len(line) - len(line.lstrip())
    indent = " " * (spaces + 4) if spaces else ""
    return wrap(line, WIDTH - len(" * "), subsequent_indent=indent) or [""]


def _has(text: str, word: str) -> bool:
    return re.search(rf"\b{word}\b", text) is not None
