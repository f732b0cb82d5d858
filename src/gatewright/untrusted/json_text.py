"""JSON from elsewhere: not too long, not nested too deeply, and not of too many lists."""

import json
import re
from typing import Any

import numpy as np

MOST_BYTES = 1 << 28
MOST_DEPTH = 100  # a model within a model within a model of Keras has about 30
MOST_LISTS = 1 << 20  # lists and objects; an empty one takes 3 bytes of text, and 64 of memory
# Also matches a text that does not end: otherwise each quotation mark in it would be tried as the beginning of one.
_TEXT = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*\\?(?:"|\Z)', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def parse_json(content: bytes | str, *, finite: bool = False) -> Any:
    """What a JSON text holds; with `finite`, NaN and the infinities, which no JSON has, are refused as well.

    Raises ValueError, which says what is wrong, for what is no JSON or costs too much.
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"it is longer than {MOST_BYTES:,} bytes")
    text = content if isinstance(content, str) else content.decode(json.detect_encoding(content))
    _check_structure(text)
    return json.loads(text, parse_constant=_refuse if finite else None)


def _check_structure(text: str) -> None:
    brackets = _TEXT.sub("", text).encode("utf-8", "replace").translate(None, _NO_BRACKETS)
    lists = brackets.count(b"[") + brackets.count(b"{")
    if len(brackets) > 2 * MOST_LISTS:
        raise ValueError(f"it has {lists:,} lists and objects; {MOST_LISTS:,} are allowed")
    signs = np.frombuffer(brackets, np.uint8)
    depth = int(np.where((signs == ord("[")) | (signs == ord("{")), 1, -1).cumsum().max(initial=0))
    if depth > MOST_DEPTH:
        raise ValueError(f"it is nested {depth:,} deep; {MOST_DEPTH} are allowed")


def _refuse(text: str) -> float:
    raise ValueError(f"it holds {text}, which is no finite number")
