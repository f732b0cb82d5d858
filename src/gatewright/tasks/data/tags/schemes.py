"""Tags that mark entities: which scheme a data set uses, and the entities as BIO or BIOES tags.

The schemes differ in the letters of an entity's first and last token (Ramshaw & Marcus 1995; Tjong Kim Sang &
Veenstra 1999). BIO, which is also called IOB2, begins every entity with B. IOB1 writes B only where an entity follows
another of its type. BIOES, also called IOBES, writes E at the end and S for an entity of one token; BILOU and BMES are
BIOES with other letters.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Scheme = Literal["none", "BIO", "IOB1", "BIOES", "BILOU", "BMES"]

OUTSIDE = "O"
_MARKED = re.compile(r"([BIESLUM])(?:-(.+))?")
_UNTYPED = "_"  # what seqeval calls the type of a tag that has none
_SAME_LETTER = {"L": "E", "U": "S", "M": "I"}  # of BILOU and BMES, as BIOES writes them


class Entity(NamedTuple):
    """The tokens from `start` to the one before `end`, counted from 0, are an entity of that type."""

    kind: str  # "" where tags have no type
    start: int
    end: int


def recognised_scheme(sentences: Iterable[Sequence[str]]) -> Scheme:
    """The scheme that the tags of these sentences are written in; "none" where they mark no entities.

    Tags are of a scheme where each is O or one of its letters with the same kind of ending, and B occurs or both I and
    O do. Sentences that are neither pure BIO nor pure IOB1 count as BIO: an I that follows nothing begins an entity, as
    conlleval reads it.
    """
    letters, typed = set[str](), set[bool]()
    pure_bio = pure_iob1 = True
    for tags in sentences:
        before = ("", "")
        for tag in tags:
            matched = _MARKED.fullmatch(tag)
            if matched is None and tag != OUTSIDE:
                return "none"
            letter, kind = (matched[1], matched[2] or "") if matched else (OUTSIDE, "")
            letters.add(letter)
            if matched:
                typed.add(bool(kind))
            continues = before[0] not in ("", OUTSIDE) and before[1] == kind
            pure_bio &= letter != "I" or continues
            pure_iob1 &= letter != "B" or continues
            before = (letter, kind)
    if len(typed) != 1 or not ("B" in letters or {"I", OUTSIDE} <= letters):
        return "none"
    if letters & {"E", "S", "L", "U", "M"}:
        return "BILOU" if letters & {"L", "U"} else "BMES" if "M" in letters else "BIOES"
    return "IOB1" if pure_iob1 and not pure_bio else "BIO"


def mark_entities(tags: Iterable[str]) -> bool:
    """Whether each of these tags is O, or one of some scheme."""
    return all(tag == OUTSIDE or _MARKED.fullmatch(tag) for tag in tags)


def entities_of(tags: Sequence[str]) -> list[Entity]:
    """The entities that those tags mark, in any of the schemes, as conlleval and seqeval's default mode read them.

    An I that follows no token of its type begins an entity; so does every B and S.
    """
    from seqeval.metrics.sequence_labeling import get_entities

    get: Any = get_entities
    read = get([_plain(tag) for tag in tags])
    return [Entity("" if kind == _UNTYPED else kind, start, last + 1) for kind, start, last in read]


def _plain(tag: str) -> str:
    """The tag with the letters of BIOES, and with a type."""
    matched = _MARKED.fullmatch(tag)
    return tag if matched is None else f"{_SAME_LETTER.get(matched[1], matched[1])}-{matched[2] or ''}"


def tags_of(entities: Iterable[Entity], length: int, scheme: Scheme) -> list[str]:
    """The tags of a sentence of that many tokens, in BIO or BIOES."""
    tags = [OUTSIDE] * length
    for kind, start, end in entities:
        letters = ["B", *("I" * (end - start - 1))]
        if scheme == "BIOES":
            letters[-1] = "S" if end - start == 1 else "E"
        tags[start:end] = [f"{letter}-{kind}" if kind else letter for letter in letters]
    return tags


def converted_tags(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """The same entities as tags of BIO or BIOES."""
    return tags_of(entities_of(tags), len(tags), scheme)


FORBIDDEN = -1e4
"""The score of what a scheme forbids: it outweighs every other, and is a number in JSON."""


class Transitions(NamedTuple):
    """How tags follow each other: scores that are added to those of the tags, `FORBIDDEN` where they may not."""

    first: NDArray[np.float32]  # (tags,): of the first token
    next: NDArray[np.float32]  # (tags before, tags)
    last: NDArray[np.float32]  # (tags,): of the last token

    @classmethod
    def of(cls, classes: Sequence[str], scheme: Scheme) -> "Transitions":
        """0 where a scheme allows it; with scheme "none" every tag may follow every other."""
        count = len(classes)
        allowed = np.zeros((count + 2, count + 2), np.bool_)  # with the places before the first and after the last
        padded = (OUTSIDE, *classes, OUTSIDE)
        for row, before in enumerate(padded):
            for column, tag in enumerate(padded):
                allowed[row, column] = scheme == "none" or _may_follow(before, tag, scheme)
        scores = np.where(allowed, 0, FORBIDDEN).astype(np.float32)
        return cls(scores[0, 1:-1], scores[1:-1, 1:-1], scores[1:-1, -1])

    def kept(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        return {name: scores.tolist() for name, scores in self._asdict().items()}


def _may_follow(before: str, tag: str, scheme: Scheme) -> bool:
    """Whether a tag of BIO or BIOES can stand after another."""
    same_kind = before[1:] == tag[1:] and OUTSIDE not in (before, tag)
    if scheme == "BIO":
        return not tag.startswith("I") or same_kind
    inside = tag[0] in "IE"
    return (same_kind and inside) if before[0] in "BI" else not inside


def best_paths(
    scores: NDArray[np.floating[Any]], lengths: NDArray[np.int64], transitions: Transitions
) -> list[NDArray[np.int64]]:
    """The tags with the highest sum of scores and transitions (Viterbi 1967).

    `scores` (time, batch, tags) are what a network gives, or their log-probabilities, which differ by the same for all
    tags of a step. The result has, for each row, (length,) numbers of tags.
    """
    if not any(scores_of_place.any() for scores_of_place in transitions):
        return [scores[:length, row].argmax(-1) for row, length in enumerate(lengths)]
    behind = np.zeros(scores.shape, np.int64)  # the best tag before, for each tag
    best = scores[0] + transitions.first
    final = best + transitions.last
    for step in range(1, len(scores)):
        through = best[:, :, None] + transitions.next  # (batch, before, tags)
        behind[step] = through.argmax(1)
        best = through.max(1) + scores[step]
        ends = (lengths == step + 1)[:, None]
        final = np.where(ends, best + transitions.last, final)
    return [_traced(behind[:length, row], int(final[row].argmax())) for row, length in enumerate(lengths)]


def _traced(behind: NDArray[np.int64], last: int) -> NDArray[np.int64]:
    path = np.empty(len(behind), np.int64)
    for step in range(len(behind) - 1, -1, -1):
        path[step] = last
        last = int(behind[step, last])
    return path
