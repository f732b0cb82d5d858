"""The exit code of every error, and of every command that is given what is not there; output that cannot be written."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

from gatewright import cli, errors
from gatewright.cli import shell
from gatewright.errors import GatewrightError
from gatewright.terminal import Terminal
from tests.cli.conftest import Said
from tests.paths import ROOT, subprocess_environment

BEGUN = {"GatewrightError", "NonFiniteError", "WriteError"}


def error_classes(base: type[GatewrightError] = GatewrightError) -> Iterator[type[GatewrightError]]:
    yield base
    for one in base.__subclasses__():
        if one.__module__ == errors.__name__:
            yield from error_classes(one)


@pytest.mark.parametrize("kind", sorted(set(error_classes()), key=str), ids=lambda kind: kind.__name__)
def test_every_error_has_its_code(
    kind: type[GatewrightError], invoke: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise kind("the problem", do="what helps")

    monkeypatch.setattr(cli, "app", lambda **_: fail())
    expected = 1 if kind.__name__ in BEGUN else 2
    assert invoke() == (expected, "", "error: the problem\n  do: what helps\n")


def test_the_page_says_the_same_as_the_help() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert all(f"| {code} | {meaning} |\n" in page for code, meaning in shell.EXIT_CODES.items())


NONE = "nothing/there"
CANNOT: dict[str, list[tuple[str, ...]]] = {
    "cells": [("--input", "0")],
    "show": [("none",), ("gru", "--size", "x=1")],
    "train": [
        ("none",),
        ("text", "--data", NONE),
        ("text", "--data", "/dev/zero"),
        ("text", "--seed", "9" * 30),
        ("text", "--set", "hidden=" + "9" * 400),
    ],
    "recipes": [("none",)],
    "compare": [("text", "--cells", "none"), ("text", "--cells", "gru", "--data", NONE)],
    "tune": [("none",), ("text", "--data", NONE)],
    "evaluate": [(NONE,), ("/dev/zero",)],
    "add": [(NONE, "1", "2")],
    "predict": [(NONE,), (NONE, "--data", NONE), ("/dev/zero", "--data", "-")],
    "generate": [(NONE,), (NONE, "--seed", "9" * 30)],
    "look": [(NONE,), ("/dev/zero", "--text", NONE), (NONE, "--steps", "0")],
    "convert": [(NONE, "out.npz"), ("/dev/zero", "out.npz"), ("--explain", "none", "torch")],
    "export": [(NONE, "out.onnx"), (NONE, "out.c"), (NONE, "out.none")],
    "check": [("none",), ()],
}


def test_every_command_is_tried() -> None:
    assert list(CANNOT) == [command.name for command in typer.main.get_command(cli.app).commands.values()]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "arguments",
    [(command, *rest) for command, tried in CANNOT.items() for rest in tried],
    ids=lambda arguments: " ".join(arguments)[:60],
)
def test_what_cannot_be_is_a_two_and_nothing_is_done(
    arguments: tuple[str, ...], invoke: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = invoke(*arguments)
    assert (code, out) == (2, ""), err
    assert err.startswith(("error: ", "Usage: "))
    assert list(tmp_path.rglob("*")) == []


def in_a_shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line.replace("gatewright", f"{sys.executable} -m gatewright")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**subprocess_environment(), **environment},
    )


@pytest.mark.skipif(sys.platform != "linux", reason="the devices are those of Linux")
def test_output_that_nobody_takes() -> None:
    closed = in_a_shell("gatewright show gru >&-")
    assert (closed.returncode, closed.stderr) == (
        2,
        "error: standard output is closed\n  do: send it to a file, or to nobody: > /dev/null\n",
    )
    full = in_a_shell("gatewright show gru > /dev/full")
    assert (full.returncode, full.stderr) == (
        1,
        "error: standard output, or a file without a name: No space left on device\n",
    )
    left = in_a_shell("gatewright cells | head -1; exit ${PIPESTATUS[0]}")
    assert (left.returncode, left.stderr) == (1, "")
    assert in_a_shell("gatewright show gru 2>&-").returncode == 0


def test_letters_that_the_terminal_lacks_are_written_out() -> None:
    found = in_a_shell("gatewright show gru", PYTHONIOENCODING="ascii")
    assert (found.returncode, found.stderr) == (0, "")
    assert r"r\u209c = \u03c3(W_r x\u209c + U_r h\u209c\u208b\u2081 + b_r)" in found.stdout


def test_the_file_that_a_full_disk_is_too_small_for_is_named(
    invoke: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    code, _, err = invoke("train", "adding", "--quick", "--out", tmp_path / "run")
    assert code == 1
    assert f"error: {tmp_path}/run/run.json cannot be written: No space left on device\n" in err


def test_a_terminal_wraps_what_was_expected(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = errors.OptionError("no set", expected="one of " + ", ".join(["python-docs"] * 9), do="gatewright x" * 9)
    shell.show_error(error)
    plain = capsys.readouterr().err
    assert plain == f"error: no set\n  expected: {error.expected}\n  do: {'gatewright x' * 9}\n"
    monkeypatch.setattr(shell, "messages", lambda: Terminal(stderr=True, force_terminal=True, no_color=True, width=80))
    shell.show_error(error)
    lines = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().err).splitlines()
    assert lines == [
        "error: no set",
        "  expected: one of python-docs, python-docs, python-docs, python-docs,",
        "    python-docs, python-docs, python-docs, python-docs, python-docs",
        f"  do: {'gatewright x' * 9}",
    ]
