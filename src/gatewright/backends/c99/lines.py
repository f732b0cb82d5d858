"""Lines of C, indented by the braces that are open."""

from collections.abc import Generator
from contextlib import contextmanager

WIDTH = 100


class Lines:
    """Collects the lines of a function's body."""

    def __init__(self, depth: int = 1) -> None:
        self.lines: list[str] = []
        self._depth = depth

    def add(self, line: str) -> None:
        """A line; of an assignment that is too long, what is behind the sign goes to the next."""
        text = "    " * self._depth + line
        head, sign, rest = text.partition(" = ")
        if len(text) <= WIDTH or not sign:
            self.lines.append(text)
        else:
            self.lines += [f"{head} =", "    " * (self._depth + 1) + rest]

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
