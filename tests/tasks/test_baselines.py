"""What simple methods reach, beside what a network has reached: in the result's file and on the terminal."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from gatewright.cli.results import show_result
from gatewright.cli.shell import out
from gatewright.tasks.recipes.text import Text
from gatewright.tasks.run_data import Data
from gatewright.tasks.training.run_folder import RunFolder
from gatewright.tasks.training.session import read_result, resume, train
from tests.tasks.small import QUIET, small_recipe, small_text


def test_they_are_computed_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[tuple[str, ...]] = []

    def baselines(_: Text, data: Data) -> Mapping[str, Mapping[str, float]]:
        measured.append(data.measured)
        return {"validation": {"perplexity of a guess": 26.5}}

    monkeypatch.setattr(Text, "baselines", baselines)
    result = train(small_recipe(), out=tmp_path / "run", source=small_text(tmp_path), console=QUIET)
    assert measured == [("validation", "test")]
    assert result.baselines == {"validation": {"perplexity of a guess": 26.5}}
    assert resume(tmp_path / "run", console=QUIET) == result
    assert len(measured) == 1


def test_a_result_of_an_earlier_version_has_none(tmp_path: Path) -> None:
    train(small_recipe("epochs=1"), out=tmp_path / "run", source=small_text(tmp_path), console=QUIET)
    folder = RunFolder(tmp_path / "run")
    content = folder.read(folder.result)
    del content["baselines"]
    folder.write(folder.result, content)
    assert read_result(folder).baselines == {}


def test_they_are_shown_by_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reached = {"validation": {"mse of one": 0.123456}, "test": {"mse of one": 0.25, "mse of another": 2.0}}
    monkeypatch.setattr(Text, "baselines", lambda *_: reached)
    result = train(small_recipe("epochs=1"), out=tmp_path / "run", source=small_text(tmp_path), console=QUIET)
    show_result(out(), replace(result, samples={}), tmp_path / "run")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    start = lines.index(["baseline", "validation", "test"])
    assert lines[start + 1 : start + 3] == [["mse", "of", "one", "0.1235", "0.25"], ["mse", "of", "another", "2"]]
    show_result(out(), replace(result, baselines={}), tmp_path / "run")
    assert "baseline" not in capsys.readouterr().out
