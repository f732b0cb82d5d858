"""The trial of a wheel takes the newest one, and fails where a command fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

tool = pytest.importorskip("tools.try_wheel", reason="the tools do not come with an installed package")


def test_the_newest_wheel_is_taken(tmp_path: Path) -> None:
    for age, name in enumerate(("gatewright-0.2.0-py3-none-any.whl", "gatewright-0.1.0-py3-none-any.whl")):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    (tmp_path / "gatewright-0.3.0.tar.gz").touch()
    assert tool.newest_wheel(tmp_path).name == "gatewright-0.2.0-py3-none-any.whl"


def test_a_folder_without_a_wheel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="there is no wheel"):
        tool.newest_wheel(tmp_path)


def test_a_command_sees_no_source_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    program = "import os; print(os.environ.get('PYTHONPATH'), os.getcwd())"
    assert tool.run(sys.executable, "-c", program, folder=tmp_path).split() == ["None", str(tmp_path)]


def test_a_command_that_fails_ends_the_trial(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        tool.run(sys.executable, "-c", "raise SystemExit(1)", folder=tmp_path)
