"""What a text says is searched."""

import pytest

from gatewright.errors import OptionError
from gatewright.tasks.recipes import RECIPES
from gatewright.tasks.recipes.text import Text
from gatewright.tasks.search import Choice, Range, read_space


def test_values_and_ranges() -> None:
    space = read_space(
        Text, "rate=log:1e-4..1e-1 hidden=64,128 layers=1..3 dropout=0..0.5 keep=best,last tokens=100,none"
    )
    assert space == {
        "rate": Range(1e-4, 1e-1, log=True),
        "hidden": Choice((64, 128)),
        "layers": Range(1, 3, log=False),
        "dropout": Range(0.0, 0.5, log=False),
        "keep": Choice(("best", "last")),
        "tokens": Choice((100, None)),
    }


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_says_what_to_search(name: str) -> None:
    assert len(read_space(RECIPES[name], RECIPES[name].search)) >= 2


@pytest.mark.parametrize(
    ("text", "problem", "got"),
    [
        ("", "names no setting", ""),
        ("rate", "gives no values", "rate"),
        ("rate=", "gives no values", "rate="),
        ("rate=1,2 rate=3,4", "is there twice", "rate=3,4"),
        ("rate=log:1,2", "log: stands before a range", "rate=log:1,2"),
        ("rate=1..0.1", "goes from the lower number to the higher, above 0 where it is log:", "rate=1..0.1"),
        ("rate=log:0..1", "goes from the lower number to the higher, above 0 where it is log:", "rate=log:0..1"),
        ("cell=a..b", "is a range of what are no numbers", "cell=a..b"),
    ],
)
def test_what_cannot_be_read(text: str, problem: str, got: str) -> None:
    with pytest.raises(OptionError) as caught:
        read_space(Text, text)
    assert str(caught.value) == (
        f"--search cannot be read: {problem}\n"
        "  expected: settings with values or ranges, as in 'rate=log:1e-4..1e-1 hidden=64,128 dropout=0..0.5'\n"
        f"  got: {got!r}"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rat=1,2", "recipe 'text' has no setting 'rat'"),
        ("hidden=64,many", "setting 'hidden' cannot have this value"),
        ("dropout=0..1.5", "setting 'dropout' is out of range"),
    ],
)
def test_what_a_setting_cannot_be(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        read_space(Text, text)
