"""`gatewright compare` as a person meets it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gatewright import cli
from gatewright.cli.comparing import split_cells
from gatewright.errors import OptionError
from tests.paths import subprocess_environment

COMMAND = ("compare", "adding", "--cells", "elman,gru(reset=after)", "--seeds", "1", "--jobs", "1")
SMALL = ("--set", "epochs=1", "--set", "hidden=4")


def run(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["gatewright", *arguments])
    monkeypatch.delenv("GATEWRIGHT_DEBUG", raising=False)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    out = ("--out", str(tmp_path / "all"))
    assert run(*COMMAND, *SMALL, "--match-parameters", *out, monkeypatch=monkeypatch) == 0
    printed = capsys.readouterr()
    lines = [" ".join(line.split()) for line in printed.out.splitlines()]
    assert lines[0] == "cell units parameters 64 bits exact seconds examples/s"
    assert lines[1].startswith("elman 4 33 0 ")
    assert lines[2].startswith("gru(reset=after) 2 ")
    assert "one run each" in lines
    assert f"{tmp_path}/all/comparison.md" in lines
    assert max(map(len, printed.out.partition("one run")[0].splitlines())) <= 80
    assert "elman, seed 0: 64 bits exact 0, " in printed.err
    assert "(2 of 2 runs, left 0:00:00)" in printed.err
    assert run(*COMMAND, *SMALL, "--match-parameters", *out, "--json", monkeypatch=monkeypatch) == 0
    again = capsys.readouterr()
    told = json.loads(again.out)
    assert again.err == ""
    assert (told["recipe"], told["measure"], told["jobs"], len(told["rows"])) == ("adding", "64 bits exact", 1, 2)


def test_a_run_that_fails_fails_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = ("--set", "rate=1e30", "--set", "optimiser=sgd", "--set", "schedule=constant")
    command = ("compare", "adding", "--cells", "indrnn", "--seeds", "1", "--jobs", "1", *SMALL, *broken)
    assert run(*command, "--out", str(tmp_path / "all"), monkeypatch=monkeypatch) == 1
    assert "failed: indrnn, seed 0: the " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "cells"),
    [("gru", ["gru"]), ("gru, lstm", ["gru", "lstm"]), ("gru(reset=after,update=replaces),lstm", None)],
)
def test_cells_with_commas(text: str, cells: list[str] | None) -> None:
    assert split_cells(text) == (cells or ["gru(reset=after,update=replaces)", "lstm"])


@pytest.mark.parametrize("text", ["", "gru,", "gru(reset", "gru),lstm"])
def test_cells_that_cannot_be_read(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        split_cells(text)
    assert str(caught.value) == (
        f"--cells cannot be read\n  expected: cells with commas between, as in gru,lstm\n  got: {text!r}"
    )


def test_ctrl_c_leaves_runs_that_go_on(tmp_path: Path) -> None:
    """By the signal that a terminal sends to all processes of a command."""
    command = [sys.executable, "-m", "gatewright", "compare", "adding", "--cells", "elman,gru", "--seeds", "1"]
    command += ["--jobs", "2", "--set", "hidden=4", "--set", "epochs=400", "--out", str(tmp_path)]
    process = subprocess.Popen(
        command,
        env=subprocess_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 100
    while not any(tmp_path.glob("*/metrics.csv")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    out, messages = process.communicate(timeout=100)
    assert process.returncode == 130, messages
    assert out == ""
    assert "stopped; the same command, without --overwrite, goes on\n" in messages
    assert any(tmp_path.glob("*/last.ckpt"))
    assert not any(tmp_path.glob("*/result.json"))
    assert not (tmp_path / ".stop").exists()
