"""Takes a Markdown document apart: its blocks of Python, what they print, and its commands."""

import contextlib
import io
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: .+ -->\n\Z")
NEEDS = re.compile(r"<!-- needs the data set ([\w-]+) -->\n\Z")
SHELLS = {"sh", "bash", "console"}


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is where its content begins.

    Remarks above it: `run` is false where one says "not run", and `needs` is the data set that one names.
    """

    language: str
    content: str
    line: int
    run: bool
    needs: str = ""

    @property
    def padded(self) -> str:
        """The content at its own lines, so that tracebacks point into the document."""
        return "\n" * (self.line - 1) + self.content


def blocks(text: str) -> list[Block]:
    return [
        Block(
            match[1],
            match[2],
            text.count("\n", 0, match.start(2)) + 1,
            not NOT_RUN.search(text[: match.start()]),
            needs[1] if (needs := NEEDS.search(text[: match.start()])) else "",
        )
        for match in FENCE.finditer(text)
    ]


def run_in_order(document: Sequence[Block], name: str, data: Sequence[str] = ()) -> list[int]:
    """Run the Python blocks in one name space; an `output` block is what the block of Python before it prints.

    A block that needs a data set is left out where `data` does not have it, and so is its output. Returns the lines of
    the blocks that were run.
    """
    lines = list[int]()
    names: dict[str, Any] = {"__name__": "__main__"}
    printed: str | None = ""
    for block in (block for block in document if block.run):
        if block.language == "output" and printed is not None:
            assert printed.strip() == block.content.strip(), f"{name}, line {block.line}"
        if block.language == "python":
            printed = None
            if not block.needs or block.needs in data:
                with contextlib.redirect_stdout(io.StringIO()) as stream:
                    exec(compile(block.padded, name, "exec"), names)
                printed = stream.getvalue()
                lines.append(block.line)
    return lines


def commands(block: Block, program: str) -> list[list[str]]:
    """The arguments of each call of `program` in a shell block."""
    joined = block.content.replace("\\\n", " ")
    lines = [shlex.split(line.removeprefix("$ "), comments=True) for line in joined.splitlines()]
    return [line[1:] for line in lines if line and line[0].rpartition("/")[2] == program]
