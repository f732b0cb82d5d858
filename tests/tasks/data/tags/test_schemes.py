"""Schemes of entity tags: recognised, read and written, and the best tags that may follow each other."""

import itertools

import numpy as np
import pytest

from gatewright.tasks.data.tags.schemes import (
    Entity,
    Transitions,
    best_paths,
    converted_tags,
    entities_of,
    recognised_scheme,
    tags_of,
)

ENTITIES = [Entity("PER", 0, 2), Entity("PER", 2, 3), Entity("LOC", 4, 7)]
BIO = ["B-PER", "I-PER", "B-PER", "O", "B-LOC", "I-LOC", "I-LOC"]
IOB1 = ["I-PER", "I-PER", "B-PER", "O", "I-LOC", "I-LOC", "I-LOC"]
BIOES = ["B-PER", "E-PER", "S-PER", "O", "B-LOC", "I-LOC", "E-LOC"]
BILOU = ["B-PER", "L-PER", "U-PER", "O", "B-LOC", "I-LOC", "L-LOC"]


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        (BIO, "BIO"),
        (IOB1, "IOB1"),
        (BIOES, "BIOES"),
        (BILOU, "BILOU"),
        (["B", "M", "E", "S", "O"], "BMES"),
        (["B", "I", "O"], "BIO"),
        (["I-LOC", "O"], "IOB1"),
        (["O", "I-LOC", "O", "B-LOC"], "BIO"),  # neither is pure: an I begins an entity
        (["NOUN", "O", "B-LOC"], "none"),
        (["NN", "-LRB-", "VB"], "none"),
        (["B", "I-LOC", "O"], "none"),  # one with a type and one without
        (["O", "O"], "none"),
    ],
)
def test_a_scheme_is_recognised(tags: list[str], scheme: str) -> None:
    assert recognised_scheme([tags]) == scheme


@pytest.mark.parametrize("tags", [BIO, IOB1, BIOES, BILOU])
def test_entities_are_the_same_in_every_scheme(tags: list[str]) -> None:
    assert entities_of(tags) == ENTITIES
    assert converted_tags(tags, "BIO") == BIO
    assert converted_tags(tags, "BIOES") == BIOES


def test_entities_without_a_type() -> None:
    assert entities_of(["B", "I", "O", "B"]) == [Entity("", 0, 2), Entity("", 3, 4)]
    assert tags_of([Entity("", 0, 2), Entity("", 3, 4)], 5, "BIOES") == ["B", "E", "O", "S", "O"]


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
def test_the_best_path_is_that_of_all_paths(scheme: str, rng: np.random.Generator) -> None:
    """Held to every sequence of tags there is, of which those with whole entities alone are allowed."""
    letters = "BI" if scheme == "BIO" else "BIES"
    classes = ["O", *(f"{letter}-{kind}" for letter in letters for kind in ("X", "Y"))]
    transitions = Transitions.of(classes, scheme)  # type: ignore[arg-type]
    lengths = np.array([4, 1, 3])
    scores = rng.normal(size=(4, 3, len(classes)))
    for row, path in enumerate(best_paths(scores, lengths, transitions)):
        steps = lengths[row]
        allowed = [
            tags
            for tags in itertools.product(range(len(classes)), repeat=int(steps))
            if (names := [classes[tag] for tag in tags]) == converted_tags(names, scheme)  # type: ignore[arg-type]
        ]
        values = [scores[np.arange(steps), row, list(tags)].sum() for tags in allowed]
        assert tuple(path.tolist()) == allowed[int(np.argmax(values))]


def test_without_a_scheme_each_step_has_its_best_tag(rng: np.random.Generator) -> None:
    scores, lengths = rng.normal(size=(5, 2, 3)), np.array([5, 2])
    paths = best_paths(scores, lengths, Transitions.of(["a", "b", "c"], "none"))
    assert [path.tolist() for path in paths] == [
        scores[:5, 0].argmax(-1).tolist(),
        scores[:2, 1].argmax(-1).tolist(),
    ]
