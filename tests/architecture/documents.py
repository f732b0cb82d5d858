"""Takes a Markdown document apart: its blocks of Python, what they print, and its commands."""

import re
import shlex
from dataclasses import dataclass

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: .+ -->\n\Z")
SHELLS = {"sh", "bash", "console"}


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is where its content begins, `run` is false where a remark above says so."""

    language: str
    content: str
    line: int
    run: bool

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
        )
        for match in FENCE.finditer(text)
    ]


def commands(block: Block, program: str) -> list[list[str]]:
    """The arguments of each call of `program` in a shell block."""
    joined = block.content.replace("\\\n", " ")
    lines = [shlex.split(line.removeprefix("$ "), comments=True) for line in joined.splitlines()]
    return [line[1:] for line in lines if line and line[0].rpartition("/")[2] == program]
