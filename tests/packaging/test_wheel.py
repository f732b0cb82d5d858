"""The wheel holds every file of the package, and works where nothing but it and its dependencies are installed."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.paths import PACKAGE, ROOT

pytest.importorskip("hatchling", reason="wheels are built with hatchling, which pip install -e '.[dev]' installs")

USE = """
import sys
from pathlib import Path

import gatewright as gw

assert Path(gw.__file__).is_relative_to(sys.prefix), gw.__file__
names = [place.name for place in (Path(gw.__file__).parent / "look" / "assets").iterdir()]
print(gw.__version__, sorted(name for name in names if name.startswith("page.") and not name.endswith(".js")))
"""
PAGE = """
import torch

import gatewright as gw

activations = gw.inspect.record(torch.nn.GRU(3, 4), torch.zeros(5, 1, 3))
print(gw.look.page(activations).save("page.html").stat().st_size > 10_000)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the backend itself: nothing is downloaded."""
    folder = tmp_path_factory.mktemp("wheel")
    build = f"from hatchling.build import build_wheel; print(build_wheel({str(folder)!r}))"
    subprocess.run([sys.executable, "-c", build], cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment with the wheel; its dependencies are those of the tests' environment."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    subprocess.run([*pip, "install", "--no-index", "--no-deps", str(wheel)], check=True, capture_output=True)
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    # A path in a .pth file is searched last, and .pth files in it (such as that of an editable install) are not read.
    dependencies = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (Path(site) / "dependencies.pth").write_text("\n".join([*dependencies, ""]), encoding="utf-8")
    return python


def run(python: Path, folder: Path, *arguments: str) -> str:
    """What a program of the new environment prints; it sees no source tree."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        [python, *arguments], cwd=folder, env=environment, check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    files = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files - names == set()
    assert {name for name in names if ".dist-info/" not in name} - files == set()
    assert {f"gatewright/look/assets/page.{suffix}" for suffix in ("html", "css")} <= names
    assert wheel.name.endswith("-py3-none-any.whl")


def test_the_wheel_says_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode("utf-8")
    lines = metadata.splitlines()
    assert {"Name: gatewright", "Requires-Python: >=3.11", "License-Expression: Apache-2.0"} <= set(lines)
    assert any(line.startswith("Requires-Dist: numpy") for line in lines)
    assert "Provides-Extra: train" in lines


@pytest.mark.slow
def test_the_wheel_works_in_an_environment_of_its_own(installed: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    assert run(installed, tmp_path, "-c", USE).endswith("['page.css', 'page.html']")
    assert run(installed, tmp_path, "-c", PAGE) == "True"
    assert "gru" in run(installed, tmp_path, "-m", "gatewright", "cells")
