"""Find the line of user code that an operation was written on, and the variable that its result is assigned to."""

import dis
import os
import sys
from bisect import bisect_right
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType

_PACKAGE = Path(__file__).resolve().parent.parent
_OURS = tuple(f"{_PACKAGE / folder}{os.sep}" for folder in ("lang", "trace", "derive"))
_BOUNDARY = "run_cell"  # frames outside of it are of whoever asked for the trace, not of the cell


def user_frame() -> FrameType | None:
    """The innermost running frame that is not the language's own: a cell of the catalogue, or a user's."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None and (_is_ours(frame) or frame.f_code.co_name == "<genexpr>"):
        if frame.f_code.co_name == _BOUNDARY:
            return None
        frame = frame.f_back
    return frame


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_OURS)


def assigned_name(frame: FrameType | None) -> str | None:
    """The local variable that the running call's result goes to: 'r' within `r = sigmoid(...)`.

    A helper function that returns the result at once is looked through. Bytecode tells it, not source text, so cells
    made in a notebook or with exec keep their names.
    """
    while frame is not None:
        starts, next_use = _uses(frame.f_code)
        # inside of a call the offset may point after the instruction, at its inline cache
        following = next_use[bisect_right(starts, frame.f_lasti) - 1]
        if following != "return":
            return following
        frame = frame.f_back  # the result is returned as it is
        if frame is None or _is_ours(frame):
            return None
    return None


@lru_cache(maxsize=512)
def _uses(code: CodeType) -> tuple[list[int], list[str | None]]:
    """Where each instruction starts, and the variable that its result is stored in next, or "return", or None."""
    instructions = list(dis.get_instructions(code))
    uses: list[str | None] = []
    for following in [*instructions[1:], None]:
        # STORE_DEREF: a variable that a function inside of the cell reads too
        if following is not None and following.opname.startswith(("STORE_FAST", "STORE_DEREF")):
            # joined instructions of newer interpreters (STORE_FAST_LOAD_FAST) carry two names; the first is stored
            uses.append(following.argval[0] if isinstance(following.argval, tuple) else following.argval)
        else:
            # `return` is a keyword, so that it cannot be mistaken for a variable
            uses.append("return" if following is not None and following.opname == "RETURN_VALUE" else None)
    return [instruction.offset for instruction in instructions], uses
