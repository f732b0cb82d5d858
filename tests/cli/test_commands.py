"""The commands as a person meets them: output, messages, exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer.main

from gatewright import cli
from gatewright.cli.shell import EXIT_CODES
from gatewright.tasks.recipe import Expected, Recipe
from gatewright.tasks.recipes import RECIPES
from tests.paths import ROOT, subprocess_environment

WORDS = "the quick brown fox jumps over the lazy dog; pack my box with five dozen liquor jugs. " * 3
SMALL = ("--set", "hidden=8", "--set", "batch=4", "--set", "steps=8", "--set", "held_out=0.1")


class Said:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, out: str, messages: str) -> None:
        self.code, self.out, self.messages = code, out, messages


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run a command in this process."""

    def run(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["gatewright", *arguments])
        monkeypatch.delenv("GATEWRIGHT_DEBUG", raising=False)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return Said(int(ended.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of `text` and a text file."""
    from rich.console import Console

    from gatewright.tasks import recipes
    from gatewright.tasks.training.session import train

    folder = tmp_path_factory.mktemp("runs")
    (folder / "words.txt").write_text(WORDS)
    made = recipes.get("text").configured([*SMALL[1::2], "epochs=2"])
    train(made, out=folder / "text", source=str(folder / "words.txt"), console=Console(quiet=True))
    return folder


def test_help_names_every_command_with_an_example(said) -> None:
    found = said("--help")
    assert found.code == 0
    assert "130: stopped by Ctrl-C" in found.out
    for name, command in typer.main.get_command(cli.app).commands.items():
        assert name in found.out
        helped = said(name, "--help")
        assert helped.code == 0
        assert f"gatewright {name}" in helped.out.partition("Examples:")[2]
        assert max(map(len, helped.out.splitlines())) <= 80
        assert command.help


def test_nothing_but_a_name_shows_the_help(said) -> None:
    assert "Usage: gatewright" in said().out


def test_version(said) -> None:
    assert said("--version").out.startswith("gatewright ")


def test_recipes(said) -> None:
    listed = said("recipes")
    assert [line.split()[0] for line in listed.out.splitlines() if line[:1].isalpha()] == ["recipe", *RECIPES]
    one = said("recipes", "adding").out
    assert "standard deviation of the noise" in one
    assert "preset=text: cell=gru(update=replaces)" in one
    assert "constant, cosine, one-cycle, decay" in one
    told = json.loads(said("recipes", "digits", "--json").out)
    assert told["settings"][0]["name"] == "preset"
    assert set(json.loads(said("recipes", "--json").out)) == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_the_help_of_a_recipe(said, name: str) -> None:
    page = said("train", "--data", "text", name, "-h")
    assert page.code == 0
    assert page.out.startswith(f"{name}: {RECIPES[name].about}\n\n--data: ")
    data_lines = page.out.partition("--data: ")[2].partition("\n\n")[0].splitlines()
    assert max(map(len, data_lines)) <= 80
    assert page.out.startswith(said("recipes", name).out)
    groups = [line for line in page.out.splitlines() if line.startswith("Settings of the ")]
    assert [line.split(",")[0] for line in groups][-2:] == ["Settings of the network", "Settings of the training"]
    options = [line.partition(" ")[0] for line in page.out.splitlines()]
    assert {"hidden", "epochs", "seed", "cell"} <= set(options)
    example = RECIPES[name].data_example.splitlines()
    assert bool(example) == bool(RECIPES[name].data_forms)
    assert len(example) in (0, 3)
    assert [f"    {line}" for line in example] == data_lines[len(data_lines) - len(example) :]
    assert max(map(len, example), default=0) <= 76


def test_the_help_of_a_recipe_by_its_earlier_name(said) -> None:
    assert said("train", "sentiment", "--help").out == said("train", "--quick", "texts", "--help").out


def test_the_help_of_what_is_no_recipe(said) -> None:
    assert "Usage: gatewright train" in said("train", "--data", "text", "--help").out
    assert "Usage: gatewright train" in said("train", "txt", "--help").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("train", "ading"),
            (
                f"error: there is no recipe named 'ading'\n  expected: one of {', '.join(RECIPES)}\n"
                "  do: did you mean adding or tagging?\n"
            ),
        ),
        (
            ("train", "digits", "--set", "hidden=many"),
            "error: setting 'hidden' cannot have this value\n  expected: a whole number\n  got: 'many'\n",
        ),
        (
            ("train", "text", "--resume", "--overwrite"),
            "error: --resume keeps the run that --overwrite deletes\n  do: leave out one of them\n",
        ),
        (
            ("generate", "model.safetensors", "--beam", "3", "--top-k", "2"),
            (
                "error: a search with beams draws nothing\n  expected: --beam, or the options of drawing\n"
                "  got: --top-k\n  do: leave one of the two out\n"
            ),
        ),
    ],
)
def test_what_cannot_be_is_said_in_one_message(said, arguments: tuple[str, ...], message: str) -> None:
    found = said(*arguments)
    assert (found.code, found.out, found.messages) == (2, "", message)


@pytest.mark.parametrize("arguments", [("trian", "adding"), ("add", "model", "1"), ("add", "model", "1", "x")])
def test_a_wrong_command_line(said, arguments: tuple[str, ...]) -> None:
    found = said(*arguments)
    assert found.code == 2
    assert "Usage: gatewright" in found.messages


def test_a_failure_is_told_without_a_traceback(said, tmp_path: Path) -> None:
    found = said("evaluate", str(tmp_path / "none.safetensors"))
    assert found.code == 2
    assert found.messages.startswith(f"error: there is no model file {tmp_path}/none.safetensors\n")
    assert "Traceback" not in found.messages


def test_debug_shows_where_it_came_from(said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWRIGHT_DEBUG", "")  # so that what the command sets is taken back
    found = said("--debug", "recipes", "none")
    assert (found.code, found.out) == (2, "")
    assert found.messages.startswith("Traceback (most recent call last):\n")
    assert "gatewright.errors.OptionError: " in found.messages


def test_train_tells_what_came_of_it(said, runs: Path, tmp_path: Path) -> None:
    command = ("train", "text", *SMALL, "--set", "epochs=2", "--cell", "mgu", "--data", str(runs / "words.txt"))
    out = ("--out", str(tmp_path / "mgu"))
    found = said(*command, *out)
    assert found.code == 0
    assert found.messages.startswith("text, mgu, ")
    assert "epoch 2, iteration 12/12: validation perplexity" in found.messages
    lines = [" ".join(line.split()) for line in found.out.splitlines()]
    assert lines[0].startswith("12 iterations in ")
    assert lines[0].endswith(" tokens per second")
    assert "part loss accuracy perplexity" in lines
    assert f"model: {tmp_path}/mgu/model.safetensors" in lines
    again = said(*command, *out)
    assert again.code == 2
    assert again.messages.startswith(f"error: {tmp_path}/mgu holds a finished run already\n")
    resumed = said(*command, *out, "--resume")
    assert (resumed.code, resumed.out) == (0, found.out)


def test_what_a_recipe_reaches_is_said_of_its_own_data_alone(
    said, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = Expected("64 bits", "loss", at_most=1e9, seconds=1)
    monkeypatch.setattr(Recipe, "expectation", lambda _: reached)
    own = said("train", "adding", "--set", "epochs=1", "--out", str(tmp_path / "own"))
    assert "reached: loss on 64 bits: at most 1e+09" in own.out
    other = ("train", "text", *SMALL, "--set", "epochs=1", "--data", str(runs / "words.txt"))
    assert "reached" not in said(*other, "--out", str(tmp_path / "other")).out


def test_json_is_all_there_is(said, runs: Path, tmp_path: Path) -> None:
    options = ("--set", "epochs=1", "--data", str(runs / "words.txt"), "--out", str(tmp_path / "run"), "--json")
    found = said("train", "text", *SMALL, *options)
    told = json.loads(found.out)
    assert found.messages == ""
    assert (told["recipe"], told["iterations"], told["folder"]) == ("text", 6, str(tmp_path / "run"))
    assert set(told["metrics"]) == {"validation", "test"}


def test_evaluate(said, runs: Path) -> None:
    found = said("evaluate", str(runs / "text"))
    assert [line.split()[0] for line in found.out.splitlines()] == ["part", "validation", "test"]
    told = json.loads(said("evaluate", str(runs / "text"), "--data", str(runs / "words.txt"), "--json").out)
    assert list(told) == ["text"]


def test_generate(said, runs: Path) -> None:
    model = str(runs / "text" / "model.safetensors")
    drawn = [said("generate", model, "--prompt", "the ", "--length", "30", "--seed", seed).out for seed in "112"]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0].startswith("the ")
    assert len(drawn[0]) == 4 + 30 + 1
    likely = said("generate", model, "--prompt", "the ", "--length", "5", "--temperature", "0").out
    assert likely == said("generate", model, "--prompt", "the ", "--length", "5", "--top-k", "1").out
    searched = json.loads(said("generate", model, "--prompt", "the ", "--length", "5", "--beam", "3", "--json").out)
    assert searched["prompt"] == "the "
    assert len(searched["text"]) == 5


def test_a_model_of_a_text_cannot_add(said, runs: Path) -> None:
    found = said("add", str(runs / "text"), "1", "2")
    assert found.code == 2
    assert found.messages.startswith("error: this model was made by the recipe 'text', and cannot add\n")


def test_a_cell_of_the_users_own(said, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import gatewright as gw\n\n\n@gw.cell\ndef leaky(x, h, W, U, b):\n"
        "    k = gw.sigmoid(W.k @ x + b.k)\n    return k * h + (1 - k) * gw.tanh(W.n @ x + U.n @ h + b.n)\n"
    )
    out = ("--out", str(tmp_path / "run"))
    found = said("train", "adding", "--cell", f"{tmp_path}/mine.py:leaky", "--set", "epochs=1", *out)
    assert found.code == 0, found.messages
    (tmp_path / "mine.py").unlink()
    assert said("evaluate", str(tmp_path / "run")).code == 0, "the model file holds the equations"
    wrong = said("add", str(tmp_path / "run"), "12345", "54321")
    assert wrong.code == 1
    assert wrong.messages == "the network is wrong: 12345 + 54321 = 66666\n"


def test_ctrl_c_leaves_a_run_that_can_be_resumed(tmp_path: Path) -> None:
    """In a process of its own, by the signal that the keys send."""
    command = [sys.executable, "-m", "gatewright", "train", "adding", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        command, env=subprocess_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "run/metrics.csv").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, messages = process.communicate(timeout=60)
    assert process.returncode == 130, messages
    assert out == ""
    assert f"stopped; go on with: gatewright train adding --resume --out {tmp_path}/run\n" in messages
    assert (tmp_path / "run/last.ckpt").exists()
    assert not (tmp_path / "run/result.json").exists()


def test_a_reader_that_has_had_enough(runs: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "gatewright", "recipes"]
    ended = subprocess.run(command, env=subprocess_environment(), stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert b"Traceback" not in ended.stderr


def test_the_exit_codes_are_those_of_the_document() -> None:
    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    assert [line for code, what in EXIT_CODES.items() if (line := f"| {code} | {what} |") not in text] == []


def test_no_framework_is_loaded_to_show_help() -> None:
    program = (
        "import sys; from gatewright import cli; import typer.main; typer.main.get_command(cli.app)\n"
        "print([name for name in ('torch', 'lightning', 'matplotlib', 'numpy.random') if name in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], env=subprocess_environment(), capture_output=True, text=True, check=True
    )
    assert ended.stdout == "[]\n"


def test_set_takes_every_assignment_behind_it(said, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ("train", "adding", "--set", "epochs=1", "hidden=3", "--quick", "--out", str(folder), "--set", "bits=4")
    assert said(*words, "seed=5").code == 0
    settings = json.loads((folder / "run.json").read_text())["settings"]
    assert [settings[name] for name in ("epochs", "hidden", "bits", "seed")] == [1, 3, 4, 5]
    refused = said("train", "adding", "epochs=1")
    assert refused.code == 2
    assert "unexpected extra argument(s) (epochs=1)" in refused.messages
