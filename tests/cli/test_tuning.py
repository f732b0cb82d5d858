"""`gatewright tune` as a person meets it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gatewright import cli
from tests.paths import subprocess_environment

SMALL = ("--set", "epochs=1", "--set", "noise=0", "--search", "rate=log:1e-3..1e-1 hidden=3..5")


def run(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["gatewright", "tune", *arguments])
    monkeypatch.delenv("GATEWRIGHT_DEBUG", raising=False)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_tune(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("adding", *SMALL, "--trials", "4", "--out", str(tmp_path / "all"))
    assert run(*command, monkeypatch=monkeypatch) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].split() == ["trial", "rate", "hidden", "validation", "loss"]
    assert "4 trials, 0 of them pruned" in lines
    assert f"{tmp_path}/all/importance.png" in lines
    assert lines[-2] == "best:"
    assert lines[-1].startswith("gatewright train adding --set epochs=1 --set noise=0.0 --set rate=")
    assert max(map(len, printed.out.partition("/all/")[0].splitlines()[:-1])) <= 80
    assert "trial 0: rate " in printed.err
    assert "(4 of 4 trials, best " in printed.err
    assert run(*command, "--json", monkeypatch=monkeypatch) == 0
    again = capsys.readouterr()
    told = json.loads(again.out)
    assert again.err == ""
    assert told["command"] == lines[-1]
    assert (told["measure"], len(told["trials"]), set(told["importance"])) == ("validation loss", 4, {"rate", "hidden"})


def test_a_search_in_which_nothing_ends_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = ("--cell", "indrnn", "--set", "optimiser=sgd", "--set", "schedule=constant", "--set", "epochs=1")
    command = ("adding", *broken, "--search", "rate=log:1e29..1e30", "--trials", "1", "--out", str(tmp_path))
    assert run(*command, monkeypatch=monkeypatch) == 1
    assert capsys.readouterr().err.endswith("no trial has come to its end; try other ranges with --search\n")


@pytest.mark.parametrize(
    ("given", "name"), [(("--set", "rate=1"), "rate"), (("--cell", "gru", "--search", "cell=gru,lstm"), "cell")]
)
def test_what_is_set_is_not_searched(
    given: tuple[str, ...],
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run("adding", *given, "--out", str(tmp_path / "new"), monkeypatch=monkeypatch) == 2
    assert capsys.readouterr().err == (
        f"error: {name} is both set and searched\n  do: give it a value, or name it in --search\n"
    )
    assert not (tmp_path / "new").exists()


def test_ctrl_c_leaves_a_search_that_goes_on(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "gatewright",
        "tune",
        "adding",
        "--set",
        "epochs=400",
        "--search",
        "rate=0.01,0.02",
    ]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path)],
        env=subprocess_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 100
    while not (tmp_path / "trial-0000/metrics.csv").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    out, messages = process.communicate(timeout=100)
    assert process.returncode == 130, messages
    assert (out, messages) == ("", "stopped; the same command goes on\n")
    assert (tmp_path / "trial-0000/last.ckpt").exists()
