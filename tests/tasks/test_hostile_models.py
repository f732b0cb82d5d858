"""A model file whose description was changed answers as before, or is refused by its name: never anything else."""

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gatewright import model_file
from gatewright.errors import DataError, GatewrightError, ModelFileError, OptionError
from gatewright.model_file import ModelFile
from gatewright.tasks.model import load_model
from gatewright.tasks.recipes import RECIPES
from tests.quick_runs import QuickRun

Place = tuple[str | int, ...]

DROPPED = object()
WRONG: tuple[Any, ...] = (
    DROPPED, None, "", "x", "x" * 10_000, 0, -1, 0.5, 10**9, 10**400, 1e300, float("nan"), True,
    [], [1, 2, 3], ["a"], {}, {"a": {"b": [1]}},
)  # fmt: skip
SAMPLE = 40  # of the changes of each model
ASKED = {"adding": [[1, 2]], "texts": ["a text"], "text": ["the sea"], "words": ["the fox"], "tagging": [["Ada"]]}


def places(content: Any, at: Place = ()) -> Iterator[Place]:
    """Every entry of a description, and the first one of each list."""
    entries = content.items() if isinstance(content, dict) else list(enumerate(content))[:1]
    for name, entry in entries:
        yield (*at, name)
        if isinstance(entry, dict | list):
            yield from places(entry, (*at, name))


def changed(content: dict[str, Any], place: Place, value: Any) -> dict[str, Any]:
    content = copy.deepcopy(content)
    within: Any = content
    for name in place[:-1]:
        within = within[name]
    if value is DROPPED:
        del within[place[-1]]
    else:
        within[place[-1]] = value
    return content


def result_of(call: Callable[[], Any]) -> Any:
    """What a call gives, or the error with which it refuses."""
    try:
        return call()
    except GatewrightError as error:
        return error


def keep(kept: ModelFile, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Every model file that is read from now on says this."""
    monkeypatch.setattr(model_file, "load", lambda _: replace(kept, **changes))


@pytest.mark.parametrize("name", RECIPES)
def test_a_changed_description_is_refused_or_makes_no_difference(
    name: str, quick_run: QuickRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = quick_run(name)
    path = folder / model_file.FILE_NAME
    kept = model_file.load(path)
    settings = dict(kept.settings)
    del settings["data"]  # what is measured by itself
    possible = [(place, value) for place in places(settings) for value in WRONG]
    drawn = random.Random(name).sample(possible, SAMPLE)
    refused = 0
    for place, value in drawn:
        keep(kept, monkeypatch, settings=changed(settings, place, value))
        model = result_of(lambda: load_model(path))
        if isinstance(model, GatewrightError):
            assert str(model).startswith(f"{path} is not a model that this version's recipes can rebuild"), place
            refused += 1
        else:  # most then have nothing to answer; what matters is that nothing else is raised
            answers = result_of(lambda one=model: one.recipe.predictor(one).predict(ASKED.get(name)))
            assert isinstance(answers, OptionError | DataError) or len(answers)
    assert SAMPLE // 4 < refused < SAMPLE


def expect_refused(path: Path, told: str) -> None:
    with pytest.raises(ModelFileError) as caught:
        load_model(path)
    assert str(caught.value) == (
        f"{path} is not a model that this version's recipes can rebuild\n{told}"
        "\n  do: use the version that it was trained with, or train it again"
    )


SERIES: dict[str, tuple[Place, Any, str]] = {
    "columns": (("columns",), "x", "columns: an object\n  got: 'x'"),
    "targets": (("columns", "target"), ["a"], "variables: a\n  got: ('value',)"),
    "no targets": (("columns", "target"), DROPPED, "columns.target: a list, each a text\n  got: no such entry"),
    "a scaling": (("series", 0, "scaling", "mean"), [1, 2], "series[0].scaling.mean: 1 numbers\n  got: [1, 2]"),
    "a deviation": (("series", 0, "scaling", "deviation"), [0], "series[0].scaling.deviation[0]: a number above 0"),
    "a number": (("series", 0, "recent", 0), ["x"], "series[0].recent[0][0]: a number that is finite\n  got: 'x'"),
    "steps": (("series", 0, "recent", 0), [1, 2], "series[0].recent: 24 rows of 1 numbers"),
    "times": (("series", 0, "recent times"), ["a"], "series[0].recent times: 24\n  got: 1"),
    "covariates": (("known scaling",), {"mean": [], "deviation": []}, "known scaling: that of 0 variables"),
}


@pytest.mark.parametrize("change", SERIES)
def test_a_series_of_other_kinds(change: str, quick_run: QuickRun, monkeypatch: pytest.MonkeyPatch) -> None:
    path = quick_run("series")[1]
    kept = model_file.load(path)
    place, value, told = SERIES[change]
    keep(kept, monkeypatch, settings=changed(dict(kept.settings), ("signature", *place), value))
    with pytest.raises(ModelFileError) as caught:
        load_model(path)
    assert f"  expected: {told}" in str(caught.value)
    assert str(caught.value).startswith(f"{path} is not a model")


def test_dates_that_cannot_go_on(quick_run: QuickRun, monkeypatch: pytest.MonkeyPatch) -> None:
    path = quick_run("series")[1]
    kept = model_file.load(path)
    settings = changed(dict(kept.settings), ("signature", "times"), {"column": "t", "form": "%Y", "zone": None})
    (series,) = settings["signature"]["series"]
    series["recent times"] = [f"20{year:02}-01-01" for year in range(len(series["recent"]))]
    for frequency, refused in (("YS", False), (None, False), ("fortnightly", True), (3, True)):
        settings["signature"]["times"]["frequency"] = series["frequency"] = frequency
        keep(kept, monkeypatch, settings=settings)
        if refused:
            with pytest.raises(ModelFileError, match=r"expected: times(\.frequency: a text|: times that go on)"):
                load_model(path)
        else:
            assert load_model(path).signature["times"]["frequency"] == frequency


def test_names_that_are_not_as_many_as_outputs(quick_run: QuickRun, monkeypatch: pytest.MonkeyPatch) -> None:
    path = quick_run("digits")[1]
    kept = model_file.load(path)
    for classes in (["0", "1"], ["0"] * 10, []):
        keep(kept, monkeypatch, settings={**kept.settings, "classes": classes})
        with pytest.raises(ModelFileError) as caught:
            load_model(path)
        assert "expected: classes: 10 different names" in str(caught.value)
    keep(kept, monkeypatch, settings={**kept.settings, "classes": "x"})
    expect_refused(path, "  expected: classes: a list, each a text or null\n  got: 'x'")


def test_a_network_that_is_larger_than_any_memory(quick_run: QuickRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before it is made; so is one of very many layers."""
    path = quick_run("digits")[1]
    kept = model_file.load(path)
    recipe = kept.settings["recipe"]
    keep(kept, monkeypatch, settings={**kept.settings, "recipe": {**recipe, "hidden": 10**7}})
    with pytest.raises(ModelFileError, match=r"the shape of 'recurrent\.\S+' is \(\d+, 8\) and not \(30000000, 8\)"):
        load_model(path)
    keep(kept, monkeypatch, settings={**kept.settings, "recipe": {**recipe, "layers": 10**9}})
    expect_refused(path, "  expected: layers: 1000000000 in a row\n  got: [1]")


def test_a_file_of_an_earlier_version_has_no_signature(quick_run: QuickRun, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("digits", "images", "texts", "text", "words", "music", "adding", "longlag"):
        path = quick_run(name)[1]
        kept = model_file.load(path)
        earlier = {
            name: one for name, one in kept.settings.items() if name not in ("signature", "classes", "variables")
        }
        with monkeypatch.context() as patch:
            keep(kept, patch, settings=earlier)
            assert load_model(path).signature == {}
