"""What a command prints at its end can be pasted, and works as it was printed; what it shows fits 80 columns."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from gatewright.cli.results import argument, show_metrics, show_result, show_samples
from gatewright.tasks.recipe import Expected
from gatewright.tasks.recipes import RECIPES
from gatewright.terminal import Terminal
from tests.cli.conftest import Said
from tests.quick_runs import QuickRun
from tests.tasks.small import WORDS

Invoke = Callable[..., Said]
FOLDER = "it's my [bold]data"


def small_prose(folder: Path) -> str:
    path = folder / "prose.txt"
    path.write_text("The fog came. A lamp was lit. The sea was calm. " * 8 + WORDS)
    return str(path)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own, whose name a shell would take apart."""
    folder = tmp_path / FOLDER
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def typed(line: str) -> list[str]:
    """The words of a command line, as a shell reads it."""
    command, *words = shlex.split(line)
    assert command == "gatewright"
    return words


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_printed_after_training(
    name: str, quick_run: QuickRun, invoke: Invoke, capsys: pytest.CaptureFixture[str]
) -> None:
    result, folder = quick_run(name)
    show_result(Terminal(soft_wrap=True, width=80), result, folder)
    lines = capsys.readouterr().out.splitlines()
    shown = [line for line in lines if not line.startswith(("model:", "curves:", "confusion:", "next:"))]
    assert max(map(len, shown)) <= 80
    words = typed(next(line for line in lines if line.startswith("next:")).removeprefix("next:").strip())
    code, out, messages = invoke(*words)
    assert code == 0, messages
    assert out or "--out" in words
    assert "error" not in messages


def test_the_best_settings_can_be_trained_with(here: Path, invoke: Invoke) -> None:
    source = small_prose(here)
    searched = ("--search", "rate=1e-3,1e-2", "--quick", "--set", "init=orthogonal + glorot", "--set", "epochs=1")
    code, out, messages = invoke("tune", "text", "--data", source, "--trials", "1", *searched, "--out", here / "t")
    assert code == 0, messages
    assert "there is little data, so that sizes are smaller: tokens=" in messages
    lines = out.splitlines()
    assert "importance: unknown until 4 trials are complete with different results" in lines
    assert not [line for line in lines if line.endswith(".png")]
    assert not (here / "t" / "importance.png").exists()
    code, _, messages = invoke(*typed(lines[-1]))
    assert code == 0, messages
    assert json.loads((here / "runs/text/run.json").read_text())["settings"]["init"] == "orthogonal + glorot"


def test_a_comparison_says_what_was_smaller(here: Path, invoke: Invoke) -> None:
    command = ("compare", "text", "--data", small_prose(here), "--quick", "--cells", "elman", "--seeds", "1")
    for _ in range(2):  # the second time it goes on
        code, out, messages = invoke(
            *command, "--set", "epochs=1", "--set", "hidden=4", "--jobs", "1", "--out", here / "c"
        )
        assert code == 0, messages
        assert "there is little data, so that sizes are smaller: batch=" in out
        assert "elman: The |" in out


def test_samples_are_under_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    samples = {"He ": "sat\ndown and", "a\nb": "x " * 60, "a title that is far too long for a column of its own": "y"}
    show_samples(Terminal(soft_wrap=True), samples)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["He |sat", "   |down and"]
    assert lines[2].startswith("a\\nb|x x x")
    assert lines[3].startswith("     x x")
    assert lines[-2:] == ["a title that is far too long for a column of its own", "  |y"]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("path", "word"),
    [("runs/text", "runs/text"), ("runs/my text", "'runs/my text'"), ("-x/y", "./-x/y"), ("a'b", "'a'\"'\"'b'")],
)
def test_a_path_is_one_word(path: str, word: str) -> None:
    assert argument(path) == word
    assert shlex.split(word)[0].removeprefix("./") == path


def test_what_is_shown_decides_what_is_reached() -> None:
    """A loss of 8.43004 is printed as 8.43, which 8.43 at most has reached."""
    assert Expected("test", "loss", at_most=8.43, seconds=1).met(8.43004)
    assert not Expected("test", "loss", at_most=8.43, seconds=1).met(8.435)
    assert Expected("test", "accuracy", at_least=0.96, seconds=1).met(0.959996)
    assert not Expected("test", "accuracy", at_least=0.96, seconds=1).met(0.9599)


@pytest.mark.parametrize(("arguments", "kept"), [((), "validation loss"), (("--set", "keep=last"), "last epoch, 1")])
def test_the_measure_that_decides_is_named(arguments: tuple[str, ...], kept: str, here: Path, invoke: Invoke) -> None:
    command = ("train", "digits", "--set", "epochs=1", "--set", "hidden=4", *arguments, "--out", here / "run")
    _, out, messages = invoke(*command)
    line = next(line for line in out.splitlines() if line.startswith("kept the network of "))
    assert kept in line
    assert "validation accuracy" in messages
    assert ", loss " in messages
    if not arguments:
        assert line.rpartition(" ")[2] == messages.partition(", loss ")[2].partition(",")[0]


def test_the_way_out_of_a_reset_that_a_framework_lacks(here: Path, invoke: Invoke) -> None:
    invoke("train", "digits", "--set", "epochs=1", "--set", "hidden=4", "--out", here / "run")
    code, _, messages = invoke("convert", here / "run", here / "run.pt")
    assert code == 2
    assert messages.splitlines()[-1] == (
        "  do: train the network again with --cell 'gru(reset=after)', which torch has; "
        "or write the model as ONNX: gatewright export RUN FILE.onnx"
    )


def test_small_numbers_are_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    measures = dict.fromkeys(("loss", "mae", "mse", "naive_mae", "coverage", "width", "skill"), 5.575e-05)
    show_metrics(Terminal(soft_wrap=True, width=80), {"validation": measures, "test": measures})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines][:2] == [
        ["measure", "validation", "test"],
        ["loss", "5.575e-05", "5.575e-05"],
    ]
    show_metrics(Terminal(soft_wrap=True, width=80), {"test": {"loss": 5.575e-05}})
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [["part", "loss"], ["test", "5.575e-05"]]


def test_defaults_are_shown_as_they_are_set(invoke: Invoke) -> None:
    _, out, _ = invoke("recipes", "sequences")
    assert re.search(r"^linear +auto ", out, re.MULTILINE)
    _, out, _ = invoke("recipes", "series")
    assert re.search(r"^calendar +no ", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("train", "Change settings: one KEY=VALUE or several."),
        ("compare", "Change settings: one KEY=VALUE or several."),
        ("tune", "Change settings: one KEY=VALUE or several."),
        ("predict", "Settings of columns or files for this data: one KEY=VALUE or several."),
        ("evaluate", "Settings of columns or files for this data: one KEY=VALUE or several."),
    ],
)
def test_several_settings_may_follow_one_option(command: str, told: str, invoke: Invoke) -> None:
    _, out, _ = invoke(command, "--help")
    assert told in " ".join(re.sub(r"[^\w=:. ]", " ", out).split())


def test_sequences_ask_their_model(quick_run: QuickRun, capsys: pytest.CaptureFixture[str]) -> None:
    result, folder = quick_run("sequences")
    show_result(Terminal(soft_wrap=True, width=80), result, folder)
    *_, last = capsys.readouterr().out.splitlines()
    data = json.loads((folder / "run.json").read_text())["data"] or "japanese-vowels"
    assert last == f"next:   gatewright predict {argument(folder / 'model.safetensors')} --data {argument(data)}"


def test_a_forecaster_with_covariates_is_asked_about_its_test_part(
    tmp_path: Path, invoke: Invoke, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"2024-{1 + day // 28:02d}-{1 + day % 28:02d},{day % 7},{day % 2}" for day in range(240)]
    Path("sales.csv").write_text("\n".join(["date,sales,promo", *rows]) + "\n")
    settings = [
        "target=sales",
        "covariates=promo",
        "missing=forward",
        "history=14",
        "horizon=7",
        "epochs=1",
        "hidden=4",
    ]
    code, out, messages = invoke("train", "series", "--data", "sales.csv", "--set", *settings, "epochs=1", "--out", "r")
    assert code == 0, messages
    words = typed(next(line for line in out.splitlines() if line.startswith("next:")).removeprefix("next:").strip())
    assert words[-1] == "--rolling"
    assert invoke(*words)[0] == 0


@pytest.mark.parametrize(
    ("file", "advice"),
    [
        ("a.xlsx", "save the sheet as a CSV file, and give that"),
        ("a.json", "write a JSON object a line, and name the file .jsonl"),
        ("a.pdf", "save its text as a .txt or .csv file, and give that"),
    ],
)
@pytest.mark.parametrize("recipe", ["texts", "series", "sequences"])
def test_formats_that_no_recipe_reads(recipe: str, file: str, advice: str, invoke: Invoke) -> None:
    Path(file).write_bytes(b"PK")
    code, _, messages = invoke("train", recipe, "--data", file, "--out", "r")
    assert code == 2
    assert f"do: {advice}" in messages
