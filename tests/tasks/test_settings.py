"""Settings are read from text by the type of their field, and every mistake is told with what to do."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest

from gatewright.errors import OptionError
from gatewright.tasks.settings import described, from_plain, from_texts, setting


@dataclass(frozen=True)
class Base:
    name: ClassVar[str] = "toy"
    size: int = setting(3, "how large", least=1)
    share: float = setting(0.5, "a share", least=0, below=1)


@dataclass(frozen=True)
class Toy(Base):
    size: int = 4
    kind: Literal["plain", "fancy"] = setting("plain", "which kind")
    limit: int | None = setting(None, "a limit", least=1)
    on: bool = setting(True, "whether")
    note: str = setting("", "a note")


def test_every_type() -> None:
    texts = ["size=7", "share=1e-3", "kind=fancy", "limit=10_000", "on=no", "note=a=b, c"]
    assert from_texts(Toy, texts) == {
        "size": 7,
        "share": 1e-3,
        "kind": "fancy",
        "limit": 10_000,
        "on": False,
        "note": "a=b, c",
    }


@pytest.mark.parametrize("text", ["none", "None", ""])
def test_nothing(text: str) -> None:
    assert from_texts(Toy, [f"limit={text}"]) == {"limit": None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size", "--set size gives no value\n  expected: key=value\n  do: write --set size=..."),
        (
            "sise=3",
            (
                "recipe 'toy' has no setting 'sise'\n  expected: one of kind, limit, note, on, share, size\n"
                "  do: did you mean size?"
            ),
        ),
        ("size=2.5", "setting 'size' cannot have this value\n  expected: a whole number\n  got: '2.5'"),
        ("share=half", "setting 'share' cannot have this value\n  expected: a number\n  got: 'half'"),
        ("on=maybe", "setting 'on' cannot have this value\n  expected: true or false\n  got: 'maybe'"),
        ("kind=odd", "setting 'kind' cannot have this value\n  expected: one of plain, fancy\n  got: 'odd'"),
        ("limit=x", "setting 'limit' cannot have this value\n  expected: a whole number or none\n  got: 'x'"),
    ],
)
def test_texts_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        from_texts(Toy, [text])
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 0}, "setting 'size' is out of range\n  expected: at least 1\n  got: 0"),
        ({"share": 1.0}, "setting 'share' is out of range\n  expected: at least 0 and below 1\n  got: 1"),
        (
            {"share": float("nan")},
            "setting 'share' is out of range\n  expected: at least 0 and below 1\n  got: nan",
        ),
        ({"limit": 0}, "setting 'limit' is out of range\n  expected: at least 1\n  got: 0"),
        ({"on": 1}, "setting 'on' cannot have this value\n  expected: true or false\n  got: 1"),
        ({"size": True}, "setting 'size' cannot have this value\n  expected: a whole number\n  got: True"),
        ({"note": 3}, "setting 'note' cannot have this value\n  expected: a text\n  got: 3"),
    ],
)
def test_values_that_cannot_be(values: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        from_plain(Toy, values)
    assert str(caught.value) == message


def test_a_default_of_its_own_keeps_the_line_and_the_range() -> None:
    assert [(one.name, one.kind, one.default, one.about) for one in described(Toy)] == [
        ("size", "a whole number", 4, "how large"),
        ("share", "a number", 0.5, "a share"),
        ("kind", "one of plain, fancy", "plain", "which kind"),
        ("limit", "a whole number or none", None, "a limit"),
        ("on", "true or false", True, "whether"),
        ("note", "a text", "", "a note"),
    ]
