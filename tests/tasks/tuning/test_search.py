"""What a text says is searched."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from gatewright.errors import OptionError
from gatewright.tasks.answers.evaluate import measure
from gatewright.tasks.cell_spec import read_cell
from gatewright.tasks.recipe import Recipe
from gatewright.tasks.recipes import RECIPES
from gatewright.tasks.recipes.text import Text
from gatewright.tasks.run_data import Data
from gatewright.tasks.tuning.space import Choice, Range, read_space
from tests.tasks.own_data import OWN_DATA

SMALLER = {
    "images": ["validation=10"],
    "text": ["tokens=10000"],
    "words": ["batch=4"],
    "sequences": ["validation=0.2"],  # of few series none is held out otherwise
    "speakers": ["validation=0.2"],
}


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
    kind = RECIPES[name]
    assert "search" in vars(kind), "what suits one recipe suits no other"
    space, own = read_space(kind, kind.search), kind()
    assert len(space) >= 3
    for setting, found in space.items():
        value = getattr(own, setting)
        there = value in found.values if isinstance(found, Choice) else found.low <= value <= found.high
        assert there, f"{setting}={value}, the recipe's own, is not searched"


@pytest.mark.parametrize("end", [0, -1], ids=["first", "last"])
@pytest.mark.parametrize("name", RECIPES)
def test_both_ends_of_what_is_searched_can_be_trained(name: str, end: int, tmp_path: Path) -> None:
    kind = RECIPES[name]
    ends = {
        setting: (found.values if isinstance(found, Choice) else (found.low, found.high))[end]
        for setting, found in read_space(kind, kind.search).items()
    }
    made = kind.restored({**kind.configured(SMALLER.get(name, ()), quick=True).settings(), **ends})
    data = made.data(OWN_DATA[name](tmp_path) if name in OWN_DATA else None)
    assert made.monitored()[0] in measured_of(made, data)
    assert len(data.parts["train"])


def measured_of(made: Recipe, data: Data) -> dict[str, float]:
    network = made.network(data.sizes, read_cell(made.cell))
    made.prepare(network, data)
    return measure(network, made.objective(), data.parts["validation"])


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
