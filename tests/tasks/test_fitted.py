"""Sizes that nobody asked for shrink to small data of one's own; those that were asked for are refused."""

import json
from pathlib import Path

import pytest

from gatewright.errors import DataError, GatewrightError, OptionError
from gatewright.tasks.answers.evaluate import evaluate
from gatewright.tasks.model import load_model
from gatewright.tasks.recipes.series import Series
from gatewright.tasks.recipes.text import Text
from gatewright.tasks.recipes.words import Words
from gatewright.tasks.training.session import resume, train
from tests.tasks.small import QUIET, WORDS


def written(folder: Path, times: int) -> str:
    path = folder / "own text.txt"
    path.write_text(WORDS * times)
    return str(path)


def months(folder: Path, count: int) -> str:
    path = folder / "months.csv"
    path.write_text("value\n" + "".join(f"{place % 12 + place / 50}\n" for place in range(count)))
    return str(path)


@pytest.mark.parametrize("times", [3, 20, 200])
def test_a_text_of_any_length_is_cut_into_some_batches(times: int, tmp_path: Path) -> None:
    for kind in (Text, Words):
        made = kind.configured([] if kind is Text else ["words=20"], quick=True)
        data = made.data(written(tmp_path, times))
        assert len(data.parts["train"]) >= 8, kind.name
        assert set(data.fitted) <= {"tokens", "batch", "steps"}


def test_a_long_text_changes_nothing(tmp_path: Path) -> None:
    data = Text.configured(quick=True).data(written(tmp_path, 700))
    assert data.fitted == {}
    assert data.parts["train"].batch(0, 0).inputs.shape == (64, 32)


def test_what_was_fitted_is_said_and_kept(tmp_path: Path) -> None:
    source, out = written(tmp_path, 6), tmp_path / "run"
    made = Text.configured(["epochs=1", "hidden=4"], quick=True)
    result = train(made, out=out, source=source, console=QUIET)
    fitted = {"tokens": 464, "batch": 2, "steps": 16}
    assert {name: result.settings[name] for name in fitted} == fitted
    kept = json.loads((out / "run.json").read_text())
    assert kept["asked"] == {"tokens": 40_000, "batch": 32, "steps": 64}
    assert made.fitted_remark(fitted) == (
        "there is little data, so that sizes are smaller: tokens=464 batch=2 steps=16 "
        "(not tokens=40000 batch=32 steps=64)"
    )
    assert resume(out, asked=made, source=source, console=QUIET) == result
    assert evaluate(load_model(out)) == result.metrics
    with pytest.raises(OptionError, match="batch=16, where the run has 2"):
        resume(out, asked=Text.configured(["batch=16"]), source=source, console=QUIET)


@pytest.mark.parametrize(
    ("settings", "problem", "shell"),
    [
        (["tokens=5000"], "setting 'tokens' is more than ", None),
        (
            ["batch=500", "steps=500"],
            "the text is too short for one batch",
            "use a longer text, or smaller sizes: --set batch=... --set steps=...",
        ),
    ],
)
def test_what_was_asked_for_is_refused(settings: list[str], problem: str, shell: str | None, tmp_path: Path) -> None:
    with pytest.raises(GatewrightError) as caught:
        Text.configured(settings, quick=True).data(written(tmp_path, 6))
    assert caught.value.problem.startswith(problem)
    assert caught.value.shell == shell


def test_a_size_beside_one_that_was_asked_for(tmp_path: Path) -> None:
    data = Text.configured(["steps=50"], quick=True).data(written(tmp_path, 6))
    assert data.fitted == {"tokens": 464, "batch": 1}
    preset = Text.configured(["preset=d2l", "tokens=none"])
    assert preset.fitted_to_stream(1000) == {}, "a published setting stays as it is"


@pytest.mark.parametrize(
    ("count", "fitted"),
    [
        (144, {}),
        (105, {"horizon": 10, "history": 32}),
        (40, {"horizon": 4, "history": 12}),
        (10, {"horizon": 1, "history": 3}),
    ],
)
def test_a_short_series(count: int, fitted: dict[str, int], tmp_path: Path) -> None:
    data = Series().data(months(tmp_path, count))
    assert data.fitted == fitted
    assert all(len(part) for part in data.parts.values())


def test_a_series_that_is_too_short_for_its_parts(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        Series().data(months(tmp_path, 4))
    with pytest.raises(DataError) as caught:
        Series(history=70, horizon=40).data(months(tmp_path, 100))
    assert caught.value.shell == (
        "take a shorter history or horizon, with --set history=... --set horizon=..., or a larger part, with --set "
        "validation=... --set test=...; or a longer series"
    )


def test_a_fitted_forecast_is_read_again(tmp_path: Path) -> None:
    source = months(tmp_path, 60)
    result = train(Series(epochs=1, hidden=4), out=tmp_path / "run", source=source, console=QUIET)
    model = load_model(tmp_path / "run")
    assert (model.recipe.history, model.recipe.horizon) == (18, 6)  # pyright: ignore[reportAttributeAccessIssue]
    assert evaluate(model) == result.metrics
